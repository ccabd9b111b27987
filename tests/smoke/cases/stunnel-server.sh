# stunnel as TLS server: a thread per connection on a 64 KiB stack, OpenSSL state per thread.
case_package=stunnel4
case_needs="stunnel nginx openssl curl"
case_threads=8
case_log_errors='INTERNAL|[Ff]atal|[Cc]rash|[Oo]ut of memory'
case_ignore='Connection rejected: too many' # a storm can be faster than the server
case_setup() {
    certificate
    web_backend
    built echo_threads >/dev/null
    ECHO_PORT=$(free_port)
    RUN=$WORK/backend backend echo "$SMOKE_BIN/echo_threads" "$ECHO_PORT"
    wait_port "$ECHO_PORT"
}
case_serve() {
    local up
    up=$(free_port)
    UP_PORT=$up
    stunnel_conf "$RUN/conf" "$PORT" "$WEB_PORT"
    printf '[up]\naccept = 127.0.0.1:%s\nconnect = 127.0.0.1:%s\ncert = %s\n' \
        "$up" "$ECHO_PORT" "$CERT" >>"$RUN/conf"
    serve_at server "$PORT" stunnel "$RUN/conf"
}
case_load() {
    local many
    trial server --tls --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    # Big transfers down, and both ways.
    load -c 20 -n 40 --tls --half-close --http /4m --expect "$WEB/4m" 127.0.0.1 "$PORT"
    load -c 20 -n 60 -s 1048576 --tls 127.0.0.1 "$UP_PORT"
    # SIGHUP: the configuration is read again; connections go on meanwhile. New ones are refused for a
    # moment, because stunnel gives its ports up and takes them again.
    sed -i "s/^connect = 127.0.0.1:$ECHO_PORT\$/connect = 127.0.0.1:$WEB_PORT/" "$RUN/conf"
    load -c 10 -n 2000 --ready "$RUN/open" --tls --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT" &
    LOAD_COUNT=$((LOAD_COUNT + 1))
    wait_for 20 test -e "$RUN/open" || fail "ten connections were not open in time"
    reload server HUP 10 says "https://localhost:$UP_PORT/1k" "$WEB/1k" --cacert "$WORK/crt.pem"
    wait $!
    # Forty stall in mid-handshake; the others go on.
    load -c 50 -n 2000 --per-connection 10 --stall 40 --tls --http /64 --expect "$WEB/64" \
        127.0.0.1 "$PORT"
    # Sessions come back.
    load -c 5 -n 500 --per-connection 1 --tls --resume --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
    [ "$(loaded resumed)" -ge 300 ] || fail "only $(loaded resumed) of 500 sessions were resumed"
    # Each answer into a file of its own: in parallel either may come first.
    client curl curl -sS --cacert "$WORK/crt.pem" -Z --parallel-max 20 \
        -o "$RUN/answers/1k" "https://localhost:$PORT/1k" -o "$RUN/answers/64" "https://localhost:$PORT/64"
    quietly timeout 20 openssl s_time -connect "127.0.0.1:$PORT" -new -time 1 -www /64
    many=$(descriptor_share 2 5000)
    load -c "$many" --hold 1 --tls --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
}
case_compare() { memory_at_most 85; }

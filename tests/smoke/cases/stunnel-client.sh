# stunnel as TLS client: plain connections in, TLS out to a native stunnel, with the peer verified.
case_package=stunnel4
case_needs="stunnel nginx openssl"
case_threads=8
case_log_errors='INTERNAL|[Ff]atal|[Cc]rash'
case_setup() {
    certificate
    web_backend
    TLS_PORT=$(free_port)
    mkdir -p "$WORK/backend"
    stunnel_conf "$WORK/backend/stunnel.conf" "$TLS_PORT" "$WEB_PORT"
    RUN=$WORK/backend backend tls stunnel "$WORK/backend/stunnel.conf"
    wait_port "$TLS_PORT" || fail "the TLS backend did not come up"
}
case_serve() {
    cat >"$RUN/conf" <<END
foreground = yes
pid =
syslog = no
debug = 4
[out]
client = yes
accept = 127.0.0.1:$PORT
connect = 127.0.0.1:$TLS_PORT
verifyPeer = yes
CAfile = $WORK/crt.pem
END
    serve_at server "$PORT" stunnel "$RUN/conf"
}
case_load() {
    trial server --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    load -c 10 -n 20 --half-close --http /4m --expect "$WEB/4m" 127.0.0.1 "$PORT"
}

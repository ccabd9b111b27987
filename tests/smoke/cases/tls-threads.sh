# A program with libssl and a thread for each connection: renegotiation from either side, new keys,
# resumption, error queues that are each thread's own, clients that stall in mid-handshake.
case_package=libssl3
case_needs="cc openssl"
case_threads=8
case_log_errors='tls_threads'
case_setup() { certificate; built tls_threads >/dev/null || fail "did not build"; }
case_serve() {
    ASKING_PORT=$(free_port)
    serve_at server "$PORT" "$SMOKE_BIN/tls_threads" "$PORT" "$ASKING_PORT" "$CERT"
}
case_load() {
    trial server --tls 127.0.0.1 "$PORT"
    # The client renegotiates before each request; the server at every fourth; the same with new keys.
    load -c 20 -n 1000 --tls12 --rekey 127.0.0.1 "$PORT"
    [ "$(loaded rekeyed)" -ge 900 ] || fail "only $(loaded rekeyed) of 1000 were renegotiated"
    load -c 20 -n 1000 --tls12 127.0.0.1 "$ASKING_PORT"
    load -c 20 -n 1000 --tls --rekey --half-close 127.0.0.1 "$PORT"
    load -c 20 -n 1000 --tls 127.0.0.1 "$ASKING_PORT"
    load -c 10 -n 500 --per-connection 1 --tls12 --resume --half-close 127.0.0.1 "$PORT"
    [ "$(loaded resumed)" -ge 300 ] || fail "only $(loaded resumed) of 500 sessions were resumed"
    # Megabytes both ways, while forty stall in mid-handshake and others break off.
    load -c 50 -n 5000 --storm --tls 127.0.0.1 "$PORT" &
    LOAD_COUNT=$((LOAD_COUNT + 1))
    load -c 10 -n 40 -s 1048576 --tls --half-close --stall 40 127.0.0.1 "$PORT"
    [ "$(loaded unclean_closes)" = 0 ] || fail "$(loaded unclean_closes) ends without close-notify"
    wait $!
    s_client_renegotiates
}
# An R that begins a line makes s_client renegotiate; each step waits for what the one before it shows.
s_client_renegotiates() {
    local says=$RUN/s_client.out client
    mkfifo "$RUN/s_client.in"
    timeout 30 openssl s_client -tls1_2 -connect "127.0.0.1:$PORT" <"$RUN/s_client.in" >"$says" 2>&1 &
    client=$!
    exec 7>"$RUN/s_client.in"
    wait_for 10 grep -q 'Verify return code' "$says"
    echo first >&7
    wait_for 10 grep -q '^first' "$says"
    echo R >&7
    wait_for 10 grep -q '^RENEGOTIATING' "$says"
    sleep 0.3
    echo second >&7
    wait_for 10 grep -q '^second' "$says"
    echo Q >&7
    exec 7>&-
    wait "$client"
    grep -E '^(RENEGOTIATING|first|second)$' "$says" | answer s_client
}

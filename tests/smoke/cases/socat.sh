# socat: a forked child for every connection, select inside each.
case_package=socat
case_needs="socat cc"
case_setup() {
    built echo_threads >/dev/null
    ECHO_PORT=$(free_port)
    mkdir -p "$WORK/backend"
    RUN=$WORK/backend backend echo "$SMOKE_BIN/echo_threads" "$ECHO_PORT"
    wait_port "$ECHO_PORT"
}
case_serve() {
    serve_at server "$PORT" socat "TCP-LISTEN:$PORT,bind=127.0.0.1,fork,reuseaddr,backlog=512" \
        "TCP:127.0.0.1:$ECHO_PORT"
}
case_bench() { load -c 10 -t 2 --per-connection 1 127.0.0.1 "$PORT" && loaded rate; }
case_load() {
    load -c 30 -n 300 --half-close 127.0.0.1 "$PORT"
    load -c 5 -n 20 -s 1048576 --half-close 127.0.0.1 "$PORT"
    MODE=$MODE client system socat -u EXEC:'seq 1000' STDOUT
    client pty socat -u EXEC:'seq 1000',pty,raw STDOUT
}

# memcached: four libevent loops woken through eventfd, several green threads in epoll_wait at once.
case_package=memcached
case_needs="memcached /usr/bin/python3"
case_serve() {
    local -a user=()
    [ "$(id -u)" = 0 ] && user=(-u nobody)
    serve_at server "$PORT" memcached "${user[@]}" -l 127.0.0.1 -p "$PORT" -U 0 -t 4 -c 2000
}
case_bench() { memcaslap -s "127.0.0.1:$PORT" -T 1 -c 50 -t 2s | sed -n 's/.*TPS: \([0-9]*\).*/\1/p'; }
case_load() {
    CLIENT_LIMIT=60 MODE=native client values /usr/bin/python3 "$ROOT/tests/smoke/programs/ask.py" \
        memcached "$PORT"
    storm server 10000 127.0.0.1 "$PORT"
    MODE=native client again /usr/bin/python3 "$ROOT/tests/smoke/programs/ask.py" memcached "$PORT"
}

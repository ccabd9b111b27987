# redis: one loop and its background threads. GET/SET, pub/sub, an append-only file with fsync, a
# background save by fork.
case_package=redis-server
case_needs="redis-server redis-cli redis-benchmark"
case_log_errors='# (Fatal|Error|Failed|Can.t)|crash'
case_ignore='^N:|Warning|WARNING|overcommit' # the log carries its pid and the child's on each line
redis_options=""
case_serve() {
    mkdir -p "$RUN/data"
    serve_at server "$PORT" redis-server --bind 127.0.0.1 --port "$PORT" --dir "$RUN/data" \
        --save "" --appendonly yes --appendfsync everysec --enable-debug-command yes --daemonize no $redis_options
}
cli() { redis-cli -h 127.0.0.1 -p "$PORT" "$@"; }
case_bench() {
    redis-benchmark -h 127.0.0.1 -p "$PORT" -n $((${redis_requests:-10000} * 10)) -c 50 -t get --csv |
        sed -n 's/^"GET","\([0-9.]*\)".*/\1/p'
}
case_load() {
    local listener i
    client benchmark redis-benchmark -h 127.0.0.1 -p "$PORT" -q -n "${redis_requests:-10000}" -c 50 -t set,get,incr,lpush,mset
    rm -f "$RUN/answers/benchmark"
    for i in $(seq 200); do echo "set key:$i value-$i"; done | cli >/dev/null || fail "set failed"
    cli eval "local r={} for i=1,200 do r[i]=redis.call('get','key:'..i) end return r" 0 | answer values
    timeout 10 redis-cli -h 127.0.0.1 -p "$PORT" subscribe news >"$RUN/heard" 2>&1 &
    listener=$!
    wait_for 5 grep -q subscribe "$RUN/heard"
    cli publish news "hello, subscriber" >/dev/null
    wait_for 5 grep -q "hello, subscriber" "$RUN/heard" || fail "the subscriber heard nothing"
    kill "$listener" 2>/dev/null
    wait "$listener" 2>/dev/null
    cli bgsave >/dev/null
    wait_for 20 sh -c "redis-cli -p $PORT info persistence | grep -q rdb_bgsave_in_progress:0" ||
        fail "the background save did not end"
    cli bgrewriteaof >/dev/null
    wait_for 20 sh -c "redis-cli -p $PORT info persistence | grep -q aof_rewrite_in_progress:0" ||
        fail "the rewrite of the append-only file did not end"
    cli info persistence | grep -E 'last_(bgsave|bgrewrite|write)_status' | answer persistence
    [ -s "$RUN/data/dump.rdb" ] || fail "no dump was written"
    # Every write to disk before its answer, and the file holds them all afterwards.
    cli config set appendfsync always >/dev/null
    quietly redis-benchmark -h 127.0.0.1 -p "$PORT" -q -n 1000 -c 20 -t set,incr
    cli debug loadaof | answer loaded
    storm server 10000 127.0.0.1 "$PORT"
    cli flushall async >/dev/null
    cli dbsize | answer emptied
}

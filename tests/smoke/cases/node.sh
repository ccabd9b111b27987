# node: one loop, worker threads, a pool for files and name look-ups.
case_package=nodejs
case_needs="node"
case_setup() { web_files; }
case_serve() { serve_at server "$PORT" node "$ROOT/tests/smoke/programs/httpd.js" "$PORT" "$WEB"; }
case_bench() { load -c 50 -t 2 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT" && loaded rate; }
case_load() {
    load -c 100 -n 5000 --hold 0.3 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    load -c 20 -n 40 --http /4m --expect "$WEB/4m" 127.0.0.1 "$PORT"
    churn server 10000 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
    load -c 50 -n 5000 --storm --http /1k 127.0.0.1 "$PORT"
    load -c 20 -n 200 --http /worker 127.0.0.1 "$PORT"
    curl -sS "http://127.0.0.1:$PORT/worker" | answer worker
    curl -sS "http://127.0.0.1:$PORT/lookup" | answer lookup
}

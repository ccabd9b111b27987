# nginx: workers, a reload under load, sendfile, a thread pool for files.
case_package=nginx-light
case_needs="nginx ab wrk"
case_log_errors='\[(emerg|alert|crit|error)\]'
case_setup() { web_files; }
case_serve() {
    NGINX_WORKERS=2 nginx_conf "$RUN/nginx.conf" "$PORT" \
        "location /pool/ { aio threads; sendfile off; alias $WEB/; }"
    serve_at server "$PORT" nginx -p "$RUN" -c "$RUN/nginx.conf"
}
case_bench() { load -c 50 -t 2 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT" && loaded rate; }
case_load() {
    local loading old
    load -c 200 -n 10000 --hold 0.3 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    load -c 20 -n 60 --http /4m --expect "$WEB/4m" 127.0.0.1 "$PORT"
    load -c 20 -n 200 --http /pool/100k --expect "$WEB/100k" 127.0.0.1 "$PORT"
    churn server 10000 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
    load -c 50 -n 10000 --storm --http /1k 127.0.0.1 "$PORT"
    quietly timeout 20 wrk -t 2 -c 50 -d 1 "http://127.0.0.1:$PORT/1k"
    load -c 20 -n 6000 --per-connection 1 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT" &
    loading=$!
    sleep 0.3
    old=$(children_of server)
    reload server HUP 20 ended "$old"
    wait "$loading"
    load -c 50 -n 500 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
}

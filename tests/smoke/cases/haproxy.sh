# haproxy: a master and a worker with two threads with spin locks, 43 KB of thread-local data, timers. TLS in front, HTTP behind.
case_package=haproxy
case_needs="haproxy nginx openssl curl"
case_log_errors='ALERT.*(cannot|failed|invalid)|segfault'
case_ignore='Proxy|Reexecuting|Loading|New worker|Former worker|Exiting|Current worker'
case_setup() { certificate; web_backend; }
case_serve() {
    TLS_PORT=$(free_port)
    cat >"$RUN/conf" <<END
global
    nbthread 2
    maxconn 4000
defaults
    mode http
    timeout connect 10s
    timeout client 30s
    timeout server 30s
frontend plain
    bind 127.0.0.1:$PORT
    bind 127.0.0.1:$TLS_PORT ssl crt $CERT
    http-request return status 200 content-type text/plain string first if { path /generation }
    default_backend web
backend web
    server one 127.0.0.1:$WEB_PORT
END
    serve_at server "$PORT" haproxy -W -db -f "$RUN/conf"
}
case_bench() { load -c 50 -t 2 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT" && loaded rate; }
case_load() {
    load -c 200 -n 10000 --hold 0.3 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    load -c 100 -n 2000 --tls --http /1k --expect "$WEB/1k" 127.0.0.1 "$TLS_PORT"
    load -c 20 -n 60 --http /4m --expect "$WEB/4m" 127.0.0.1 "$PORT"
    churn server 10000 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
    load -c 50 -n 10000 --storm --http /1k 127.0.0.1 "$PORT"
    load -c 50 -n 500 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
    # The master starts a new worker with the new configuration; the old one ends.
    printf second >"$RUN/second"
    sed -i 's/string first/string second/' "$RUN/conf"
    reload server USR2 10 says "http://127.0.0.1:$PORT/generation" "$RUN/second"
    load -c 50 -n 500 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
}

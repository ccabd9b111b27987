# haproxy: two threads with spin locks, 43 KB of thread-local data, timers. TLS in front, HTTP behind.
case_package=haproxy
case_needs="haproxy nginx openssl"
case_log_errors='ALERT|segfault'
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
    default_backend web
backend web
    server one 127.0.0.1:$WEB_PORT
END
    serve_at server "$PORT" haproxy -db -f "$RUN/conf"
}
case_load() {
    load -c 200 -n 10000 --hold 0.3 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    load -c 100 -n 2000 --tls --http /1k --expect "$WEB/1k" 127.0.0.1 "$TLS_PORT"
    load -c 20 -n 60 --http /4m --expect "$WEB/4m" 127.0.0.1 "$PORT"
    load -c 50 -n 5000 --storm --http /1k 127.0.0.1 "$PORT"
    load -c 50 -n 500 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
}

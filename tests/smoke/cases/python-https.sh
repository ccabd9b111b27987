# The same over TLS with the ssl module: the handshake in the connection's own thread.
case_package=python3
case_needs="/usr/bin/python3 openssl"
case_threads=8
case_log_errors='Traceback|Error'
case_setup() { web_files; certificate; }
case_serve() {
    serve_at server "$PORT" /usr/bin/python3 "$ROOT/tests/smoke/programs/httpd.py" "$PORT" "$WEB" "$CERT"
}
case_load() {
    trial server --tls --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    load -c 20 -n 200 --stall 20 --tls --half-close --http /100k --expect "$WEB/100k" 127.0.0.1 "$PORT"
    client curl curl -sS --cacert "$WORK/crt.pem" "https://localhost:$PORT/1k"
}

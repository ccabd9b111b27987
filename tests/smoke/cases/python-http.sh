# Python's ThreadingHTTPServer: a thread per connection under one interpreter lock (5 ms timed waits).
case_package=python3
case_needs="/usr/bin/python3"
case_threads=8
case_log_errors='Traceback|Error'
case_setup() { web_files; }
case_serve() {
    serve_at server "$PORT" /usr/bin/python3 "$ROOT/tests/smoke/programs/httpd.py" "$PORT" "$WEB"
}
case_load() {
    trial server --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    load -c 20 -n 60 --http /4m --expect "$WEB/4m" 127.0.0.1 "$PORT"
    # Each answer into a file of its own: in parallel either may come first.
    client curl curl -sS -Z --parallel-max 20 \
        -o "$RUN/answers/1k" "http://127.0.0.1:$PORT/1k" -o "$RUN/answers/64" "http://127.0.0.1:$PORT/64"
    client listing curl -sS "http://127.0.0.1:$PORT/"
}

# lighttpd: one event loop, files by sendfile.
case_package=lighttpd
case_needs="lighttpd curl"
case_log_errors='error|failed'
case_setup() { web_files; }
case_serve() {
    cat >"$RUN/conf" <<END
server.document-root = "$WEB"
server.bind = "127.0.0.1"
server.port = $PORT
server.errorlog = "/dev/stderr"
server.max-keep-alive-requests = 1000000
server.max-fds = 4096
mimetype.assign = ( "" => "application/octet-stream" )
END
    serve_at server "$PORT" lighttpd -D -f "$RUN/conf"
}
case_bench() { load -c 50 -t 2 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT" && loaded rate; }
case_load() {
    load -c 200 -n 20000 --hold 0.3 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    churn server 10000 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
    load -c 20 -n 60 --http /4m --expect "$WEB/4m" 127.0.0.1 "$PORT"
    load -c 50 -n 10000 --storm --http /1k 127.0.0.1 "$PORT"
    load -c 50 -n 500 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
    # A graceful restart with another root.
    mkdir -p "$RUN/other"
    echo "another root" >"$RUN/other/64"
    sed -i "s#^server.document-root.*#server.document-root = \"$RUN/other\"#" "$RUN/conf"
    reload server USR1 10 says "http://127.0.0.1:$PORT/64" "$RUN/other/64"
}

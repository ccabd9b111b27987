# libmicrohttpd with a thread per connection: poll, sendmsg, sendfile, sigwait in main.
case_package=libmicrohttpd-dev
case_needs="cc"
case_threads=8
case_ignore='^$|^Failed to|Connection reset|Broken pipe' # what broken clients make it say
case_setup() { web_files; built microhttpd >/dev/null || fail "did not build"; }
case_serve() { serve_at server "$PORT" "$SMOKE_BIN/microhttpd" "$PORT" "$WEB"; }
case_load() {
    trial server --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    load -c 20 -n 60 --http /4m --expect "$WEB/4m" 127.0.0.1 "$PORT"
}

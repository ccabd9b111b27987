# tinyproxy: a thread per connection, SO_RCVTIMEO, MSG_PEEK, getaddrinfo for every request. It closes
# after each answer, so nothing can be held. It syncs its log to the disk for each line: where the storm's
# broken requests had a line each, how many of them wait at once, and so what malloc keeps afterwards, would
# be the disk's doing.
case_package=tinyproxy
case_needs="tinyproxy nginx"
case_threads=12 # eight of them for its log
case_log_errors='pthread|thread failed|[Mm]emory'
# A storm's broken requests are reported, in no fixed number of ways.
case_ignore='^(ERROR|CONNECT|INFO|WARNING|NOTICE)'
case_setup() { web_backend; }
case_serve() {
    cat >"$RUN/conf" <<END
Port $PORT
Listen 127.0.0.1
Timeout 60
MaxClients 2000
LogLevel Critical
END
    serve_at server "$PORT" tinyproxy -d -c "$RUN/conf"
}
case_load() {
    local through="--proxy 127.0.0.1:$PORT"
    TRIAL_HELD=0 trial server $through --http /1k --expect "$WEB/1k" 127.0.0.1 "$WEB_PORT"
    load -c 200 -n 1000 --per-connection 1 $through --http /100k --expect "$WEB/100k" \
        127.0.0.1 "$WEB_PORT"
    client curl curl -sS -p -x "http://127.0.0.1:$PORT" "http://127.0.0.1:$WEB_PORT/1k"
}

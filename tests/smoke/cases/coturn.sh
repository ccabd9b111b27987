# coturn: several relay threads, setgroups after they exist (glibc signals its own thread list).
case_package=coturn
case_needs="turnserver turnutils_uclient"
case_log_errors='FATAL|CRITICAL'
case_ignore='.' # every line carries the moment or a session's number
case_serve() {
    serve server turnserver -n --no-tls --no-dtls --listening-ip=127.0.0.1 --relay-ip=127.0.0.1 \
        --listening-port="$PORT" --min-port=33000 --max-port=34000 --user=u:p --lt-cred-mech --realm=test \
        --allow-loopback-peers --no-cli --relay-threads=3 --log-file=stdout --simple-log \
        --pidfile="$RUN/pid" --userdb="$RUN/db"
    wait_port "$PORT" || fail "turnserver did not come up: $(tail -n 2 "$RUN/server.out")"
}
case_bench() {
    local count=2000 clients=20 began=$EPOCHREALTIME
    turnutils_uclient -t -y -c -u u -w p -p "$PORT" -n $count -m $clients -z 0 127.0.0.1 >"$RUN/relayed" || return
    echo "$((count * clients)) $began $EPOCHREALTIME" | awk '{ print $1 / ($3 - $2) }'
}
case_load() {
    CLIENT_LIMIT=60 client relay turnutils_uclient -t -y -c -u u -w p -p "$PORT" -n 50 -m 10 127.0.0.1
    grep -qE 'Total lost packets 0' "$RUN/answers/relay" ||
        fail "packets were lost: $(grep -E 'lost' "$RUN/answers/relay" | tail -n 1)"
    rm -f "$RUN/answers/relay" # it tells how long things took
}

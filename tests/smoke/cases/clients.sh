# Clients on green threads against a native web server: curl in parallel, over TLS, with a time-out;
# wget; openssl s_client; ab; wrk.
case_package=curl
case_needs="curl wget openssl ab wrk nginx stunnel"
case_setup() { certificate; web_files; }
case_serve() { # native in both runs: the clients are the subject
    TLS_PORT=$(free_port)
    nginx_conf "$RUN/nginx.conf" "$PORT"
    backend server nginx -p "$RUN" -c "$RUN/nginx.conf"
    wait_port "$PORT" || fail "nginx did not come up"
    stunnel_conf "$RUN/stunnel.conf" "$TLS_PORT" "$PORT"
    backend tls stunnel "$RUN/stunnel.conf"
    wait_port "$TLS_PORT" || fail "stunnel did not come up"
}
case_load() {
    local url=http://127.0.0.1:$PORT silent
    client curl-4m curl -sS "$url/4m"
    client curl-parallel curl -sS -Z --parallel-max 30 -o "$RUN/answers/p#1" "$url/{64,1k,100k,4m}"
    client curl-tls curl -sS --cacert "$WORK/crt.pem" "https://localhost:$TLS_PORT/100k"
    client curl-name curl -sS "http://localhost:$PORT/1k"
    silent=$(free_port)
    backend silent /usr/bin/python3 -c "
import socket, time
s = socket.create_server(('127.0.0.1', $silent))
time.sleep(60)"
    wait_port "$silent"
    CLIENT_STATUS=28 client curl-timeout curl -sS --max-time 1 "http://127.0.0.1:$silent/"
    stop silent
    client wget wget -q -O - "$url/4m"
    printf 'GET /1k HTTP/1.0\r\n\r\n' >"$RUN/request"
    client s_client sh -c "openssl s_client -quiet -verify_quiet -CAfile '$WORK/crt.pem' \
        -connect 127.0.0.1:$TLS_PORT <'$RUN/request' | tail -c 1024"
    # What it says are figures; that it comes to its end is what counts.
    client s_time openssl s_time -connect "127.0.0.1:$TLS_PORT" -new -time 1 -www /64
    rm -f "$RUN/answers/s_time"
    client curl-tls-parallel curl -sS -Z --parallel-max 20 --cacert "$WORK/crt.pem" \
        "https://localhost:$TLS_PORT/100k" -o "$RUN/answers/t1" "https://localhost:$TLS_PORT/4m" -o "$RUN/answers/t2"
    client ab ab -q -n 2000 -c 50 "$url/1k"
    grep -E 'Complete requests|Failed requests|Document Length' "$RUN/answers/ab" | answer ab-counts
    client wrk wrk -t 4 -c 100 -d 1 "$url/1k"
    grep -cE 'Socket errors|Non-2xx' "$RUN/answers/wrk" | answer wrk-errors
    rm -f "$RUN/answers/ab" "$RUN/answers/wrk"
    stop tls
}

# Apache with mpm_worker: several processes with 64 threads each and a listener, two sockets behind one
# accept mutex; workers are stopped with pthread_kill. Kept alive and not, a graceful restart under load.
case_package=apache2
case_needs="apache2 ab curl"
case_log_errors='\[(emerg|alert|crit|error)\]|segfault|exit signal'
# Restarts are announced in no fixed order and number.
case_ignore='AH0(0|1)[0-9]+|mpm_worker|^$'
case_setup() { web_files; }
case_serve() {
    SECOND_PORT=$(free_port)
    cat >"$RUN/apache.conf" <<END
ServerRoot /usr/lib/apache2
ServerName localhost
PidFile $RUN/apache.pid
DefaultRuntimeDir $RUN
LoadModule mpm_worker_module modules/mod_mpm_worker.so
Mutex pthread mpm-accept
LoadModule authz_core_module modules/mod_authz_core.so
$([ "$(id -u)" = 0 ] && printf 'User www-data\nGroup www-data\n')
Listen 127.0.0.1:$PORT
Listen 127.0.0.1:$SECOND_PORT
ErrorLog $RUN/server.log
LogLevel warn
DocumentRoot $WEB
StartServers 2
ServerLimit 6
ThreadsPerChild 64
ThreadLimit 64
MaxRequestWorkers 384
MinSpareThreads 64
MaxSpareThreads 384
KeepAlive On
MaxKeepAliveRequests 0
GracefulShutdownTimeout 5
END
    serve_at server "$PORT" apache2 -d "$RUN" -f "$RUN/apache.conf" -DFOREGROUND
}
case_load() {
    local loading old
    load -c 100 -n 10000 --hold 0.3 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    load -c 50 -n 2000 --per-connection 1 --http /1k --expect "$WEB/1k" 127.0.0.1 "$SECOND_PORT"
    load -c 20 -n 60 --http /4m --expect "$WEB/4m" 127.0.0.1 "$PORT"
    churn server 10000 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
    load -c 50 -n 10000 --storm --http /1k 127.0.0.1 "$PORT"
    client ab ab -q -k -n 2000 -c 50 "http://127.0.0.1:$PORT/1k"
    grep -E 'Complete requests|Failed requests|Non-2xx' "$RUN/answers/ab" | answer ab-counts
    rm -f "$RUN/answers/ab"
    # No request may fail for a graceful restart: connections are made anew for each.
    load -c 20 -n 6000 --per-connection 1 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT" &
    loading=$!
    sleep 0.3
    old=$(children_of server)
    reload server USR1 20 ended "$old"
    wait "$loading"
    load -c 50 -n 1000 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
    # SIGHUP: the configuration is read again.
    mkdir -p "$RUN/other"
    echo "another root" >"$RUN/other/64"
    sed -i "s#^DocumentRoot .*#DocumentRoot $RUN/other#" "$RUN/apache.conf"
    reload server HUP 10 says "http://127.0.0.1:$PORT/64" "$RUN/other/64"
}

# uwsgi: forked workers with threads, a robust process-shared PI lock between them.
case_package=uwsgi-core
case_needs="uwsgi curl"
case_log_errors='Traceback|segmentation|DAMN'
case_ignore='^$|spawned|uWSGI|\*\*\*|compiled|detected|memory|gateway|WSGI app|worker|nodename|machine|clock|current|os:|pid|graceful|binary reloading|chdir|closing|running|Gracefully'
STOP_SIGNAL=2 # SIGTERM means reload here, unless told otherwise
case_setup() { web_files; }
case_serve() {
    cp "$ROOT/tests/smoke/programs/wsgi_app.py" "$RUN/wsgi_app.py"
    WEB_ROOT=$WEB serve_at server "$PORT" uwsgi --plugin python3 --http-socket "127.0.0.1:$PORT" \
        --chdir "$RUN" --module wsgi_app:app --master --processes 2 --threads 8 \
        --listen 100 --disable-logging
}
case_bench() { load -c 16 -t 2 --per-connection 1 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT" && loaded rate; }
case_load() {
    load -c 16 -n 2000 --per-connection 1 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    churn server 10000 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
    load -c 30 -n 1000 --per-connection 1 --http /100k --expect "$WEB/100k" 127.0.0.1 "$PORT"
    # SIGHUP: a graceful reload.
    echo "another application" >"$RUN/expected"
    sed -i 's/body = f.read()/body = b"another application\\n"/' "$RUN/wsgi_app.py"
    reload server HUP 15 says "http://127.0.0.1:$PORT/64" "$RUN/expected"
}

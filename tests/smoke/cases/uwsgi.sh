# uwsgi: forked workers with threads, a robust process-shared PI lock between them.
case_package=uwsgi-core
case_needs="uwsgi"
case_log_errors='Traceback|segmentation|DAMN'
case_ignore='^$|spawned|uWSGI|\*\*\*|compiled|detected|memory|gateway|WSGI app|worker|nodename|machine|clock|current|os:|pid'
STOP_SIGNAL=2 # SIGTERM means reload here, unless told otherwise
case_setup() { web_files; }
case_serve() {
    cp "$ROOT/tests/smoke/programs/wsgi_app.py" "$RUN/wsgi_app.py"
    WEB_ROOT=$WEB serve_at server "$PORT" uwsgi --plugin python3 --http-socket "127.0.0.1:$PORT" \
        --chdir "$RUN" --module wsgi_app:app --master --processes 2 --threads 8 \
        --listen 100 --disable-logging
}
case_load() {
    load -c 16 -n 2000 --per-connection 1 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    load -c 30 -n 1000 --per-connection 1 --http /100k --expect "$WEB/100k" 127.0.0.1 "$PORT"
}

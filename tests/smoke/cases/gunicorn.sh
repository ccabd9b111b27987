# gunicorn with gthread workers: forked processes, each with a thread pool.
case_package=gunicorn
case_needs="gunicorn"
case_log_errors='Traceback|CRITICAL|Exception'
case_ignore='Listening|Booting|Starting|Worker exiting|Handling|Shutting|Control'
case_setup() { web_files; }
case_serve() {
    cp "$ROOT/tests/smoke/programs/wsgi_app.py" "$RUN/wsgi_app.py"
    WEB_ROOT=$WEB PYTHONDONTWRITEBYTECODE=1 serve_at server "$PORT" /usr/bin/python3 /usr/bin/gunicorn \
        --chdir "$RUN" -k gthread --workers 2 --threads 8 --keep-alive 30 \
        --worker-tmp-dir "$RUN" --bind "127.0.0.1:$PORT" wsgi_app:app
}
case_load() {
    load -c 16 -n 2000 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    load -c 50 -n 2000 --per-connection 1 --http /100k --expect "$WEB/100k" 127.0.0.1 "$PORT"
}

# gunicorn with gthread workers: forked processes, each with a thread pool.
case_package=gunicorn
case_needs="gunicorn curl"
case_log_errors='Traceback|CRITICAL|Exception'
case_ignore='Listening|Booting|Starting|Worker exiting|Handling|Shutting|Control|Hang up|due to signal'
case_setup() { web_files; }
case_serve() {
    cp "$ROOT/tests/smoke/programs/wsgi_app.py" "$RUN/wsgi_app.py"
    WEB_ROOT=$WEB PYTHONDONTWRITEBYTECODE=1 serve_at server "$PORT" /usr/bin/python3 /usr/bin/gunicorn \
        --chdir "$RUN" -k gthread --workers 2 --threads 8 --keep-alive 30 \
        --worker-tmp-dir "$RUN" --bind "127.0.0.1:$PORT" wsgi_app:app
}
case_load() {
    load -c 16 -n 2000 --http /1k --expect "$WEB/1k" 127.0.0.1 "$PORT"
    load -c 50 -n 1000 --per-connection 1 --http /100k --expect "$WEB/100k" 127.0.0.1 "$PORT"
    churn server 10000 --http /64 --expect "$WEB/64" 127.0.0.1 "$PORT"
    # SIGHUP: new workers with the application as it is now.
    echo "another application" >"$RUN/expected"
    sed -i 's/body = f.read()/body = b"another application\\n"/' "$RUN/wsgi_app.py"
    reload server HUP 15 says "http://127.0.0.1:$PORT/64" "$RUN/expected"
}

# PostgreSQL: a forked process for every connection, and pgbench with fifty threads (barriers, ppoll).
# It does not run as root, so there it and its clients run as postgres.
pg_bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
case_package=postgresql-15
case_needs="$pg_bin/postgres $pg_bin/pgbench"
case_log_errors='FATAL|PANIC|server process .* terminated'
case_ignore='checkpoint|LOG:  |redo|^$'
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; else "$@"; fi
}
case_setup() {
    mkdir -p "$WORK/fresh"
    [ "$(id -u)" = 0 ] && chown postgres "$WORK/fresh"
    as_postgres "$pg_bin/initdb" -D "$WORK/fresh" -A trust -U postgres --no-sync >"$WORK/initdb.log" 2>&1 ||
        fail "initdb: $(tail -n 2 "$WORK/initdb.log")"
}
case_serve() {
    local -a before=()
    cp -a "$WORK/fresh" "$RUN/data"
    # The launcher runs after the change of user: it is the server's environment that counts.
    [ "$(id -u)" = 0 ] && before=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    spawn server "${before[@]}" $(runner) "$pg_bin/postgres" -D "$RUN/data" -p "$PORT" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=120 -c fsync=off
    wait_for 20 psql -h 127.0.0.1 -p "$PORT" -U postgres -c "select 1" ||
        { fail "postgres did not come up: $(tail -n 2 "$RUN/server.err")"; return 1; }
}
STOP_SIGNAL=2 # the fast stop, as pg_ctl's
sql() { psql -h 127.0.0.1 -p "$PORT" -U postgres -d postgres -Atq -c "$1"; }
as_work_mem() { [ "$(sql 'show work_mem')" = "$1" ]; }
case_bench() {
    quietly "$pg_bin/pgbench" -h 127.0.0.1 -p "$PORT" -U postgres -i -s 1 postgres
    "$pg_bin/pgbench" -h 127.0.0.1 -p "$PORT" -U postgres -S -j 4 -c 20 -T 2 -n postgres |
        sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}
case_load() {
    quietly "$pg_bin/pgbench" -h 127.0.0.1 -p "$PORT" -U postgres -i -s 1 postgres
    client pgbench "$pg_bin/pgbench" -h 127.0.0.1 -p "$PORT" -U postgres -j 50 -c 50 -t 20 -n postgres
    grep -E 'number of (transactions actually|failed)' "$RUN/answers/pgbench" | answer pgbench-counts
    rm -f "$RUN/answers/pgbench"
    sql "select count(*) from pgbench_history" | answer history
    sql "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)" |
        answer balance
    sql "select md5(string_agg(i::text, ',')) from generate_series(1, 10000) i" | answer md5
    # SIGHUP: the configuration is read again.
    sql "alter system set work_mem = '7MB'" | answer alter
    reload server HUP 10 as_work_mem 7MB
    load -c 20 -n 500 --storm 127.0.0.1 "$PORT"
    # A cancelled query.
    sql "set statement_timeout = 200; select pg_sleep(5)" 2>&1 | answer timeout
}

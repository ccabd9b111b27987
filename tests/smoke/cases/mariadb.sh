# MariaDB: a thread per connection, thread_local current_thd, timed conditions. The client is green in
# the green run too.
case_package=mariadb-server
case_needs="mariadbd mariadb-slap mariadb-install-db"
case_log_errors='\[ERROR\]'
case_ignore='InnoDB: (Completed|Buffer pool|log sequence|End of log|Number of)|Starting MariaDB|Aborted|unauthenticated'
case_setup() {
    mariadb_datadir
    FRESH=$DATADIR
}
case_serve() {
    DATADIR=$RUN/data
    cp -a "$FRESH" "$DATADIR"
    mariadb_serve "$PORT" --innodb-buffer-pool-load-at-startup=0 --innodb-buffer-pool-dump-at-shutdown=0 \
        --skip-name-resolve --max-connect-errors=100000000
}
# slap NAME OPTION...: mariadb-slap in this mode; what it says holds times, so it is no answer.
slap() {
    local name=$1
    shift
    client "$name" mariadb-slap --no-defaults --user=root --host=127.0.0.1 --port="$PORT" "$@"
    grep -hi error "$RUN/$name.client-err" "$RUN/answers/$name" | head -n 2 |
        while IFS= read -r line; do fail "$name: $line"; done
    rm -f "$RUN/answers/$name"
}
case_load() {
    local i
    # It keeps up to 256 threads for the next connections. Three hundred at once leave it as many as that, and
    # the storm, which may find fewer or more at once, is then judged by what it leaves itself.
    slap held --concurrency=300 --number-of-queries=600 --create-schema=mysql \
        --query="select sleep(0.3)"
    # A storm; a server that answers fewer than it refuses would block its host.
    storm server 20000 127.0.0.1 "$PORT"
    slap slap --concurrency=50 --number-of-queries=5000 --auto-generate-sql \
        --auto-generate-sql-load-type=mixed
    # Known rows through many connections: the same table must come of it.
    mariadb_ask "create table test.t (id int primary key, v varchar(100), key (v))" 2>/dev/null ||
        mariadb_ask "create database test; create table test.t (id int primary key, v varchar(100), key (v))"
    for i in $(seq 100); do echo "insert into test.t values ($i, sha2('row $i', 256))"; done |
        xargs -P 10 -d '\n' -n 1 mariadb --no-defaults --user=root --host=127.0.0.1 \
            --port="$PORT" -e >/dev/null 2>>"$RUN/helpers.log" || fail "insert failed"
    # One row, many writers: not one update may be lost.
    mariadb_ask "create table test.counter (n int); insert into test.counter values (0)"
    slap counter --concurrency=40 --number-of-queries=2000 --create-schema=test --no-drop \
        --query="update counter set n = n + 1"
    mariadb_ask "select n from test.counter; checksum table test.t; select count(*), max(v) from test.t" |
        answer tables
    mariadb_ask "select sleep(0.2), get_lock('l', 1), release_lock('l'), 1/0, sha2('x', 512)" |
        answer functions
}

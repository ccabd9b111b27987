# sysbench against MariaDB: a hundred threads, prepared statements, TLS aligned to 64 bytes; both ends
# green in the green run.
case_package=sysbench
case_needs="mariadbd sysbench mariadb-install-db"
case_log_errors='\[ERROR\]'
case_ignore='InnoDB: (Completed|Buffer pool|log sequence|End of log|Number of)|Starting MariaDB|Aborted'
case_setup() {
    mariadb_datadir
    FRESH=$DATADIR
}
case_serve() {
    DATADIR=$RUN/data
    cp -a "$FRESH" "$DATADIR"
    mariadb_serve "$PORT" --innodb-buffer-pool-load-at-startup=0 --innodb-buffer-pool-dump-at-shutdown=0 \
        --innodb-flush-log-at-trx-commit=2 --max-prepared-stmt-count=100000
}
bench() {
    local step=$1
    shift
    CLIENT_LIMIT=150 client "sysbench-$step" sysbench oltp_read_write --mysql-host=127.0.0.1 --mysql-port="$PORT" \
        --mysql-user=root --mysql-db=sb --tables=4 --table-size=1000 --rand-seed=7 "$@" "$step"
    grep -hE 'FATAL|unexpected' "$RUN/answers/sysbench-$step" "$RUN/sysbench-$step.client-err" |
        head -n 2 | while IFS= read -r line; do fail "$line"; done
    rm -f "$RUN/answers/sysbench-$step" # times; the tables are the answer
}
case_load() {
    mariadb_ask "create database sb"
    bench prepare
    mariadb_ask "checksum table sb.sbtest1, sb.sbtest2, sb.sbtest3, sb.sbtest4" | answer prepared
    # One thread with a seed makes the same changes each time.
    bench run --threads=1 --events=100 --time=0 --db-ps-mode=auto
    mariadb_ask "checksum table sb.sbtest1, sb.sbtest2, sb.sbtest3, sb.sbtest4" | answer changed
    # The load deletes and inserts the same keys, so the number of rows and their keys stay.
    bench run --threads=100 --events=800 --time=0 --mysql-ignore-errors=1213,1020,1205,1062
    mariadb_ask "select count(*), sum(id) from sb.sbtest1; select count(*), sum(id) from sb.sbtest4;
        check table sb.sbtest1, sb.sbtest2, sb.sbtest3, sb.sbtest4" | answer rows
}

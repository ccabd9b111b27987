# How some servers are started, for the demo and for the smoke cases alike.

# stunnel_conf FILE ACCEPT-PORT CONNECT-PORT [LINE...]: TLS in front of a plain server.
stunnel_conf() {
    local file=$1 accept=$2 connect=$3
    shift 3
    {
        echo "foreground = yes"
        echo "pid ="
        echo "syslog = no" # this machine's log is none of ours
        echo "debug = ${STUNNEL_DEBUG:-4}"
        [ -n "${STUNNEL_GLOBAL:-}" ] && printf '%s\n' "$STUNNEL_GLOBAL"
        echo "[service]"
        echo "accept = 127.0.0.1:$accept"
        echo "connect = 127.0.0.1:$connect"
        echo "cert = $CERT"
        for line; do echo "$line"; done
    } >"$file"
}

# mariadb_datadir: an empty data directory, made once: $DATADIR.
mariadb_datadir() {
    local -a user=()
    DATADIR=$WORK/mariadb
    mkdir -p "$DATADIR"
    MARIADB_USER=()
    if [ "$(id -u)" = 0 ]; then
        id mysql >/dev/null 2>&1 || { fail "no user mysql"; return 1; }
        chown mysql "$DATADIR"
        MARIADB_USER=(--user=mysql)
        user=(--user=mysql)
    fi
    mariadb-install-db --no-defaults "${user[@]}" --datadir="$DATADIR" --skip-test-db \
        --auth-root-authentication-method=normal >"$WORK/mariadb-install.log" 2>&1 ||
        fail "mariadb-install-db: $(tail -n 2 "$WORK/mariadb-install.log")"
}

# mariadb_serve PORT [OPTION...]
mariadb_serve() {
    local port=$1
    shift
    MARIADB_SOCKET=$DATADIR/sock
    serve server mariadbd --no-defaults "${MARIADB_USER[@]}" --datadir="$DATADIR" \
        --socket="$MARIADB_SOCKET" --port="$port" --bind-address=127.0.0.1 --max-connections=700 \
        --back-log=700 --innodb-use-native-aio=0 --pid-file="$DATADIR/pid" "$@"
    wait_for 40 mariadb_ask "select 1" || {
        fail "mariadbd did not come up: $(tail -n 3 "$RUN/server.err" | tr '\n' ' ')"
        return 1
    }
}

# mariadb_ask SQL: one statement, over the socket; tab-separated rows.
mariadb_ask() {
    mariadb --no-defaults --user=root --socket="$MARIADB_SOCKET" --batch --skip-column-names -e "$1"
}

# mariadb_status NAME: one of the server's own counters.
mariadb_status() {
    mariadb_ask "show global status like '$1'" | cut -f 2
}

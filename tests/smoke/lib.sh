# What the demo and the smoke cases share: a work directory, free ports, servers under a warden
# (native or green), loads whose every answer is checked, and the comparison of the two runs.
#
# EVENTLET_RUN  the launcher of green runs (default: build/eventlet-run); `env` makes a dry run of the
#               harness: both runs are native, and the bounds on the green one are not checked
# SERVER_CORES  processors for the servers under test, a list as taskset takes it (default: all)
# BUILD         the build directory (default: build/ of this tree)
# KEEP=1        leave the work directory behind

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$ROOT/build}
case $BUILD in /*) ;; *) BUILD=$ROOT/$BUILD ;; esac
EVENTLET_RUN=${EVENTLET_RUN:-$BUILD/eventlet-run}
SMOKE_BIN=$BUILD/tests/smoke
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
unset LD_PRELOAD
. "$ROOT/tests/smoke/servers.sh"

note() { printf '%s\n' "$*" >&2; }

# --- work directory and clean-up ---------------------------------------------------------------

declare -a WARDENS=() # pids of wardens that still run

smoke_begin() {
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/libgreen-smoke.XXXXXX")
    chmod 755 "$WORK"
    FAILURES=$WORK/failures
    : >"$FAILURES"
    trap smoke_end EXIT
    trap 'exit 130' INT TERM
    ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
}

smoke_end() {
    local pid
    for pid in "${WARDENS[@]}"; do kill -TERM "$pid" 2>/dev/null; done
    for pid in "${WARDENS[@]}"; do wait "$pid" 2>/dev/null; done
    WARDENS=()
    [ -n "${KEEP:-}" ] && { note "left: $WORK"; return; }
    rm -rf "$WORK"
}

# How many connections at once are possible when each costs `$1` descriptors and `$2` are wanted.
descriptor_share() {
    local room=$((($(ulimit -n) - 200) / $1))
    echo $((room < $2 ? room : $2))
}

# --- ports -------------------------------------------------------------------------------------

# A port on 127.0.0.1 that nobody has, below the range from which the kernel takes its own.
free_port() {
    local port taken=$WORK/ports
    while :; do
        port=$((12000 + (RANDOM * 32768 + RANDOM) % 20000))
        grep -qx "$port" "$taken" 2>/dev/null && continue
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port" | tee -a "$taken"
            return
        fi
    done
}

# wait_port PORT [SECONDS]: until somebody listens there; fails when the server is gone or time is up.
wait_port() {
    local tries=$((${2:-20} * 20))
    while [ "$tries" -gt 0 ]; do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        kill -0 "${WARDENS[-1]}" 2>/dev/null || return 1
        sleep 0.05
        tries=$((tries - 1))
    done
    return 1
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    local tries=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.05
    done
}

# --- failures ----------------------------------------------------------------------------------

fail() {
    printf '%s: %s\n' "${MODE:-setup}" "$*" >>"$FAILURES"
}

# --- servers -----------------------------------------------------------------------------------

MODE=native
declare -A WARDEN=() SERVER=() # by name: pid of the warden, pid of the server itself

# The words that go before a command in this mode.
runner() {
    [ -n "${SERVER_CORES:-}" ] && printf 'taskset -c %s ' "$SERVER_CORES"
    [ "$MODE" = green ] && printf '%s' "$EVENTLET_RUN"
}

# serve NAME COMMAND...: start a server in this mode; its output goes to $RUN/NAME.out and .err.
serve() {
    local name=$1 before
    shift
    # shellcheck disable=SC2206 # the launcher may be several words
    before=($(runner))
    spawn "$name" "${before[@]}" "$@"
}

# backend NAME COMMAND...: the same, but always native: what the server under test stands before.
backend() {
    spawn "$@"
}

spawn() {
    local name=$1
    shift
    rm -f "$RUN/$name.pid"
    "$SMOKE_BIN/warden" --report "$RUN/$name.report" --pid "$RUN/$name.pid" \
        --out "$RUN/$name.out" --err "$RUN/$name.err" --stop-limit "${STOP_LIMIT:-25}" \
        --limit 300 --signal "${STOP_SIGNAL:-15}" -- "$@" &
    WARDEN[$name]=$!
    WARDENS+=($!)
    wait_for 5 test -s "$RUN/$name.pid" || return 1
    SERVER[$name]=$(<"$RUN/$name.pid")
}

# serve_until_port NAME PORT COMMAND...
serve_at() {
    local name=$1 port=$2
    shift 2
    serve "$name" "$@"
    wait_port "$port" || {
        fail "$name did not come up: $(tail -n 3 "$RUN/$name.err" | tr '\n' ' ')"
        return 1
    }
}

# stop NAME: the administrator's stop; afterwards $RUN/NAME.report has how it went.
stop() {
    local pid=${WARDEN[$1]:-} other
    local -a others=()
    [ -n "$pid" ] || return
    kill -TERM "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    for other in "${WARDENS[@]}"; do [ "$other" = "$pid" ] || others+=("$other"); done
    WARDENS=("${others[@]}")
    unset "WARDEN[$1]"
}

# reported FILE KEY: one value of a report.
reported() {
    sed -n "s/^$2=//p" "$1" 2>/dev/null | head -n 1
}

# --- footprints --------------------------------------------------------------------------------

# footprint NAME KEY: the server's present threads, fds, total_kb ... (see warden.c)
footprint() {
    "$SMOKE_BIN/warden" --once "${SERVER[$1]}" | sed -n "s/^$2=//p"
}

# settled NAME KEY [ENOUGH]: that figure when it has not fallen for most of a second, or sooner, when it is
# no more than ENOUGH twice running. A hundredth of the memory is no fall: what a page costs that many
# programs share depends on how many there are at the moment.
settled() {
    local now last calm=0 few=0 tries=0 slack=0
    last=$(footprint "$1" "$2")
    now=$last
    while [ "$calm" -lt 8 ] && [ "$tries" -lt 50 ]; do
        [ "$now" -gt "${3:--1}" ] && few=0 || few=$((few + 1))
        [ "$few" -lt 2 ] || break
        sleep 0.1
        now=$(footprint "$1" "$2")
        [ "$2" != total_kb ] || slack=$((last / 100))
        if [ "$now" -lt $((last - slack)) ]; then calm=0; else calm=$((calm + 1)); fi
        [ "$calm" -gt 0 ] && [ "$now" -lt "$last" ] || last=$now
        tries=$((tries + 1))
    done
    echo "$now"
}

# --- loads and clients -------------------------------------------------------------------------

LOAD_COUNT=0
# load OPTIONS... HOST PORT: run the load generator; any wrong or missing answer is a failure.
# Leaves its report in $LOAD_REPORT.
load() {
    LOAD_COUNT=$((LOAD_COUNT + 1))
    LOAD_REPORT=$RUN/load.$LOAD_COUNT
    if ! timeout -k 5 "${LOAD_LIMIT:-120}" "$SMOKE_BIN/load" "$@" >"$LOAD_REPORT" 2>&1; then
        fail "load $*: $(loaded failed) of $(loaded connects) connections' requests failed:" \
            "$(sed -n 's/^error=//p' "$LOAD_REPORT" | head -n 4 | tr '\n' ';')" \
            "$(grep -v = "$LOAD_REPORT" | tail -n 2)"
        return 1
    fi
}

loaded() { reported "$LOAD_REPORT" "$1"; }

# client NAME COMMAND...: run a client in this mode. It must end well; what it prints on stdout is an
# answer, and native and green answers must be the same bytes.
client() {
    local name=$1 before status
    shift
    before=($(runner))
    mkdir -p "$RUN/answers"
    timeout -k 5 "${CLIENT_LIMIT:-60}" "${before[@]}" "$@" \
        >"$RUN/answers/$name" 2>"$RUN/$name.client-err"
    status=$?
    if [ "$status" != "${CLIENT_STATUS:-0}" ]; then
        fail "$name: exit status $status: $(tail -n 2 "$RUN/$name.client-err" | tr '\n' ' ')"
        return 1
    fi
}

# quietly COMMAND...: a native helper that has to succeed.
quietly() {
    "$@" >>"$RUN/helpers.log" 2>&1 || fail "$1 failed: $(tail -n 2 "$RUN/helpers.log" | tr '\n' ' ')"
}

# answer NAME: standard input is an answer to be compared.
answer() {
    mkdir -p "$RUN/answers"
    cat >"$RUN/answers/$1"
}

# --- what many cases stand before or hand out --------------------------------------------------

# Files to serve, the same for both runs: $WEB/64, 1k, 100k, 4m.
web_files() {
    WEB=$WORK/web
    [ -d "$WEB" ] && return
    mkdir -p "$WEB"
    head -c 48 /dev/urandom | base64 -w 0 >"$WEB/64"
    head -c 1024 /dev/urandom >"$WEB/1k"
    head -c 102400 /dev/urandom >"$WEB/100k"
    head -c 4194304 /dev/urandom >"$WEB/4m"
}

# nginx_conf FILE PORT EXTRA-HTTP...: a configuration that serves $WEB.
nginx_conf() {
    local file=$1 port=$2 dir
    shift 2
    dir=$(dirname "$file")
    mkdir -p "$dir/tmp"
    {
        [ "$(id -u)" = 0 ] && echo "user root;"
        cat <<END
worker_processes ${NGINX_WORKERS:-1};
daemon off;
pid $dir/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile $(ulimit -n);
events { worker_connections $(($(ulimit -n) - 100)); }
http {
    client_body_temp_path $dir/tmp/body; proxy_temp_path $dir/tmp/proxy;
    fastcgi_temp_path $dir/tmp/fastcgi; uwsgi_temp_path $dir/tmp/uwsgi; scgi_temp_path $dir/tmp/scgi;
    access_log off; keepalive_requests 100000000; keepalive_timeout 300; sendfile on; tcp_nopush on;
    server { listen 127.0.0.1:$port backlog=8192; root $WEB; default_type application/octet-stream; $* }
}
END
    } >"$file"
}

# A native web server, up for both runs: $WEB_PORT serves $WEB.
web_backend() {
    local RUN=$WORK/backend
    web_files
    mkdir -p "$RUN"
    WEB_PORT=$(free_port)
    nginx_conf "$RUN/nginx.conf" "$WEB_PORT"
    backend web nginx -p "$RUN" -c "$RUN/nginx.conf"
    wait_port "$WEB_PORT" || fail "the backend did not come up: $(tail -n 2 "$RUN/web.err")"
}

# A key and certificate for localhost: $CERT (both in one file, as stunnel and haproxy want it).
certificate() {
    CERT=$WORK/cert.pem
    [ -s "$CERT" ] && return
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
        -subj /CN=localhost -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
        -keyout "$WORK/key.pem" -out "$WORK/crt.pem" 2>/dev/null
    cat "$WORK/key.pem" "$WORK/crt.pem" >"$CERT"
    chmod 644 "$WORK"/*.pem
}

# built NAME: the path of a program of ours, made from tests/smoke/programs.
built() {
    flock "$SMOKE_BIN" make -s -C "$ROOT/tests/smoke" BUILD="$BUILD" "$SMOKE_BIN/$1" >&2 || return 1
    echo "$SMOKE_BIN/$1"
}

# --- the standard trial of a thread-per-connection server --------------------------------------

# trial NAME OPTIONS... HOST PORT: many held at once, many short ones, a storm of broken ones; then
# the server still answers, and has neither descriptors nor memory left over (no more than natively).
#   TRIAL_HELD (200, 0 where the server closes after each answer)
trial() {
    local name=$1 held=${TRIAL_HELD:-200}
    local -a again=()
    shift
    if [ "$held" = 0 ]; then
        again=(--per-connection 1)
    else
        load -c "$held" -n $((held * 5)) --hold 0.6 --half-close "$@"
        [ "$(loaded unclean_closes)" = 0 ] ||
            fail "$(loaded unclean_closes) connections ended without an orderly close"
    fi
    churn "$name" 10000 "$@"
    storm "$name" 20000 "$@"
    load -c 50 -n 500 "${again[@]}" "$@"
}

# idle NAME: what the server has when nobody is served any more, in descriptors and threads: IDLE_FDS and
# IDLE_THREADS. Unknown, they are waited for the whole time; later it is enough to be there again.
idle() {
    IDLE_FDS=$(settled "$1" fds "$IDLE_FDS")
    IDLE_THREADS=$(footprint "$1" threads)
}

# many NAME COUNT OPTIONS... HOST PORT: so many connections in fifty places, each of one request or a piece
# of one; when they have ended a single one, because some servers join what ended, or close it, when the
# next connection comes.
many() {
    local name=$1 count=$2
    shift 2
    load -c 50 -n "$count" "$@"
    settled "$name" fds "$IDLE_FDS" >/dev/null
    ONE_MORE=(-c 1 -n 1 "$@")
    load "${ONE_MORE[@]}"
}

# churn NAME COUNT OPTIONS... HOST PORT: so many connections with one request each; no descriptor is
# left over.
churn() {
    local name=$1 count=$2 fds
    shift 2
    many "$name" 500 --per-connection 1 "$@"
    idle "$name"
    fds=$IDLE_FDS
    many "$name" "$count" --per-connection 1 "$@"
    grown "$name" fds "$fds" $((fds + 16)) "after $count connections"
}

# storm NAME COUNT OPTIONS... HOST PORT: connect, half a request, reset. No descriptor is left over,
# and the memory comes back.
storm() {
    local name=$1 count=$2 fds memory
    shift 2
    many "$name" 1000 --storm "$@"
    idle "$name"
    fds=$IDLE_FDS
    memory=$(settled "$name" total_kb)
    many "$name" "$count" --storm "$@"
    grown "$name" total_kb "$memory" $((memory * 12 / 10 + 512)) "after the storm"
    grown "$name" fds "$fds" $((fds + 16)) "after the storm"
}

# reload NAME SIGNAL SECONDS COMMAND...: what the signal is to bring about, seen by the command's
# success.
reload() {
    local name=$1 signal=$2 seconds=$3
    shift 3
    kill "-$signal" "${SERVER[$name]}"
    wait_for "$seconds" "$@" || fail "SIG$signal did not reload: $*"
}

# children_of NAME: the pids of its processes, as a list with commas; ended LIST: are they all gone? The
# workers from before a reload end when they have answered, and until then they close what is idle.
children_of() {
    pgrep -P "${SERVER[$1]}" | paste -sd ,
}

ended() {
    ! ps -p "$1" >/dev/null
}

# says URL FILE [CURL-OPTION...]: is that what the server answers?
says() {
    local url=$1 file=$2
    shift 2
    curl -sS --max-time 5 "$@" "$url" | cmp -s - "$file"
}

# grown NAME KEY BEFORE LIMIT WHEN: a green server may have gone past the limit only where it went past
# it natively too, and then a fifth further than that. Memory goes back when the server is idle, and
# mariadb goes on writing after a storm: what is past the limit has ten seconds, and a single connection
# more in each, before it is judged.
grown() {
    local now native tries=0 limit=$4 file="grown-$2-${5// /-}"
    if [ "$MODE" = green ] && [ "$EVENTLET_RUN" != env ]; then
        native=$(<"$WORK/native/$file")
        [ "$native" -le "$limit" ] || limit=$((native * 12 / 10 + 16))
    fi
    now=$(settled "$1" "$2" "$limit")
    if [ "$MODE" = green ] && [ "$EVENTLET_RUN" != env ]; then
        while [ "$now" -gt "$limit" ] && [ "$tries" -lt 10 ]; do
            sleep 1
            load "${ONE_MORE[@]}"
            now=$(settled "$1" "$2" "$limit")
            tries=$((tries + 1))
        done
        [ "$now" -le "$limit" ] || fail "$2 went from $3 to $now $5 (natively to $native)"
    fi
    echo "$now" >"$RUN/$file"
}

# --- a case: native run, green run, comparison -------------------------------------------------

# A case file sets case_package (whose version the table names), case_needs (commands), case_threads
# (bound on OS threads; default: the native number and five for each process), case_log_errors (a
# regular expression that its output must not match), case_ignore (lines that may differ), and defines
# case_setup, case_serve, case_load; case_stop where SIGTERM to `server` is not all. The server under
# test is called `server`. case_bench, where there is one, loads it for a second or two and prints how much
# it did in a second.
case_package=""
case_needs=""
case_threads=0
case_log_errors=""
case_ignore='^$'
case_setup() { :; }
case_stop() { stop server; }
case_normalise() { cat; }
case_compare() { :; }

# What may differ between two runs: times, pids, ports, addresses; and order, for threads race.
normalise() {
    sed -E -e "s#$RUN#RUN#g; s#$WORK#WORK#g; s/0x[0-9a-f]+/HEX/g; s/[0-9]+/N/g" "$1" 2>/dev/null |
        case_normalise | grep -Ev "$case_ignore" | sort -u
}

case_run() {
    local report=$WORK/$1/server.report bound=$case_threads
    MODE=$1
    RUN=$WORK/$1
    mkdir -p "$RUN"
    PORT=$(free_port)
    IDLE_FDS="" IDLE_THREADS=""
    if case_serve; then
        case_load
        # The last clients' threads may still be ending.
        [ -z "$IDLE_FDS" ] || settled server fds "$IDLE_FDS" >/dev/null
        settled server threads "$IDLE_THREADS" >/dev/null
    fi
    case_stop
    [ -s "$report" ] || { fail "no report of the server"; return; }
    [ "$(reported "$report" killed)" = 0 ] || fail "did not stop on the administrator's signal"
    [ -z "$(reported "$report" left)" ] || fail "left processes: $(reported "$report" left)"
    if [ "$MODE" = green ] && [ "$EVENTLET_RUN" != env ]; then
        [ "$bound" -gt 0 ] || bound=$(($(reported "$WORK/native/server.report" threads_peak) +
            5 * $(reported "$report" processes_peak)))
        [ "$(reported "$report" threads_peak)" -le "$bound" ] ||
            fail "used $(reported "$report" threads_peak) OS threads, at most $bound are allowed"
    fi
    if [ -n "$case_log_errors" ]; then
        grep -hE "$case_log_errors" "$RUN"/server.out "$RUN"/server.err "$RUN"/server.log 2>/dev/null |
            head -n 3 | while IFS= read -r line; do fail "logged: $line"; done
    fi
}

case_compare_runs() {
    local native=$WORK/native green=$WORK/green file n g
    MODE=compare
    n=$(reported "$native/server.report" status)
    g=$(reported "$green/server.report" status)
    [ "$n" = "$g" ] || fail "exit status $n natively, $g green"
    n=$(reported "$native/server.report" stop_ms)
    g=$(reported "$green/server.report" stop_ms)
    [ "${g:-0}" -le $((${n:-0} * 2 + 1000)) ] || fail "took $n ms to stop natively, $g ms green"
    for file in out err log; do
        [ -e "$native/server.$file" ] || continue
        RUN=$native normalise "$native/server.$file" >"$native/server.$file.plain"
        RUN=$green normalise "$green/server.$file" >"$green/server.$file.plain"
        diff "$native/server.$file.plain" "$green/server.$file.plain" >"$WORK/$file.diff" ||
            fail "server.$file differs: $(grep '^[<>]' "$WORK/$file.diff" | head -n 4 | tr '\n' '|')"
    done
    if [ -d "$native/answers" ]; then
        diff -rq "$native/answers" "$green/answers" 2>&1 | head -n 4 |
            while IFS= read -r file; do fail "$file"; done
    fi
    case_compare
}

# memory_at_most PERCENT: what the green server weighed at its peak, against the native one.
memory_at_most() {
    local n g
    [ "$EVENTLET_RUN" = env ] && return
    n=$(reported "$WORK/native/server.report" total_kb)
    g=$(reported "$WORK/green/server.report" total_kb)
    [ $((g * 100)) -le $((n * $1)) ] || fail "weighed $g KB at the peak, native $n: over $1 %"
}

# One line of the table that a run makes (SMOKE_TABLE): program, version, and native and green rate of
# the first load, most OS threads, and memory at the peak in MiB.
table_line() {
    local mode first line
    [ -n "${SMOKE_TABLE:-}" ] || return
    line="$1|$(dpkg-query -W -f='${Version}' "$case_package" 2>/dev/null)"
    for mode in native green; do
        first=$(ls "$WORK/$mode"/load.* 2>/dev/null | sort -t . -k 3 -n | head -n 1)
        line="$line|$(reported "$first" rate)|$(reported "$WORK/$mode/server.report" threads_peak)"
        line="$line|$(($(reported "$WORK/$mode/server.report" total_kb) / 1024))"
    done
    echo "$line" >>"$SMOKE_TABLE"
}

# smoke_case FILE: run it; prints nothing on success, else what failed. Exit status 0, 1, or 77 where
# something that it needs is missing.
smoke_case() {
    local need
    . "$1"
    for need in $case_needs; do
        command -v "$need" >/dev/null || { echo "needs $need"; exit 77; }
    done
    smoke_begin
    case_setup
    case_run native
    if [ -s "$FAILURES" ]; then # the harness itself, or the machine
        cat "$FAILURES"
        exit 1
    fi
    case_run green
    case_compare_runs
    table_line "$(basename "$1" .sh)"
    [ -n "${SHOW:-}" ] && grep -H . "$WORK"/*/server.report >&2
    if [ -s "$FAILURES" ]; then
        cat "$FAILURES"
        exit 1
    fi
}

# smoke_bench FILE native|green: what case_bench measures, as `rate=N`.
smoke_bench() {
    local rate
    . "$1"
    smoke_begin
    case_setup
    MODE=$2
    RUN=$WORK/$MODE
    mkdir -p "$RUN"
    PORT=$(free_port)
    case_serve && rate=$(case_bench)
    case_stop
    [ -n "$rate" ] || fail "no rate was measured"
    if [ -s "$FAILURES" ]; then
        cat "$FAILURES" >&2
        exit 1
    fi
    echo "rate=$rate"
}

case ${1:-} in
--case)
    smoke_case "$2"
    exit
    ;;
--bench)
    smoke_bench "$2" "$3"
    exit
    ;;
esac

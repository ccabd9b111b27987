# dnsmasq: one poll loop over UDP and TCP; a forked child for each TCP client.
case_package=dnsmasq-base
case_needs="dnsmasq /usr/bin/python3"
case_ignore='^$|dnsmasq: (started|compile|cleared|read)|exiting'
case_serve() {
    printf '127.0.0.9 nine.test\n::9 nine.test\n' >"$RUN/hosts"
    serve server dnsmasq --keep-in-foreground --port="$PORT" --listen-address=127.0.0.1 --bind-interfaces \
        --no-resolv --no-hosts --addn-hosts="$RUN/hosts" --conf-file=/dev/null --log-facility=- \
        --pid-file="$RUN/pid" --user="$(id -un)" --group="$(id -gn)" --address=/wild.test/127.0.0.7
    wait_port "$PORT" || fail "dnsmasq did not come up: $(tail -n 2 "$RUN/server.err")"
}
case_bench() {
    printf 'a.wild.test A\nb.wild.test A\n' >"$RUN/queries"
    dnsperf -s 127.0.0.1 -p "$PORT" -d "$RUN/queries" -l 2 | sed -n 's/.*per second: *//p'
}
case_load() {
    MODE=native client names /usr/bin/python3 "$ROOT/tests/smoke/programs/ask.py" dns "$PORT"
    # SIGHUP: the hosts are read again.
    sed -i 's/^127.0.0.9 /127.0.0.19 /' "$RUN/hosts"
    reload server HUP 10 /usr/bin/python3 "$ROOT/tests/smoke/programs/ask.py" dns-one "$PORT" 127.0.0.19
    MODE=native client storm /usr/bin/python3 "$ROOT/tests/smoke/programs/ask.py" dns-storm "$PORT"
    MODE=native client again /usr/bin/python3 "$ROOT/tests/smoke/programs/ask.py" dns-one "$PORT" 127.0.0.19
}

# The plain C server: a detached pthread per connection on a 64 KiB stack.
case_package=gcc
case_needs="cc"
case_threads=8
case_setup() { built echo_threads >/dev/null || fail "did not build"; }
case_serve() { serve_at server "$PORT" "$SMOKE_BIN/echo_threads" "$PORT"; }
case_load() {
    local many
    trial server 127.0.0.1 "$PORT"
    load -c 20 -n 100 -s 1048576 --half-close 127.0.0.1 "$PORT"
    many=$(descriptor_share 1 5000)
    load -c "$many" -n $((many * 3)) --hold 1 --half-close 127.0.0.1 "$PORT"
}
case_compare() { memory_at_most 50; }

# The same with stacks of 256 KiB, natively and green. The 8 MiB that are usual cost a page of page
# tables each, on either side; without them the rest can be compared.
. "$ROOT/tests/smoke/cases/echo-cpp20.sh"
case_serve() {
    ulimit -s 256
    serve_at server "$PORT" "$SMOKE_BIN/echo_cpp20" "$PORT"
}
case_load() {
    local many
    many=$(descriptor_share 1 5000)
    load -c "$many" -n $((many * 2)) --hold 1 --half-close 127.0.0.1 "$PORT"
}
case_compare() { memory_at_most 50; }

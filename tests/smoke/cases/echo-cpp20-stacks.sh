# The same with `--stack-size=256K` against threads as they are natively. The 8 MiB that are usual cost a
# page of page tables each, on either side; the option is for who would rather have the memory.
. "$ROOT/tests/smoke/cases/echo-cpp20.sh"
[ "$EVENTLET_RUN" = env ] || EVENTLET_RUN="$EVENTLET_RUN --stack-size=256K"
case_load() {
    local many
    many=$(descriptor_share 1 5000)
    load -c "$many" -n $((many * 2)) --hold 1 --half-close 127.0.0.1 "$PORT"
}
case_compare() { memory_at_most 50; }

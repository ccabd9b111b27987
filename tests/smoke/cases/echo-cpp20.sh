# A C++20 server: std::thread per connection, atomic wait, semaphores, thread_local with destructors.
case_package=g++
case_needs="c++"
case_threads=8
case_log_errors='another thread'
case_setup() { built echo_cpp20 >/dev/null || fail "did not build"; }
case_serve() { serve_at server "$PORT" "$SMOKE_BIN/echo_cpp20" "$PORT"; }
case_load() {
    local many
    trial server 127.0.0.1 "$PORT"
    load -c 20 -n 100 -s 1048576 --half-close 127.0.0.1 "$PORT"
    many=$(descriptor_share 1 5000)
    load -c "$many" -n $((many * 3)) --hold 1 --half-close 127.0.0.1 "$PORT"
}

# A Rust server: std::thread per connection, mpsc, Mutex and Condvar, a panic in a thread.
case_package=rustc
case_needs="rustc"
case_threads=8
case_ignore='RUST_BACKTRACE'
case_setup() { built echo_rust >/dev/null || fail "did not build"; }
case_serve() { serve_at server "$PORT" "$SMOKE_BIN/echo_rust" "$PORT"; }
case_load() {
    trial server 127.0.0.1 "$PORT"
    load -c 20 -n 100 -s 1048576 --half-close 127.0.0.1 "$PORT"
    load -c 1000 -n 5000 --hold 0.5 --half-close 127.0.0.1 "$PORT"
}

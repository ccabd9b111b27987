# perl ithreads: a clone of the interpreter for every connection.
case_package=perl
case_needs="perl"
case_threads=48 # a thread computes for milliseconds at its begin and its end: beside the others, if it is for long
case_serve() { serve_at server "$PORT" perl "$ROOT/tests/smoke/programs/echo_perl.pl" "$PORT"; }
case_load() {
    load -c 40 -n 400 --hold 0.3 --half-close 127.0.0.1 "$PORT"
    load -c 10 -n 300 --per-connection 1 --half-close 127.0.0.1 "$PORT"
    storm server 500 127.0.0.1 "$PORT" # a clone of the interpreter costs milliseconds, natively too
    load -c 5 -n 20 -s 262144 --half-close 127.0.0.1 "$PORT"
}

# microsocks: a thread per connection on a 32 KiB stack, getaddrinfo inside each, poll on two sockets.
case_package=microsocks
case_needs="microsocks nginx"
case_threads=8
case_setup() { web_backend; }
case_serve() { serve_at server "$PORT" microsocks -i 127.0.0.1 -p "$PORT"; }
case_load() {
    local many
    trial server --socks5 "127.0.0.1:$PORT" --http /1k --expect "$WEB/1k" 127.0.0.1 "$WEB_PORT"
    load -c 20 -n 60 --socks5 "127.0.0.1:$PORT" --http /4m --expect "$WEB/4m" 127.0.0.1 "$WEB_PORT"
    many=$(descriptor_share 2 5000)
    load -c "$many" --hold 1 --socks5 "127.0.0.1:$PORT" --http /64 --expect "$WEB/64" \
        127.0.0.1 "$WEB_PORT"
}
case_compare() { memory_at_most 50; }

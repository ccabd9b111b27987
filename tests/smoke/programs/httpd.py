"""Python's own ThreadingHTTPServer, serving a directory: httpd.py PORT DIRECTORY [CERTIFICATE].

A thread for every connection. HTTP/1.1, so that connections stay open between requests; a listen
queue that a thousand clients can arrive in; SIGTERM ends it with status 0.
"""
import functools
import http.server
import signal
import ssl
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 4096
    context = None

    def finish_request(self, request, client_address):
        # In the connection's own thread: a client that stalls in mid-handshake holds up nobody else.
        if self.context is not None:
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except (ssl.SSLError, OSError):
                return
        super().finish_request(request, client_address)
        if self.context is not None:
            try:
                request.unwrap()
            except (ssl.SSLError, OSError, ValueError):
                pass
            request.close()

    def handle_error(self, request, client_address):
        kind = sys.exc_info()[0]
        if not issubclass(kind, (ConnectionError, ssl.SSLError, TimeoutError)):
            super().handle_error(request, client_address)


def stop(*_):
    raise SystemExit(0)


signal.signal(signal.SIGTERM, stop)
handler = functools.partial(Handler, directory=sys.argv[2])
with Server(("127.0.0.1", int(sys.argv[1])), handler) as server:
    if len(sys.argv) > 3:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(sys.argv[3])
    server.serve_forever()

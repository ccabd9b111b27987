"""The same with gevent: echo_gevent.py PORT."""
import socket
import sys

from gevent.server import StreamServer


def serve(client, _):
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while True:
            data = client.recv(16384)
            if not data:
                return
            client.sendall(data)
    except OSError:
        pass


server = StreamServer(("127.0.0.1", int(sys.argv[1])), serve, backlog=8192)
server.serve_forever()

"""The same with eventlet: echo_eventlet.py PORT."""
import socket
import sys

import eventlet


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


eventlet.serve(eventlet.listen(("127.0.0.1", int(sys.argv[1])), backlog=8192), serve, concurrency=20000)

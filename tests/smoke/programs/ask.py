"""Clients for servers whose protocol needs few words: ask.py memcached|dns|dns-storm|syslog PORT, or
ask.py dns-one PORT ADDRESS: has nine.test this address?

Each checks what it gets, prints a summary that does not change from run to run, and exits with 1
when an answer is wrong.
"""
import hashlib
import socket
import struct
import sys
import threading

CLIENTS = 50


def value_of(client, i):
    return hashlib.sha256(f"{client}/{i}".encode()).hexdigest() * (1 + i % 40)


def memcached_client(port, client, wrong):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        f = s.makefile("rwb")
        for i in range(60):
            value = value_of(client, i).encode()
            f.write(b"set k%d.%d 0 0 %d\r\n%s\r\n" % (client, i, len(value), value))
            f.flush()
            if f.readline() != b"STORED\r\n":
                wrong.append((client, i, "set"))
        for i in range(60):
            value = value_of(client, i).encode()
            f.write(b"get k%d.%d\r\n" % (client, i))
            f.flush()
            head = f.readline()
            got = f.read(len(value) + 2) if head.startswith(b"VALUE") else b""
            if got != value + b"\r\n" or f.readline() != b"END\r\n":
                wrong.append((client, i, "get"))
        for i in range(60):
            f.write(b"incr count 1\r\n")
            f.flush()
            f.readline()


def memcached(port):
    wrong = []
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        s.sendall(b"set count 0 0 1\r\n0\r\n")
        s.recv(100)
        threads = [threading.Thread(target=memcached_client, args=(port, c, wrong)) for c in range(CLIENTS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        s.sendall(b"get count\r\n")
        print(s.recv(100).decode().split("\r\n")[1])
    return wrong


def dns_query(number, name, kind):
    question = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"
    return struct.pack(">HHHHHH", number, 0x100, 1, 0, 0, 0) + question + struct.pack(">HH", kind, 1)


def dns_answer(query, reply):
    """The address in the reply's first answer, or its error code."""
    if reply[:2] != query[:2]:
        return "another question's answer"
    code, answers = reply[3] & 15, struct.unpack(">H", reply[6:8])[0]
    if code or not answers:
        return f"code {code}"
    length = struct.unpack(">H", reply[len(query) + 10:len(query) + 12])[0]
    data = reply[len(query) + 12:len(query) + 12 + length]
    return socket.inet_ntop(socket.AF_INET if length == 4 else socket.AF_INET6, data)


def dns(port):
    expected = {("nine.test", 1): "127.0.0.9", ("nine.test", 28): "::9", ("a.wild.test", 1): "127.0.0.7"}
    wrong = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(10)
        s.connect(("127.0.0.1", port))
        for i in range(3000):
            (name, kind), address = list(expected.items())[i % 3]
            query = dns_query(i, name, kind)
            s.send(query)
            if dns_answer(query, s.recv(600)) != address:
                wrong.append((name, kind))
        query = dns_query(1, "absent.test", 1)
        s.send(query)
        print("absent:", dns_answer(query, s.recv(600)))
    for i in range(50):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
            got = dns_over(s, dns_query(i, "nine.test", 1))
            if got != "127.0.0.9":
                wrong.append(("tcp", got))
    return wrong


def dns_over(s, query):
    """The same over an open TCP connection."""
    s.sendall(struct.pack(">H", len(query)) + query)
    reply = s.makefile("rb")
    return dns_answer(query, reply.read(struct.unpack(">H", reply.read(2))[0]))


def dns_storm(port):
    """Half a query and a reset, a thousand times. The server's queue of connections is five long, and who
    finds it full comes again after a second, if at all. So every second connection asks a whole query
    first, and has its answer when the server has come to it."""
    wrong = []
    for i in range(1000):
        query = dns_query(i, "a.wild.test", 1)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
            if i % 2:
                got = dns_over(s, query)
                if got != "127.0.0.7":
                    wrong.append(("storm", got))
            s.sendall(struct.pack(">H", len(query)) + query[:len(query) // 2])
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return wrong


def dns_one(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect(("127.0.0.1", port))
        query = dns_query(7, "nine.test", 1)
        s.send(query)
        answer = dns_answer(query, s.recv(600))
    return [] if answer == sys.argv[3] else [answer]


def syslog_client(port, client):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        for i in range(100):
            s.sendall(f"<13>Jan  1 00:00:00 host tag: number {client}.{i} {value_of(client, i)[:64]}\n".encode())


def syslog(port):
    threads = [threading.Thread(target=syslog_client, args=(port, c)) for c in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print("sent", CLIENTS * 100)
    return []


asked = {"memcached": memcached, "dns": dns, "dns-storm": dns_storm, "dns-one": dns_one, "syslog": syslog}
failures = asked[sys.argv[1]](int(sys.argv[2]))
if failures:
    print(f"{len(failures)} wrong answers, the first: {failures[:3]}", file=sys.stderr)
    sys.exit(1)
print("all answers are right")

"""Servers that misbehave, files that change, threads that go away in the middle of a lookup."""

import os
import subprocess
import time

from place import RUN, Failure

KINDS = ["loop", "alias-loop", "short", "header", "length", "size", "count", "label", "question", "id", "garbage",
         "huge", "twice", "empty", "stream"]
RULES = """
*.slow.test A 10.9.9.9
*.slow.test delay 500
*.dead.test silent
*.9.9.10.in-addr.arpa silent
*.quick.test A 10.9.9.9
*.late.test A 10.9.9.9
*.late.test delay 1500
web.test A 127.0.0.1
moved.test A 10.1.0.1
""" + "\n".join(f"{kind}.test mangle {kind}" for kind in KINDS)
SHORT = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"


def prepare(place, files=None):
    place.etc(**{"resolv": SHORT, **(files or {})})
    place.serve(RULES, ("127.0.0.1", "127.0.0.2", "-127.0.0.3", "::1"))


def same(place, command, options=(), timeout=60):
    native = place.native(command, timeout=timeout)
    green = place.green(command, options, timeout=timeout)
    if native.returncode or green.returncode:
        raise Failure(f"status {native.returncode} natively, {green.returncode} green: {green.stdout}{green.stderr}")
    if native.stdout != green.stdout:
        raise Failure(f"natively:\n{native.stdout}green:\n{green.stdout}")
    return green


def gai(name):
    return ["gai", name, "-", "0", "unspec", "stream", "0"]


# After an empty datagram or a connection that breaks libc gives up in ways of its own.
OTHERWISE = {"empty", "stream"}


def hostile(place, kind):
    """Whatever the answer is, the call comes to libc's end, and the next one is right."""
    for call in (gai(kind + ".test"), ["gai", kind + ".test", "-", "0", "inet", "stream", "0"],
                 ["host1", kind + ".test"]):
        command = [place.program("lookup")] + call
        native = place.native(command)
        green = place.green(command + ["then"] + gai("next.quick.test"))
        if green.returncode or native.returncode:
            raise Failure(f"status {green.returncode}: {green.stdout}{green.stderr}")
        answer, next_one = green.stdout.rsplit("OK\n", 1)
        if not next_one.startswith("10.9.9.9 "):
            raise Failure(f"the next name is not found: {green.stdout}")
        if answer != native.stdout and kind not in OTHERWISE:
            raise Failure(f"natively:\n{native.stdout}green:\n{answer}")


def honest_after_nonsense(place):
    """Duplicates and empty datagrams do no harm to the answer. (The latter end libc's own lookup.)"""
    for kind in ("twice", "empty"):
        done = place.green([place.program("lookup"), "host1", kind + ".test"])
        if "10.9.8.7" not in done.stdout:
            raise Failure(f"{kind}: {done.stdout}")


def late(place):
    """An answer after the time-out changes nothing, and is not taken for that of the next question."""
    command = [place.program("lookup")]
    for i in range(3):
        command += gai(f"n{i}.late.test") + ["then"]
    done = same(place, command + ["sleep", "1700", "then"] + gai("next.quick.test"))
    if done.stdout.count("AGAIN") != 3:
        raise Failure(done.stdout)


def late_under_load(place):
    """Questions under way while late answers come in."""
    done = place.green([place.program("many"), "200", "late.test"])
    if "right 0 wrong 200" not in done.stdout or done.returncode != 1:
        raise Failure(f"{done.stdout}{done.stderr}")


def changes(place, steps, operation):
    """Runs the operation before each change and after the last, in one program."""
    command = [place.program("lookup")]
    for i in range(len(steps)):
        command += operation + ["then", "pause", f"change {i}", "then"]
    command += operation
    outputs = []
    for prefix in ([], [RUN, "--"]):
        prepare(place)
        program = subprocess.Popen(prefix + command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env=place.environment())
        text = ""
        for i, step in enumerate(steps):
            for line in program.stdout:
                text += line
                if line == f"change {i}\n":
                    break
            step()
            program.stdin.write("\n")
            program.stdin.flush()
        rest, _ = program.communicate(timeout=30)
        outputs.append(text + rest)
    if outputs[0] != outputs[1]:
        raise Failure(f"natively:\n{outputs[0]}green:\n{outputs[1]}")
    return outputs[1]


def changed_hosts(place):
    steps = [lambda: place.etc(resolv=SHORT, hosts="10.77.0.1 moved.test\n"),
             lambda: place.etc(resolv=SHORT, hosts="10.77.0.2 moved.test other.test\n"),
             lambda: place.etc(resolv=SHORT, hosts=None), lambda: place.etc(resolv=SHORT)]
    text = changes(place, steps, gai("moved.test"))
    for address in ("10.1.0.1", "10.77.0.1", "10.77.0.2"):
        if address not in text:
            raise Failure(f"no {address}: {text}")


def changed_resolv_conf(place):
    steps = [lambda: place.etc(resolv="nameserver 127.0.0.3\noptions timeout:1 attempts:1\n"),
             lambda: place.etc(resolv=SHORT + "search quick.test\n"),
             lambda: place.etc(resolv="nameserver 127.0.0.2\nsearch slow.test\n"), lambda: place.etc(resolv=SHORT)]
    text = changes(place, steps, gai("moved.test") + ["then"] + gai("word"))
    if "AGAIN" not in text or "NONAME" not in text or "10.9.9.9" not in text:
        raise Failure(text)


def changed_nsswitch_conf(place):
    steps = [lambda: place.etc(resolv=SHORT, nsswitch="hosts: files\n"),
             lambda: place.etc(resolv=SHORT, nsswitch="hosts: dns\n"), lambda: place.etc(resolv=SHORT)]
    changes(place, steps, gai("moved.test"))


EXPECTED = {
    "cancel": "cancelled\n" * 3 + "cleaned 3, in time 1\nthen found\n",
    "interrupted": "found, handled 3\n",
    "jumped": "jumped out\n" * 3 + "then found\n",
    "forked": "child: exit 7\n" * 3 + "found 20, then found\n",
    "forked_in_handler": "found\nchild: exit 7\n",
    "others": "".join(f"call {i}: the others go on\n" for i in range(18)),
    "leaks": "no more descriptors 1\n",
    "namespaces": "there Temporary failure in name resolution\nhere found\n",
}


def fault(place, check, options=()):
    done = place.green([place.program("faults"), check], options, timeout=120)
    if done.returncode or done.stdout != EXPECTED[check]:
        raise Failure(f"status {done.returncode}:\n{done.stdout}{done.stderr}")


def dead_server(place):
    """One that never answers: who asks waits, and nobody else. The same runs natively beside it, and says how long
    this machine makes a thread wait anyway."""
    place.etc(resolv="nameserver 127.0.0.3\noptions timeout:2 attempts:1\n")
    command = [place.program("many"), "50", "quick.test"]
    seen = []
    for _ in range(5):
        beside = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=place.environment())
        done = place.green(command)
        texts = [done.stdout, beside.communicate(timeout=60)[0]]
        seen.append(" beside ".join(text.strip() for text in texts))
        green, native = (dict(zip(text.split()[::2], map(int, text.split()[1::2]))) for text in texts)
        if (green["wrong"] == 50 and 1900 < green["ms"] < 4000 and green["gap"] <= max(50, 2 * native["gap"]) and
                green["threads"] <= 4):
            break
    else:
        raise Failure("; ".join(seen))
    prepare(place)


# ---- Programs ------------------------------------------------------------------------------------

SERVER = """
import http.server, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header('Content-Length', '6'); self.end_headers()
        self.wfile.write(b'hello\\n')
    def log_message(self, *unused): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Handler)
print('ready', flush=True)
server.serve_forever()
"""


class Web:
    """Answers "hello" on 127.0.0.1:8080."""

    def __enter__(self):
        self.process = subprocess.Popen(["/usr/bin/python3", "-c", SERVER], stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()


def said(done, text, figure=None, least=1):
    if done.returncode or text not in done.stdout:
        raise Failure(f"status {done.returncode}: {done.stdout}{done.stderr}")
    if figure and done.stats.get(figure, 0) < least:
        raise Failure(f"{figure}: {done.stats}")


def curl(place):
    with Web():
        said(place.green(["curl", "-sS", "--max-time", "20", "http://web.test:8080/"]), "hello", "names_by_cares")
        done = place.green(["curl", "-sS", "--max-time", "20", "http://a.dead.test:8080/"])
        if done.returncode not in (6, 28):
            raise Failure(f"status {done.returncode}: {done.stderr}")


def wget(place):
    with Web():
        said(place.green(["wget", "-qO-", "-T", "20", "-t", "1", "http://web.test:8080/"]), "hello")
        said(place.green(["wget", "-qO-", "--dns-timeout=5", "-t", "1", "http://web.test:8080/"]), "hello")


def getent(place):
    command = ["getent", "ahosts", "web.test"]
    if place.native(command).stdout != place.green(command).stdout:
        raise Failure("another output than natively")


PYTHON = """
import socket, threading
def look(name, into):
    try:
        into.append(sorted(set(info[4][0] for info in socket.getaddrinfo(name, 80, proto=socket.IPPROTO_TCP))))
    except OSError as error:
        into.append(str(error))
results = [[] for _ in range(60)]
names = ['web.test', 'n.slow.test', 'no.where', 'localhost', '127.0.0.1', 'xn--bcher-kva.test']
threads = [threading.Thread(target=look, args=(names[i % 6], results[i])) for i in range(60)]
for t in threads: t.start()
for t in threads: t.join()
print(results[:6], all(results[i] == results[i % 6] for i in range(60)))
print(socket.gethostbyname('web.test'), socket.getfqdn('127.0.0.1'), socket.gethostbyname_ex('web.test'))
try: print(socket.gethostbyaddr('127.0.0.1'))
except OSError as error: print(error)
"""


def python(place):
    done = same(place, ["/usr/bin/python3", "-c", PYTHON])
    said(done, "True", "names_by_cares", 30)


def through_proxy(place, command, fetch):
    """The proxy is green and resolves; each of several clients gets its page. They try again, because tinyproxy
    drops a connection now and then, natively too."""
    client = ["curl", "-sS", "--max-time", "20", "--retry", "5", "--retry-all-errors", *fetch, "http://web.test:8080/"]
    with Web():
        proxy = subprocess.Popen([RUN, "--"] + command, env=place.environment(), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
        try:
            for _ in range(100):
                if place.native(client[:4] + fetch + client[-1:]).returncode == 0:
                    break
                time.sleep(0.1)
            clients = [subprocess.Popen(client, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                       for _ in range(20)]
            got = [each.communicate(timeout=60) for each in clients]
        finally:
            proxy.kill()
            _, errors = proxy.communicate(timeout=20)
    if [page for page, _ in got] != ["hello\n"] * 20:
        raise Failure(f"{got}: {errors}")


def tinyproxy(place):
    path = os.path.join(place.dir, "tinyproxy.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write("Port 8118\nListen 127.0.0.1\nTimeout 20\nMaxClients 100\nAllow 127.0.0.1\n")
    through_proxy(place, ["tinyproxy", "-d", "-c", path], ["-x", "http://127.0.0.1:8118"])


def microsocks(place):
    through_proxy(place, ["microsocks", "-i", "127.0.0.1", "-p", "1080"], ["--socks5-hostname", "127.0.0.1:1080"])


def cases():
    for kind in KINDS:
        yield f"hostile/{kind}", prepare, {}, lambda place, kind=kind: hostile(place, kind)
    for check in (honest_after_nonsense, late, late_under_load, changed_hosts, changed_resolv_conf,
                  changed_nsswitch_conf, dead_server):
        yield f"faults/{check.__name__}", prepare, {}, check
    patient = {"resolv": SHORT.replace("timeout:1", "timeout:3")}
    for check in EXPECTED:
        if check != "others":
            yield f"faults/{check}", prepare, patient, lambda place, check=check: fault(place, check)
            yield (f"faults/{check}-carriers", prepare, patient,
                   lambda place, check=check: fault(place, check, ["--carriers=4"]))
    yield ("faults/exhausted", prepare, patient, lambda place: same(place, [place.program("faults"), "exhausted"]))
    yield "faults/others", prepare, {}, lambda place: fault(place, "others")
    yield "faults/others-strict", prepare, {}, lambda place: fault(place, "others", ["--strict"])
    for check in (curl, wget, getent, python, tinyproxy, microsocks):
        yield f"programs/{check.__name__}", prepare, {}, check

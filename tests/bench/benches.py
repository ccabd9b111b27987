"""The benchmarks: each is a list of cells, each cell a way to measure one thing on several systems."""
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

import measure
from measure import Failed, Server, echo_server, free_port, load, program


@dataclass
class Goal:
    """`system` is to be at most `most` times `against` (`more`: at most `most` above it), or without
    `against` at most `most` of the unit."""
    most: float
    against: str = ""
    system: str = "green"
    more: bool = False


@dataclass
class Cell:
    case: str
    unit: str
    key: str                 # which of the figures is the main one
    systems: dict            # name -> function that measures once and returns figures
    goals: list = field(default_factory=list)
    repeats: int = 0         # 0: the run's own number
    scale: float = 1.0


class Scale:
    """How large the runs are: smaller under --quick."""

    def __init__(self, quick, descriptors):
        self.quick = quick
        self.descriptors = descriptors
        self.notes = []

    def count(self, n):
        return max(1, n // 4) if self.quick else n

    def seconds(self, s):
        return s / 2 if self.quick else s

    def connections(self, n):
        room = self.descriptors - 200
        if n > room:
            self.notes.append(f"{n} connections need more descriptors than the limit of "
                              f"{self.descriptors}: {room} instead")
            return room
        return n


def both(name, *arguments, **more):
    return {system: (lambda system=system: program(system, name, *arguments, **more))
            for system in ("native", "green")}


def bench_switch(scale):
    """Context switch: two threads that take turns, on one core"""
    return [
        Cell("mutex + condition, a turn", "ns", "ns", both("switch_cond", scale.count(200000)),
             [Goal(0.1, "native"), Goal(150)]),
        Cell("sched_yield", "ns", "ns", both("switch_yield", scale.count(1000000)), [Goal(50)]),
        Cell("futex, a turn", "ns", "ns", both("switch_futex", scale.count(200000))),
    ]


def bench_create(scale):
    """Make a thread and join it"""
    return [Cell("create + join", "ns", "ns", both("create_join", scale.count(50000)),
                 [Goal(1000), Goal(1 / 8, "native")])]


def bench_mutex(scale):
    """Mutexes"""
    n = scale.count(20000000)
    return [
        Cell("uncontended, second thread alive", "ns", "ns", both("mutex", "second", n), [Goal(1.2, "native")]),
        Cell("uncontended, before any thread", "ns", "ns", both("mutex", "alone", n), [Goal(1.2, "native")]),
        Cell("contended by 8 threads", "ns", "ns", both("mutex_contended", scale.count(200000))),
    ]


def bench_broadcast(scale):
    """One condition broadcast to many waiters, until the last has run"""
    n = scale.count(10000)
    return [Cell(f"{n:,} waiters", "ms", "us", both("broadcast", n, 10), scale=1e-3)]


def bench_sleeps(scale):
    """100,000 sleeps by 5,000 threads"""
    cases = both("sleeps", scale.count(5000), 20)
    return [Cell("processor time per sleep", "us", "cpu_us", cases),
            Cell("mean lateness", "us", "late_us", cases)]


def bench_idle(scale):
    """An idle thread: user memory + page tables + kernel stacks"""
    n = scale.count(4000)
    return [
        Cell("64 KiB stacks", "KiB", "kb", both("idle", 64, n), [Goal(10)]),
        Cell("8 MiB stacks", "KiB", "kb", both("idle", 8192, n), [Goal(14)]),
    ]


def bench_poll(scale):
    """poll() of 1,000 descriptors, one becomes ready"""
    return [Cell("a poll that waits", "us", "ns", both("poll_many", 1000, scale.count(20000)), scale=1e-3)]


def bench_million(scale):
    """A million threads, all blocked, woken and joined"""
    n = scale.count(1000000)

    def one(way, key):
        return Cell(f"{n:,} threads, {way}", {"seconds": "s", "gib": "GiB", "os_threads": "OS threads"}[key], key,
                    {"green": remembered(("million", way, n),
                                         lambda: program("green", "million", way, n, limit=180))},
                    [Goal({"seconds": 60, "gib": 11, "os_threads": 4}[key])], repeats=1)

    return [one(way, key) for way in (["mixed"] if scale.quick else ["mixed", "cond", "sleep", "pipe"])
            for key in ("seconds", "gib", "os_threads")]


_memory = {}


def remembered(key, function):
    """One run serves the cells that show different figures of it."""
    def once():
        if key not in _memory:
            try:
                _memory[key] = function()
            except Failed as error:
                _memory[key] = error
        if isinstance(_memory[key], Failed):
            raise _memory[key]
        return _memory[key]
    return once


def echo(system, *options):
    with echo_server(system) as server:
        return load(server, *options)


def bench_echo(scale):
    """64-byte echo, a thread for every connection: server processor time per request"""
    cells = []
    goals = {100: (1.10, 0.6), 1000: (1.15, 0.45), 5000: (1.25, 0.35)}
    for wanted in (100, 1000, 5000, 15000):
        if wanted == 15000 and scale.quick:
            continue
        n = scale.connections(wanted)
        systems = ["native", "green", "epoll loop", "libev", "io_uring", "State Threads"]
        systems += ["gevent", "eventlet"] if wanted <= 1000 else []
        if not os.path.exists(measure.ECHO_SERVERS["io_uring"][0]):
            systems.remove("io_uring")
        options = ("-c", n, "--warm", scale.seconds(1), "-t", scale.seconds(3))
        aims = goals.get(wanted)
        cells.append(Cell(f"{n:,} connections", "us", "server_us_per_request",
                          {s: (lambda s=s, o=options: echo(s, *o)) for s in systems},
                          [Goal(aims[0], "epoll loop"), Goal(aims[1], "native")] if aims else []))
    return cells


def bench_active(scale):
    """Many idle connections, fifty active: server processor time per request"""
    n = scale.connections(5000)
    options = ("-c", n, "--active", 50, "--warm", scale.seconds(1), "-t", scale.seconds(3))
    return [Cell(f"50 of {n:,} active", "us", "server_us_per_request",
                 {s: (lambda s=s: echo(s, *options))
                  for s in ("native", "green", "epoll loop", "libev", "State Threads")})]


def bench_large(scale):
    """1 MiB messages, ten connections: server processor time per message"""
    options = ("-c", 10, "-s", 1048576, "--warm", scale.seconds(1), "-t", scale.seconds(3))
    return [Cell("1 MiB echo", "us", "server_us_per_request",
                 {s: (lambda s=s: echo(s, *options))
                  for s in ("native", "green", "epoll loop", "libev", "State Threads")})]


def bench_connect(scale):
    """A new connection for every request: server processor time per request"""
    options = ("-c", 50, "--per-connection", 1, "--warm", scale.seconds(1), "-t", scale.seconds(3))
    return [Cell("connect, echo, close", "us", "server_us_per_request",
                 {s: (lambda s=s: echo(s, *options))
                  for s in ("native", "green", "epoll loop", "libev", "State Threads", "gevent", "eventlet")})]


def held(system, connections):
    """KiB per connection that is open and idle, after one request on each."""
    with echo_server(system) as server:
        time.sleep(0.2)
        before = server.footprint()
        command = [os.path.join(measure.SMOKE, "load"), "-c", str(connections), "--hold", "30",
                   "127.0.0.1", str(server.port)]
        holder = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=measure.pinned(measure.LOAD_CORES))
        try:
            now, calm, deadline = before, 0, time.monotonic() + 25
            while calm < 4 and time.monotonic() < deadline:
                time.sleep(0.25)
                last, now = now, server.footprint()
                full = now.get("fds", 0) - before.get("fds", 0) >= connections
                calm = calm + 1 if full and abs(now["total_kb"] - last["total_kb"]) < 64 else 0
            if calm < 4:
                raise Failed("the connections did not come to rest")
        finally:
            holder.terminate()
            holder.wait()
        return {"kb": (now["total_kb"] - before["total_kb"]) / connections,
                **{k: (now[k] - before[k]) / connections for k in ("user_kb", "kernel_stack_kb", "page_table_kb")},
                "os_threads": now["threads"]}


def bench_memory(scale):
    """An idle connection: user memory + kernel stacks + page tables of the server"""
    n = scale.connections(5000)
    cells = [Cell(f"{n:,} connections", "KiB", "kb",
                  {s: (lambda s=s: held(s, n)) for s in ("native", "green", "epoll loop", "libev", "State Threads")})]
    cells.append(Cell("1,000 connections", "KiB", "kb",
                      {s: (lambda s=s: held(s, 1000)) for s in
                       ("native", "green", "epoll loop", "libev", "State Threads", "gevent", "eventlet")}))
    return cells


def bench_startup(scale):
    """Starting a program that does nothing"""
    n = scale.count(200)

    def spawn(*command):
        return lambda: measure.run([os.path.join(measure.PROGRAMS, "spawn_time"), str(n), *command], 120,
                                   measure.SERVER_CORES)

    library = os.path.join(measure.BUILD, "libgreen.so")
    preload = ["env", f"LD_PRELOAD={library}"] if os.path.exists(library) else ["env"]
    return [
        Cell("/bin/true, preloaded", "us", "us",
             {"native": spawn("env", "/bin/true"), "green": spawn(*preload, "/bin/true")},
             [Goal(3000, "native", more=True)]),
        Cell("eventlet-run /bin/true", "us", "us",
             {"native": spawn("/bin/true"), "green": spawn(*measure.LAUNCHER, "/bin/true")}),
    ]


def redis(system):
    port, directory = free_port(), tempfile.mkdtemp()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", directory]
    try:
        with Server(system, command, port) as server:
            options = ["redis-benchmark", "-p", str(port), "-n", "150000", "-c", "50", "-t", "get", "--csv"]
            before = cpu_of(server.process.pid)
            done = subprocess.run(options, stdout=subprocess.PIPE, text=True, timeout=120, check=True,
                                  preexec_fn=measure.pinned(measure.LOAD_CORES))
            cpu = cpu_of(server.process.pid) - before
            return {"rate": float(done.stdout.strip().splitlines()[-1].split(",")[1].strip('"')),
                    "us": cpu * 1e6 / 150000}
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def cpu_of(pid):
    """Seconds of processor time of a process, to the nanosecond (its CPU-time clock)."""
    return time.clock_gettime((~pid << 3) | 2)


def nginx(system):
    port, directory = free_port(), tempfile.mkdtemp()
    os.chmod(directory, 0o755)
    with open(f"{directory}/1k", "wb") as f:
        f.write(os.urandom(1024))
    with open(f"{directory}/nginx.conf", "w") as f:
        temp = " ".join(f"{k}_temp_path {directory}/{k};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        f.write(f"daemon off; master_process off; pid {directory}/pid; error_log stderr crit;\n"
                f"events {{ worker_connections 2000; }}\nhttp {{ {temp} access_log off; keepalive_requests 100000000;\n"
                f"server {{ listen 127.0.0.1:{port} backlog=2048; root {directory}; }} }}\n")
    try:
        with Server(system, ["nginx", "-p", directory, "-c", f"{directory}/nginx.conf"], port) as server:
            return load(server, "-c", 100, "--warm", 0.5, "-t", 3, "--http", "/1k", "--expect", f"{directory}/1k")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def bench_loops(_scale):
    """Single-threaded programs, which must lose nothing"""
    cells = []
    if shutil.which("redis-server") and shutil.which("redis-benchmark"):
        cells.append(Cell("redis GET, processor time", "us", "us",
                          {s: (lambda s=s: redis(s)) for s in ("native", "green")}, [Goal(1 / 0.97, "native")]))
    if shutil.which("nginx"):
        cells.append(Cell("nginx 1 KB file, processor time", "us", "server_us_per_request",
                          {s: (lambda s=s: nginx(s)) for s in ("native", "green")}, [Goal(1 / 0.97, "native")]))
    return cells


DAEMONS = ("redis", "redis-io-threads", "memcached", "nginx", "haproxy", "lighttpd", "postgresql", "node", "dnsmasq",
           "rsyslog", "coturn", "uwsgi", "socat")


def bench_daemons(_scale):
    """Stock daemons that are no thread-per-connection servers: how much they do in a second, on one core"""
    return [Cell(name, "/s", "rate", {s: (lambda s=s, name=name: measure.smoke_case(name, s)) for s in ("native", "green")},
                 [Goal(1 / 0.9, "green", "native")]) for name in DAEMONS]


def with_options(options, name, *arguments, cores=None):
    """A green program under options of eventlet-run, on all cores unless told which."""
    command = [*measure.LAUNCHER, *options, os.path.join(measure.PROGRAMS, name), *map(str, arguments)]
    return lambda: measure.run(command, 150, cores or set(measure.CORES))


def bench_handoff(scale):
    """A thread that holds up its OS thread: how long before the others run"""
    def cell(case, unit, key, arguments, most, factor):
        return Cell(case, unit, key, {s: (lambda s=s: program(s, *arguments, cores=set(measure.CORES)))
                                      for s in ("native", "green")}, [Goal(most)], scale=factor)

    asleep = ("handoff", "asleep", scale.count(200))
    computing = ("handoff", "computing", scale.count(80))
    return [
        cell("asleep in the kernel, median", "ms", "us", asleep, 5, 1e-3),
        cell("asleep in the kernel, 99 %", "ms", "p99_us", asleep, 1000, 1e-3),
        cell("computing, median", "ms", "us", computing, 25, 1e-3),
        cell("computing, 99 %", "ms", "p99_us", computing, 1000, 1e-3),
        cell("50 asleep at the same moment, in all", "ms", "ms", ("handoff", "together", 50), 150, 1),
    ]


def bench_beside(scale):
    """Echo beside a spinning, a computing and a blocked thread of the same process"""
    options = ("echo_beside", scale.count(2000))
    return [Cell(case, "ms", key, {s: (lambda s=s: program(s, *options, cores=set(measure.CORES)))
                                   for s in ("native", "green")}, [Goal(50)] if key == "p99_us" else [], scale=1e-3)
            for case, key in (("median", "us"), ("99 %", "p99_us"), ("most", "most_us"))]


def bench_carriers(_scale):
    """Eight threads that only compute"""
    systems = {"native": lambda: program("native", "handoff", "cpu", 8, cores=set(measure.CORES)),
               "strict": with_options(["--strict"], "handoff", "cpu", 8),
               "green": with_options([], "handoff", "cpu", 8),
               "2 carriers": with_options(["--carriers", "2"], "handoff", "cpu", 8)}
    return [Cell("time on the clock", "ms", "ms", systems, [Goal(1 / 1.8, "strict", system="2 carriers")])]


def echo_carriers(count, connections, scale):
    """Echo by a server on all cores, beside the load."""
    port = free_port()
    command = [*measure.LAUNCHER, "--carriers", str(count), *measure.ECHO_SERVERS["green"], str(port)]
    with Server("native", command, port, cores=set(measure.CORES)) as server:
        return load(server, "-c", connections, "--warm", scale.seconds(1), "-t", scale.seconds(3))


def bench_echo_carriers(scale):
    """64-byte echo with two carriers against one: server processor time per request"""
    return [Cell(f"{n:,} connections", "us", "server_us_per_request",
                 {"green": lambda n=n: echo_carriers(1, n, scale), "2 carriers": lambda n=n: echo_carriers(2, n, scale)},
                 [Goal(1.15, "green", system="2 carriers")]) for n in (100, 1000)]


def bench_strict(scale):
    """What handoff costs a program that never needs it"""
    cells = []
    for case, key, name, n in (("mutex + condition, a turn", "ns", "switch_cond", 200000),
                               ("sched_yield", "ns", "switch_yield", 1000000),
                               ("uncontended mutex", "ns", "mutex", None)):
        arguments = ("second", scale.count(20000000)) if n is None else (scale.count(n),)
        systems = {"strict": with_options(["--strict"], name, *arguments, cores=measure.SERVER_CORES),
                   "green": with_options([], name, *arguments, cores=measure.SERVER_CORES)}
        cells.append(Cell(case, "ns", key, systems, [Goal(1.02, "strict")]))
    return cells


def traced(system):
    """System calls per echo on 100 connections, counted by strace."""
    if not shutil.which("strace"):
        raise Failed("strace is not installed")
    with echo_server(system) as server:
        out = tempfile.mktemp()
        load(server, "-c", 100, "-n", 1000)
        tracer = subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-o", out, "-p", str(server.process.pid)],
                                  stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.7)
            answered = load(server, "-c", 100, "-n", 20000)["answered"]
        finally:
            tracer.send_signal(2)
            tracer.wait(20)
    figures = {"total": 0.0}
    with open(out, encoding="ascii") as f:
        for line in f:
            words = line.split()
            if len(words) == 2 and words[0].isdigit() and words[1] != "total":
                figures[words[1]] = int(words[0]) / answered
                figures["total"] += int(words[0]) / answered
    os.unlink(out)
    for name in ("recvfrom", "sendto", "epoll_wait", "epoll_pwait2", "epoll_ctl"):
        figures.setdefault(name, 0.0)
    figures["read + recv"] = figures["recvfrom"] + figures.get("read", 0.0)
    figures["write + send"] = figures["sendto"] + figures.get("write", 0.0)
    figures["waits"] = figures["epoll_wait"] + figures["epoll_pwait2"] + figures.get("epoll_pwait", 0.0)
    return figures


def bench_syscalls(_scale):
    """System calls per echo, 100 connections, counted under strace"""
    systems = ("native", "green", "epoll loop", "libev", "State Threads")
    runs = {s: remembered(("traced", s), lambda s=s: traced(s)) for s in systems}
    return [Cell(label, "per request", key, runs, goals, repeats=1)
            for label, key, goals in (("all", "total", []), ("recv", "read + recv", [Goal(1.1)]),
                                      ("send", "write + send", [Goal(1.1)]), ("epoll waits", "waits", []),
                                      ("epoll_ctl", "epoll_ctl", [Goal(0.1)]))]


BENCHES = {name[len("bench_"):]: function for name, function in list(globals().items())
           if name.startswith("bench_")}

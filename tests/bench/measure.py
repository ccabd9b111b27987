"""Running one program or server once, natively or green, and reading its figures.

Everything is pinned: what is measured on one core, the load generator on another (where there are two).
"""
import os
import random
import resource
import shlex
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
LAUNCHER = shlex.split(os.environ.get("EVENTLET_RUN", os.path.join(BUILD, "eventlet-run")))
PROGRAMS = os.path.join(BUILD, "tests", "bench")
SMOKE = os.path.join(BUILD, "tests", "smoke")

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES = {CORES[-1]}
LOAD_CORES = {CORES[0]}

# Each way of serving an echo; what stands before the server's port in its command line.
ECHO_SERVERS = {
    "native": [os.path.join(SMOKE, "echo_threads")],
    "green": [os.path.join(SMOKE, "echo_threads")],
    "epoll loop": [os.path.join(PROGRAMS, "echo_epoll")],
    "libev": [os.path.join(PROGRAMS, "echo_libev")],
    "io_uring": [os.path.join(PROGRAMS, "echo_uring")],
    "State Threads": [os.path.join(PROGRAMS, "echo_st")],
    "gevent": ["/usr/bin/python3", os.path.join(HERE, "programs", "echo_gevent.py")],
    "eventlet": ["/usr/bin/python3", os.path.join(HERE, "programs", "echo_eventlet.py")],
}


class Failed(Exception):
    """A run that gave no figure, and why."""


def raise_descriptor_limit(wanted=65536):
    """As many descriptors as we may have; returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for target in (wanted, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, max(target, hard)))
            return target
        except (ValueError, OSError):
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def environment():
    env = {k: v for k, v in os.environ.items() if not k.startswith("GREEN_") and k != "LD_PRELOAD"}
    env["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return env


def prefixed(system, command):
    return (LAUNCHER if system == "green" else []) + command


def pinned(cores):
    return lambda: os.sched_setaffinity(0, cores)


def parsed(text):
    """The NAME=NUMBER lines of a program's output."""
    figures = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        try:
            figures[name] = float(value)
        except ValueError:
            if equals and name == "error":
                figures.setdefault("errors", []).append(value)
    return figures


def program(system, name, *arguments, limit=150, cores=None):
    """Run one of our benchmark programs; its figures."""
    command = prefixed(system, [os.path.join(PROGRAMS, name), *map(str, arguments)])
    return run(command, limit, cores or SERVER_CORES)


def run(command, limit, cores):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=limit, preexec_fn=pinned(cores), env=environment())
    except subprocess.TimeoutExpired:
        raise Failed(f"{os.path.basename(command[-1])}: not done in {limit} s") from None
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(f"exit status {done.returncode}: {lines[-1] if lines else ''}")
    return parsed(done.stdout)


def smoke_case(name, system):
    """What the smoke case's case_bench measures, with its server on the server core; case and system as there."""
    smoke = os.path.join(ROOT, "tests", "smoke")
    cores = ",".join(map(str, SERVER_CORES))
    return run(["env", f"SERVER_CORES={cores}", f"BUILD={BUILD}", f"EVENTLET_RUN={shlex.join(LAUNCHER)}", "bash",
                os.path.join(smoke, "lib.sh"), "--bench", os.path.join(smoke, "cases", name + ".sh"), system],
               150, LOAD_CORES)


def free_port():
    while True:
        port = random.randrange(12000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Server:
    """A server on the server core, or on these, for a `with` block; ends with it."""

    def __init__(self, system, command, port, cores=None, **popen):
        self.port = port
        self.process = subprocess.Popen(prefixed(system, command), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                                        preexec_fn=pinned(cores or SERVER_CORES), env=environment(), **popen)

    def __enter__(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.02)
        self.__exit__()
        raise Failed("the server did not come up")

    def __exit__(self, *_):
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                try:
                    self.process.wait(10)
                except subprocess.TimeoutExpired:
                    pass

    def footprint(self):
        done = subprocess.run([os.path.join(SMOKE, "warden"), "--once", str(self.process.pid)],
                              stdout=subprocess.PIPE, text=True, check=False)
        return parsed(done.stdout)


def echo_server(system):
    port = free_port()
    return Server(system, ECHO_SERVERS[system] + [str(port)], port)


def load(server, *options, limit=120):
    """One load on the load core against this server; the generator's figures. Any wrong answer fails."""
    command = [os.path.join(SMOKE, "load"), "--server-pid", str(server.process.pid),
               "--timeout", "30",
               *map(str, options), "127.0.0.1", str(server.port)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=limit, preexec_fn=pinned(LOAD_CORES), env=environment())
    except subprocess.TimeoutExpired:
        raise Failed(f"the load did not end in {limit} s") from None
    figures = parsed(done.stdout)
    if done.returncode != 0:
        raise Failed(f"{figures.get('failed', 0):.0f} requests failed: "
                     f"{'; '.join(figures.get('errors', [done.stderr.strip()]))}")
    return figures

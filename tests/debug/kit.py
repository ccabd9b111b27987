"""What the cases share: programs, compiled once, and runs of them under eventlet-run."""

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(TOP, "build"))
RUN = os.path.join(BUILD, "eventlet-run")
PROGRAMS = os.path.join(BUILD, "tests", "debug")
PATIENCE = 60


class Failure(Exception):
    """A case that does not hold; the text says what came instead."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def contains(text, part, what):
    check(part in text, f"{what}: no {part!r} in:\n{text}")


def has(program):
    return shutil.which(program) is not None


def program(name, *flags, output=None):
    """The path of programs/NAME.c, compiled, maybe under another name."""
    os.makedirs(PROGRAMS, exist_ok=True)
    source = os.path.join(HERE, "programs", name + ".c")
    path = os.path.join(PROGRAMS, output or name + "".join(flags))
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(source):
        subprocess.run(["gcc", "-O2", "-g", "-Wall", "-o", path, source, "-pthread", *flags],
                       check=True, timeout=PATIENCE)
    return path


def until(condition, what, patience=PATIENCE):
    """Wait for condition() to be true; its value."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, f"waited in vain for {what}")
        time.sleep(0.02)


class Run:
    """A program under eventlet-run, from "ready" on its stdout on. stderr goes to a file."""

    def __init__(self, options, command, ready=True, env=None, cwd=None):
        self.place = tempfile.mkdtemp(prefix="libgreen-debug-")
        self.error = open(self.file("stderr"), "w+b")
        self.process = subprocess.Popen(
            [RUN, *options, "--", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.error, bufsize=0, cwd=cwd, env={**os.environ, **(env or {})})
        self.pid = self.process.pid  # eventlet-run becomes the program
        if ready:
            line = self.line()
            check(line == "ready", f"{command[0]} said {line!r}, stderr:\n{self.stderr()}")

    def file(self, name):
        return os.path.join(self.place, name)

    def line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        check(ready, f"no line on stdout; stderr:\n{self.stderr()}")
        return self.process.stdout.readline().decode().rstrip("\n")

    def stderr(self):
        with open(self.file("stderr"), errors="replace") as file:
            return file.read()

    def kill(self, sig):
        os.kill(self.pid, sig)

    def running(self):
        return self.process.poll() is None

    def finish(self):
        """Wait for its own end; the exit status."""
        return self.process.wait(timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.running():
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.error.close()
        shutil.rmtree(self.place, ignore_errors=True)

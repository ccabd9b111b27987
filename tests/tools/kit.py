"""What the cases share: a place with eventlet-run and a stand-in for libgreen.so, and targets."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(TOP, "build"))
TIMEOUT = 60

HELLO = '#include <stdio.h>\nint main(void) { puts("hello"); return 7; }\n'


class Failure(Exception):
    """A case that does not hold; the text says what came instead."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, not {wanted!r}")


def contains(text, part, what):
    check(part in text, f"{what}: no {part!r} in {text!r}")


class Place:
    """A directory that everybody may read, with eventlet-run in bin/ and, beside it, a libgreen.so
    that says "loaded" on stderr."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="eventlet-run-test-")
        os.chmod(self.path, 0o755)
        os.mkdir(self.file("bin"))
        self.tool = self.file("bin/eventlet-run")
        shutil.copy(os.path.join(BUILD, "eventlet-run"), self.tool)
        self.library = self.file("bin/libgreen.so")
        self.compile("bin/libgreen.so", os.path.join(HERE, "standin.c"), "-shared", "-fPIC")
        self.hello = self.compile("hello", HELLO)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, name):
        return os.path.join(self.path, name)

    def write(self, name, content, mode=0o644):
        path = self.file(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, mode)
        return path

    def script(self, name, content):
        return self.write(name, content, 0o755)

    def compile(self, name, source, *flags, compiler="gcc"):
        """`source` is a path, or the text of a C program. Relative paths in flags start at the place."""
        path = self.file(name)
        if not os.path.isabs(source):
            source = self.write(name + ".c", source)
        subprocess.run([compiler, "-o", path, source, *flags], check=True, timeout=TIMEOUT,
                       cwd=os.path.dirname(path))
        return path

    def copy(self, name, of, mode=0o755):
        path = self.file(name)
        shutil.copyfile(of, path)
        os.chmod(path, mode)
        return path

    def patched(self, name, of, changes):
        """A copy with other bytes: {offset or old bytes: new bytes}."""
        with open(of, "rb") as file:
            content = bytearray(file.read())
        for where, new in changes.items():
            at = where if isinstance(where, int) else content.index(where)
            content[at:at + len(new)] = new
        return self.script(name, bytes(content))

    def run(self, *words, env=None, user=None, tool=None, cwd=None):
        """eventlet-run with these words. `env` is added to a clean environment; None removes."""
        full = {name: value for name, value in os.environ.items()
                if not name.startswith("GREEN_") and name not in ("LD_PRELOAD", "LD_LIBRARY_PATH")}
        for name, value in (env or {}).items():
            full.pop(name, None)
            if value is not None:
                full[name] = value
        return subprocess.run([tool or self.tool, *words], env=full, user=user, cwd=cwd or self.path,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=TIMEOUT, text=True, check=False,
                              errors="backslashreplace")

    def refused(self, code, what, *words, **how):
        """eventlet-run must start nothing, say why in two lines, and exit with `code`."""
        result = self.run(*words, **how)
        lines = result.stderr.split("\n")
        check(result.returncode == code and result.stdout == "" and "loaded" not in lines,
              f"exit status {result.returncode}, not {code}; printed {result.stdout!r} and "
              f"{result.stderr!r}")
        check(len(lines) == 3 and lines[2] == "" and lines[0].startswith("eventlet-run: ")
              and lines[1].startswith("hint: ") and len(lines[1]) > 10,
              f"not two lines: {result.stderr!r}")
        contains(lines[0], what, "the first line")

    def started(self, *words, stdout="hello\n", code=7, stderr="loaded\n", **how):
        """eventlet-run must start the program with the library loaded, and print nothing."""
        result = self.run(*words, **how)
        equal((result.returncode, result.stdout, result.stderr), (code, stdout, stderr),
              "exit status, stdout, stderr")


def has(*programs):
    return all(shutil.which(program) for program in programs)


def is_root():
    return os.geteuid() == 0


def nobody():
    """A user without rights, where the tests run as root; else None, which is as good."""
    return pwd.getpwnam("nobody").pw_uid if is_root() else None


@contextlib.contextmanager
def environment(**changes):
    old = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(old)

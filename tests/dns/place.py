"""A network namespace and an /etc of the tests' own, a DNS server in it, and programs that run there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(HERE, "..", "..", "build")))
RUN = os.path.join(BUILD, "eventlet-run")
ETC = ["resolv.conf", "nsswitch.conf", "hosts", "gai.conf", "host.conf"]

NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"
HOST_CONF = "multi on\n"


class Failure(Exception):
    pass


def why_not():
    """Why the tests cannot run here, or None."""
    if os.geteuid() != 0:
        return "a network namespace and mounts need root"
    try:
        probe = subprocess.run(["unshare", "--net", "--mount", "sh", "-c",
                                "ip link set lo up && ip link add v0 type veth peer name v1"],
                               capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        return f"unshare cannot be run: {error}"
    return None if probe.returncode == 0 else f"no network namespace: {probe.stderr.strip()}"


def shell(line):
    subprocess.run(["sh", "-ec", line], check=True, timeout=30)


class Place:
    """Made once, in the new namespaces. Files of /etc are written by name, the server's rules as text."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="libgreen-dns.")
        os.chmod(self.dir, 0o755)
        self.server = None
        self.log = os.path.join(self.dir, "questions")
        self.rules = os.path.join(self.dir, "rules")
        etc = os.path.join(self.dir, "etc")
        shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
        shell(f"mount --make-rprivate / && mount --bind {etc} /etc")
        # The host has addresses of both families, and neighbours that nobody reaches.
        shell("ip link set lo up; ip link add v0 type veth peer name v1; ip link set v1 up; ip link set v0 up;"
              "ip address add 192.0.2.10/24 dev v0; ip -6 address add 2001:db8:1::10/64 dev v0 nodad;"
              "ip route add default via 192.0.2.1; ip -6 route add default via 2001:db8:1::1")
        for name in ("server", "lookup", "many", "faults"):
            source = os.path.join(HERE, name + ".c")
            if os.path.exists(source):
                subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-pthread",
                                source, "-o", self.program(name)], check=True, timeout=120)

    def program(self, name):
        return os.path.join(self.dir, name)

    def remove(self):
        self.stop()
        shell("umount --lazy /etc")
        shutil.rmtree(self.dir, ignore_errors=True)

    def etc(self, **files):
        """Writes files of /etc (resolv= for resolv.conf, ...); None removes one. What is not named gets the
        ordinary content."""
        content = {"resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", "nsswitch.conf": NSSWITCH,
                   "hosts": "127.0.0.1 localhost\n", "gai.conf": None, "host.conf": HOST_CONF}
        for name, text in files.items():
            content[name if name == "hosts" else name + ".conf"] = text
        for name, text in content.items():
            path = os.path.join("/etc", name)
            if os.path.islink(path) or (text is None and os.path.exists(path)):
                os.unlink(path)
            if text is not None:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)

    def serve(self, rules, addresses=("127.0.0.1",)):
        with open(self.rules, "w", encoding="utf-8") as file:
            file.write(rules)
        if self.server:
            self.server.send_signal(signal.SIGHUP)
        else:
            self.server = subprocess.Popen([self.program("server"), self.rules, self.log] + list(addresses),
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.server.stdout.readline() != "ready\n":
            raise Failure("the test's server does not start")

    def stop(self):
        if self.server:
            self.server.stdin.close()
            self.server.wait(timeout=10)
            self.server = None

    def questions(self):
        """What the server was asked since the last call, as lines."""
        try:
            with open(self.log, "r+", encoding="utf-8") as file:
                lines = file.read().splitlines()
                file.truncate(0)
            return lines
        except FileNotFoundError:
            return []

    @staticmethod
    def environment(extra=None):
        clean = {name: value for name, value in os.environ.items()
                 if not name.startswith(("GREEN_", "LOCALDOMAIN", "RES_OPTIONS")) and name != "LD_PRELOAD"}
        clean.update(LC_ALL="C", **(extra or {}))
        return clean

    def native(self, command, env=None, timeout=60, **more):
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=self.environment(env),
                              check=False, **more)

    def green(self, command, options=(), env=None, timeout=60, **more):
        """Under eventlet-run; .stats is what --stats=json said, or {}."""
        done = subprocess.run([RUN, "--stats=json", *options, "--", *command], capture_output=True, text=True,
                              timeout=timeout, env=self.environment(env), check=False, **more)
        lines = done.stderr.splitlines()
        done.stats = {}
        kept = []
        for line in lines:
            if line.startswith('{"pid":'):
                done.stats = json.loads(line)
            else:
                kept.append(line)
        done.stderr = "\n".join(kept)
        return done


def namespaces():
    return os.readlink("/proc/self/ns/mnt") + os.readlink("/proc/self/ns/net")


def inside():
    """Runs this program again in namespaces of its own, unless it runs there."""
    if len(sys.argv) > 2 and sys.argv[1] == "--inside":
        if sys.argv[2] == namespaces():
            sys.exit("--inside is not for use by hand: /etc would be this system's")
        del sys.argv[1:3]
        return
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable,
                          os.path.abspath(sys.argv[0]), "--inside", namespaces()] + sys.argv[1:])

"""A stock server with 200 connections under load: greenctl, gdb on the process, gdb on its core file."""

import glob
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile

from cases_gdb import gdb, kernel_writes_cores
from kit import BUILD, PATIENCE, Run, check, until

CTL = os.path.join(BUILD, "greenctl")
CONNECTIONS = 200


def made(place):
    """A new data directory, and the options that name it."""
    user = []
    if os.geteuid() == 0:
        os.chmod(place, 0o755)
        user = ["--user=mysql"]
    data = place + "/data"
    os.mkdir(data)
    if user:
        shutil.chown(data, "mysql")
    subprocess.run(["mariadb-install-db", "--no-defaults", *user, f"--datadir={data}", "--skip-test-db",
                    "--auth-root-authentication-method=normal"], check=True, capture_output=True,
                   timeout=2 * PATIENCE)
    return data, [*user, f"--datadir={data}", f"--socket={data}/sock", f"--pid-file={data}/pid"]


def client(program, data, *words, **more):
    return [program, "--no-defaults", "--user=root", f"--socket={data}/sock", *words]


def ready(data):
    return subprocess.run(client("mariadb", data, "-e", "select 1"), capture_output=True).returncode == 0


def connections(text, handler):
    """How many green threads of gdb's text stand in a connection's function."""
    return sum(handler in part for part in re.split(r"\nGreen thread ", text)[1:])


def loaded(data, run):
    """A load that keeps all connections busy; the process."""
    load = subprocess.Popen(client("mariadb-slap", data, f"--concurrency={CONNECTIONS}",
                                   "--iterations=50", "--number-of-queries=20000", "--auto-generate-sql"),
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: int(re.search(r"\nalive (\d+)", ctl(run, "stats"))[1]) > CONNECTIONS + 5, "the load")
    return load


def ctl(run, *words):
    done = subprocess.run([CTL, str(run.pid), *words], capture_output=True, text=True, timeout=PATIENCE)
    check(done.returncode == 0, f"greenctl {words}: {done.stderr}")
    return done.stdout


def looked_at(run, where):
    ps = ctl(run, "ps")
    parked = [line for line in ps.splitlines() if " parked " in line]
    check(len(ps.splitlines()) > CONNECTIONS, ps)
    check(all(re.search(r"parked +(descriptor|condition|mutex|rwlock|futex|sleep|signals|semaphore|offloaded)", line)
              for line in parked), ps)
    for words in ("bt", "1"), ("fds",), ("timers",), ("locks",):
        check(len(ctl(run, *words).splitlines()) > 1, words)
    text = gdb("-p", str(run.pid), commands=["green bt all", "detach"])
    check(connections(text, " handle_one_connection ") >= CONNECTIONS, f"{where}: {text[-3000:]}")


def test_two_hundred_connections_of_mariadb():
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="libgreen-mariadb-") as place:
        data, options = made(place)
        load = None
        try:
            with Run(["--control"], ["mariadbd", "--no-defaults", *options, "--skip-networking",
                                     "--max-connections=300", "--back-log=300", "--core-file"],
                     ready=False) as run:
                until(lambda: ready(data), "mariadbd")
                load = loaded(data, run)
                looked_at(run, "the process")
                until(lambda: int(re.search(r"\nalive (\d+)", ctl(run, "stats"))[1]) > CONNECTIONS + 5, "load")
                run.kill(signal.SIGABRT)
                run.finish()
            if kernel_writes_cores():
                core = glob.glob(data + "/core*")
                check(core, "no core file")
                text = gdb(shutil.which("mariadbd"), core[0], commands=["green bt all"])
                check(connections(text, " handle_one_connection ") >= CONNECTIONS, text[-3000:])
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
            if load:
                load.kill()
                load.wait()


test_two_hundred_connections_of_mariadb.needs = ["mariadbd", "mariadb-slap", "mariadb-install-db", "gdb"]

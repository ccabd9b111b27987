"""--control and greenctl."""

import glob
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import time

from kit import BUILD, PATIENCE, Run, check, contains, program, until

CTL = os.path.join(BUILD, "greenctl")


def runtime():
    """A directory for the sockets of one case."""
    return tempfile.TemporaryDirectory(prefix="libgreen-runtime-")


def ctl(*words, place, status=0):
    done = subprocess.run([CTL, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE,
                          env={**os.environ, "XDG_RUNTIME_DIR": place})
    check(done.returncode == status, f"greenctl {words}: {done.returncode}, {done.stdout}{done.stderr}")
    return done.stdout if status == 0 else done.stderr


def started(place, *command, options=("--control",)):
    run = Run([*options], command, env={"XDG_RUNTIME_DIR": place})
    until(lambda: "--control" not in options or os.path.exists(f"{place}/libgreen/{run.pid}"), "the socket")
    return run


def test_every_command_answers():
    with runtime() as place, started(place, program("waits"), "6") as run:
        listed = ctl(place=place)
        check(re.search(rf"{run.pid}  waits +7$", listed, re.M), listed)
        ps = ctl(run.pid, "ps", place=place)
        check(len(ps.splitlines()) == 8, ps)
        check(re.search(r"3  locker +parked +mutex 0x\w+ <held_lock>, held by 1", ps), ps)
        contains(ctl(run.pid, "bt", 2, place=place), " wait_in_recv+", "bt 2")
        everything = ctl(run.pid, "bt", "all", place=place)
        for function in ("wait_in_recv", "locker", "waiter", "sleeps", "joiner", "compute", "main"):
            contains(everything, f" {function}+", "bt all")
        check(re.search(r"^3 +2 +receiver .*\(peer unix\)", ctl(run.pid, "fds", place=place), re.M), "fds")
        check(re.search(r"5 +sleeper +sleep", ctl(run.pid, "timers", place=place)), "timers")
        check(re.search(r"mutex +1 +\S+ +1 +0x\w+ <held_lock>", ctl(run.pid, "locks", place=place)), "locks")
        check(re.search(r"^alive 7$", ctl(run.pid, "stats", place=place), re.M), "stats")
        check(run.running(), "the program ended")


def test_cancel_ends_a_thread():
    with runtime() as place, started(place, program("waits"), "5") as run:
        contains(ctl(run.pid, "cancel", 5, place=place), "cancelled 5 (sleeper)", "answer")
        until(lambda: "sleeper" not in ctl(run.pid, "ps", place=place), "its end")
        until(lambda: "joiner" not in ctl(run.pid, "ps", place=place), "its joiner's end")


def test_log_prints_events():
    with runtime() as place, started(place, program("waits"), "5") as run:
        ctl(run.pid, "log", "all", place=place)
        ctl(run.pid, "cancel", 5, place=place)
        until(lambda: "[5] ends" in run.stderr(), "the line")
        ctl(run.pid, "log", "off", place=place)


def test_errors_are_clear_and_the_program_goes_on():
    with runtime() as place, started(place, program("waits"), "5") as run:
        for words, why in (((run.pid, "bt", "99"), "there is no green thread 99"),
                           ((run.pid, "bt", "x"), "the id of a green thread is wanted"),
                           ((run.pid, "trace", "on"), "was not started with --trace"),
                           ((run.pid, "log", "x"), "log off"),
                           ((run.pid, "top"), "top needs a terminal"),
                           ((1, "ps"), "has no control socket"),
                           (("/nonexistent", "ps"), "nobody answers")):
            contains(ctl(*words, place=place, status=1), why, str(words))
        for words in ((run.pid, "nonsense"), (run.pid,), (run.pid, "bt"), (run.pid, "ps", "x")):
            ctl(*words, place=place, status=2)
        check(run.running(), "the program ended")


def test_only_the_user_can_get_at_it_and_it_goes_away():
    with runtime() as place:
        with started(place, program("waits"), "5") as run:
            path = f"{place}/libgreen/{run.pid}"
            check(os.stat(path).st_mode & 0o777 == 0o600, "the socket's mode")
            check(os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700, "the directory's mode")
            run.process.stdin.close()
            run.finish()
            check(not os.path.exists(path), "it is still there")


def test_the_socket_of_a_killed_process_is_cleared_away():
    with runtime() as place:
        with started(place, program("waits"), "5") as run:
            run.kill(signal.SIGKILL)
            run.finish()
            check(os.path.exists(f"{place}/libgreen/{run.pid}"), "it is gone already")
            subprocess.run([CTL], env={**os.environ, "XDG_RUNTIME_DIR": place}, capture_output=True,
                           timeout=PATIENCE)
            check(not os.path.exists(f"{place}/libgreen/{run.pid}"), "it is still there")


def test_a_process_with_another_runtime_directory_is_found():
    with runtime() as place, runtime() as other, started(place, program("waits"), "5") as run:
        contains(ctl(run.pid, "ps", place=other), "receiver", "ps")


def test_another_user_is_refused():
    if os.geteuid() != 0:
        return
    with runtime() as place:
        os.chmod(place, 0o755)
        path = place + "/socket"
        with Run([f"--control={path}"], [program("waits"), "5"]) as run:
            until(lambda: os.path.exists(path), "the socket")
            os.chmod(path, 0o777)
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    os.setgid(65534)
                    os.setuid(65534)
                    with socket.socket(socket.AF_UNIX) as s:
                        s.connect(path)
                        try:
                            s.sendall(b"ps\n")
                        except BrokenPipeError:
                            pass  # refused before it asked
                        status = 0 if s.recv(200).startswith(b"error: the process belongs") else 2
                finally:
                    os._exit(status)
            check(os.waitpid(pid, 0)[1] == 0, "it was answered")
            check(run.running(), "the program ended")


def test_nothing_is_opened_unless_asked_for():
    with runtime() as place, started(place, program("waits"), "5", options=()) as run:
        check(os.listdir(place) == [], "something was made")
        names = {open(path).read().strip() for path in glob.glob(f"/proc/{run.pid}/task/*/comm")}
        check(not names & {"green-control", "green-watch", "green-trace"}, names)


def refused(path, why, before=None):
    with runtime() as place:
        whole = path.format(place=place)
        if before:
            before(place, whole)
        with Run([f"--control={whole}"] if path else ["--control"], [program("waits"), "5"],
                 env={"XDG_RUNTIME_DIR": place}) as run:
            until(lambda: why in run.stderr(), why)
            check(run.running(), "the program ended")
            check(run.stderr().count("\n") == 2, run.stderr())
            run.process.stdin.close()
            check(run.finish() == 0, "exit status")


def test_a_path_that_exists_is_left_alone():
    refused("{place}/file", "there is something of that name already",
            lambda place, path: open(path, "w").close())


def test_a_path_that_is_a_symlink_is_left_alone():
    refused("{place}/link", "there is something of that name already",
            lambda place, path: os.symlink(place + "/elsewhere", path))


def test_a_path_in_no_directory():
    refused("{place}/none/socket", "cannot be made there")


def test_a_path_that_is_too_long():
    refused("{place}/" + "x" * 200, "too long")


def test_a_directory_that_others_can_enter_is_refused():
    refused("", "is not a directory of this user's alone",
            lambda place, path: os.makedirs(place + "/libgreen", 0o755))


def test_a_directory_that_is_a_symlink_is_refused():
    def link(place, path):
        os.mkdir(place + "/real", 0o700)
        os.symlink(place + "/real", place + "/libgreen")
    refused("", "is not a directory of this user's alone", link)


def test_garbage_on_the_socket():
    random.seed(8)
    with runtime() as place, started(place, program("waits"), "5") as run:
        path = f"{place}/libgreen/{run.pid}"
        for round in range(60):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(PATIENCE)
                s.connect(path)
                text = bytes(random.randrange(256) for _ in range(random.randrange(600)))
                if round % 3 == 0:
                    text = random.choice([b"bt ", b"cancel ", b"ps", b"trace ", b"log "]) + text[:40]
                try:
                    s.sendall(text + b"\n" if round % 2 else text)
                    if round % 5 == 0:
                        continue
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(4096):
                        pass
                except (BrokenPipeError, ConnectionResetError):
                    pass
        contains(ctl(run.pid, "ps", place=place), "receiver", "ps afterwards")


def test_twenty_thousand_threads_in_slices():
    with runtime() as place, started(place, program("many"), "20000", options=("--control",)) as run:
        check(len(ctl(run.pid, "ps", place=place).splitlines()) == 20002, "ps is not complete")
        contains(ctl(run.pid, "locks", place=place), "condition     20000", "locks")


def test_threads_that_come_and_go_hide_none_that_stays():
    with runtime() as place, started(place, program("many"), "3000", "churn") as run:
        for _ in range(5):
            ids = [int(line.split()[0]) for line in ctl(run.pid, "ps", place=place).splitlines()[1:]]
            check(ids == sorted(set(ids)), "an id comes twice, or before a lower one")
            check(ids[:3001] == list(range(1, 3002)), "somebody is missing")
        contains(ctl(run.pid, "bt", 2900, place=place), " body+", "bt of one of them")
        check(run.running(), run.stderr())


def test_it_is_answered_while_somebody_blocks_all_the_time():
    with runtime() as place, started(place, program("grabs"),
                                     options=("--control", "--detect-blocking=1")) as run:
        until(lambda: "has kept its carrier" in run.stderr(), "a report")
        for _ in range(10):
            begun = time.monotonic()
            contains(ctl(run.pid, "ps", place=place), "grabs", "ps")
            check(time.monotonic() - begun < 5, "it took too long")


def test_a_forked_child_has_a_socket_of_its_own():
    with runtime() as place, started(place, program("forks")) as run:
        child = int(run.line())
        contains(ctl(child, "ps", place=place), "parked", "ps of the child")
        contains(ctl(run.pid, "ps", place=place), "parked", "ps of the parent")


def test_top_refreshes_on_a_terminal_until_q():
    with runtime() as place, started(place, program("waits"), "6") as run:
        parent, child = os.openpty()
        with subprocess.Popen([CTL, str(run.pid), "top"], stdin=child, stdout=child, stderr=child,
                              env={**os.environ, "XDG_RUNTIME_DIR": place, "TERM": "xterm", "LINES": "30",
                                   "COLUMNS": "120"}) as top:
            os.close(child)
            shown = b""
            end = time.monotonic() + PATIENCE
            while not all(part in shown for part in (b"receiver", b"green threads", b"switches/s")):
                check(time.monotonic() < end, f"top showed {shown!r}")
                shown += os.read(parent, 4096)
            os.write(parent, b"wq")
            while top.poll() is None:
                try:
                    os.read(parent, 4096)
                except OSError:
                    break
            check(top.wait(PATIENCE) == 0, "exit status")
        os.close(parent)

"""The gdb commands, on a live process and on a core file."""

import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile

from kit import BUILD, PATIENCE, Run, check, contains, program

SCRIPT = os.path.join(BUILD, "libgreen.so-gdb.py")


def gdb(*arguments, commands):
    command = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off",
               "-iex", "set auto-load no", *arguments, "-ex", f"source {SCRIPT}"]
    for line in commands:
        command += ["-ex", line]
    return subprocess.run(command, capture_output=True, text=True, errors="replace",
                          timeout=4 * PATIENCE, stdin=subprocess.DEVNULL).stdout


def same_as_a_dump(text):
    for name, what in (("receiver", r"descriptor 3"), ("locker", r"mutex 0x\w+ <held_lock>.*held by 1"),
                       ("waiter", r"condition 0x\w+ <never>"), ("sleeper", "sleep"),
                       ("joiner", "join of 5")):
        check(re.search(rf"\d+  {name} +parked +{what}.*, for \d+\.\d+ s", text), f"{name} in:\n{text}")


def test_green_threads_bt_and_frame_on_a_live_process():
    with Run([], [program("waits"), "6"]) as run:
        text = gdb("-p", str(run.pid), commands=["green threads", "green bt all", "green frame 2",
                                                 "up 4", "green frame off", "detach"])
        same_as_a_dump(text)
        for function in ("wait_in_recv", "locker", "waiter", "sleeps", "joiner", "compute", "main"):
            contains(text, f" {function} (", "green bt all")
        check(re.search(r"\(receiver\), parked:\n#\d+ +0x\w+ in sched_", text), text)
        check(run.running(), "the program ended")
        run.process.stdin.close()
        check(run.finish() == 0, "the program did not go on")


test_green_threads_bt_and_frame_on_a_live_process.needs = ["gdb"]


def test_green_gcore_saves_all_stacks():
    with tempfile.TemporaryDirectory(prefix="libgreen-gcore-") as place:
        core = place + "/core file"
        with Run(["--stack-size=64K"], [program("waits"), "6"]) as run:
            said = gdb("-p", str(run.pid), commands=["green gcore " + core, "detach"])
            contains(said, "Saved corefile " + core, "green gcore")
            check(run.running(), "the program ended")
        text = gdb(program("waits"), core, commands=["green threads", "green bt all"])
        same_as_a_dump(text)
        for function in ("wait_in_recv", "locker", "waiter", "sleeps", "joiner", "compute", "main"):
            contains(text, f" {function} (", "green bt all")


test_green_gcore_saves_all_stacks.needs = ["gdb"]


def core_pattern():
    with open("/proc/sys/kernel/core_pattern") as file:
        return file.read().strip()


def core_of(command, end):
    """The text of gdb on the core file that the kernel writes when end(run) has ended it."""
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limit[1], limit[1]))
    place = command[0] + ".cores"
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(place)
    try:
        with Run([], command, cwd=place) as run:
            end(run)
            run.finish()
        cores = os.listdir(place)
        check(cores, "no core file")
        return gdb(command[0], os.path.join(place, cores[0]),
                   commands=["green threads", "green bt all", "green frame 2", "green frame off"])
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limit)
        shutil.rmtree(place, ignore_errors=True)


def kernel_writes_cores():
    pattern = core_pattern()
    return not pattern.startswith(("|", "/")) and resource.getrlimit(resource.RLIMIT_CORE)[1] != 0


if kernel_writes_cores():
    def test_a_core_file_shows_all_threads():
        text = core_of([program("waits"), "5"], lambda run: run.kill(signal.SIGABRT))
        same_as_a_dump(text)
        for function in ("wait_in_recv", "locker", "waiter", "sleeps", "joiner", "main"):
            contains(text, f" {function} (", "green bt all")

    test_a_core_file_shows_all_threads.needs = ["gdb"]

    def test_the_core_of_an_abort_in_one_thread_shows_the_others():
        text = core_of([program("aborts")], lambda run: None)
        contains(text, "waits_for_ever (", "the thread that waits")
        contains(text, "aborts (", "the thread that aborted")

    test_the_core_of_an_abort_in_one_thread_shows_the_others.needs = ["gdb"]

"""--dump-signal."""

import os
import re
import signal
import time

from kit import Run, check, contains, program, until

KINDS = {
    "receiver": (r"parked +descriptor 3 \(peer unix\)", "wait_in_recv"),
    "locker": (r"parked +mutex 0x[0-9a-f]+ <held_lock>, held by 1", "locker"),
    "waiter": (r"parked +condition 0x[0-9a-f]+ <never>", "waiter"),
    "sleeper": (r"parked +sleep, .*at most (99|100|9\d)\.\d+ s more", "sleeps"),
    "joiner": (r"parked +join of 5", "joiner"),
    "computer": (r"(detached|running) on \d+", "compute"),
}


def threads_of(text):
    """{name: (line, its frames)} of a dump."""
    found = {}
    frames = None
    for line in text.splitlines():
        thread = re.match(r" +\d+  (\S+) +(parked|runnable|running|detached|bound)", line)
        if thread:
            frames = []
            found[thread[1]] = (line, frames)
        elif frames is not None and line.startswith("        #"):
            frames.append(line)
    return found


def dumped(run, text, last="#0"):
    """The dump, once its last thread has a frame."""
    def complete():
        threads = threads_of(text())
        return threads and last in threads and threads[last][1] and threads
    return until(complete, f"a dump with {last} in:\n{text()}")


def test_a_dump_lists_every_thread_with_what_it_waits_for_and_its_stack():
    with Run(["--dump-signal=USR1"], [program("waits"), "6"]) as run:
        run.kill(signal.SIGUSR1)
        threads = dumped(run, run.stderr, "computer")
        for name, (line, frame) in KINDS.items():
            check(name in threads, f"no thread {name} in {run.stderr()}")
            check(re.search(line, threads[name][0]), f"{name}: {threads[name][0]!r}")
            check(any(f" {frame}+" in f for f in threads[name][1]), f"{name}: {threads[name][1]}")
        contains("".join(threads["waits"][1]), " main+", "the main thread's stack")
        check(run.running(), "the program ended")


def test_a_dump_twice_and_the_program_goes_on():
    with Run(["--dump-signal=USR1"], [program("waits"), "5"]) as run:
        for count in (1, 2):
            run.kill(signal.SIGUSR1)
            until(lambda: run.stderr().count(" joiner+") == count, f"dump {count}")
        run.process.stdin.close()
        check(run.finish() == 0, "the program did not end as it should")


def test_a_dump_when_the_hub_is_stuck():
    with Run(["--strict", "--dump-signal=USR1"], [program("stuck")]) as run:
        until(lambda: stuck_in_kernel(run.pid), "the thread to sleep in the kernel")
        run.kill(signal.SIGUSR1)
        until(lambda: "raw_nanosleep" in run.stderr() or "foreign_library_wait" in run.stderr(),
              "the stuck thread's stack")
        until(lambda: "polite" in run.stderr(), "the other thread's stack")


def stuck_in_kernel(pid):
    with open(f"/proc/{pid}/syscall") as file:
        return file.read().startswith("35 ")


def test_a_dump_of_a_program_that_blocks_all_signals():
    with Run(["--dump-signal=RTMIN+5"], [program("stuck"), "block"]) as run:
        until(lambda: run.kill(39) or time.sleep(0.3) or "foreign_library_wait" in run.stderr(),
              "the stack")


def test_a_dump_goes_to_a_file_that_only_the_user_can_read():
    with Run(["--dump-signal=USR2"], [program("alone")]) as run:
        path = run.file("dump")
    with Run(["--dump-signal=USR2", f"--dump-file={path}.x"], [program("waits"), "5"]) as run:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        run.kill(signal.SIGUSR2)
        until(lambda: os.path.exists(path + ".x") and " joiner+" in open(path + ".x").read(),
              "the file")
        check(os.stat(path + ".x").st_mode & 0o777 == 0o600, "others can read it")
        check(run.stderr() == "", f"stderr: {run.stderr()}")
        os.remove(path + ".x")
        os.rmdir(os.path.dirname(path))


def test_a_dump_before_the_first_thread_says_so():
    with Run(["--dump-signal=USR1"], [program("alone")]) as run:
        run.kill(signal.SIGUSR1)
        until(lambda: "no green threads yet" in run.stderr(), "the line")
        check(run.running(), "the program ended")


def test_a_dump_that_cannot_open_its_file_goes_to_stderr():
    with Run(["--dump-signal=USR1", "--dump-file=/nonexistent/dump"], [program("waits"), "5"]) as run:
        run.kill(signal.SIGUSR1)
        until(lambda: "cannot be opened" in run.stderr() and "joiner+" in run.stderr(), "the list")

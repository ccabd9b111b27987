"""--detect-blocking."""

import os
import re

from kit import PROGRAMS, Run, check, contains, program


def blocks(*flags):
    library = program("library", "-shared", "-fPIC", *flags, output="libforeign.so")
    return [program("blocks", *flags, f"-L{PROGRAMS}", "-lforeign", f"-Wl,-rpath,{PROGRAMS}",
                    output="blocks" + "".join(flags)), library][:1]


def reported(options, *flags):
    with Run(options, blocks(*flags)) as run:
        check(run.finish() == 0, f"exit status; stderr:\n{run.stderr()}")
        return run.stderr()


def named_and_counted(text):
    check(re.search(r"green thread \d+ \(blocker\) has kept its carrier for 0\.\d+ s, in the system "
                    r"call nanosleep\n", text), text)
    first = text.split("(blocker)")[1].split("libgreen:")[0]
    for function in ("foreign_library_wait+", "calls_the_library+", "blocker+"):
        contains(first, function, "the stack")
    check(re.search(r"\(computer\) has kept its carrier for 0\.\d+ s, computing\n.*compute_for_long\+",
                    text, re.S), text)
    check(re.search(r"\n +[1-3] +0\.[2-9]\d+ +nanosleep < (sleep_raw < )?foreign_library_wait < "
                    r"calls_the_library < blocker", text), text)
    check(text.count("(blocker) has kept") == 1, f"more than once:\n{text}")


def test_the_function_of_a_library_nobody_patches_is_named_once_with_a_count():
    named_and_counted(reported(["--detect-blocking=60"]))


def test_under_strict_too():
    named_and_counted(reported(["--detect-blocking=60", "--strict"]))


def test_code_without_optimisation_keeps_frames_by_a_register():
    named_and_counted(reported(["--detect-blocking=60"], "-O0"))


def test_nothing_is_said_of_what_takes_less():
    check(reported(["--detect-blocking=20000"]) == "", "something was said")


def test_nothing_is_said_when_nothing_was_asked():
    check(reported([]) == "", "something was said")


def test_waiting_the_green_way_is_no_blocking():
    with Run(["--detect-blocking=50"], [program("waits"), "5"]) as run:
        import time
        time.sleep(0.5)
        run.process.stdin.close()
        check(run.finish() == 0, "exit status")
        check("has kept" not in run.stderr(), run.stderr())

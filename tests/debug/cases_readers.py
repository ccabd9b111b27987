"""--warn-multiple-readers."""

from kit import Run, check, contains, program


def test_two_readers_are_a_warning_and_no_error():
    with Run(["--warn-multiple-readers"], [program("readers")]) as run:
        check(run.finish() == 0, "exit status")
        contains(run.stderr(), "both wait to read from descriptor 3", "stderr")
        check(run.stderr().count("\n") == 1, run.stderr())


def test_one_reader_is_none():
    with Run(["--warn-multiple-readers"], [program("readers"), "one"]) as run:
        check(run.finish() == 0 and run.stderr() == "", run.stderr())


def test_nothing_is_said_unless_asked():
    with Run([], [program("readers")]) as run:
        check(run.finish() == 0 and run.stderr() == "", run.stderr())

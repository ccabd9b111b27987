"""--on-deadlock."""

import re
import signal
import time

from kit import Run, check, contains, program, until


def said(how, option="--on-deadlock", more=()):
    with Run([option, *more], [program("deadlock"), how]) as run:
        start = time.monotonic()
        until(lambda: "libgreen: deadlock" in run.stderr(), "the report")
        took = time.monotonic() - start
        time.sleep(0.5)
        check(run.running(), "the program ended")
        check(run.stderr().count("libgreen: deadlock") == 1, f"more than once:\n{run.stderr()}")
        return run.stderr(), took


def both_sides(text):
    check(re.search(r"green thread 2 \(first\) waits for mutex 0x\w+ <lock_b>, held by 3", text), text)
    check(re.search(r"green thread 3 \(second\) waits for mutex 0x\w+ <lock_a>, held by 2", text), text)
    contains(text, "take_b_while_holding_a+", "one stack")
    contains(text, "take_a_while_holding_b+", "the other stack")
    contains(text, "2 green threads wait for each other", "the head")


def test_two_locks_in_two_orders_with_both_stacks_and_locks_within_a_second():
    text, took = said("abba")
    both_sides(text)
    check(took < 3, f"{took:.1f} s")  # a second on a machine that is not busy


def test_while_other_threads_go_on():
    both_sides(said("abba-busy")[0])


def test_with_several_carriers():
    both_sides(said("abba-busy", more=["--carriers=2"])[0])


def test_a_lock_taken_twice():
    contains(said("self")[0], "a green thread waits for itself", "the head")


def test_a_condition_that_nobody_can_signal():
    text = said("lost-signal")[0]
    contains(text, "all 2 green threads wait for each other", "the head")
    check(re.search(r"\(waiter\) waits for condition 0x\w+ <never>", text), text)
    check(re.search(r"waits for join of 2", text), text)


def quiet(how, *options):
    with Run(["--on-deadlock", *options], [program("deadlock"), how]) as run:
        time.sleep(1.5)
        check(run.running(), "the program ended")
        check(run.stderr() == "", run.stderr())


def test_one_that_waits_on_a_socket_is_never_reported():
    quiet("socket")


def test_nor_one_that_a_signal_handler_can_wake():
    with Run(["--on-deadlock"], [program("deadlock"), "handler"]) as run:
        time.sleep(1.2)
        check(run.stderr() == "", run.stderr())
        run.kill(signal.SIGTERM)
        check(run.finish() == 0, "the handler did not wake it")


def test_nor_one_that_waits_for_a_signal_to_end_it():
    quiet("handler-cond")


def test_abort_ends_the_process():
    with Run(["--on-deadlock=abort"], [program("deadlock"), "abba"]) as run:
        check(run.finish() == -signal.SIGABRT, f"exit status {run.process.returncode}")
        both_sides(run.stderr())


def test_nothing_happens_unless_asked():
    with Run([], [program("deadlock"), "abba"]) as run:
        time.sleep(1)
        check(run.running() and run.stderr() == "", run.stderr())


def test_two_orders_at_two_times_are_a_warning():
    with Run(["--on-deadlock"], [program("deadlock"), "orders"]) as run:
        check(run.finish() == 0, "exit status")
        text = run.stderr()
        check(text.count("warning: locks are taken in orders that can deadlock") == 1, text)
        check(re.search(r"mutex 0x\w+ <lock_a> while holding 0x\w+ <lock_b>, at 0x\w+ "
                        r"<take_a_while_holding_b\+", text), text)
        check(re.search(r"mutex 0x\w+ <lock_b> while holding 0x\w+ <lock_a>, at 0x\w+ "
                        r"<take_b_while_holding_a\+", text), text)


def test_one_order_is_none():
    with Run(["--on-deadlock"], [program("turns")]) as run:
        check(run.finish() == 0 and run.stderr() == "", run.stderr())

"""--trace and greenctl report."""

import contextlib
import json
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


def traced(*options, command=None, name="trace.json"):
    with tempfile.TemporaryDirectory(prefix="libgreen-trace-") as place:
        path = os.path.join(place, name)
        with Run([f"--trace={path}", *options], command or [program("turns")]) as run:
            check(run.finish() == 0, run.stderr())
            check(run.stderr() == "", run.stderr())
        with open(path) as file:
            text = file.read()
        check(os.stat(path).st_mode & 0o777 == 0o600, "others can read it")
        page = subprocess.run([CTL, "report", path], capture_output=True, text=True, timeout=PATIENCE)
        check(page.returncode == 0, page.stderr)
        return json.loads(text), page.stdout


def lanes(events):
    """{thread: its slices, in order}"""
    found = {}
    for e in events:
        if e["ph"] == "X":
            found.setdefault(e["tid"], []).append((e["ts"], e["ts"] + e["dur"], e["name"], e["cat"]))
    return {tid: sorted(slices) for tid, slices in found.items()}


def whole(events):
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    by_name = {names.get(tid, tid): slices for tid, slices in lanes(events).items()}
    for name in ("first", "second", "sleeper"):
        check(name in by_name, f"no lane {name} among {list(by_name)}")
    for name, slices in by_name.items():
        for one, other in zip(slices, slices[1:]):
            check(other[0] >= one[1] - 0.002, f"{name}: slices overlap: {one} {other}")
    for name in ("first", "second"):
        check(any(s[2].startswith("condition 0x") for s in by_name[name]), f"{name} never waited")
    slept = [end - start for start, end, what, _ in by_name["sleeper"] if what == "sleep"]
    check(len(slept) == 5 and all(us >= 2000 for us in slept), f"sleeps: {slept}")


def test_a_trace_is_json_with_a_lane_for_each_thread():
    whole(traced()[0])


def test_with_two_carriers():
    events, _ = traced("--carriers=2")
    check(any(e["ph"] == "X" for e in events), "no slices")


def test_the_report_needs_nothing_else():
    _, page = traced()
    check(not re.search(r"(src|href)\s*=|https?://|@import|url\(", page), "it refers to something")
    for part in ("first", "second", "sleeper", "condition 0x", "<canvas"):
        contains(page, part, "page")


def shown(page):
    """The page as a browser has it after its script ran."""
    with tempfile.TemporaryDirectory(prefix="libgreen-page-") as place:
        path = os.path.join(place, "page.html")
        with open(path, "w") as file:
            # What goes wrong in a script is written into the page, where it can be seen.
            file.write(page.replace("<script>", "<script>window.onerror=m=>{document.body.dataset.error"
                                    "=m};</script><script>", 1))
        done = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu",
                               f"--user-data-dir={place}/profile", "--dump-dom", f"file://{path}"],
                              capture_output=True, text=True, timeout=2 * PATIENCE)
        check("data-error" not in done.stdout, done.stdout[-500:])
        lanes = re.search(r'data-lanes="(\d+)"', done.stdout)
        check(lanes, done.stdout[-500:] + done.stderr[-500:])
        return int(lanes[1]), done.stdout


def test_the_report_shows_lanes_in_a_browser_without_an_error():
    lanes, text = shown(traced()[1])
    check(4 <= lanes <= 9, f"{lanes} lanes")
    contains(text, "<td>first</td>", "the table")


test_the_report_shows_lanes_in_a_browser_without_an_error.needs = ["chromium"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def test_stunnel_under_load_as_a_page():
    with tempfile.TemporaryDirectory(prefix="libgreen-stunnel-") as place:
        page, pem, port, behind = place + "/page", place + "/pem", free_port(), free_port()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", pem, "-out",
                        place + "/cert", "-days", "2", "-subj", "/CN=localhost"], check=True,
                       capture_output=True, timeout=PATIENCE)
        with open(pem, "a") as file, open(place + "/cert") as cert:
            file.write(cert.read())
        os.chmod(pem, 0o600)
        with open(place + "/conf", "w") as file:
            file.write(f"foreground = yes\npid =\ndebug = 3\n[test]\naccept = 127.0.0.1:{port}\n"
                       f"connect = 127.0.0.1:{behind}\ncert = {pem}\n")
        os.mkdir(page)
        with open(page + "/index.html", "w") as file:
            file.write("hello\n")
        server = subprocess.Popen(["/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1",
                                   "--directory", page, str(behind)], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            until(lambda: answers(behind), "the server behind")
            with Run([f"--trace={place}/trace"], ["stunnel", place + "/conf"], ready=False) as run:
                until(lambda: answers(port), "stunnel")
                load = subprocess.run(["ab", "-n", "100", "-c", "20", f"https://127.0.0.1:{port}/index.html"],
                                      capture_output=True, text=True, timeout=PATIENCE)
                contains(load.stdout, "Failed requests:        0", "the load")
                run.kill(signal.SIGTERM)
                run.finish()
        finally:
            server.kill()
            server.wait()
        report = subprocess.run([CTL, "report", place + "/trace"], capture_output=True, text=True,
                                timeout=PATIENCE)
        check(report.returncode == 0, report.stderr)
        lanes, _ = shown(report.stdout)
        check(lanes >= 100, f"{lanes} lanes")


test_stunnel_under_load_as_a_page.needs = ["chromium", "stunnel", "openssl", "ab"]


def test_lines_like_strace():
    with Run(["--trace=-"], [program("turns")]) as run:
        check(run.finish() == 0, run.stderr())
        text = run.stderr()
        for part in ("begins", "waits: condition 0x", "waits: sleep", "ends", "goes on after"):
            contains(text, part, "lines")


def place():
    return tempfile.TemporaryDirectory(prefix="libgreen-trace-")


def convert(path, status=0):
    done = subprocess.run([CTL, "convert", path], capture_output=True, text=True, timeout=PATIENCE)
    check(done.returncode == status, done.stderr)
    return done.stdout if status == 0 else done.stderr


def test_of_a_killed_program_there_is_what_was_spooled():
    with place() as where:
        path = where + "/trace"
        with Run([f"--trace={path}"], [program("waits"), "6"]) as run:
            until(lambda: b"compute" in open(path + ".spool", "rb").read(), "the names in the spool")
            until(lambda: any(e["ph"] == "X" for e in json.loads(convert(path))), "slices in the spool")
            with open(path) as file:
                contains(file.read(), "not finished", "the trace meanwhile")
            run.kill(signal.SIGKILL)
            run.finish()
        with open(path) as file:
            json.load(file)
        events = json.loads(convert(path))
        check(any(e["name"] == "thread_name" and e["args"]["name"] == "locker" for e in events), events)
        check(any(e["ph"] == "X" for e in events), "no slices")
        page = subprocess.run([CTL, "report", path], capture_output=True, text=True, timeout=PATIENCE)
        contains(page.stdout, "locker", "the report")
        with open(path + ".spool", "r+b") as file:
            file.truncate(os.path.getsize(path + ".spool") - 11)
        json.loads(convert(path + ".spool"))


def test_convert_bears_any_garbage():
    random.seed(11)
    with place() as where:
        path = where + "/trace"
        with Run([f"--trace={path}"], [program("ticks")]) as run:
            until(lambda: os.path.getsize(path + ".spool") > 4000, "records")
            run.kill(signal.SIGKILL)
            run.finish()
        with open(path + ".spool", "rb") as file:
            whole = file.read(20000)
        for _ in range(30):
            text = bytearray(whole)
            for _ in range(random.choice((1, 5, 50))):
                text[random.randrange(16, len(text))] = random.randrange(256)
            with open(path + ".spool", "wb") as file:
                file.write(text)
            json.loads(convert(path))
        with open(path + ".spool", "wb") as file:
            file.write(b"garbage" * 9)
        contains(convert(path, 1), "there is no trace in it", "the error")


def test_a_finished_trace_needs_no_converting():
    with place() as where:
        with Run([f"--trace={where}/trace"], [program("turns")]) as run:
            check(run.finish() == 0, run.stderr())
        check(os.listdir(where) == ["trace"], os.listdir(where))
        contains(convert(where + "/trace", 1), "is JSON already", "the error")


def test_a_trace_goes_on_in_a_new_file():
    with place() as where:
        path = where + "/trace"
        with Run([f"--trace={path}", "--trace-size=64K"], [program("many"), "3", "churn"]) as run:
            until(lambda: os.path.exists(path + ".1.spool"), "the second file")
            run.process.stdin.close()
            check(run.finish() == 0, run.stderr())
        check(sorted(os.listdir(where)) == ["trace", "trace.1"], os.listdir(where))
        older, newer = (json.load(open(name)) for name in (path + ".1", path))
        ends = [max((e["ts"] + e["dur"] for e in part if e["ph"] == "X"), default=None)
                for part in (older, newer)]
        check(ends[0] and (not ends[1] or ends[0] < ends[1]), f"the newer one ends earlier: {ends}")
        for part in (older, newer):
            named = {e["tid"] for e in part if e["name"] == "thread_name"}
            check(named >= set(lanes(part)), f"nameless: {set(lanes(part)) - named}")
        check(os.path.getsize(path + ".1") < 12_000_000, "it is longer than was asked for")


def test_a_trace_that_is_paused_lacks_that_time():
    with place() as where, tempfile.TemporaryDirectory(prefix="libgreen-runtime-") as runtime:
        env = {**os.environ, "XDG_RUNTIME_DIR": runtime}

        def ctl(word):
            done = subprocess.run([CTL, str(run.pid), "trace", word], env=env, timeout=PATIENCE,
                                  capture_output=True)
            check(done.returncode == 0, f"trace {word}: {done.stderr}")

        with Run([f"--trace={where}/trace", "--control"], [program("ticks")],
                 env={"XDG_RUNTIME_DIR": runtime}) as run:
            until(lambda: os.path.exists(f"{runtime}/libgreen/{run.pid}"), "the socket")
            until(lambda: os.path.getsize(where + "/trace.spool") > 400, "records before")
            ctl("off")
            off = time.monotonic()
            time.sleep(0.2)
            size, on = os.path.getsize(where + "/trace.spool"), time.monotonic()
            ctl("on")
            until(lambda: os.path.getsize(where + "/trace.spool") > size + 300, "records afterwards")
            run.process.stdin.close()
            check(run.finish() == 0, run.stderr())
        slices = [(e["ts"] / 1e6, (e["ts"] + e["dur"]) / 1e6) for e in json.load(open(where + "/trace"))
                  if e["ph"] == "X"]
        check(not [s for s in slices if s[0] < on and s[1] > off], "there is something of the pause")
        check(min(slices)[0] < off and max(slices)[0] > on, "there is nothing before it, or after")


def test_a_forked_child_has_a_trace_of_its_own():
    with place() as where:
        with Run([f"--trace={where}/trace"], [program("forks")]) as run:
            child = int(run.line())
            until(lambda: os.path.exists(f"{where}/trace.{child}.spool"), "the child's")
            until(lambda: os.path.getsize(f"{where}/trace.spool") > 300, "the parent's records")
            run.kill(signal.SIGKILL)
            run.finish()
            until(lambda: not os.path.exists(f"{where}/trace.{child}.spool"), "the end of the child's")
        events = json.load(open(f"{where}/trace.{child}"))
        check({e["pid"] for e in events} == {child}, "process ids")
        check(any(e["ph"] == "X" for e in json.loads(convert(where + "/trace"))), "the parent's has no slices")


def test_a_file_that_another_process_writes_is_left_to_it():
    with place() as where:
        with Run([f"--trace={where}/trace"], [program("waits"), "5"]) as run:
            until(lambda: os.path.exists(f"{where}/trace.spool"), "the spool")
            with Run([f"--trace={where}/trace"], [program("turns")]) as other:
                check(other.finish() == 0, other.stderr())
                whole(json.load(open(f"{where}/trace.{other.pid}")))
            run.process.stdin.close()
            check(run.finish() == 0, run.stderr())
        check(any(e["ph"] == "X" for e in json.load(open(where + "/trace"))), "no slices")


def refused(path, why):
    with Run([f"--trace={path}"], [program("turns")]) as run:
        check(run.finish() == 0, "exit status")
        contains(run.stderr(), why, "stderr")
        check(run.stderr().count("\n") == 2, run.stderr())


def test_a_file_that_cannot_be_opened():
    refused("/nonexistent/trace", "cannot be opened")


def test_what_is_no_file_is_left_alone():
    refused("/dev/full", "cannot be opened")
    with place() as where:
        os.symlink(where + "/elsewhere", where + "/link")
        refused(where + "/link", "cannot be opened")
        os.mkfifo(where + "/fifo")
        refused(where + "/fifo", "cannot be opened")
        check(sorted(os.listdir(where)) == ["fifo", "link"], os.listdir(where))


@contextlib.contextmanager
def small_disk(size):
    """A file system with room for that much."""
    with place() as where:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", where], check=True)
        try:
            yield where
        finally:
            subprocess.run(["umount", "-l", where], check=True)


def can_mount():
    if os.geteuid() != 0:
        return False
    try:
        with small_disk("64k"):
            return True
    except subprocess.CalledProcessError:
        return False


if can_mount():
    def test_a_disk_that_is_full_at_once():
        with small_disk("8k") as where:
            with open(where + "/other", "wb") as file:
                file.write(bytes(8192))
            refused(where + "/trace", "is the disk full?")

    def test_a_disk_that_gets_full():
        with small_disk("64k") as where:
            with Run([f"--trace={where}/trace"], [program("turns"), "5000"]) as run:
                check(run.finish() == 0, "exit status")
                contains(run.stderr(), "tracing has ended; the program goes on", "stderr")
                contains(run.stderr(), "greenctl convert", "stderr")
            check(any(e["ph"] == "X" for e in json.loads(convert(where + "/trace"))), "no slices")

    def test_a_disk_that_is_full_at_the_end():
        with small_disk("128k") as where:
            with Run([f"--trace={where}/trace"], [program("turns"), "1000"]) as run:
                check(run.finish() == 0, "exit status")
                contains(run.stderr(), "cannot be finished: is the disk full?", "stderr")
            whole(json.loads(convert(where + "/trace")))


def test_report_says_no_to_what_is_no_trace():
    for path in ("/nonexistent", "/dev/null", os.path.abspath(__file__)):
        done = subprocess.run([CTL, "report", path], capture_output=True, text=True, timeout=PATIENCE)
        check(done.returncode == 1 and done.stdout == "" and "hint:" in done.stderr, done)

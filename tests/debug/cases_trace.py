"""--trace and greenctl report."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile

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
        for (_, end, _, _), (start, _, _, _) in zip(slices, slices[1:]):
            check(start >= end - 0.002, f"{name}: slices overlap: {slices}")
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


def test_a_file_that_cannot_be_opened():
    with Run(["--trace=/nonexistent/trace"], [program("turns")]) as run:
        check(run.finish() == 0, "exit status")
        contains(run.stderr(), "cannot be opened", "stderr")
        check(run.stderr().count("\n") == 2, run.stderr())


def test_a_full_disk():
    with Run(["--trace=/dev/full"], [program("turns")]) as run:
        check(run.finish() == 0, "exit status")
        contains(run.stderr(), "is the disk full?", "stderr")


def test_report_says_no_to_what_is_no_trace():
    for path in ("/nonexistent", "/dev/null", os.path.abspath(__file__)):
        done = subprocess.run([CTL, "report", path], capture_output=True, text=True, timeout=PATIENCE)
        check(done.returncode == 1 and done.stdout == "" and "hint:" in done.stderr, done)

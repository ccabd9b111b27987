"""The static probes, as tracers find them; and --stats=json."""

import json
import os
import re
import subprocess

from kit import BUILD, PATIENCE, Run, check, program


def test_every_probe_is_noted_in_the_library():
    notes = subprocess.run(["readelf", "-n", os.path.join(BUILD, "libgreen.so")], capture_output=True,
                           text=True, timeout=PATIENCE).stdout
    found = set(re.findall(r"Provider: libgreen\s+Name: (\w+)", notes))
    check(found == {"create", "switch", "park", "unpark", "handoff", "exit"}, f"{found}")


def test_stats_as_json_has_every_counter():
    with Run(["--stats=json"], [program("turns")]) as run:
        check(run.finish() == 0, "exit status")
        stats = json.loads(run.stderr())
        for name in ("green_threads", "at_most_at_once", "switches", "parks", "polls", "handoffs",
                     "detaches", "rejoins", "offloads", "OS_threads_at_most", "hubs", "alive_at_exit"):
            check(isinstance(stats.get(name), int), f"{name} in {stats}")
        check(stats["green_threads"] == 4 and stats["calls"]["pthread_create"] == 3, f"{stats}")


RESETS = """
import socket, struct, threading
listener = socket.create_server(("127.0.0.1", 0), backlog=100)
def reset():
    for _ in range(10):
        s = socket.create_connection(listener.getsockname())
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.sendall(b"lost")
        s.close()
        listener.accept()[0].close()
threads = [threading.Thread(target=reset) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
"""


def test_a_close_that_resets_waits_for_nothing_and_takes_no_carrier():
    with Run(["--stats=json"], ["/usr/bin/python3", "-c", RESETS], ready=False) as run:
        check(run.finish() == 0, "exit status")
        stats = json.loads(run.stderr())
        check(stats["handoffs"] == 0, f"{stats}")

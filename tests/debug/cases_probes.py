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

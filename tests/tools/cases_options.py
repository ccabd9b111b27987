"""The command line."""

import os
import subprocess

from kit import BUILD, TOP, check, contains, equal

GREEN = """
#include <stdio.h>
#include <string.h>
extern char **environ;
int main(void)
{
    for (char **at = environ; *at != NULL; at++)
        if (strncmp(*at, "GREEN_", 6) == 0)
            puts(*at);
    return 7;
}
"""


def exported(place, *words, **how):
    place.compile("green", GREEN)
    result = place.run(*words, "./green", **how)
    equal((result.returncode, result.stderr), (7, "loaded\n"), "exit status, stderr")
    return sorted(result.stdout.split("\n")[:-1])


def listed(place):
    """--list-options as dictionaries."""
    names = ("name", "value", "words", "default", "variable", "help")
    result = place.run("--list-options")
    return [dict(zip(names, line.split("\t"))) for line in result.stdout.split("\n")[:-1]]


def test_nothing_is_exported_that_was_not_asked_for(place):
    equal(exported(place), [], "variables")


def test_every_option_reaches_its_variable(place):
    values = {"patch": "os,time", "no-patch": "time", "stack-size": "64K", "carriers": "auto",
              "handoff": "25", "max-carriers": "100", "offload-threads": "3", "file-io": "offload",
              "dns": "native", "children": "off", "bind": "recv", "dump-signal": "USR1",
              "dump-file": "/tmp/dump", "trace": "-", "trace-size": "1M"}
    for row in listed(place):
        if not row["variable"]:
            continue
        if row["value"].startswith("?"):
            bare = {"detect-blocking": "100", "on-deadlock": "report"}.get(row["name"], "1")
            equal(exported(place, "--" + row["name"]), [f"{row['variable']}={bare}"], row["name"])
            continue
        value = values.get(row["name"]) or (row["words"].split("|")[-1] if row["words"]
                                            else row["default"])
        wanted = [f"{row['variable']}={value}"]
        equal(exported(place, f"--{row['name']}={value}"), wanted, row["name"])
        equal(exported(place, f"--{row['name']}", value), wanted, row["name"])


def test_options_listed_are_those_promised(place):
    found = {row["name"] for row in listed(place)}
    promised = set("patch no-patch stack-size carriers strict handoff max-carriers offload-threads stats "
                   "file-io dns children dump-signal dump-file detect-blocking on-deadlock control "
                   "trace trace-size warn-multiple-readers bind lib list-patches check doctor help version "
                   "list-options".split())
    check(promised <= found, f"not listed: {promised - found}")


def test_last_one_counts_but_lists_add_up(place):
    equal(exported(place, "--handoff=1", "--handoff=2"), ["GREEN_HANDOFF=2"], "handoff")
    equal(exported(place, "--patch=os", "--patch", "time,os"), ["GREEN_PATCH=os,time,os"], "patch")
    equal(exported(place, "--bind=recv", "--bind=read"), ["GREEN_BIND=recv,read"], "bind")


def test_what_was_set_by_hand_stays_unless_an_option_says_otherwise(place):
    by_hand = {"GREEN_HANDOFF": "5", "GREEN_PATCH": "os"}
    equal(exported(place, env=by_hand), ["GREEN_HANDOFF=5", "GREEN_PATCH=os"], "variables")
    equal(exported(place, "--handoff=6", "--patch=time", env=by_hand),
          ["GREEN_HANDOFF=6", "GREEN_PATCH=time"], "variables")


def test_stats_takes_a_value_only_behind_an_equals_sign(place):
    equal(exported(place, "--stats=json"), ["GREEN_STATS=json"], "stats")
    place.refused(127, "json: not found", "--stats", "json")
    place.refused(2, "not one of 0, 1, json", "--stats=xml", "./hello")


def test_double_dash_ends_the_options(place):
    place.refused(127, "--stats: not found", "--", "--stats")


def test_options_behind_the_command_are_its_own(place):
    place.refused(127, "nothing: not found", "nothing", "--no-such-option")


def test_unknown_options_are_usage_errors(place):
    for word in ("--no-such-option", "--no-such-option=3", "-x", "-strict", "--Strict", "--strictly",
                 "--=3", "--stat"):
        place.refused(2, f"{word}: no such option", word, "./hello")
    result = place.run("--stack-sise=3", "./hello")
    contains(result.stderr, "did you mean --stack-size?", "stderr")


def test_missing_values_and_commands_are_usage_errors(place):
    place.refused(2, "no command", "--strict")
    place.refused(2, "no command")
    place.refused(2, "no command", "--")
    place.refused(2, "no command", "--check")
    place.refused(2, "--handoff: it needs a value", "--handoff")
    place.refused(2, "--handoff: it needs a value", "--handoff=", "./hello")
    place.refused(2, "--lib: it needs a value", "--lib=", "./hello")
    place.refused(2, "--help: it takes no value", "--help=3")


def test_bad_values_are_usage_errors(place):
    bad = {
        "handoff": ("x", "-1", "1.5", "60001", "99999999999999999999999999", "18446744073709551621", " 1", "1 ", "0x10", "1ms"),
        "carriers": ("0", "257", "Auto", "-1", "all"),
        "max-carriers": ("0", "1000001", "auto"),
        "offload-threads": ("0", "none"),
        "stack-size": ("0", "16383", "15K", "65G", "1T", "K", "64KB", "18446744073709551616",
                       "18014398509482048K", "1e6", "-64K"),
        "patch": ("foo", "os,", ",os", "os,,time", "os time", "OS", "all", "loader"),
        "no-patch": ("foo",),
        "strict": ("yes", "2"),
        "file-io": ("Direct", "direct,offload", "direct|offload", ""),
        "dns": ("ares",),
        "children": ("on",),
        "dump-signal": ("KILL", "9", "SIGSTOP", "32", "33", "65", "-1", "FOO", "SIG", "RTMIN+31",
                        "RTMAX-31", "RTMIN-1", "RTMAX+1", "RTMIN+", "usr1", "RTMINX"),
        "bind": ("a b", "recv,", ",recv", "recv,,read", "recv;read"),
    }
    for name, values in bad.items():
        for value in values:
            place.refused(2, f"--{name}", f"--{name}={value}", "./hello")


def test_good_values_are_taken(place):
    good = {
        "handoff": ("0", "60000", "007"),
        "carriers": ("1", "256", "auto"),
        "stack-size": ("16K", "16384", "64g", "1m"),
        "dump-signal": ("USR1", "SIGUSR1", "10", "64", "34", "RTMIN", "SIGRTMIN+3", "RTMAX-2", "RTMAX",
                        "0", "SEGV", "POLL", "INT"),
        "patch": ("os", "os,socket,thread"),
    }
    for name, values in good.items():
        for value in values:
            place.started(f"--{name}={value}", "./hello")


def test_unknown_group_names_the_groups(place):
    result = place.run("--patch=os,foo", "./hello")
    contains(result.stderr, 'no patch group "foo"', "stderr")
    contains(result.stderr, "os, select, socket, thread, time", "stderr")
    check("loader" not in result.stderr, "loader is no group to choose")


def test_unknown_symbol_is_a_usage_error(place):
    place.refused(2, "patches no function nonesuch", "--bind=recv,nonesuch", "./hello")


def test_bad_variables_set_by_hand_are_found_before_the_start(place):
    place.refused(2, "GREEN_HANDOFF=x: not a number of milliseconds", "./hello",
                  env={"GREEN_HANDOFF": "x"})
    place.started("./hello", env={"GREEN_HANDOFF": "", "GREEN_UNKNOWN": "x"})
    place.started("--handoff=3", "./hello", env={"GREEN_HANDOFF": "x"})


def test_help_fits_a_terminal_and_names_every_option(place):
    for word in ("--help", "-h"):
        result = place.run(word, env={"GREEN_HANDOFF": "x"})
        equal((result.returncode, result.stderr), (0, ""), "exit status, stderr")
        for row in listed(place):
            contains(result.stdout, "  --" + row["name"], "--help")
        long = [line for line in result.stdout.split("\n") if len(line) > 86]
        equal(long, [], "long lines")


def test_version(place):
    import os
    with open(os.path.join(TOP, "VERSION"), encoding="utf-8") as file:
        version = file.read().strip()
    for word in ("--version", "-V"):
        equal(place.run(word).stdout, f"eventlet-run {version}\n", "stdout")


def test_output_that_cannot_be_written_is_an_error(place):
    with open("/dev/full", "w", encoding="utf-8") as full:
        result = subprocess.run([place.tool, "--help"], stdout=full, stderr=subprocess.PIPE, text=True,
                                check=False)
    equal(result.returncode, 125, "exit status")
    contains(result.stderr, "cannot write", "stderr")


def test_patches_are_listed(place):
    lines = place.run("--list-patches").stdout.split("\n")
    equal(lines[0].split(), ["GROUP", "SYMBOL", "KIND", "WHY"], "first line")
    rows = [line.split(None, 3) for line in lines[1:-1]]
    with open(f"{BUILD}/gen/exports.list", encoding="utf-8") as file:
        exported_names = {line.split()[0] for line in file}
    equal({row[1] for row in rows} ^ exported_names, set(), "in one list only")
    for row in rows:
        check(len(row) == 4 and row[2] in ("waits", "books", "passes"), f"not a row: {row}")
    check(["socket", "recv", "waits"] in [row[:3] for row in rows], "recv is not listed")

"""What the library makes of its environment (preload/config.c)."""

import os
import subprocess

from kit import BUILD, HERE, TOP, check, contains, equal


def probe(place, *words, **variables):
    program = place.file("probe")
    if not os.path.exists(program):
        place.compile("probe", os.path.join(HERE, "config_probe.c"), os.path.join(TOP, "preload/config.c"),
                      f"{BUILD}/gen/patch_names.c", "-D_GNU_SOURCE", f"-I{TOP}", f"-I{BUILD}")
    return subprocess.run([program, *words], env=variables, capture_output=True, text=True, check=False)


def fields(place, *words, **variables):
    result = probe(place, *words, **variables)
    equal((result.returncode, result.stderr), (7, ""), f"exit status and stderr with {variables}")
    return dict((line + " ").split(" ", 1) for line in result.stdout.split("\n")[:-1])


DEFAULTS = {"stack_size": "0", "carriers": "1", "strict": "0", "handoff": "10000000",
            "max_carriers": "10000", "offload_threads": "32", "file_io": "0", "dns": "0",
            "children": "0", "dump_signal": "0", "stats": "0", "bind": ""}


def but(place, wanted, **variables):
    """Every field as by default, but for `wanted`."""
    found = {name: value.strip() for name, value in fields(place, **variables).items()}
    groups = set(found.pop("patch").split())
    equal(found, {**DEFAULTS, **wanted}, f"fields with {variables}")
    return groups


def test_defaults(place):
    groups = but(place, {})
    check({"os", "select", "socket", "thread", "time", "loader"} <= groups, f"groups are {groups}")
    but(place, {}, GREEN_HANDOFF="", GREEN_PATCH="", GREEN_UNKNOWN="1", GREEN_HANDOFFS="3", XGREEN_HANDOFF="3")


def test_each_variable(place):
    but(place, {"stack_size": "65536"}, GREEN_STACK_SIZE="64K")
    but(place, {"stack_size": "65536"}, GREEN_STACK_SIZE="65536")
    but(place, {"stack_size": str(3 << 20)}, GREEN_STACK_SIZE="3m")
    but(place, {"stack_size": str(64 << 30)}, GREEN_STACK_SIZE="64G")
    but(place, {"carriers": "0"}, GREEN_CARRIERS="auto")
    but(place, {"carriers": "8"}, GREEN_CARRIERS="8")
    but(place, {"strict": "1"}, GREEN_STRICT="1")
    but(place, {}, GREEN_STRICT="0")
    but(place, {"handoff": "0"}, GREEN_HANDOFF="0")
    but(place, {"handoff": "60000000000"}, GREEN_HANDOFF="60000")
    but(place, {"max_carriers": "5"}, GREEN_MAX_CARRIERS="5")
    but(place, {"offload_threads": "5"}, GREEN_OFFLOAD_THREADS="5")
    but(place, {"file_io": "1"}, GREEN_FILE_IO="offload")
    but(place, {"dns": "1"}, GREEN_DNS="offload")
    but(place, {"dns": "2"}, GREEN_DNS="native")
    but(place, {"children": "1"}, GREEN_CHILDREN="off")
    but(place, {"stats": "1"}, GREEN_STATS="1")
    but(place, {"stats": "2"}, GREEN_STATS="json")
    but(place, {"bind": "recv,read"}, GREEN_BIND="recv,read")
    for name, number in (("USR1", 10), ("SIGUSR2", 12), ("RTMIN", 34), ("RTMIN+3", 37), ("RTMAX", 64),
                         ("RTMAX-30", 34), ("15", 15), ("SIGRTMAX-1", 63)):
        but(place, {"dump_signal": str(number)}, GREEN_DUMP_SIGNAL=name)


def test_groups(place):
    everything = but(place, {})
    equal(but(place, {}, GREEN_PATCH="os,time"), {"os", "time", "loader"}, "groups")
    equal(but(place, {}, GREEN_NO_PATCH="os,time"), everything - {"os", "time"}, "groups")
    equal(but(place, {}, GREEN_PATCH="os,time", GREEN_NO_PATCH="time"), {"os", "loader"}, "groups")


def test_first_of_two_variables_counts(place):
    probe(place)
    result = subprocess.run(
        ["/usr/bin/python3", "-c",
         "import ctypes, sys\nlibc = ctypes.CDLL(None)\n"
         "vector = lambda *words: (ctypes.c_char_p * (len(words) + 1))(*words)\n"
         "libc.execve(sys.argv[1].encode(), vector(b'probe'),"
         " vector(b'GREEN_HANDOFF=3', b'GREEN_HANDOFF=4'))", place.file("probe")],
        capture_output=True, text=True, check=False)
    contains(result.stdout, "handoff 3000000\n", "fields")


def test_privileged_process_takes_nothing_from_the_environment(place):
    found = fields(place, "secure", GREEN_HANDOFF="3", GREEN_PATCH="os", GREEN_STACK_SIZE="rubbish")
    equal((found["handoff"].strip(), found["stack_size"].strip()), ("10000000", "0"), "fields")
    check("time" in found["patch"], "groups were left out")


def test_bad_values_end_the_process_with_two_lines(place):
    for name, value, what in (
            ("GREEN_HANDOFF", "x", "GREEN_HANDOFF=x: not a number of milliseconds from 0 to 60000"),
            ("GREEN_STACK_SIZE", "15K", "GREEN_STACK_SIZE=15K: not a size from 16K to 64G"),
            ("GREEN_CARRIERS", "0", "GREEN_CARRIERS=0: neither auto nor a number from 1 to 256"),
            ("GREEN_PATCH", "os,foo", 'there is no patch group "foo"; the groups are os, '),
            ("GREEN_DNS", "x", "GREEN_DNS=x: not one of cares, offload, native"),
            ("GREEN_BIND", "a b", "not a list of function names"),
            ("GREEN_BIND", "a," * 600 + "a", "the list is longer than 1023 bytes"),
            ("GREEN_DUMP_SIGNAL", "KILL", "not a signal that can be caught"),
            ("GREEN_STRICT", "a\nb\033", "GREEN_STRICT=a?b?: not one of 0, 1"),
            ("GREEN_PATCH", "x" * 100000, "no patch group")):
        result = probe(place, **{name: value})
        lines = result.stderr.split("\n")
        equal((result.returncode, result.stdout), (125, ""), f"exit status, stdout with {name}={value[:99]}")
        check(len(lines) == 3 and lines[2] == "" and lines[0].startswith("libgreen: ") and
              lines[1].startswith("hint: unset " + name), f"not two lines: {result.stderr!r}")
        contains(lines[0], what, "first line")


def test_config_calls_nothing_of_libc(place):
    """But for what compilers make of loops, which is in libc's code alone."""
    place.compile("config.o", os.path.join(TOP, "preload/config.c"), "-c", "-O2", "-fPIC", "-D_GNU_SOURCE",
                  "-fno-stack-protector", f"-I{TOP}", f"-I{BUILD}")
    found = subprocess.run(["nm", "-u", place.file("config.o")], capture_output=True, text=True, check=True)
    names = {line.split()[-1] for line in found.stdout.split("\n") if line}
    check(names <= {"patch_group_name", "memset", "memcpy", "strlen", "_GLOBAL_OFFSET_TABLE_"}, f"it needs {names}")


def test_library_itself_refuses_bad_values(place):
    result = subprocess.run(["/bin/true"], capture_output=True, text=True, check=False,
                            env={"LD_PRELOAD": f"{BUILD}/libgreen.so", "GREEN_HANDOFF": "x"})
    equal(result.returncode, 125, f"exit status (stderr {result.stderr!r})")
    contains(result.stderr, "libgreen: GREEN_HANDOFF=x: not a number", "stderr")

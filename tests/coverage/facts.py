"""What the coverage checks compare: the tables, what was built from them, and the libc that runs here."""

import functools
import glob
import os
import re
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "..", ".."))
BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(TOP, "build"))
LIBRARY = os.path.join(BUILD, "libgreen.so")
LAYERS = ("coro", "hub", "hub/debug", "preload")


def text_of(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def output_of(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          encoding="utf-8", timeout=120).stdout


class Row:
    """A line of exports.list. Of a twin, kind is TWIN and row the name of the row it stands for."""

    def __init__(self, name, row, group, kind):
        self.name, self.row, self.group, self.kind = name, row, group, kind


@functools.cache
def rows():
    lines = text_of(BUILD, "gen", "exports.list").splitlines()
    return {line.split()[0]: Row(*line.split()) for line in lines}


def symbols_defined(path):
    """Name -> address, of what an object offers to others; versions are left out, and so are the marks of versions."""
    found = {}
    for line in output_of("nm", "-D", "--defined-only", path).splitlines():
        address, kind, name = line.split()
        if kind != "A":
            found[name.split("@")[0]] = address
    return found


def symbols_undefined(path, *options):
    """Names that an object or an archive takes from others, weak ones left out."""
    names = set()
    for line in output_of("nm", "-u", *options, path).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "U":
            names.add(words[1].split("@")[0])
    return names


def running(name):
    """The file of a library that this very process runs on, such as libc.so.6."""
    for line in text_of("/proc/self/maps").splitlines():
        path = line.split(maxsplit=5)[-1]
        if re.fullmatch(name, os.path.basename(path)):
            return path
    raise FileNotFoundError(name)


@functools.cache
def libc():
    return symbols_defined(running(r"libc\.so\.6"))


@functools.cache
def loader():
    return symbols_defined(running(r"ld-linux.*"))


@functools.cache
def exempt():
    """patch-tables/exempt: name -> reason. A reason begins a line, and its names follow on indented lines."""
    reasons, reason, open_reason = {}, "", False
    for line in text_of(TOP, "patch-tables", "exempt").splitlines():
        if not line.strip() or line.startswith("#"):
            reason, open_reason = "", False
        elif not line[0].isspace():
            reason = reason + " " + line.strip() if open_reason else line.strip()
            open_reason = True
        else:
            open_reason = False
            for name in line.split():
                if name in reasons:
                    raise ValueError(f"patch-tables/exempt names {name} twice")
                reasons[name] = reason
    return reasons


def decided(name):
    return name in rows() or name in exempt()


@functools.cache
def blocking():
    """The functions of libc that can block, as tools/blocking.def lists them for eventlet-run --check."""
    return re.findall(r"^BLOCKS\(\s*\w+,\s*(\w+),", text_of(TOP, "tools", "blocking.def"), re.M)


@functools.cache
def options():
    """(field, option, variable) of each row of preload/options.def."""
    return re.findall(r'^OPTION\((\w+),\s*"([\w-]+)",\s*"(\w+)"', text_of(TOP, "preload", "options.def"), re.M)


def objects():
    """Everything that is linked into libgreen.so."""
    found = []
    for directory in LAYERS + ("gen",):
        found += glob.glob(os.path.join(BUILD, directory, "*.o"))
    return sorted(set(found) - {os.path.join(BUILD, "gen", "prototypes.o")}) + [
        os.path.join(BUILD, archive) for archive in ("libev.a", "libcares.a")]


def code_of(path):
    """A C file's code: no comments, strings or includes. A name given by __asm__("NAME") counts as code."""
    text = re.sub(r'__asm__\("(\w+)"\)', r"\1", text_of(path))
    text = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', " ", text, flags=re.S)
    return re.sub(r"^\s*#\s*include.*$", "", text, flags=re.M)


@functools.cache
def words_tested():
    """Every name in the code of the programs that are run under libgreen."""
    words = set()
    for directory in ("conformance", "dns", "smoke", "stress", "bench"):
        for path in glob.glob(os.path.join(TOP, "tests", directory, "**", "*"), recursive=True):
            if path.endswith((".c", ".cc", ".h")):
                words |= set(re.findall(r"[A-Za-z_]\w*", code_of(path)))
    return words


def library_code():
    """path -> code of the library's own sources."""
    return {path: code_of(path) for directory in LAYERS
            for path in sorted(glob.glob(os.path.join(TOP, directory, "*.[ch]")))}

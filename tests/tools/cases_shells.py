"""Shell completions and the manual page name every option."""

import os
import re
import subprocess

from cases_options import listed
from cases_targets import needs
from kit import BUILD, TOP, check, contains, equal

COMPLETIONS = os.path.join(TOP, "tools/completions")


def shell(place, *words):
    result = subprocess.run(words, capture_output=True, text=True, cwd=place.path, check=False, timeout=60,
                            env={**os.environ, "PATH": place.file("bin") + ":" + os.environ["PATH"],
                                 "HOME": place.path})
    equal(result.stderr, "", "stderr")
    return result.stdout


def names(place):
    return {row["name"] for row in listed(place)}


def bash(place, *words):
    return shell(place, "bash", "--norc", "-c",
                 f"source {COMPLETIONS}/bash/eventlet-run; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); "
                 "_eventlet_run eventlet-run; printf '%s\\n' \"${COMPREPLY[@]}\"", "bash", *words).split("\n")[:-1]


@needs("bash")
def test_bash_names_every_option(place):
    equal({name.strip("-=") for name in bash(place, "eventlet-run", "--")}, names(place), "options")


@needs("bash")
def test_bash_names_words_groups_and_commands(place):
    for words, wanted in (
            ("--dns = ", ["cares", "offload", "native"]), ("--dns = o", ["offload"]), ("--dns n", ["native"]),
            ("--stats = j", ["json"]), ("--patch = os,t", ["os,thread", "os,time"]),
            ("--bind recvm", ["recvmsg", "recvmmsg"]), ("--dump-signal = USR", ["USR1", "USR2"]),
            ("--strict --handoff 3 whoa", ["whoami"]), ("--handoff = 3 whoa", ["whoami"]),
            ("--stats whoa", ["whoami"]), ("-- whoa", ["whoami"]), ("--lib ./hel", ["./hello", "./hello.c"]),
            ("hello ./hel", ["./hello", "./hello.c"])):
        found = bash(place, "eventlet-run", *words.split(" "))
        equal(sorted(set(found)), sorted(wanted), words)


@needs("zsh")
def test_zsh_names_every_option(place):
    """What it hands to _arguments; the rest is zsh's."""
    specs = shell(place, "zsh", "-f", "-c",
                  "_arguments() { print -l -- $@ }; _call_program() { shift; $@ }; words=(eventlet-run);"
                  f"source {COMPLETIONS}/zsh/_eventlet-run").split("\n")
    found = {re.match(r"\*?--([a-z-]+?)(=-?)?\[", spec)[1]: spec for spec in specs if "--" in spec[:3]}
    equal(set(found), names(place), "options")
    contains(found["dns"], ":WAY:(cares offload native)", "dns")
    contains(found["stats"], "=-[", "stats")
    contains(found["patch"], "group os select", "patch")
    check(any(spec.startswith("(-)1:command") for spec in specs), "no command")


@needs("fish")
def test_fish_names_every_option(place):
    def fish(line):
        text = shell(place, "fish", "-N", "-c",
                     f"source {COMPLETIONS}/fish/eventlet-run.fish; complete -C 'eventlet-run {line}'")
        return {row.split("\t")[0] for row in text.split("\n")[:-1]}

    equal({name.strip("-=") for name in fish("--")}, names(place), "options")
    equal(fish("--dns="), {"--dns=cares", "--dns=offload", "--dns=native"}, "words")
    equal(fish("--patch=os,t"), {"--patch=os,thread", "--patch=os,time"}, "groups")
    equal(fish("--stats=j"), {"--stats=json"}, "words that may be left out")
    equal(fish("--strict --handoff 3 whoa"), {"whoami"}, "commands")


def page():
    with open(f"{BUILD}/man/eventlet-run.1", encoding="utf-8") as file:
        return file.read()


def test_manual_page_names_every_option_and_variable(place):
    text = page()
    for row in listed(place):
        contains(text, f".It Fl -{row['name']}", "page")
        if row["variable"]:
            contains(text, f".It Ev {row['variable']}\n", "page")
    check("@" not in re.sub(r".*\.def.*", "", text), "a list was not filled in")


@needs("mandoc")
def test_manual_page_is_well_formed(place):
    path = place.write("eventlet-run.1", page())
    result = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True, text=True, check=False)
    equal((result.stdout, result.returncode), ("", 0), "mandoc -Tlint")

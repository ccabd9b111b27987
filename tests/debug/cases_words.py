"""greenctl's manual page and completions name every command."""

import os
import re
import subprocess

from kit import BUILD, PATIENCE, TOP, check, contains

CTL = os.path.join(BUILD, "greenctl")
COMPLETIONS = os.path.join(TOP, "tools", "completions")


def commands():
    text = subprocess.run([CTL, "help"], capture_output=True, text=True, timeout=PATIENCE).stdout
    found = re.findall(r"^  ([a-z]+)\b", text.split("Commands:")[1], re.M)
    check("ps" in found and "log" in found, text)
    return [word for word in found if word not in ("help", "version")]


def shell(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE,
                          env={**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}"})
    check(done.returncode == 0, done.stderr)
    return done.stdout.split()


def test_the_manual_page_names_every_command():
    with open(os.path.join(TOP, "man", "greenctl.1")) as file:
        page = file.read()
    for word in commands():
        check(re.search(rf"^\.It Cm {word}\b", page, re.M), f"{word} is not in greenctl(1)")


def test_the_manual_page_is_clean():
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning",
                           os.path.join(TOP, "man", "greenctl.1")], capture_output=True, text=True,
                          timeout=PATIENCE)
    check(done.stdout == "", done.stdout)


test_the_manual_page_is_clean.needs = ["mandoc"]


def test_bash_completes_every_command():
    found = shell("bash", "-c", f". {COMPLETIONS}/bash/greenctl; COMP_WORDS=(greenctl 1 ''); COMP_CWORD=2;"
                  "_greenctl; echo ${COMPREPLY[@]}")
    check(sorted(found) == sorted(commands()), f"{found}")


def test_zsh_completes_every_command():
    found = shell("zsh", "-f", "-c", "compadd() { print -l -- $@ }; words=(greenctl 1 ''); CURRENT=3;"
                  f"source {COMPLETIONS}/zsh/_greenctl")
    check(sorted(found) == sorted(commands()), f"{found}")


test_zsh_completes_every_command.needs = ["zsh"]


def test_fish_completes_every_command():
    found = shell("fish", "--no-config", "-c",
                  f"source {COMPLETIONS}/fish/greenctl.fish; complete -C 'greenctl 1 '")
    check(sorted(found) == sorted(commands()), f"{found}")


test_fish_completes_every_command.needs = ["fish"]

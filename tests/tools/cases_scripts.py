"""Scripts: eventlet-run looks at what runs in the end."""

import os
import subprocess

from kit import HELLO, contains, equal, nobody


def test_script_is_started_with_its_interpreter_preloaded(place):
    place.script("script", "#!/bin/sh\necho hello\nexit 7\n")
    place.started("./script")
    place.started("script", env={"PATH": place.path})
    place.started("./script", user=nobody())


def test_script_sees_its_arguments(place):
    place.script("script", '#!/bin/sh -f\nprintf "%s|" "$-" "$0" "$@"\nexit 7\n')
    place.started("./script", "a b", "*", stdout="f|./script|a b|*|")


def test_script_without_first_line_goes_to_the_shell(place):
    place.script("bare", 'echo "$0 $1"\nexit 7\n')
    place.started("./bare", "x", stdout="./bare x\n")
    place.script("empty", "")
    place.started("./empty", stdout="", code=0)


def test_missing_interpreter_is_127(place):
    place.script("script", "#!/no/such/interpreter\n")
    place.refused(127, "interpreter /no/such/interpreter does not exist", "./script")
    place.script("crlf", "#!/bin/sh\r\necho\n")
    place.refused(127, "interpreter /bin/sh\\015 does not exist", "./crlf")


def test_unexecutable_interpreter_is_126(place):
    place.write("interpreter", "x")
    place.script("script", f"#!{place.file('interpreter')}\n")
    place.refused(126, "not executable", "./script")
    place.script("directory", f"#!{place.path}\n")
    place.refused(126, "it is a directory", "./directory")


def test_interpreters_that_cannot_be_preloaded_are_refused(place):
    static = place.compile("static", HELLO, "-static")
    setuid = place.copy("setuid", place.hello, 0o4755)
    foreign = place.patched("arm", place.hello, {18: b"\xb7\x00"})
    for interpreter, code, what in ((static, 125, "statically linked"), (setuid, 125, "setuid"),
                                    (foreign, 126, "another architecture")):
        place.script("script", f"#!{interpreter}\n")
        place.refused(code, what, "./script")
        place.refused(code, "./script", "./script")
        place.script("outer", f"#! {place.file('script')} x\n")
        place.refused(code, what, "./outer")


def test_setuid_on_a_script_means_nothing(place):
    os.chmod(place.script("script", "#!/bin/sh\necho hello\nexit 7\n"), 0o4755)
    place.started("./script")


def test_nested_scripts_are_followed(place):
    place.script("inner", "#!/bin/sh\necho hello\nexit 7\n")
    place.script("middle", f"#!{place.file('inner')}\n")
    place.script("outer", f"#!{place.file('middle')}\n")
    place.started("./outer")


def test_script_that_runs_itself_is_126(place):
    place.script("self", f"#!{place.file('self')}\n")
    place.refused(126, "too many interpreters", "./self")


def test_env_finds_the_interpreter_in_PATH(place):
    path = {"PATH": place.path + ":/usr/bin:/bin"}
    place.script("script", "#!/usr/bin/env sh\necho hello\nexit 7\n")
    # Once for env, once for what it executes.
    place.started("./script", env=path, stderr="loaded\nloaded\n")
    place.compile("frozen", HELLO, "-static")
    place.script("script", "#!/usr/bin/env frozen\n")
    place.refused(125, "frozen (run by /usr/bin/env (which runs ./script)): it is statically linked",
                  "./script", env=path)
    place.script("script", "#!/usr/bin/env no-such-language\n")
    place.refused(127, "no-such-language", "./script", env=path)


def test_env_splits_its_argument(place):
    path = {"PATH": place.path + ":/usr/bin:/bin"}
    place.compile("frozen", HELLO, "-static")
    for line in ("-S frozen -x", "-vS frozen", "--split-string=frozen x", "-S X=1 frozen",
                 "-S -u Y -i X=1 frozen", '-S "frozen" a', "-S 'frozen'", "-S -S frozen",
                 "-S\\_frozen\\_-x", "-S ${LANGUAGE_HERE} -x", "-S --unset=Y -- frozen", "-iS frozen"):
        place.script("script", f"#!/usr/bin/env {line}\n")
        place.refused(125, "frozen", "./script", env={**path, "LANGUAGE_HERE": "frozen"})
    place.script("script", "#!/usr/bin/env -S sh -f\necho hello $-\nexit 7\n")
    result = place.run("./script", env=path)
    equal((result.returncode, result.stdout), (7, "hello f\n"), "exit status, stdout")


def test_env_that_sets_PATH_looks_there(place):
    os.mkdir(place.file("only"))
    place.compile("only/frozen", HELLO, "-static")
    place.script("script", f"#!/usr/bin/env -S PATH={place.file('only')} frozen\n")
    place.refused(125, "statically linked", "./script")


def test_env_that_nobody_understands_is_started_all_the_same(place):
    place.script("script", "#!/usr/bin/env --version\n")
    result = place.run("./script")
    equal(result.returncode, 0, "exit status")
    contains(result.stdout, "env", "stdout")


def test_env_as_the_command_is_followed_too(place):
    place.compile("static", HELLO, "-static")
    place.refused(125, "statically linked", "env", "A=1", "./static")
    place.refused(127, "no-such-command", "env", "-u", "A", "no-such-command")
    place.started("env", "./hello", stderr="loaded\nloaded\n")


def test_broken_first_lines(place):
    for line in (b"#!\n", b"#!   \n", b"#!\0/bin/sh\n"):
        place.script("script", line + b"exit 7\n")
        # As a shell does: no interpreter is named, so it reads the file itself, unless it is binary.
        if b"\0" in line:
            place.refused(126, "neither a program nor a script", "./script")
        else:
            place.started("./script", stdout="")
    place.script("long", "#!/bin/sh " + "x" * 300 + "\nexit 7\n")
    result = place.run("./long")
    native = subprocess.run(["./long"], cwd=place.path, capture_output=True, check=False)
    equal(result.returncode, native.returncode, "exit status")

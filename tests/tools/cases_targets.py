"""Which programs eventlet-run starts, and which ones it refuses."""

import os
import re
import struct
import subprocess

from kit import HELLO, check, contains, equal, is_root, nobody


def needs(*programs):
    def mark(function):
        function.needs = programs
        return function
    return mark


def root(function):
    function.root = True
    return function


# ---- What is started ---------------------------------------------------------------------------

def test_program_is_started_with_the_library_and_its_exit_status_comes_through(place):
    place.started("./hello")
    place.started("--", "./hello")
    place.started(place.hello)


def test_program_is_found_in_PATH(place):
    place.started("hello", env={"PATH": "/nonexistent:" + place.path})
    place.started("hello", env={"PATH": ""})  # empty means here


def test_first_executable_in_PATH_wins_over_an_unexecutable_one(place):
    place.write("first/hello", "not me")
    place.started("hello", env={"PATH": place.file("first") + ":" + place.path})


def test_arguments_and_argv0_arrive_as_they_were_given(place):
    place.compile("words", '#include <stdio.h>\n'
                  'int main(int n, char **w) { for (int i = 0; i < n; i++) puts(w[i]); return 7; }\n')
    place.started("./words", "--stats", "", "a b", "--", stdout="./words\n--stats\n\na b\n--\n")
    place.started("words", "x", env={"PATH": place.path}, stdout="words\nx\n")


def test_signal_death_shows_as_such(place):
    place.compile("dies", "#include <stdlib.h>\nint main(void) { abort(); }\n")
    equal(place.run("./dies").returncode, -6, "exit status")


def test_user_without_rights_can_start_programs(place):
    place.started("./hello", user=nobody())


def test_static_pie_is_refused_but_pie_and_non_pie_start(place):
    place.compile("fixed", HELLO, "-no-pie")
    place.started("./fixed")
    place.compile("static-pie", HELLO, "-static-pie")
    place.refused(125, "statically linked", "./static-pie")


def test_loader_as_a_program_is_followed(place):
    loader = "/lib64/ld-linux-x86-64.so.2"
    if not os.path.exists(loader):
        return
    place.compile("static", HELLO, "-static")
    # The library's constructor runs once for the program; the loader itself takes no LD_PRELOAD.
    place.started(loader, "./hello")
    place.started(loader, "--library-path", "/nowhere", "./hello")
    place.refused(125, "statically linked", loader, "./static")


# ---- What is not there or not executable ----------------------------------------------------------

def test_missing_command_is_127(place):
    place.refused(127, "no-such-command: not found", "no-such-command")
    place.refused(127, "./no-such-command: not found", "./no-such-command")
    place.refused(127, "not found", "./hello/below")
    place.refused(127, "not found", "")


def test_closed_directory_in_PATH_hides_nothing(place):
    os.mkdir(place.file("closed"), 0)
    path = {"PATH": place.file("closed") + ":" + place.path}
    place.refused(127, "no-such-command: not found", "no-such-command", env=path, user=nobody())
    place.started("hello", env=path, user=nobody())


def test_dangling_link_is_127(place):
    os.symlink("nowhere", place.file("link"))
    place.refused(127, "./link: not found", "./link")


def test_file_without_x_is_126(place):
    place.copy("plain", place.hello, 0o644)
    place.refused(126, "./plain: not executable", "./plain")
    place.refused(126, "plain: not executable", "plain", env={"PATH": place.path})
    place.refused(126, "not executable", "./plain", user=nobody())


def test_file_that_only_its_owner_may_execute_is_126_for_others(place):
    place.copy("mine", place.hello, 0o744)
    if is_root():
        place.started("./mine")
        place.refused(126, "not executable", "./mine", user=nobody())


def test_directory_is_126(place):
    place.refused(126, "it is a directory", place.path)


def test_unreadable_program_is_125(place):
    place.copy("secret", place.hello, 0o711)
    if is_root():
        place.refused(125, "cannot be read", "./secret", user=nobody())


def test_loop_of_links_is_126(place):
    os.symlink("loop", place.file("loop"))
    place.refused(126, "symbolic links", "./loop")


def test_binary_rubbish_is_126(place):
    place.script("rubbish", b"\x00\x01\x02\x03" * 100)
    place.refused(126, "neither a program nor a script", "./rubbish")


def test_name_with_a_newline_leaves_two_lines(place):
    place.refused(127, "a\\nb\\033: not found", "a\nb\x1b")


# ---- What cannot be preloaded ---------------------------------------------------------------------

def test_static_program_is_refused(place):
    place.compile("static", HELLO, "-static")
    place.refused(125, "statically linked", "./static")
    place.refused(125, "statically linked", "./static", user=nobody())
    subprocess.run(["strip", place.file("static")], check=True)
    place.refused(125, "statically linked", "./static")


def test_setuid_program_is_refused(place):
    for user in (None, nobody()):
        place.copy("setuid", place.hello, 0o4755)
        place.refused(125, "setuid", "./setuid", user=user)
        place.copy("setgid", place.hello, 0o2755)
        place.refused(125, "setgid", "./setgid", user=user)


def test_setgid_without_group_x_is_a_mere_lock_mark(place):
    place.copy("mark", place.hello, 0o2705)
    place.started("./mark")


@root
@needs("setcap")
def test_program_with_file_capabilities_is_refused(place):
    path = place.copy("capable", place.hello)
    subprocess.run(["setcap", "cap_net_raw+ep", path], check=True)
    place.refused(125, "capabilities", "./capable")
    place.refused(125, "capabilities", "./capable", user=nobody())
    subprocess.run(["setcap", "-r", path], check=True)
    place.started("./capable", user=nobody())


@root
def test_start_from_a_setuid_process_is_refused(place):
    os.chmod(place.tool, 0o4755)
    place.refused(125, "privileges", "./hello", user=nobody())


def test_other_architectures_are_126(place):
    # e_machine is at 18, the word size at 4, the byte order at 5.
    place.patched("aarch64", place.hello, {18: b"\xb7\x00"})
    place.refused(126, "another architecture (aarch64)", "./aarch64")
    place.patched("i386", place.hello, {4: b"\x01", 18: b"\x03\x00"})
    place.refused(126, "another architecture (i386)", "./i386")
    place.patched("x32", place.hello, {4: b"\x01"})
    place.refused(126, "another architecture (x32)", "./x32")
    place.patched("s390", place.hello, {5: b"\x02", 18: b"\x00\x16"})
    place.refused(126, "another architecture (s390)", "./s390")
    place.patched("strange", place.hello, {18: b"\x39\x30"})
    place.refused(126, "another architecture (machine 12345)", "./strange")


@needs("aarch64-linux-gnu-gcc")
def test_real_aarch64_program_is_126(place):
    source = place.write("arm.c", "void _start(void) { for (;;); }\n")
    subprocess.run(["aarch64-linux-gnu-gcc", "-nostdlib", "-o", place.file("arm"), source], check=True)
    place.refused(126, "another architecture (aarch64)", "./arm")


def test_musl_loader_is_refused(place):
    place.patched("musl", place.hello,
                  {b"/lib64/ld-linux-x86-64.so.2\0": b"/lib/ld-musl-x86_64.so.1\0\0\0\0"})
    place.refused(125, "musl", "./musl")


@needs("musl-gcc")
def test_real_musl_program_is_refused(place):
    place.compile("musl", HELLO, compiler="musl-gcc")
    place.refused(125, "musl", "./musl")
    place.compile("musl-static", HELLO, "-static", compiler="musl-gcc")
    place.refused(125, "statically linked", "./musl-static")


def test_unknown_and_missing_loaders_are_refused(place):
    old = b"/lib64/ld-linux-x86-64.so.2\0"
    place.patched("bionic", place.hello, {old: b"/system/bin/linker64\0".ljust(len(old), b"\0")})
    place.refused(125, "not glibc's", "./bionic")
    place.patched("gone", place.hello, {old: b"/lib6x/ld-linux-x86-64.so.2\0"})
    place.refused(127, "does not exist", "./gone")


def test_go_marks_are_refused(place):
    for section in (".go.buildinfo", ".gopclntab"):
        path = place.copy("go", place.hello)
        content = place.write("content", b"x" * 32)
        subprocess.run(["objcopy", "--add-section", f"{section}={content}", path], check=True)
        place.refused(125, "Go program", "./go")
    # Without section headers the note is left.
    place.compile("note", '__asm__(".pushsection .note.go.buildid, \\"a\\", @note\\n.long 4, 4, 4\\n'
                  '.asciz \\"Go\\"\\n.byte 0\\n.long 1\\n.popsection");\n' + HELLO)
    place.patched("note", place.file("note"), {40: b"\0" * 8, 60: b"\0" * 4})
    place.refused(125, "Go program", "./note")


@needs("go")
def test_real_go_programs_are_refused(place):
    place.write("go/main.go", 'package main\nimport "net"\n'
                'func main() { net.LookupHost("localhost"); println("hello") }\n')
    for cgo in "01":
        subprocess.run(["go", "build", "-o", place.file("go" + cgo), "main.go"], cwd=place.file("go"),
                       env={**os.environ, "CGO_ENABLED": cgo, "GOFLAGS": "-mod=mod", "GO111MODULE": "off",
                            "GOCACHE": place.file("cache"), "HOME": place.path}, check=True)
        place.refused(125, "Go program", "./go" + cgo)
        subprocess.run(["strip", place.file("go" + cgo)], check=True)
        place.refused(125, "Go program", "./go" + cgo)


def test_tsan_program_is_refused(place):
    place.compile("tsan", HELLO, "-fsanitize=thread")
    place.refused(125, "ThreadSanitizer", "./tsan")
    place.compile("tsan", HELLO, "-fsanitize=thread", "-static-libtsan")
    place.refused(125, "ThreadSanitizer", "./tsan")
    subprocess.run(["strip", place.file("tsan")], check=True)
    place.refused(125, "ThreadSanitizer", "./tsan")


@needs("clang")
def test_tsan_program_of_clang_is_refused(place):
    place.compile("tsan", HELLO, "-fsanitize=thread", compiler="clang")
    place.refused(125, "ThreadSanitizer", "./tsan")
    subprocess.run(["strip", place.file("tsan")], check=True)
    place.refused(125, "ThreadSanitizer", "./tsan")


def test_elf_files_that_are_no_programs_are_126(place):
    place.compile("object.o", HELLO, "-c")
    os.chmod(place.file("object.o"), 0o755)
    place.refused(126, "not a program", "./object.o")


def test_damaged_programs_are_126(place):
    with open(place.hello, "rb") as file:
        content = file.read()
    for size in (5, 20, 63, 100):
        place.script("cut", content[:size])
        check(place.run("./cut").returncode in (125, 126), f"cut to {size} bytes")
    place.patched("damaged", place.hello, {32: b"\xff" * 7})  # the program headers' offset
    place.refused(126, "damaged", "./damaged")
    # A string table that does not end in a zero byte.
    tags = subprocess.run(["readelf", "-dW", place.hello], capture_output=True, text=True, check=True).stdout
    size = int(re.search(r"\(STRSZ\)\s+(\d+)", tags)[1])
    place.patched("strings", place.hello, {struct.pack("<QQ", 10, size): struct.pack("<QQ", 10, size - 1)})
    place.refused(126, "damaged", "./strings")


def test_tool_under_itself(place):
    place.started(place.tool, "./hello", stderr="loaded\nloaded\n")


def test_nothing_is_printed_on_success(place):
    result = place.run("./hello", env={"LD_PRELOAD": None})
    equal(result.stderr, "loaded\n", "stderr")
    contains(result.stdout, "hello", "stdout")

"""--check and --doctor."""

import os
import random
import shutil
import subprocess

from cases_targets import needs
from kit import BUILD, HELLO, TOP, check, contains, equal, nobody

CALLS = """
#include <sys/socket.h>
#include <unistd.h>
#include <rpc/netdb.h>
#include <stdio.h>
int rresvport(int *port);
int far_away(int fd);
int main(int n, char **words)
{
    char byte;
    (void)words;
    if (n > 100) {
        recv(0, &byte, 1, 0);
        rresvport(&n);
        far_away(0);
    }
    puts("must not run");
    return 7;
}
"""
FAR = "#include <sys/socket.h>\nint far_away(int fd) { char b; return (int)send(fd, &b, 1, 0); }\n"


def with_library(place, *flags):
    os.makedirs(place.file("far"), exist_ok=True)
    place.compile("far/libfar.so", FAR, "-shared", "-fPIC", "-Wl,-soname,libfar.so")
    place.compile("calls", CALLS, f"-L{place.file('far')}", "-lfar", *flags)


def report(place, *words, **how):
    result = place.run("--check", *words, **how)
    equal((result.returncode, result.stderr), (0, ""), "exit status, stderr")
    check("must not run" not in result.stdout, "the program was run")
    return result.stdout


def section(text, title):
    """The lines of a paragraph."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith(title):
            return paragraph.split("\n", 1)[1]
    return ""


def test_what_is_patched_and_what_blocks(place):
    with_library(place, "-Wl,-rpath,$ORIGIN/far")
    text = report(place, "./calls")
    contains(text, "calls: libgreen can be loaded into it; 3 libraries looked at", "report")
    patched = section(text, "Patched:")
    contains(patched, "recv", "patched")
    contains(patched, "send", "patched, from a library in $ORIGIN/far")
    check("rresvport" not in patched, "rresvport is patched?")
    contains(section(text, "Blocks, and is not patched:"), "rresvport", "blocks")


def test_groups_that_are_left_out_are_listed_apart(place):
    with_library(place, "-Wl,-rpath,$ORIGIN/far")
    for words in (["--no-patch=socket"], ["--patch=os"]):
        result = place.run(*words, "--check", "./calls")
        contains(section(result.stdout, "Left to libc"), "recv", f"left to libc under {words}")
        check("recv" not in section(result.stdout, "Patched:"), "recv is patched")


def test_libraries_are_found_as_the_loader_finds_them(place):
    both = "3 libraries looked at"
    with_library(place, "-Wl,-rpath,$ORIGIN/far", "-Wl,--disable-new-dtags")
    contains(report(place, "./calls"), both, "DT_RPATH")
    with_library(place, "-Wl,-rpath,${ORIGIN}/far:/nowhere")
    contains(report(place, "./calls"), both, "DT_RUNPATH with braces")
    with_library(place)
    contains(report(place, "./calls", env={"LD_LIBRARY_PATH": "/nowhere:" + place.file("far")}), both,
             "LD_LIBRARY_PATH")
    text = report(place, "./calls")
    contains(section(text, "Not found:"), "libfar.so, which calls needs", "not found")


def test_FIFO_among_the_libraries_is_not_waited_for(place):
    with_library(place)
    os.mkdir(place.file("fifo"))
    os.mkfifo(place.file("fifo/libfar.so"))
    text = report(place, "./calls", env={"LD_LIBRARY_PATH": place.file("fifo")})
    contains(section(text, "Not found:"), "libfar.so", "not found")


def test_symbols_are_found_without_section_headers(place):
    for hash_style in ("gnu", "sysv", "both"):
        # An exported function, so that there is a hash table to speak of.
        place.compile("bare", "#include <sys/socket.h>\nint exported(void) { return 1; }\n"
                      "int main(int n, char **w) { return n > 9 && recv(n, w, 1, 0); }\n", "-rdynamic",
                      f"-Wl,--hash-style={hash_style}")
        place.patched("bare", place.file("bare"), {40: bytes(8), 60: bytes(4)})
        contains(section(report(place, "./bare"), "Patched:"), "recv", f"patched, with {hash_style} hash")


def test_DT_RUNPATH_of_a_library_hides_the_DT_RPATH_of_the_program(place):
    os.mkdir(place.file("far"))
    place.compile("far/libdeep.so", "int deep(void) { return 7; }\n", "-shared", "-fPIC", "-Wl,-soname,libdeep.so")
    for dtags, missing in (("--enable-new-dtags", True), ("--disable-new-dtags", False)):
        place.compile("far/libfar.so", "int deep(void);\nint far_away(int fd) { return fd + deep(); }\n", "-shared",
                      "-fPIC", "-Wl,-soname,libfar.so", f"-L{place.file('far')}", "-ldeep", "-Wl,-rpath,/nowhere",
                      "-Wl," + dtags)
        place.compile("calls", CALLS, f"-L{place.file('far')}", "-lfar", "-Wl,-rpath,$ORIGIN/far",
                      "-Wl,--disable-new-dtags", "-Wl,--unresolved-symbols=ignore-in-shared-libs")
        natively = subprocess.run(["./calls"], cwd=place.path, capture_output=True, check=False).returncode
        equal((natively, "libdeep.so, which libfar.so needs" in report(place, "./calls")),
              (127, True) if missing else (7, False), f"native exit status, not found with {dtags}")


def test_agrees_with_the_loader(place):
    for program in ("/bin/bash", "/usr/bin/python3", "/usr/bin/gdb", "/usr/bin/perl", "/usr/bin/ssh"):
        if not os.path.exists(program):
            continue
        ldd = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        wanted = sum("=>" in line or "ld-linux" in line for line in ldd.split("\n"))
        contains(report(place, program), f"; {wanted} librar", f"libraries of {program}")


def test_preloading_the_tool_hides_nothing(place):
    contains(report(place, "./hello", user=nobody()), "libgreen can be loaded", "report")


def test_script_is_followed(place):
    place.script("script", "#!/bin/sh\necho must not run\n")
    contains(report(place, "./script"), "./script starts /bin/sh.\n", "report")


def test_own_definitions_are_not_called_patched(place):
    place.compile("own", "#include <sys/socket.h>\n#include <stdio.h>\n"
                  "ssize_t recv(int fd, void *to, size_t n, int flags)"
                  " { (void)fd, (void)to, (void)flags; return (ssize_t)n; }\n"
                  "int far_away(int fd);\n"
                  "int main(void) { char b; return (int)recv(0, &b, 1, 0); }\n", "-rdynamic")
    place.compile("own-user.so", "#include <sys/socket.h>\n"
                  "int far_away(int fd) { char b; return (int)recv(fd, &b, 1, 0); }\n", "-shared", "-fPIC")
    place.compile("own", place.file("own.c"), "-rdynamic", "-Wl,--no-as-needed", "./own-user.so",
                  "-Wl,-rpath,$ORIGIN")
    text = report(place, "./own")
    check("recv" not in section(text, "Patched:"), "recv is patched")
    contains(section(text, "Defined by the program itself"), "recv", "own")


def test_inline_system_calls_are_found(place):
    place.compile("inline", 'int main(void) { long r; __asm__ volatile("mov $39, %%eax\\nsyscall" : "=a"(r) '
                  ':: "rcx", "r11"); return 0; }\n')
    contains(section(report(place, "./inline"), "Makes system calls of its own"), "inline, at 1 place", "report")
    check("system calls of its own" not in report(place, "./hello"), "hello makes none")


def test_dlopen_is_mentioned(place):
    place.compile("opens", "#include <dlfcn.h>\nint main(int n, char **w) "
                  "{ return n > 9 && dlopen(w[1], RTLD_NOW); }\n")
    contains(report(place, "./opens"), "dlopen", "report")


def test_refusals_are_those_of_a_start(place):
    place.compile("static", HELLO, "-static")
    place.refused(125, "statically linked", "--check", "./static")
    place.refused(127, "not found", "--check", "./nothing")
    place.refused(2, "no command", "--check")


def test_needs_no_library_of_ours(place):
    os.remove(place.library)
    report(place, "./hello")


def test_damaged_files_never_crash_it(place):
    """Every table of the file, with bytes changed at random."""
    tool = place.file("checked")
    sources = [os.path.join(TOP, "tools", name) for name in sorted(os.listdir(os.path.join(TOP, "tools")))
               if name.endswith(".c") and not name.startswith("greenctl")]
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-O1", "-g", "-fsanitize=address,undefined",
                    "-fno-sanitize-recover=undefined", f"-I{TOP}", f"-I{BUILD}", "-o", tool, *sources,
                    f"{TOP}/preload/config.c", f"{BUILD}/gen/patch_list.c", f"{BUILD}/gen/patch_names.c"],
                   check=True)
    place.compile("small", HELLO, "-s", "-Wl,-z,norelro,-z,noseparate-code,--hash-style=both")
    for hash_style in ("both", "gnu", "sysv"):
        place.compile("small", HELLO, "-s", f"-Wl,-z,norelro,-z,noseparate-code,--hash-style={hash_style}")
        with open(place.file("small"), "rb") as file:
            original = file.read()
        chance = random.Random(4711)
        for round_number in range(150):
            content = bytearray(original)
            if round_number % 3 == 0:  # no section headers: the other way to count symbols
                content[40:48] = bytes(8)
                content[60:64] = bytes(4)
            for _ in range(chance.choice((1, 3, 10))):
                limit = chance.choice((64, 0x400, len(content)))
                content[chance.randrange(4, limit)] = chance.choice((0, 1, 0x7f, 0xff, chance.randrange(256)))
            if chance.random() < 0.1:
                del content[chance.randrange(64, len(content)):]
            path = place.script("damaged", bytes(content))
            result = place.run("--check", "./damaged", tool=tool, env={"ASAN_OPTIONS": "detect_leaks=0"})
            if result.returncode not in (0, 125, 126, 127) or "Sanitizer" in result.stderr or \
                    "runtime error" in result.stderr:
                shutil.copy(path, "/tmp/eventlet-run-damaged")
                check(False, f"{hash_style} {round_number}: exit status {result.returncode}, "
                             f"{result.stderr[:2000]} (kept as /tmp/eventlet-run-damaged)")


# ---- --doctor -----------------------------------------------------------------------------------

WITHOUT = """
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int n, char **words)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)atoi(words[1]), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)atoi(words[2])),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    (void)n;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 99;
    execv(words[3], words + 3);
    return 98;
}
"""


def answers(text):
    """name -> yes/no/value"""
    return {line[:20].strip(): line[21:].split()[0] for line in text.split("\n")[:-1]}


def test_doctor_has_a_line_for_everything(place):
    result = place.run("--doctor")
    equal((result.returncode, result.stderr), (0, ""), "exit status, stderr")
    found = answers(result.stdout)
    for name in ("kernel", "libc", "FSGSBASE", "MADV_GUARD_INSTALL", "RWF_NOWAIT sockets", "RWF_NOWAIT pipes",
                 "membarrier", "io_uring", "pidfd", "epoll_pwait2", "rseq", "max_map_count", "RLIMIT_STACK",
                 "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_AS", "RLIMIT_MEMLOCK", "seccomp", "overcommit",
                 "libgreen.so"):
        check(name in found, f"no line for {name}")
    equal(found["libgreen.so"], "yes", "libgreen.so")
    equal(found["libc"], "yes" if os.confstr("CS_GNU_LIBC_VERSION") == "glibc 2.36" else "no", "libc")


def test_doctor_sees_what_a_sandbox_refuses(place):
    place.compile("without", WITHOUT)
    plain = answers(place.run("--doctor").stdout)
    for name, number, error in (("membarrier", 324, 1), ("io_uring", 425, 1), ("io_uring", 425, 38),
                                ("pidfd", 434, 38), ("epoll_pwait2", 441, 38), ("epoll_pwait2", 441, 1),
                                ("MADV_GUARD_INSTALL", 28, 22), ("RWF_NOWAIT pipes", 327, 95)):
        result = place.run(str(number), str(error), place.tool, "--doctor", tool=place.file("without"))
        found = answers(result.stdout)
        equal(found[name], "no", f"{name} without system call {number}")
        equal(found["seccomp"], "yes", "seccomp")
        for other, answer in plain.items():
            check(other in ("seccomp", name) or other[:10] == name[:10] or found[other] == answer,
                  f"{other} changed with {name}")


def test_doctor_sees_limits_and_a_missing_rseq(place):
    result = subprocess.run(["bash", "-c", f"ulimit -s 1024 -n 77; exec {place.tool} --doctor"],
                            env={**os.environ, "GLIBC_TUNABLES": "glibc.pthread.rseq=0"},
                            capture_output=True, text=True, check=False)
    found = answers(result.stdout)
    equal((found["RLIMIT_STACK"], found["RLIMIT_NOFILE"], found["rseq"]), ("1024K", "77", "no"), "lines")


@needs("unshare", "mount")
def test_doctor_works_without_proc(place):
    result = subprocess.run(["unshare", "-rm", "sh", "-c", f"mount -t tmpfs none /proc && exec {place.tool} "
                             f"--lib={place.library} --doctor"], capture_output=True, text=True, check=False)
    if "unshare" in result.stderr or "mount" in result.stderr:
        return  # not allowed here
    equal((result.returncode, answers(result.stdout).get("/proc")), (0, "no"), "exit status, /proc")


def test_doctor_says_when_there_is_no_library(place):
    os.remove(place.library)
    result = place.run("--doctor")
    equal(result.returncode, 125, "exit status")
    contains(result.stderr, "libgreen.so was not found", "stderr")
    contains(result.stdout, "membarrier", "stdout")

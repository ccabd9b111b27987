"""Which libgreen.so is loaded, and where it stands in LD_PRELOAD."""

import os
import shutil
import subprocess

from cases_targets import needs, root
from kit import BUILD, HELLO, check, contains, equal, nobody

SHOW = '#include <stdio.h>\n#include <stdlib.h>\nint main(void) { puts(getenv("LD_PRELOAD")); return 7; }\n'
# Wrong by one, and a thread, which AddressSanitizer follows.
OVERFLOW = """
#include <pthread.h>
#include <stdlib.h>
static void *run(void *p) { return p; }
int main(int n, char **words)
{
    pthread_t thread;
    char *memory = malloc(10);
    pthread_create(&thread, NULL, run, memory);
    pthread_join(thread, NULL);
    int result = n > 1 ? memory[9 + n - 1] : 7;
    free(memory);
    (void)words;
    return result;
}
"""


def preloaded(place, program, **how):
    result = place.run(program, **how)
    equal(result.returncode, 7, f"exit status (stderr {result.stderr!r})")
    return result.stdout.strip().split(":")


def other(place, name):
    return place.compile(name, "int other;\n", "-shared", "-fPIC")


def test_library_is_found_beside_the_tool(place):
    place.compile("show", SHOW)
    equal(preloaded(place, "./show"), [place.library], "LD_PRELOAD")


def test_library_is_found_through_a_link_to_the_tool(place):
    os.symlink(place.tool, place.file("link"))
    place.started("./hello", tool=place.file("link"))


def test_library_is_found_in_lib_beside_bin(place):
    place.compile("show", SHOW)
    for where in ("lib", "lib/libgreen"):
        os.makedirs(place.file(where), exist_ok=True)
        os.rename(place.library, place.file(where + "/libgreen.so"))
        place.library = place.file(where + "/libgreen.so")
        equal(preloaded(place, "./show"), [place.library], "LD_PRELOAD")


def test_lib_option_names_another(place):
    place.compile("show", SHOW)
    place.copy("other.so", place.library)
    for words in (["--lib=other.so"], ["--lib", "./other.so"]):
        result = place.run(*words, "./show")
        equal(result.stdout.strip(), place.file("other.so"), "LD_PRELOAD")


def test_no_library_is_125(place):
    os.remove(place.library)
    place.refused(125, "was not found", "./hello")
    place.refused(125, "No such file", "--lib=/no/such/libgreen.so", "./hello")


def test_unreadable_library_is_125(place):
    os.chmod(place.library, 0)
    place.refused(125, "cannot be read", "./hello", user=nobody())


def test_library_that_is_none_is_125(place):
    for content in (b"", b"rubbish", b"\x7fELF\x02\x01\x01", b"\x7fELF" + b"\3" * 100):
        place.write("bin/libgreen.so", content)
        place.refused(125, "no shared library", "./hello")
    place.refused(125, "no shared library", "--lib=./hello", "./hello")
    place.refused(125, "libgreen.so", f"--lib={place.path}", "./hello")


def test_library_for_another_architecture_is_125(place):
    place.patched("arm.so", place.library, {18: b"\xb7\x00"})
    place.refused(125, "another architecture (aarch64)", "--lib=arm.so", "./hello")


def test_library_that_LD_PRELOAD_cannot_name_is_125(place):
    for name in ("a b", "a:b"):
        os.mkdir(place.file(name))
        path = place.copy(f"{name}/libgreen.so", place.library)
        place.refused(125, "a space or a colon", f"--lib={path}", "./hello")


@root
@needs("mount", "unshare")
def test_library_on_a_noexec_file_system_is_125(place):
    os.mkdir(place.file("noexec"))
    command = (f"mount -t tmpfs -o noexec none {place.file('noexec')} && "
               f"cp {place.library} {place.file('noexec')} && "
               f"exec {place.tool} --lib={place.file('noexec')}/libgreen.so {place.hello}")
    result = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True,
                            check=False)
    equal((result.returncode, result.stdout), (125, ""), f"exit status, stdout ({result.stderr!r})")
    contains(result.stderr, "libgreen.so cannot be loaded", "stderr")


@root
@needs("umount", "unshare")
def test_library_is_found_without_proc(place):
    command = f"umount -l /proc && cd {os.path.dirname(place.tool)} && exec ./eventlet-run {place.hello}"
    result = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True,
                            check=False)
    equal((result.returncode, result.stderr), (7, "loaded\n"), f"exit status, stderr ({result.stdout!r})")


def test_existing_entries_stay_in_front(place):
    place.compile("show", SHOW)
    a, b = other(place, "a.so"), other(place, "b.so")
    for text in (f"{a}:{b}", f"{a} {b}", f" {a}::{b} "):
        equal(preloaded(place, "./show", env={"LD_PRELOAD": text}), [a, b, place.library], "LD_PRELOAD")


def test_another_libgreen_gives_way(place):
    place.compile("show", SHOW)
    a = other(place, "a.so")
    for old in (place.library, "/elsewhere/libgreen.so", "libgreen.so", "/elsewhere/libgreen.so.0"):
        text = f"{old}:{a}"
        found = subprocess.run([place.tool, "./show"], cwd=place.path, text=True, check=False,
                               env={**os.environ, "LD_PRELOAD": text}, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL).stdout.strip()
        equal(found.split(":"), [a, place.library], f"LD_PRELOAD, before {text}")


def test_asan_runtime_goes_first(place):
    place.compile("show", SHOW, "-fsanitize=address")
    a = other(place, "a.so")
    found = preloaded(place, "./show", env={"LD_PRELOAD": a, "ASAN_OPTIONS": "verify_asan_link_order=0"})
    equal([os.path.basename(entry)[:7] for entry in found], ["libasan", "a.so", "libgree"], "LD_PRELOAD")
    check(os.path.isabs(found[0]) and os.path.exists(found[0]), f"not a path: {found[0]}")
    # The runtime itself insists on being first.
    equal(preloaded(place, "./show")[1:], [place.library], "LD_PRELOAD behind the runtime")


def test_asan_runtime_that_is_preloaded_stays_where_it_is(place):
    place.compile("show", SHOW, "-fsanitize=address")
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True,
                             check=True).stdout.strip()
    runtime = os.path.realpath(runtime)
    named = other(place, "a.so") + ":" + shutil.copy(runtime, place.file(os.path.basename(runtime)
                                                                         .rsplit(".0.0", 1)[0]))
    found = preloaded(place, "./show",
                      env={"LD_PRELOAD": named, "ASAN_OPTIONS": "verify_asan_link_order=0"})
    equal(found, named.split(":") + [place.library], "LD_PRELOAD")


def asan_works(place, tool=None):
    """The program runs, and a mistake in it is still found."""
    result = place.run("./asan", tool=tool)
    equal((result.returncode, result.stdout), (7, ""), f"exit status, stdout (stderr {result.stderr!r})")
    result = place.run("./asan", "wrong", tool=tool)
    check(result.returncode != 7, "the mistake was not found")
    contains(result.stderr, "heap-buffer-overflow", "stderr")


def compile_asan(place, compiler):
    if compiler == "clang-shared":
        place.compile("asan", OVERFLOW, "-fsanitize=address", "-shared-libasan", "-pthread", "-g",
                      "-Wl,-rpath," + subprocess.run(["clang", "-print-runtime-dir"], check=True,
                                                     capture_output=True, text=True).stdout.strip(),
                      compiler="clang")
    else:
        place.compile("asan", OVERFLOW, "-fsanitize=address", "-pthread", "-g", compiler=compiler)


def test_asan_program_of_gcc_works(place):
    compile_asan(place, "gcc")
    asan_works(place)


@needs("clang")
def test_asan_program_of_clang_works(place):
    compile_asan(place, "clang")
    asan_works(place)


@needs("clang")
def test_asan_program_of_clang_with_shared_runtime_works(place):
    compile_asan(place, "clang-shared")
    asan_works(place)


@needs("clang")
def test_asan_programs_work_with_libgreen_itself(place):
    tool = os.path.join(BUILD, "eventlet-run")
    for compiler in ("gcc", "clang", "clang-shared"):
        compile_asan(place, compiler)
        asan_works(place, tool=tool)


def test_ubsan_program_starts(place):
    place.compile("ubsan", HELLO, "-fsanitize=undefined")
    place.started("./ubsan")

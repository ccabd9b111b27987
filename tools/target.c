#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "elf.h"
#include "say.h"
#include "script.h"

/* The kernel follows five interpreters; env(1) and the loader may stand between. */
enum { TARGET_DEPTH_MAX = 16 };

/* One file on the way from the command to the program. */
struct target_step {
    const char *path;
    char **argv;          /* as it will see them; argv[0] is its name */
    const char *path_var; /* PATH, as env(1) may have changed it */
    const char *subject;  /* what to call it in a message */
    int depth;
};

static void target_follow(struct target *target, const struct target_step *step);

/* ---- Looking the command up --------------------------------------------------------------- */

/* 0 when `path` can be executed; else the errno that execve(2) would give. */
static int target_executable(const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return errno;
    if (S_ISDIR(about.st_mode))
        return EISDIR;
    if (!S_ISREG(about.st_mode))
        return EACCES;
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0 ? errno : 0;
}

/* The path of a command, as execvp(3) finds it, or NULL with *error: what was wrong with the first
 * one that is there, else ENOENT. The caller frees it. */
static char *target_look(const char *name, const char *path_var, int *error)
{
    if (strchr(name, '/') != NULL) {
        *error = target_executable(name);
        return *error == 0 ? say_format("%s", name) : NULL;
    }
    *error = ENOENT;
    if (path_var == NULL)
        path_var = "/bin:/usr/bin";
    while (path_var != NULL && *name != 0) {
        size_t length = strcspn(path_var, ":");
        char *path = length == 0 ? say_format("./%s", name)
                                 : say_format("%.*s/%s", (int)length, path_var, name);
        int wrong = target_executable(path);
        if (wrong == 0)
            return path;
        /* It is there; a directory that is closed to us may have anything. */
        if (wrong == EACCES && access(path, F_OK) == 0)
            *error = EACCES;
        free(path);
        path_var = path_var[length] != 0 ? path_var + length + 1 : NULL;
    }
    return NULL;
}

_Noreturn static void target_missing(const char *subject, const char *name, int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        say_no(SAY_NOT_FOUND,
               strchr(name, '/') != NULL
                   ? "look at the path with `ls -l`: the file, or what a link "
                     "points to, does not exist"
                   : "check the spelling, and whether its directory is in PATH",
               "%s: not found", subject);
    case EISDIR:
        say_no(SAY_NOT_EXECUTABLE, "name the program in it", "%s: it is a directory", subject);
    case EACCES:
        say_no(SAY_NOT_EXECUTABLE,
               "`chmod +x` makes a file executable, unless a directory above it "
               "is closed to you or its file system is mounted noexec",
               "%s: not executable: permission denied", subject);
    default:
        say_no(SAY_NOT_EXECUTABLE, "look at the path with `ls -l`", "%s: %s", subject,
               strerror(error));
    }
}

/* ---- Programs ----------------------------------------------------------------------------- */

/* Does executing this file give privileges? Its extended attribute holds a version word, then pairs
 * of permitted and inheritable sets. */
static bool target_has_capabilities(const char *path)
{
    unsigned char value[64];
    ssize_t size = getxattr(path, "security.capability", value, sizeof value);
    for (ssize_t i = 4; i < size && i < 20; i++)
        if (value[i] != 0)
            return true;
    return false;
}

static void target_check_privileges(const struct target_step *step)
{
    struct stat about;
    const char *hint = "run a copy that you own, as the user whose rights it needs: "
                       "the loader takes no LD_PRELOAD into such a program";
    if (stat(step->path, &about) != 0)
        return;
    if (about.st_mode & S_ISUID)
        say_no(SAY_FAILED, hint, "%s: it is setuid, so nothing can be loaded into it",
               step->subject);
    if ((about.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
        say_no(SAY_FAILED, hint, "%s: it is setgid, so nothing can be loaded into it",
               step->subject);
    if (target_has_capabilities(step->path))
        say_no(
            SAY_FAILED, hint,
            "%s: the file has capabilities (getcap shows them), so nothing can be loaded into it",
            step->subject);
}

static const char *target_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool target_starts(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static void target_check_loader(const struct elf *elf, const struct target_step *step)
{
    const char *loader = elf_interpreter(elf);
    if (loader == NULL)
        say_no(SAY_FAILED,
               "link it dynamically (without -static), or start it without eventlet-run",
               "%s: it is statically linked, so nothing can be loaded into it", step->subject);
    const char *base = target_base(loader);
    if (target_starts(base, "ld-musl"))
        say_no(SAY_FAILED,
               "use a build for glibc: on Debian, the one from the distribution's package",
               "%s: it is built for musl, and libgreen knows glibc only", step->subject);
    if (!target_starts(base, "ld-linux") && !target_starts(base, "ld-lsb"))
        say_no(SAY_FAILED,
               "use a build for glibc: on Debian, the one from the distribution's package",
               "%s: its loader %s is not glibc's", step->subject, loader);
    if (access(loader, F_OK) != 0)
        say_no(SAY_NOT_FOUND, "install that loader, or a build of the program for this system",
               "%s: its loader %s does not exist", step->subject, loader);
}

static bool target_is_go(const struct elf *elf)
{
    return elf_has_note(elf, "Go") || elf_has_section(elf, ".go.buildinfo") ||
           elf_has_section(elf, ".gopclntab");
}

/* ThreadSanitizer linked in. Where a linker script hid its symbols and strip(1) took them, weak
 * references to hooks that all sanitizers have are left, and the name of its variable. */
static bool target_has_tsan(const struct elf *elf)
{
    if (elf_defines(elf, "__tsan_init"))
        return true;
    for (size_t n = 0; n < elf->symbol_count; n++)
        if (target_starts(elf_symbol_name(elf, n), "__sanitizer_"))
            return elf_contains(elf, "TSAN_OPTIONS");
    return false;
}

/* The libraries of sanitizers: TSan cannot work, the others want to come first. */
static void target_check_sanitizers(struct target *target, const struct elf *elf,
                                    const struct target_step *step)
{
    static const char *const first[] = {"libasan.so",         "liblsan.so",
                                        "libhwasan.so",       "libclang_rt.asan",
                                        "libclang_rt.hwasan", "libclang_rt.lsan"};
    bool tsan = target_has_tsan(elf);
    size_t count = 0;
    const char *name;
    for (size_t n = 0; (name = elf_dynamic_string(elf, DT_NEEDED, n)) != NULL; n++) {
        const char *base = target_base(name);
        tsan |= target_starts(base, "libtsan.so") || target_starts(base, "libclang_rt.tsan");
        for (size_t i = 0; i < sizeof first / sizeof *first; i++)
            if (target_starts(base, first[i]) && count < TARGET_RUNTIMES_MAX)
                target->runtimes[count++] = say_format("%s", name);
    }
    if (tsan)
        say_no(SAY_FAILED, "build it without -fsanitize=thread; AddressSanitizer works",
               "%s: it is built with ThreadSanitizer, which must see every thread as the kernel's",
               step->subject);
}

/* The loader, called as a program, runs its first argument that is no option of its own. */
static void target_follow_loader(struct target *target, const struct target_step *step)
{
    static const char *const valued[] = {
        "--library-path", "--inhibit-rpath",        "--preload",           "--argv0",
        "--audit",        "--glibc-hwcaps-prepend", "--glibc-hwcaps-mask",
    };
    char **at = step->argv + (step->argv[0] != NULL);
    for (; *at != NULL && target_starts(*at, "--"); at++)
        for (size_t i = 0; i < sizeof valued / sizeof *valued; i++)
            if (strcmp(*at, valued[i]) == 0 && at[1] != NULL) {
                at++;
                break;
            }
    /* A name without a slash the loader looks up among the libraries; a mere library may lack the
     * right to be executed. */
    if (*at == NULL || strchr(*at, '/') == NULL)
        return;
    int error = target_executable(*at);
    if (error != 0 && error != EACCES)
        target_missing(*at, *at, error);
    const struct target_step next = {
        .path = *at,
        .argv = at,
        .path_var = step->path_var,
        .subject = *at,
        .depth = step->depth + 1,
    };
    target_follow(target, &next);
}

static void target_follow_env(struct target *target, const struct target_step *step)
{
    struct script_env env;
    int error = 0;
    if (!script_env(step->argv, step->path_var, &env) ||
        (env.moves && env.command[0][0] != '/' && strchr(env.command[0], '/') != NULL))
        return;
    char *path = target_look(env.command[0], env.path, &error);
    char *subject = say_format("%s (run by %s)", env.command[0], step->subject);
    if (path == NULL)
        target_missing(subject, env.command[0], error);
    const struct target_step next = {
        .path = path,
        .argv = env.command,
        .path_var = env.path,
        .subject = subject,
        .depth = step->depth + 1,
    };
    target_follow(target, &next);
}

static void target_check_program(struct target *target, const struct elf *elf,
                                 const struct target_step *step)
{
    const char *own_name = elf_dynamic_string(elf, DT_SONAME, 0);
    if (elf->header->e_type != ET_EXEC && elf->header->e_type != ET_DYN)
        say_no(SAY_NOT_EXECUTABLE, "link it into a program first",
               "%s: an ELF file, but not a program", step->subject);
    target_check_privileges(step);
    if (target_is_go(elf))
        say_no(SAY_FAILED, "run it without eventlet-run: goroutines are green threads already",
               "%s: it is a Go program, whose runtime makes its system calls and threads past libc",
               step->subject);
    free(target->program);
    target->program = say_format("%s", step->path);
    if (elf_interpreter(elf) == NULL && own_name != NULL && target_starts(own_name, "ld-linux")) {
        target_follow_loader(target, step);
        return;
    }
    target_check_loader(elf, step);
    target_check_sanitizers(target, elf, step);
    if (strcmp(target_base(step->path), "env") == 0)
        target_follow_env(target, step);
}

/* ---- Scripts ------------------------------------------------------------------------------ */

static char **target_join(char *const *first, size_t first_count, char *const *rest)
{
    size_t rest_count = 0;
    while (rest[rest_count] != NULL)
        rest_count++;
    char **all = say_alloc((first_count + rest_count + 1) * sizeof *all);
    memcpy(all, first, first_count * sizeof *all);
    memcpy(all + first_count, rest, rest_count * sizeof *all);
    return all;
}

/* `words`: the interpreter and its argument. */
static void target_follow_interpreter(struct target *target, const struct target_step *step,
                                      char **words, size_t count)
{
    int error = target_executable(words[0]);
    char *subject = say_format("%s (which runs %s)", words[0], step->subject);
    if (error == ENOENT || error == ENOTDIR)
        say_no(SAY_NOT_FOUND,
               "correct the path in the first line of the script, or install what it names",
               "%s: its interpreter %s does not exist", step->subject, words[0]);
    if (error != 0)
        target_missing(subject, words[0], error);

    char *script = say_format("%s", step->path);
    char **head = target_join(words, count, (char *[]){script, NULL});
    const struct target_step next = {
        .path = words[0],
        .argv = target_join(head, count + 1, step->argv + (step->argv[0] != NULL)),
        .path_var = step->path_var,
        .subject = subject,
        .depth = step->depth + 1,
    };
    target_follow(target, &next);
}

static void target_check_other(struct target *target, const struct elf *elf,
                               const struct target_step *step)
{
    char *words[2];
    if (script_interpreter(elf->bytes, elf->size, &words[0], &words[1])) {
        target_follow_interpreter(target, step, words, words[1] != NULL ? 2 : 1);
        return;
    }
    if (!script_is_text(elf->bytes, elf->size))
        say_no(SAY_NOT_EXECUTABLE,
               "`file` tells what it is; eventlet-run starts ELF programs and scripts",
               "%s: neither a program nor a script", step->subject);
    /* A script without a first line: the shell's, as for execvp(3). */
    words[0] = (char *)"/bin/sh";
    if (step->depth == 0) {
        char *head[] = {(char *)"sh", say_format("%s", step->path)};
        target->path = say_format("%s", words[0]);
        target->argv = target_join(head, 2, step->argv + (step->argv[0] != NULL));
    }
    target_follow_interpreter(target, step, words, 1);
}

/* ---- All of it ---------------------------------------------------------------------------- */

static void target_follow(struct target *target, const struct target_step *step)
{
    struct elf elf;
    if (step->depth > TARGET_DEPTH_MAX)
        say_no(SAY_NOT_EXECUTABLE, "let the first line of the script name a program",
               "%s: too many interpreters, one run by the other", step->subject);
    switch (elf_open(step->path, &elf)) {
    case ELF_UNREADABLE:
        say_no(SAY_FAILED, "make it readable (`chmod +r`), or run a copy that is",
               "%s: cannot be read, so it cannot be checked: %s", step->subject, strerror(errno));
    case ELF_FOREIGN:
        say_no(SAY_NOT_EXECUTABLE, "use a build of the program for this machine",
               "%s: it is a program for another architecture (%s)", step->subject,
               elf_machine(&elf));
    case ELF_DAMAGED:
        say_no(SAY_NOT_EXECUTABLE, "get a fresh copy of the file", "%s: a damaged ELF file",
               step->subject);
    case ELF_NOT_ELF:
        target_check_other(target, &elf, step);
        break;
    case ELF_OK:
        target_check_program(target, &elf, step);
        break;
    }
    elf_close(&elf);
}

void target_find(struct target *target, char **argv)
{
    int error = 0;
    *target = (struct target){.argv = argv};
    target->path = target_look(argv[0], getenv("PATH"), &error);
    const char *subject = argv[0][0] != 0 ? argv[0] : "(an empty name)";
    if (target->path == NULL)
        target_missing(subject, argv[0], error);
    target->command = say_format("%s", target->path);
    const struct target_step step = {
        .path = target->command,
        .argv = argv,
        .path_var = getenv("PATH"),
        .subject = subject,
    };
    target_follow(target, &step);
}

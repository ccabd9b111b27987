/* exec and posix_spawn: what a new program inherits of libgreen.
 *
 * With --children=inherit the environment is passed on as it is. With --children=off libgreen's
 * entry in LD_PRELOAD and the GREEN_ variables are left out. The cleaned copy lies on the caller's
 * stack: these functions are called in vfork children and in signal handlers.
 */
#include <alloca.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hub/hub.h"
#include "preload/config.h"
#include "preload/kick.h"
#include "preload/patch.h"

static const char preload_name[] = "LD_PRELOAD=";

static bool is_ours(const char *entry, size_t length)
{
    static const char library[] = "libgreen.so";
    size_t n = sizeof library - 1;
    return length >= n && memcmp(entry + length - n, library, n) == 0 &&
           (length == n || entry[length - n - 1] == '/');
}

static bool cleaned(void)
{
    return config.children == GREEN_CHILDREN_OFF;
}

static size_t count(char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

/* Bytes of the longest LD_PRELOAD entry, for the copy without ours. */
static size_t preload_size(char *const *envp)
{
    size_t size = 1;
    for (size_t i = 0; envp && envp[i]; i++)
        if (strncmp(envp[i], preload_name, sizeof preload_name - 1) == 0 &&
            strlen(envp[i]) + 1 > size)
            size = strlen(envp[i]) + 1;
    return size;
}

/* Copy LD_PRELOAD=... without libgreen.so to out; false when nothing is left of it. */
static bool preload_without_ours(const char *variable, char *out)
{
    const char *p = variable + sizeof preload_name - 1;
    char *o = out;
    memcpy(o, preload_name, sizeof preload_name - 1);
    o += sizeof preload_name - 1;
    char *start = o;
    while (*p) {
        size_t n = strcspn(p, ": ");
        if (n && !is_ours(p, n)) {
            if (o != start)
                *o++ = ':';
            memcpy(o, p, n);
            o += n;
        }
        p += n;
        p += strspn(p, ": ");
    }
    *o = '\0';
    return o != start;
}

/* `out` has room for every entry and the end; `preload` for the longest LD_PRELOAD. */
static void clean(char *const *envp, char **out, char *preload)
{
    size_t n = 0;
    bool done = false;
    for (size_t i = 0; envp && envp[i]; i++) {
        if (strncmp(envp[i], "GREEN_", 6) == 0)
            continue;
        if (!done && strncmp(envp[i], preload_name, sizeof preload_name - 1) == 0) {
            done = true;
            if (preload_without_ours(envp[i], preload))
                out[n++] = preload;
            continue;
        }
        out[n++] = envp[i];
    }
    out[n] = NULL;
}

/* Evaluates to the environment to pass on; a macro because the copy lives in the caller's frame. */
#define CHILD_ENVIRONMENT(envp)                                                        \
    __extension__({                                                                    \
        char *const *env_ = (envp);                                                    \
        if (cleaned()) {                                                               \
            char **copy_ = alloca((count(env_) + 1) * sizeof *copy_);                  \
            clean(env_, copy_, alloca(preload_size(env_)));                            \
            env_ = copy_;                                                              \
        }                                                                              \
        env_;                                                                          \
    })

int green_execve(const char *path, char *const *argv, char *const *envp)
{
    kick_before_exec();
    return real.execve(path, argv, CHILD_ENVIRONMENT(envp));
}

int green_execv(const char *path, char *const *argv)
{
    kick_before_exec();
    return real.execve(path, argv, CHILD_ENVIRONMENT(environ));
}

int green_execvp(const char *file, char *const *argv)
{
    kick_before_exec();
    return real.execvpe(file, argv, CHILD_ENVIRONMENT(environ));
}

int green_execvpe(const char *file, char *const *argv, char *const *envp)
{
    kick_before_exec();
    return real.execvpe(file, argv, CHILD_ENVIRONMENT(envp));
}

int green_execveat(int dir, const char *path, char *const *argv, char *const *envp, int flags)
{
    kick_before_exec();
    return real.execveat(dir, path, argv, CHILD_ENVIRONMENT(envp), flags);
}

int green_fexecve(int fd, char *const *argv, char *const *envp)
{
    kick_before_exec();
    return real.fexecve(fd, argv, CHILD_ENVIRONMENT(envp));
}

/* Collect the arguments of an execl form into an array in the caller's frame; `ap` is left behind
 * the NULL, where execle's environment stands. */
#define COLLECT(argv, first, ap)                                  \
    do {                                                          \
        va_list counted_;                                         \
        va_start(counted_, arg);                                  \
        size_t n_ = 1;                                            \
        while (va_arg(counted_, char *))                          \
            n_++;                                                 \
        va_end(counted_);                                         \
        (argv) = alloca((n_ + 1) * sizeof *(argv));               \
        (argv)[0] = (char *)(uintptr_t)(first);                   \
        va_start(ap, arg);                                        \
        for (size_t i_ = 1; i_ <= n_; i_++)                       \
            (argv)[i_] = va_arg(ap, char *);                      \
    } while (0)

int green_execl(const char *path, const char *arg, ...)
{
    char **argv;
    va_list ap;
    COLLECT(argv, arg, ap);
    va_end(ap);
    return green_execv(path, argv);
}

int green_execlp(const char *file, const char *arg, ...)
{
    char **argv;
    va_list ap;
    COLLECT(argv, arg, ap);
    va_end(ap);
    return green_execvp(file, argv);
}

int green_execle(const char *path, const char *arg, ...)
{
    char **argv;
    va_list ap;
    COLLECT(argv, arg, ap);
    char *const *envp = va_arg(ap, char *const *);
    va_end(ap);
    return green_execve(path, argv, envp);
}

int green_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                      const posix_spawnattr_t *attr, char *const *argv, char *const *envp)
{
    fd_shared_all();
    return real.posix_spawn(pid, path, actions, attr, argv, CHILD_ENVIRONMENT(envp));
}

int green_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attr, char *const *argv, char *const *envp)
{
    fd_shared_all();
    return real.posix_spawnp(pid, file, actions, attr, argv, CHILD_ENVIRONMENT(envp));
}

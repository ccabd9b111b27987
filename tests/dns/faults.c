/* What may happen while a lookup is under way. Prints the same natively and under libgreen.
 *
 *     faults CHECK     names: NAME.dead.test is never answered, NAME.slow.test after 500 ms,
 *                      NAME.quick.test at once
 */
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void sleep_ms(long ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&ts, &ts) && errno == EINTR)
        ;
}

static const char *looked_up(const char *name)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int code = getaddrinfo(name, NULL, &hints, &list);
    if (code)
        return gai_strerror(code);
    freeaddrinfo(list);
    return "found";
}

static void *look_up(void *name)
{
    return (void *)(uintptr_t)looked_up(name);
}

static pthread_t started(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, arg))
        exit(3);
    return thread;
}

static const char *joined(pthread_t thread)
{
    void *value;
    pthread_join(thread, &value);
    return value == PTHREAD_CANCELED ? "cancelled" : value;
}

/* ---- Cancellation ---- */

static atomic_int cleaned;

static void clean(void *arg)
{
    (void)arg;
    atomic_fetch_add(&cleaned, 1);
}

static void *to_be_cancelled(void *arg)
{
    void *result;
    pthread_cleanup_push(clean, NULL);
    switch (*(char *)arg) {
    case 'g':
        result = (void *)(uintptr_t)looked_up("a.dead.test");
        break;
    case 'h':
        result = gethostbyname("a.dead.test");
        break;
    default: {
        char host[64];
        struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {0x0909090a}};
        getnameinfo((struct sockaddr *)&sa, sizeof sa, host, sizeof host, NULL, 0, NI_NAMEREQD);
        result = NULL;
    }
    }
    pthread_cleanup_pop(0);
    return result;
}

static void cancel(void)
{
    static char kinds[][2] = {"g", "h", "n"};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = started(to_be_cancelled, kinds[i]);
    sleep_ms(100);
    double began = now_ms();
    for (int i = 0; i < 3; i++)
        pthread_cancel(threads[i]);
    for (int i = 0; i < 3; i++)
        printf("%s\n", joined(threads[i]));
    printf("cleaned %d, in time %d\n", cleaned, now_ms() - began < 2500);
    printf("then %s\n", looked_up("b.quick.test"));
}

/* ---- Signals ---- */

static atomic_int handled;
static sigjmp_buf escape;

static void count_signal(int sig)
{
    (void)sig;
    atomic_fetch_add(&handled, 1);
}

static void jump(int sig)
{
    (void)sig;
    siglongjmp(escape, 1);
}

static void interrupted(void)
{
    struct sigaction action = {.sa_handler = count_signal};
    sigaction(SIGUSR1, &action, NULL);
    pthread_t thread = started(look_up, "a.slow.test");
    sleep_ms(100);
    for (int i = 0; i < 3; i++) {
        pthread_kill(thread, SIGUSR1);
        sleep_ms(50);
    }
    printf("%s, handled %d\n", joined(thread), handled);
}

static void *jump_out(void *arg)
{
    if (sigsetjmp(escape, 1))
        return "jumped out";
    return (void *)(uintptr_t)looked_up(arg);
}

/* As programs do that set a limit with alarm(). */
static void jumped(void)
{
    signal(SIGUSR1, jump);
    for (int i = 0; i < 3; i++) {
        pthread_t thread = started(jump_out, "a.dead.test");
        sleep_ms(100);
        pthread_kill(thread, SIGUSR1);
        printf("%s\n", joined(thread));
    }
    printf("then %s\n", looked_up("b.quick.test"));
}

/* ---- fork ---- */

static void child_end(pid_t pid)
{
    int status = -1;
    waitpid(pid, &status, 0);
    printf("child: %s %d\n", WIFEXITED(status) ? "exit" : "signal",
           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static void forked(void)
{
    enum { COUNT = 20 };
    static char names[COUNT][32];
    pthread_t threads[COUNT];
    int found = 0;
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "n%d.slow.test", i);
        threads[i] = started(look_up, names[i]);
    }
    sleep_ms(100);
    for (int i = 0; i < 3; i++) {
        fflush(stdout);
        pid_t pid = fork();
        if (!pid) {
            bool right = !strcmp(looked_up("c.quick.test"), "found");
            pthread_t thread = started(look_up, "d.slow.test");
            right &= !strcmp(joined(thread), "found");
            _exit(right ? 7 : 8);
        }
        child_end(pid);
    }
    for (int i = 0; i < COUNT; i++)
        found += !strcmp(joined(threads[i]), "found");
    printf("found %d, then %s\n", found, looked_up("e.quick.test"));
}

static pid_t handler_child;

static void fork_in_handler(int sig)
{
    (void)sig;
    handler_child = fork();
}

static void *look_up_or_exit(void *name)
{
    const char *result = looked_up(name);
    if (!handler_child)
        _exit(!strcmp(result, "found") ? 7 : 8);
    return (void *)(uintptr_t)result;
}

/* The child of a handler that forks goes on with the lookup that was interrupted. */
static void forked_in_handler(void)
{
    handler_child = -1;
    signal(SIGUSR1, fork_in_handler);
    pthread_t thread = started(look_up_or_exit, "a.slow.test");
    sleep_ms(100);
    pthread_kill(thread, SIGUSR1);
    printf("%s\n", joined(thread));
    child_end(handler_child);
}

/* ---- Others go on ---- */

static atomic_bool over;
static atomic_int ticks;

static void *tick(void *unused)
{
    while (!atomic_load(&over)) {
        sleep_ms(5);
        atomic_fetch_add(&ticks, 1);
    }
    return unused;
}

/* Whatever waits for a name that is never answered, others run, and resolve. */
static void *ask_dead(void *arg)
{
    unsigned char answer[512];
    char host[64];
    struct hostent into, *result;
    int error;
    struct gaicb one = {.ar_name = "a.dead.test"}, *list[] = {&one};
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {0x0909090a}};
    struct __res_state state = {0};
    switch ((intptr_t)arg) {
    case 0:
        looked_up("a.dead.test");
        break;
    case 1:
        gethostbyname("a.dead.test");
        break;
    case 2:
        gethostbyname2("a.dead.test", AF_INET6);
        break;
    case 3:
        gethostbyname_r("a.dead.test", &into, host, sizeof host, &result, &error);
        break;
    case 4:
        gethostbyname2_r("a.dead.test", AF_INET6, &into, host, sizeof host, &result, &error);
        break;
    case 5:
        gethostbyaddr(&sa.sin_addr, 4, AF_INET);
        break;
    case 6:
        gethostbyaddr_r(&sa.sin_addr, 4, AF_INET, &into, host, sizeof host, &result, &error);
        break;
    case 7:
        getnameinfo((struct sockaddr *)&sa, sizeof sa, host, sizeof host, NULL, 0, NI_NAMEREQD);
        break;
    case 8:
        res_query("a.dead.test", 1, 1, answer, sizeof answer);
        break;
    case 9:
        res_search("a.dead.test", 1, 1, answer, sizeof answer);
        break;
    case 10:
        res_querydomain("a", "dead.test", 1, 1, answer, sizeof answer);
        break;
    case 11:
        getaddrinfo_a(GAI_WAIT, list, 1, NULL);
        break;
    case 12:
        getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
        gai_suspend((const struct gaicb *const *)list, 1, NULL);
        break;
    case 13:
        res_ninit(&state);
        res_nquery(&state, "a.dead.test", 1, 1, answer, sizeof answer);
        res_nclose(&state);
        break;
    case 14:
        res_ninit(&state);
        res_nsearch(&state, "a.dead.test", 1, 1, answer, sizeof answer);
        res_nclose(&state);
        break;
    case 15:
        res_ninit(&state);
        res_nquerydomain(&state, "a", "dead.test", 1, 1, answer, sizeof answer);
        res_nclose(&state);
        break;
    default: {
        unsigned char question[512];
        int length = res_mkquery(0, "a.dead.test", 1, 1, NULL, 0, NULL, question, sizeof question);
        if ((intptr_t)arg == 16) {
            res_send(question, length, answer, sizeof answer);
        } else {
            res_ninit(&state);
            res_nsend(&state, question, length, answer, sizeof answer);
            res_nclose(&state);
        }
    }
    }
    return "over";
}

static atomic_bool answered;

static void *ask_dead_once(void *arg)
{
    void *result = ask_dead(arg);
    atomic_store(&answered, true);
    return result;
}

/* Did another thread tick and resolve before the call was over? */
static bool others_went_on(intptr_t call)
{
    atomic_store(&answered, false);
    atomic_store(&over, false);
    pthread_t asks = started(ask_dead_once, (void *)call);
    sleep_ms(10);
    atomic_store(&ticks, 0);
    pthread_t ticks_on = started(tick, NULL);
    bool found = !strcmp(joined(started(look_up, "f.quick.test")), "found");
    while (!atomic_load(&answered) && atomic_load(&ticks) < 10)
        sleep_ms(5);
    bool went_on = found && !atomic_load(&answered);
    atomic_store(&over, true);
    joined(ticks_on);
    joined(asks);
    return went_on;
}

static void others(void)
{
    for (intptr_t call = 0; call <= 17; call++) {
        bool went_on = false;
        for (int i = 0; i < 3 && !went_on; i++) /* the machine may have stood still */
            went_on = others_went_on(call);
        printf("call %d: the others %s\n", (int)call, went_on ? "go on" : "wait");
    }
}

/* ---- Descriptors ---- */

static int descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void leaks(void)
{
    joined(started(look_up, "a.quick.test"));
    int before = descriptors();
    for (int i = 0; i < 600; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%d.quick.test", i);
        if (strcmp(joined(started(look_up, name)), "found"))
            printf("%s is lost\n", name);
    }
    printf("no more descriptors %d\n", descriptors() <= before + 4);
}

/* Without a descriptor left there is an error, and nothing worse. */
static void exhausted(void)
{
    struct rlimit limit = {64, 64};
    int last = -1;
    joined(started(look_up, "a.quick.test"));
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int fd; (fd = dup(1)) >= 0;)
        last = fd;
    printf("failed %d\n", strcmp(joined(started(look_up, "a.quick.test")), "found") != 0);
    close(last);
    printf("then %s\n", joined(started(look_up, "b.quick.test")));
}

/* ---- A thread with a network of its own ---- */

static void *elsewhere(void *unused)
{
    (void)unused;
    if (unshare(CLONE_NEWNET))
        return "no unshare";
    return (void *)(uintptr_t)looked_up("a.quick.test");
}

static void namespaces(void)
{
    printf("there %s\n", joined(started(elsewhere, NULL)));
    printf("here %s\n", joined(started(look_up, "a.quick.test")));
}

static const struct {
    const char *name;
    void (*run)(void);
} checks[] = {
    {"cancel", cancel},
    {"interrupted", interrupted},
    {"jumped", jumped},
    {"forked", forked},
    {"forked_in_handler", forked_in_handler},
    {"others", others},
    {"leaks", leaks},
    {"exhausted", exhausted},
    {"namespaces", namespaces},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof checks / sizeof *checks; i++)
        if (!strcmp(checks[i].name, argv[1]))
            checks[i].run();
    return 0;
}

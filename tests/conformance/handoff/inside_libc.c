/* Locks inside libc that a thread holds while it waits: others that want them block in the kernel, where no wrapper
 * is, and all go on once the holder does. */
#include "check.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio_ext.h>
#include <unistd.h>

enum { WAITERS = 4 };

static atomic_int inside, through;

static int count_object(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info;
    (void)size;
    ++*(int *)data;
    return 0;
}

/* The loader's lock is held while the callback runs. */
static int sleep_in_callback(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info;
    (void)size;
    (void)data;
    atomic_store(&inside, 1);
    sleep_ms(30);
    return 1;
}

static void *hold_loader(void *argument)
{
    dl_iterate_phdr(sleep_in_callback, NULL);
    return argument;
}

static void *want_loader(void *argument)
{
    int objects = 0;
    dl_iterate_phdr(count_object, &objects);
    EXPECT(objects > 1);
    atomic_fetch_add(&through, 1);
    return argument;
}

static void loader_lock_held_by_a_sleeper(void)
{
    pthread_t waiters[WAITERS];
    atomic_store(&inside, 0);
    pthread_t holder = start(hold_loader, NULL);
    while (!atomic_load(&inside)) {
        sleep_ms(1);
    }
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = start(want_loader, NULL);
    }
    finish(holder);
    for (int i = 0; i < WAITERS; i++) {
        finish(waiters[i]);
    }
    EXPECT_EQ(atomic_load(&through), WAITERS);
}

/* ---- Streams ---- */

static ssize_t read_slowly(void *cookie, char *buffer, size_t size)
{
    int *left = cookie;
    sleep_ms(10);
    if (*left == 0 || size == 0) {
        return 0;
    }
    --*left;
    buffer[0] = 'x';
    return 1;
}

static FILE *slow;

static void *read_a_character(void *argument)
{
    EXPECT_EQ(getc(slow), 'x');
    return argument;
}

/* The stream's lock is held by who reads, round a function of the program that sleeps. */
static void stream_held_by_a_sleeper(void)
{
    int left = WAITERS;
    pthread_t readers[WAITERS];
    cookie_io_functions_t functions = { .read = read_slowly };
    slow = fopencookie(&left, "r", functions);
    EXPECT(slow != NULL);
    for (int i = 0; i < WAITERS; i++) {
        readers[i] = start(read_a_character, NULL);
    }
    for (int i = 0; i < WAITERS; i++) {
        finish(readers[i]);
    }
    EXPECT_EQ(fclose(slow), 0);
}

static int fds[2];

static void *read_a_line(void *argument)
{
    char line[64] = "";
    FILE *in = argument;
    EXPECT(fgets(line, sizeof line, in) != NULL);
    EXPECT_EQ(strcmp(line, "a line\n"), 0);
    return NULL;
}

static void fgets_on_a_terminal(void)
{
    int control = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT(control >= 0 && grantpt(control) == 0 && unlockpt(control) == 0);
    FILE *in = fopen(ptsname(control), "r");
    EXPECT(in != NULL);
    pthread_t reader = start(read_a_line, in);
    sleep_ms(10);
    EXPECT_EQ(write(control, "a li", 4), 4);
    sleep_ms(10);
    EXPECT_EQ(write(control, "ne\n", 3), 3);
    finish(reader);
    fclose(in);
    close(control);
}

static void fgets_on_a_pipe(void)
{
    EXPECT_EQ(pipe(fds), 0);
    FILE *in = fdopen(fds[0], "r");
    pthread_t reader = start(read_a_line, in);
    sleep_ms(10);
    EXPECT_EQ(write(fds[1], "a li", 4), 4);
    sleep_ms(10);
    EXPECT_EQ(write(fds[1], "ne\n", 3), 3);
    finish(reader);
    close(fds[1]);
    fclose(in);
}

static void *flush_all(void *argument)
{
    EXPECT_EQ(fflush(NULL), 0);
    return argument;
}

/* fflush(NULL) wants every stream, the one that a reader holds included. */
static void flush_of_all_beside_a_reader(void)
{
    EXPECT_EQ(pipe(fds), 0);
    FILE *in = fdopen(fds[0], "r");
    pthread_t reader = start(read_a_line, in);
    sleep_ms(10);
    pthread_t flusher = start(flush_all, NULL);
    sleep_ms(10);
    EXPECT_EQ(write(fds[1], "a line\n", 7), 7);
    finish(reader);
    finish(flusher);
    close(fds[1]);
    fclose(in);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        CHECK(loader_lock_held_by_a_sleeper),
        CHECK(stream_held_by_a_sleeper),
        CHECK(fgets_on_a_pipe),
        CHECK(fgets_on_a_terminal),
        CHECK(flush_of_all_beside_a_reader),
    };
    return CHECKS_RUN(checks, argc, argv);
}

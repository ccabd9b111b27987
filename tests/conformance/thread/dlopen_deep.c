/* dlopen with RTLD_DEEPBIND, and names that are found along the caller's RUNPATH alone. */
#include "check.h"

#include <dlfcn.h>
#include <sched.h>
#include <signal.h>

static int fds[2];
static int (*reads[2])(int);

static void *read_both(void *argument)
{
    EXPECT_EQ(reads[0](fds[0]), 'a');
    EXPECT_EQ(reads[1](fds[0]), 'b');
    return argument;
}

static void *write_both(void *argument)
{
    sched_yield();
    EXPECT_EQ(write(fds[1], "a", 1), 1);
    sleep_ms(5);
    EXPECT_EQ(write(fds[1], "b", 1), 1);
    return argument;
}

/* Under --strict this never ends unless the library's calls let others run. */
static void read_in_library(int mode)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 20);
    EXPECT(length > 0);
    strcpy(path + length, ".so");
    EXPECT_EQ(pipe(fds), 0);
    void *library = dlopen(path, mode);
    EXPECT(library != NULL);
    EXPECT(dlerror() == NULL);
    reads[0] = (int (*)(int))dlsym(library, "read_by_call");
    reads[1] = (int (*)(int))dlsym(library, "read_by_pointer");
    pthread_t reader = start(read_both, NULL);
    pthread_t writer = start(write_both, NULL);
    finish(reader);
    finish(writer);
    EXPECT_EQ(dlclose(library), 0);
    close(fds[0]);
    close(fds[1]);
}

static void library_bound_deeply_waits(void)
{
    alarm(10);
    read_in_library(RTLD_NOW | RTLD_DEEPBIND);
    read_in_library(RTLD_LAZY | RTLD_DEEPBIND);
    read_in_library(RTLD_NOW);
    alarm(0);
}

static void name_without_a_slash_is_found_beside_the_program(void)
{
    void *library = dlopen("dlopen_deep.so", RTLD_NOW);
    EXPECT(library != NULL);
    if (library) {
        EXPECT(dlsym(library, "read_by_call") != NULL);
        EXPECT_EQ(dlclose(library), 0);
    }
    EXPECT(dlopen("no-such-library.so", RTLD_NOW) == NULL);
    const char *text = dlerror();
    EXPECT(text && strncmp(text, "no-such-library.so: ", 20) == 0);
    EXPECT(dlerror() == NULL);
}

static const struct check checks[] = {
    CHECK(library_bound_deeply_waits),
    CHECK(name_without_a_slash_is_found_beside_the_program),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}

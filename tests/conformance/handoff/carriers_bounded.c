/* With no more OS threads allowed, threads that block hold up the others: the program is told so once, on standard
 * error, and goes on as soon as they do. */
#include "check.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static atomic_int ended;

static void *block_in_the_kernel(void *argument)
{
#if defined(__x86_64__)
    struct timespec t = { 0, 20000000 };
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_nanosleep), "D"(&t), "S"(NULL) : "rcx", "r11", "memory");
#else
    usleep(20000);
#endif
    atomic_fetch_add(&ended, 1);
    return argument;
}

int main(void)
{
    pthread_t threads[12];
    char text[2048] = "";
    int kept = dup(2), told = 0, begun = 0;
    int fd = open("said", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dup2(fd, 2);
    /* On a busy machine they may miss one another: until the bound was met, and once more. */
    for (int after = 0, round = 0; after < 2 && round < 100; round++) {
        for (int i = 0; i < 12; i++) {
            threads[i] = start(block_in_the_kernel, NULL);
        }
        for (int i = 0; i < 12; i++) {
            finish(threads[i]);
        }
        begun += 12;
        ssize_t n = pread(fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        after += n > 0;
    }
    dup2(kept, 2);
    for (const char *at = text; (at = strstr(at, "--max-carriers")); at++) {
        told++;
    }
    printf("%s ended, told %d\n", atomic_load(&ended) == begun ? "all" : "some", told);
    return 0;
}

/* A green thread in the parent, and one in a child. The parent prints the child's id. */
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void *sleeper(void *unused)
{
    sleep(60);
    return unused;
}

int main(void)
{
    pthread_t t;
    int fds[2];
    char byte;
    (void)!pipe(fds);
    pthread_create(&t, NULL, sleeper, NULL);
    pid_t child = fork();
    if (child == 0) {
        pthread_create(&t, NULL, sleeper, NULL);
        usleep(1000);
        (void)!write(fds[1], "", 1);
        close(fds[1]);
        for (pid_t parent = getppid(); getppid() == parent;)
            usleep(100000);
        _exit(0);
    }
    (void)!read(fds[0], &byte, 1);
    printf("ready\n%d\n", (int)child);
    fflush(stdout);
    waitpid(child, NULL, 0);
    return 0;
}

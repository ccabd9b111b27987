/* siglongjmp out of handlers that interrupted waiting calls: the call is over, and nothing that comes later is lost. */
#include "check.h"

#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>

static __thread sigjmp_buf back;
static int fds[2];
static sem_t sem, done;
static char trace[256];

static void jump_back(int number)
{
    siglongjmp(back, number);
}

static void handle(int number)
{
    struct sigaction action = { .sa_handler = jump_back };
    EXPECT_EQ(sigaction(number, &action, NULL), 0);
}

static void wait_reading(void)
{
    char byte;
    EXPECT(read(fds[0], &byte, 1) < 1);
}
static void wait_polling(void)
{
    struct pollfd item = { .fd = fds[0], .events = POLLIN };
    poll(&item, 1, -1);
}
static void wait_sleeping(void) { sleep(3600); }
static void wait_on_sem(void) { sem_wait(&sem); }
static void wait_pausing(void) { pause(); }

static void (*const waits[])(void) = { wait_reading, wait_polling, wait_sleeping, wait_on_sem, wait_pausing };

struct jumper {
    void (*wait)(void);
    int jumped, rounds;
};

/* The signal is blocked but for the wait: a handler must not jump to where nobody has been yet. */
static void *jump_often(void *argument)
{
    struct jumper *jumper = argument;
    sigset_t set, now;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    for (volatile int i = 0; i < jumper->rounds; i++) {
        if (sigsetjmp(back, 1) == 0) {
            pthread_sigmask(SIG_UNBLOCK, &set, NULL);
            jumper->wait();
            EXPECT(0);
        }
        pthread_sigmask(SIG_SETMASK, NULL, &now);
        EXPECT_EQ(sigismember(&now, SIGUSR1), 1);
        atomic_add(&jumper->jumped, 1);
    }
    sem_post(&done);
    return NULL;
}

static void out_of_every_wait(void)
{
    EXPECT_EQ(pipe(fds), 0);
    for (size_t w = 0; w < sizeof waits / sizeof waits[0]; w++) {
        struct jumper jumper = { waits[w], 0, 20 };
        sigset_t set, old;
        sem_init(&sem, 0, 0);
        sem_init(&done, 0, 0);
        handle(SIGUSR1);
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        pthread_sigmask(SIG_BLOCK, &set, &old);
        pthread_t thread = start(jump_often, &jumper);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        for (int i = 0; i < 20; i++) {
            sleep_ms(3);
            pthread_kill(thread, SIGUSR1);
            EXPECT(wait_for_value(&jumper.jumped, i + 1));
        }
        sem_wait(&done);
        finish(thread);
        /* What was waited for is as it was, and works for the next one. */
        EXPECT_EQ(sem_trywait(&sem), -1);
        char byte = 'b';
        EXPECT_EQ(write(fds[1], &byte, 1), 1);
        EXPECT_EQ(read(fds[0], &byte, 1), 1);
        sem_post(&sem);
        EXPECT_EQ(sem_wait(&sem), 0);
    }
}

static void *read_patiently(void *argument)
{
    char byte = 0;
    while (read(fds[0], &byte, 1) == -1 && errno == EINTR) {
    }
    *(char *)argument = byte;
    return NULL;
}

static void *jump_once_out_of_read(void *argument)
{
    char byte;
    if (sigsetjmp(back, 1) == 0) {
        atomic_set(argument, 1);
        EXPECT(read(fds[0], &byte, 1) < 1);
    }
    atomic_set(argument, 2);
    return NULL;
}

static void the_other_reader_gets_the_data(void)
{
    for (int i = 0; i < 20; i++) {
        char byte = 0;
        int state = 0;
        handle(SIGUSR1);
        pthread_t jumper = start(jump_once_out_of_read, &state);
        EXPECT(wait_for_value(&state, 1));
        sleep_ms(3);
        pthread_t reader = start(read_patiently, &byte);
        pthread_kill(jumper, SIGUSR1);
        EXPECT(wait_for_value(&state, 2));
        finish(jumper);
        EXPECT_EQ(write(fds[1], "d", 1), 1);
        finish(reader);
        EXPECT_EQ(byte, 'd');
    }
}

static void *fault_and_jump(void *argument)
{
    for (volatile int i = 0; i < 50; i++) {
        int number = sigsetjmp(back, 1);
        if (number == 0) {
            *(volatile int *)16 = 1;
        }
        EXPECT_EQ(number, SIGSEGV);
        if (i % 10 == 0) {
            sched_yield();
        }
    }
    return argument;
}

static void out_of_faults(void)
{
    pthread_t threads[5];
    handle(SIGSEGV);
    fault_and_jump(NULL);
    for (int i = 0; i < 5; i++) {
        threads[i] = start(fault_and_jump, NULL);
    }
    for (int i = 0; i < 5; i++) {
        finish(threads[i]);
    }
    signal(SIGSEGV, SIG_DFL);
}

static void *time_out_by_alarm(void *argument)
{
    /* The old way of a time-out: alarm, and a jump out of the read. */
    for (volatile int i = 0; i < 5; i++) {
        char byte;
        if (sigsetjmp(back, 1) == 0) {
            ualarm(5000, 0);
            EXPECT(read(fds[0], &byte, 1) < 1);
        } else {
            strcat(trace, "t");
        }
    }
    return argument;
}

static void alarm_and_jump(void)
{
    sigset_t set;
    handle(SIGALRM);
    time_out_by_alarm(NULL);
    EXPECT(strcmp(trace, "ttttt") == 0);
    /* On a thread it works where no other takes the signal. */
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    pthread_t thread = 0;
    pthread_attr_t attr;
    sigset_t none;
    sigemptyset(&none);
    pthread_attr_init(&attr);
    EXPECT_EQ(pthread_attr_setsigmask_np(&attr, &none), 0);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    EXPECT_EQ(pthread_create(&thread, &attr, time_out_by_alarm, NULL), 0);
    finish(thread);
    EXPECT(strcmp(trace, "tttttttttt") == 0);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *plain_jumps(void *argument)
{
    static __thread jmp_buf plain;
    volatile int count = 0;
    int value = setjmp(plain);
    if (value < 100) {
        count = count + 1;
        if (value % 7 == 0) {
            sched_yield();
        }
        longjmp(plain, value + 1);
    }
    EXPECT_EQ(count, 100);
    return argument;
}

static void plain_jumps_on_threads(void)
{
    pthread_t threads[10];
    for (int i = 0; i < 10; i++) {
        threads[i] = start(plain_jumps, NULL);
    }
    for (int i = 0; i < 10; i++) {
        finish(threads[i]);
    }
}

static const struct check checks[] = {
    CHECK(out_of_every_wait),
    CHECK(the_other_reader_gets_the_data),
    CHECK(out_of_faults),
    CHECK(alarm_and_jump),
    CHECK(plain_jumps_on_threads),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}

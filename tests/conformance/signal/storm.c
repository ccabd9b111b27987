/* Thousands of signals for a thread that blocks in the kernel: each call ends as natively, the stack holds, and the
 * calls of another thread are not disturbed. */
#include "check.h"

#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>

enum { ROUNDS = 5000, QUEUED = 500 };

struct message {
    long type;
    int number;
};

struct receiver {
    int queue;
    int got;
    int interrupted;
};

static int handled;

static void on_signal(int number)
{
    (void)number;
    atomic_add(&handled, 1);
}

static void *receive(void *argument)
{
    struct receiver *r = argument;
    struct message message;
    while (r->got < ROUNDS) {
        if (msgrcv(r->queue, &message, sizeof message.number, 0, 0) == sizeof message.number) {
            EXPECT_EQ(message.number, r->got);
            r->got++;
        } else {
            EXPECT_EQ(errno, EINTR);
            r->interrupted++;
        }
    }
    return NULL;
}

static void send_to(const struct receiver *r, int number)
{
    struct message message = { 1, number };
    EXPECT_EQ(msgsnd(r->queue, &message, sizeof message.number, 0), 0);
}

static void calls_survive_a_storm(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    struct receiver struck = { .queue = msgget(IPC_PRIVATE, 0600) }, spared = { .queue = msgget(IPC_PRIVATE, 0600) };
    EXPECT(struck.queue >= 0 && spared.queue >= 0);
    sigaction(SIGUSR1, &action, NULL);
    pthread_t one = start(receive, &struck), other = start(receive, &spared);
    for (int i = 0; i < ROUNDS; i++) {
        EXPECT_EQ(pthread_kill(one, SIGUSR1), 0);
        for (int yields = 0; yields < i % 5; yields++) {
            sched_yield();
        }
        send_to(&struck, i);
        sched_yield();
        send_to(&spared, i);
    }
    finish(one);
    finish(other);
    EXPECT_EQ(struck.got, ROUNDS);
    EXPECT_EQ(spared.interrupted, 0);
    EXPECT(handled > 0);
    EXPECT_EQ(msgctl(struck.queue, IPC_RMID, NULL), 0);
    EXPECT_EQ(msgctl(spared.queue, IPC_RMID, NULL), 0);
}

static int running;

static void *wait_and_yield(void *argument)
{
    while (atomic_get(&running)) {
        sleep_ms(1);
        for (int i = 0; i < 100; i++) {
            sched_yield();
        }
    }
    return argument;
}

static pid_t target;

static int send_queued(void)
{
    for (int i = 0; i < QUEUED; i++) {
        while (sigqueue(target, SIGRTMIN + 3, (union sigval){ .sival_int = i }) != 0) {
            if (errno != EAGAIN) {
                return 1;
            }
            sleep_ms(1);
        }
    }
    return 0;
}

/* With SA_NODEFER the kernel makes a frame of each that waits, one within the other. */
static void queued_signals_may_nest(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_NODEFER }, now;
    pthread_t threads[10];
    EXPECT_EQ(sigaction(SIGRTMIN + 3, &action, NULL), 0);
    EXPECT_EQ(sigaction(SIGRTMIN + 3, NULL, &now), 0);
    EXPECT_EQ(now.sa_flags & SA_NODEFER, SA_NODEFER);
    atomic_set(&handled, 0);
    atomic_set(&running, 1);
    target = getpid();
    for (int i = 0; i < 10; i++) {
        threads[i] = start(wait_and_yield, NULL);
    }
    EXPECT_EXITS(child_run(send_queued), 0);
    for (int i = 0; i < 5000 && atomic_get(&handled) < QUEUED; i++) {
        sleep_ms(1);
    }
    EXPECT_EQ(atomic_get(&handled), QUEUED);
    atomic_set(&running, 0);
    for (int i = 0; i < 10; i++) {
        finish(threads[i]);
    }
}

static const struct check checks[] = {
    CHECK(calls_survive_a_storm),
    CHECK(queued_signals_may_nest),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}

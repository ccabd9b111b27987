/* POSIX message queues: receiving from an empty one and sending to a full one wait, with and
 * without a time. */
#include <mqueue.h>

#include "kit/expect.h"
#include "kit/threads.h"

static mqd_t queue;
static char name[64];

static void queue_make(long most)
{
    struct mq_attr attr = {.mq_maxmsg = most, .mq_msgsize = 32};
    snprintf(name, sizeof(name), "/conformance-%d", (int)getpid());
    queue = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
    MUST_BE(queue != (mqd_t)-1);
}

static void queue_drop(void)
{
    EQUALS(mq_close(queue), 0, "mq_close");
    EQUALS(mq_unlink(name), 0, "mq_unlink");
}

static void send_word(void *arg)
{
    MUST(mq_send(queue, "word", 4, *(unsigned *)arg));
}

static void take_one(void *unused)
{
    char got[32];
    (void)unused;
    MUST(mq_receive(queue, got, sizeof(got), NULL));
}

static void waiting(void)
{
    char got[32];
    unsigned priority = 3, seen = 0;
    ssize_t n;
    int result;
    queue_make(2);
    WHILE(send_word, &priority, n = mq_receive(queue, got, sizeof(got), &seen));
    EQUALS(n, 4, "mq_receive waits for a message");
    BYTES(got, "word", 4, "its text");
    EQUALS(seen, 3, "its priority");
    MUST(mq_send(queue, "low", 3, 1));
    MUST(mq_send(queue, "high", 4, 9));
    WHILE(take_one, NULL, result = mq_send(queue, "third", 5, 5));
    EQUALS(result, 0, "mq_send waits for room");
    EQUALS(mq_receive(queue, got, sizeof(got), &seen), 5, "the higher priority first");
    EQUALS(mq_receive(queue, got, sizeof(got), &seen), 3, "then the lower");
    FAILS(mq_receive(queue, got, 31, NULL), EMSGSIZE, "too little room");
    FAILS(mq_send(queue, got, 33, 0), EMSGSIZE, "too long");
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = mq_receive(queue, got, sizeof(got), NULL));
    FAILS(n, EINTR, "a signal interrupts mq_receive");
    queue_drop();
}

static void timed(void)
{
    char got[32];
    unsigned priority = 1;
    ssize_t n;
    int result;
    queue_make(1);
    struct timespec until = ms_from_now(CLOCK_REALTIME, 50);
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    FAILS(mq_timedreceive(queue, got, sizeof(got), NULL, &until), ETIMEDOUT, "mq_timedreceive");
    LASTED_TICKS(began, 50, "after its time");
    OTHERS_RAN(ticks, (until = ms_from_now(CLOCK_REALTIME, 50),
                       mq_timedreceive(queue, got, sizeof(got), NULL, &until)));
    until = ms_from_now(CLOCK_REALTIME, 3000);
    WHILE(send_word, &priority,
          n = mq_timedreceive(queue, got, sizeof(got), NULL, &until));
    EQUALS(n, 4, "with a message in time");
    send_word(&priority);
    until = ms_from_now(CLOCK_REALTIME, 50);
    began = moment();
    FAILS(mq_timedsend(queue, "x", 1, 0, &until), ETIMEDOUT, "mq_timedsend");
    LASTED_TICKS(began, 50, "after its time");
    until = ms_from_now(CLOCK_REALTIME, 3000);
    WHILE(take_one, NULL, result = mq_timedsend(queue, "x", 1, 0, &until));
    EQUALS(result, 0, "with room in time");
    until.tv_nsec = -1;
    take_one(NULL);
    FAILS(mq_timedreceive(queue, got, sizeof(got), NULL, &until), EINVAL, "a time that is none");
    until = ms_from_now(CLOCK_REALTIME, -1000);
    FAILS(mq_timedreceive(queue, got, sizeof(got), NULL, &until), ETIMEDOUT, "a time gone by");
    send_word(&priority);
    EQUALS(mq_timedreceive(queue, got, sizeof(got), NULL, &until), 4, "but a message is taken");
    queue_drop();
}

static void nonblocking(void)
{
    char got[32];
    queue_make(1);
    struct mq_attr attr = {.mq_flags = O_NONBLOCK}, old;
    EQUALS(mq_setattr(queue, &attr, &old), 0, "mq_setattr");
    EQUALS(old.mq_flags, 0, "it was blocking");
    FAILS(mq_receive(queue, got, sizeof(got), NULL), EAGAIN, "mq_receive does not wait");
    MUST(mq_send(queue, "x", 1, 0));
    FAILS(mq_send(queue, "x", 1, 0), EAGAIN, "mq_send neither");
    EQUALS(mq_getattr(queue, &old), 0, "mq_getattr");
    EQUALS(old.mq_curmsgs, 1, "one message");
    queue_drop();
    FAILS(mq_receive((mqd_t)-1, got, sizeof(got), NULL), EBADF, "no queue");
    HOLDS(mq_open("/no-such-queue", O_RDONLY) == (mqd_t)-1 && errno == ENOENT, "no such queue");
}

enum { takers = 4, messages = 100 };

static void *taker(void *unused)
{
    char got[32];
    long count = 0;
    (void)unused;
    for (;;) {
        ssize_t n = mq_receive(queue, got, sizeof(got), NULL);
        if (n == 4 && memcmp(got, "stop", 4) == 0)
            return (void *)count;
        count += n == 1;
    }
}

static void several_takers(void)
{
    pthread_t threads[takers];
    long total = 0;
    queue_make(3);
    for (int i = 0; i < takers; i++)
        threads[i] = start(taker, NULL);
    for (int i = 0; i < messages; i++)
        MUST(mq_send(queue, "m", 1, 5));
    for (int i = 0; i < takers; i++)
        MUST(mq_send(queue, "stop", 4, 1));
    for (int i = 0; i < takers; i++)
        total += (long)finish(threads[i]);
    EQUALS(total, messages, "every message was taken once");
    queue_drop();
}

static const struct check checks[] = {CHECK(waiting), CHECK(timed), CHECK(nonblocking),
                                      CHECK(several_takers)};

TICKING_MAIN(checks)

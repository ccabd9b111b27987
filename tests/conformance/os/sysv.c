/* System V message queues and semaphores: waiting, time-outs, signals, removal. */
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include "kit/expect.h"
#include "kit/threads.h"

struct message {
    long type;
    char text[16];
};

static int queue, set;

static void send_type(void *arg)
{
    struct message message = {*(long *)arg, "word"};
    MUST(msgsnd(queue, &message, 4, 0));
}

static void take_one(void *unused)
{
    struct message message;
    (void)unused;
    MUST(msgrcv(queue, &message, sizeof(message.text), 0, 0));
}

static void remove_queue(void *unused)
{
    (void)unused;
    MUST(msgctl(queue, IPC_RMID, NULL));
}

static void messages(void)
{
    struct message message = {0, ""};
    long type = 7;
    ssize_t n;
    int result;
    queue = MUST(msgget(IPC_PRIVATE, 0600));
    WHILE(send_type, &type, n = msgrcv(queue, &message, sizeof(message.text), 0, 0));
    EQUALS(n, 4, "msgrcv waits for a message");
    EQUALS(message.type, 7, "its type");
    BYTES(message.text, "word", 4, "its text");
    long other = 3;
    send_type(&other);
    WHILE(send_type, &type, n = msgrcv(queue, &message, sizeof(message.text), 7, 0));
    EQUALS(n, 4, "msgrcv waits for a message of its type");
    EQUALS(message.type, 7, "its type");
    FAILS(msgrcv(queue, &message, sizeof(message.text), 7, IPC_NOWAIT), ENOMSG, "IPC_NOWAIT");
    EQUALS(msgrcv(queue, &message, sizeof(message.text), -5, 0), 4, "the lowest type up to 5");
    EQUALS(message.type, 3, "its type");
    send_type(&type);
    FAILS(msgrcv(queue, &message, 2, 0, 0), E2BIG, "too little room");
    EQUALS(msgrcv(queue, &message, 2, 0, MSG_NOERROR), 2, "MSG_NOERROR cuts it");
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = msgrcv(queue, &message, sizeof(message.text), 0, 0));
    FAILS(n, EINTR, "a signal interrupts msgrcv");
    signal_catch(SIGUSR1, SA_RESTART);
    KICKED(SIGUSR1, n = msgrcv(queue, &message, sizeof(message.text), 0, 0));
    FAILS(n, EINTR, "in spite of SA_RESTART");

    struct msqid_ds status;
    MUST(msgctl(queue, IPC_STAT, &status));
    status.msg_qbytes = 8;
    MUST(msgctl(queue, IPC_SET, &status));
    send_type(&type);
    send_type(&type);
    FAILS(msgsnd(queue, &message, 4, IPC_NOWAIT), EAGAIN, "a full queue, IPC_NOWAIT");
    message.type = 1;
    WHILE(take_one, NULL, result = msgsnd(queue, &message, 4, 0));
    EQUALS(result, 0, "msgsnd waits for room");
    message.type = 0;
    FAILS(msgsnd(queue, &message, 4, 0), EINVAL, "a type that is none");
    take_one(NULL);
    take_one(NULL);
    WHILE(remove_queue, NULL, n = msgrcv(queue, &message, sizeof(message.text), 0, 0));
    FAILS(n, EIDRM, "the queue is removed");
    FAILS(msgrcv(queue, &message, sizeof(message.text), 0, 0), EINVAL, "and is no more");
}

static void add_one(void *arg)
{
    struct sembuf add = {(unsigned short)*(int *)arg, 1, 0};
    MUST(semop(set, &add, 1));
}

static void take_first(void *unused)
{
    struct sembuf take = {0, -1, 0};
    (void)unused;
    MUST(semop(set, &take, 1));
}

static void remove_set(void *unused)
{
    (void)unused;
    MUST(semctl(set, 0, IPC_RMID));
}

static void semaphores(void)
{
    struct sembuf take = {0, -1, 0}, zero = {0, 0, 0};
    struct sembuf both[2] = {{0, -1, 0}, {1, -1, 0}};
    int first = 0, second = 1, result;
    set = MUST(semget(IPC_PRIVATE, 2, 0600));
    WHILE(add_one, &first, result = semop(set, &take, 1));
    EQUALS(result, 0, "semop waits to take one");
    MUST(semctl(set, 0, SETVAL, 1));
    WHILE(take_first, NULL, result = semop(set, &zero, 1));
    EQUALS(result, 0, "semop waits for zero");
    MUST(semctl(set, 0, SETVAL, 1));
    WHILE(add_one, &second, result = semop(set, both, 2));
    EQUALS(result, 0, "semop waits for two at once");
    EQUALS(semctl(set, 0, GETVAL), 0, "and takes both");
    struct timespec limit = {0, 50000000};
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    FAILS(semtimedop(set, &take, 1, &limit), EAGAIN, "semtimedop");
    LASTED_TICKS(began, 50, "after its time");
    OTHERS_RAN(ticks, semtimedop(set, &take, 1, &limit));
    limit.tv_sec = 3;
    WHILE(add_one, &first, result = semtimedop(set, &take, 1, &limit));
    EQUALS(result, 0, "in time");
    take.sem_flg = IPC_NOWAIT;
    FAILS(semop(set, &take, 1), EAGAIN, "IPC_NOWAIT");
    take.sem_flg = 0;
    signal_catch(SIGUSR1, SA_RESTART);
    KICKED(SIGUSR1, result = semop(set, &take, 1));
    FAILS(result, EINTR, "a signal interrupts semop in spite of SA_RESTART");
    take.sem_num = 9;
    FAILS(semop(set, &take, 1), EFBIG, "no such semaphore");
    take.sem_num = 0;
    WHILE(remove_set, NULL, result = semop(set, &take, 1));
    FAILS(result, EIDRM, "the set is removed");
    FAILS(semop(set, &take, 1), EINVAL, "and is no more");
}

enum { workers = 5, rounds = 100 };
static int inside, doubled;

static void *worker(void *unused)
{
    struct sembuf take = {0, -1, SEM_UNDO}, give = {0, 1, SEM_UNDO};
    (void)unused;
    for (int i = 0; i < rounds; i++) {
        MUST(semop(set, &take, 1));
        if (atomic_add(&inside, 1) != 1)
            atomic_add(&doubled, 1);
        sched_yield();
        atomic_add(&inside, -1);
        MUST(semop(set, &give, 1));
    }
    return NULL;
}

static void exclusion(void)
{
    pthread_t threads[workers];
    set = MUST(semget(IPC_PRIVATE, 1, 0600));
    MUST(semctl(set, 0, SETVAL, 1));
    for (int i = 0; i < workers; i++)
        threads[i] = start(worker, NULL);
    for (int i = 0; i < workers; i++)
        finish(threads[i]);
    EQUALS(doubled, 0, "never two inside");
    EQUALS(semctl(set, 0, GETVAL), 1, "the count is right at the end");
    MUST(semctl(set, 0, IPC_RMID));
}

static const struct check checks[] = {CHECK(messages), CHECK(semaphores), CHECK(exclusion)};

TICKING_MAIN(checks)

/* POSIX asynchronous I/O: aio_suspend, lio_listio and their waits, beside other threads. */
#include <aio.h>
#include <sys/random.h>

#include "kit/expect.h"
#include "kit/threads.h"

static void write_word(void *arg)
{
    MUST(write(*(int *)arg, "word", 4));
}

static void suspend(void)
{
    int pipes[2], result;
    char got[8];
    MUST(pipe(pipes));
    struct aiocb block = {.aio_fildes = pipes[0], .aio_buf = got, .aio_nbytes = 4};
    const struct aiocb *const list[1] = {&block};
    EQUALS(aio_read(&block), 0, "aio_read of an empty pipe");
    EQUALS(aio_error(&block), EINPROGRESS, "is under way");
    struct timespec limit = {0, 40000000};
    unsigned long ticks = ticker_now();
    int64_t began = moment();
    FAILS(aio_suspend(list, 1, &limit), EAGAIN, "aio_suspend times out");
    LASTED(began, 40, "after its time");
    OTHERS_RAN(ticks, aio_suspend(list, 1, &limit));
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, result = aio_suspend(list, 1, NULL));
    FAILS(result, EINTR, "a signal interrupts it");
    WHILE(write_word, &pipes[1], result = aio_suspend(list, 1, NULL));
    EQUALS(result, 0, "aio_suspend waits for the read");
    EQUALS(aio_error(&block), 0, "which is done");
    EQUALS(aio_return(&block), 4, "with its bytes");
    BYTES(got, "word", 4, "as they were written");
    close(pipes[0]);
    close(pipes[1]);
}

static void list(void)
{
    char path[64], one[8], two[8];
    snprintf(path, sizeof(path), "aio-%d", (int)getpid());
    int fd = MUST(open(path, O_CREAT | O_RDWR, 0600));
    MUST(pwrite(fd, "firstsecond", 11, 0));
    struct aiocb a = {.aio_fildes = fd, .aio_buf = one, .aio_nbytes = 5,
                      .aio_lio_opcode = LIO_READ};
    struct aiocb b = {.aio_fildes = fd, .aio_buf = two, .aio_nbytes = 6, .aio_offset = 5,
                      .aio_lio_opcode = LIO_READ};
    struct aiocb *both[2] = {&a, &b};
    EQUALS(lio_listio(LIO_WAIT, both, 2, NULL), 0, "lio_listio waits for both");
    EQUALS(aio_return(&a), 5, "the first");
    EQUALS(aio_return(&b), 6, "the second");
    BYTES(one, "first", 5, "its bytes");
    BYTES(two, "second", 6, "its bytes");
    struct aiocb sync = {.aio_fildes = fd};
    const struct aiocb *const waited[1] = {&sync};
    EQUALS(aio_fsync(O_SYNC, &sync), 0, "aio_fsync");
    while (aio_error(&sync) == EINPROGRESS)
        aio_suspend(waited, 1, NULL);
    EQUALS(aio_return(&sync), 0, "is done");
    close(fd);
    unlink(path);
}

static void randomness(void)
{
    unsigned char got[257] = {0};
    EQUALS(getrandom(got, 256, 0), 256, "getrandom");
    int zeros = 0;
    for (int i = 0; i < 256; i++)
        zeros += got[i] == 0;
    HOLDS(zeros < 64, "fills its buffer");
    EQUALS(getrandom(got, 16, GRND_NONBLOCK), 16, "GRND_NONBLOCK");
    EQUALS(getrandom(got, 0, 0), 0, "nothing asked for");
    FAILS(getrandom(got, 1, 0x100), EINVAL, "an unknown flag");
    FAILS(getrandom(bad_pointer, 1, 0), EFAULT, "a bad address");
    EQUALS(getentropy(got, 256), 0, "getentropy");
    FAILS(getentropy(got, 257), EIO, "too much");
}

static const struct check checks[] = {CHECK(suspend), CHECK(list), CHECK(randomness)};

TICKING_MAIN(checks)

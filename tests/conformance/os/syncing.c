/* fsync and its kin return what they do natively, and other threads run meanwhile. */
#include <sys/mman.h>
#include <sys/socket.h>

#include "kit/expect.h"
#include "kit/threads.h"

static void write_and_sync(void)
{
    char path[64];
    static char block[1 << 16];
    snprintf(path, sizeof(path), "synced-%d", (int)getpid());
    int fd = MUST(open(path, O_CREAT | O_RDWR, 0600));
    for (int i = 0; i < 20; i++) {
        EQUALS(pwrite(fd, block, sizeof(block), (off_t)i * (off_t)sizeof(block)), sizeof(block),
               "write");
        EQUALS(fdatasync(fd), 0, "fdatasync");
    }
    EQUALS(fsync(fd), 0, "fsync");
    EQUALS(sync_file_range(fd, 0, 4096,
                           SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                               SYNC_FILE_RANGE_WAIT_AFTER),
           0, "sync_file_range");
    FAILS(sync_file_range(fd, 0, 4096, 0x100), EINVAL, "an unknown flag");
    EQUALS(syncfs(fd), 0, "syncfs");
    EQUALS(posix_fallocate(fd, 0, 4096), 0, "posix_fallocate");
    EQUALS(fallocate(fd, 0, 0, 8192), 0, "fallocate");
    EQUALS(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0, "posix_fadvise");
    EQUALS(readahead(fd, 0, 4096), 0, "readahead");
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    MUST_BE(map != MAP_FAILED);
    memcpy(map, "mapped", 6);
    EQUALS(msync(map, 8192, MS_SYNC), 0, "msync");
    EQUALS(msync(map, 8192, MS_ASYNC), 0, "msync, MS_ASYNC");
    FAILS(msync(map, 8192, 0x100), EINVAL, "msync, an unknown flag");
    FAILS(msync(map + 1, 8192, MS_SYNC), EINVAL, "msync, a crooked address");
    munmap(map, 8192);
    char got[6];
    EQUALS(pread(fd, got, 6, 0), 6, "read it");
    BYTES(got, "mapped", 6, "as mapped");
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    FAILS(fsync(pair[0]), EINVAL, "fsync of a socket");
    FAILS(fdatasync(pair[0]), EINVAL, "fdatasync of a socket");
    close(pair[0]);
    close(pair[1]);
    close(fd);
    unlink(path);
}

enum { writers = 4 };

static void *sync_often(void *arg)
{
    char path[64];
    snprintf(path, sizeof(path), "synced-%d-%ld", (int)getpid(), (long)arg);
    int fd = MUST(open(path, O_CREAT | O_RDWR, 0600));
    long right = 0;
    for (int i = 0; i < 15; i++)
        right += write(fd, "line\n", 5) == 5 && fsync(fd) == 0;
    close(fd);
    unlink(path);
    return (void *)right;
}

static void several_at_once(void)
{
    pthread_t threads[writers];
    for (long i = 0; i < writers; i++)
        threads[i] = start(sync_often, (void *)i);
    for (int i = 0; i < writers; i++)
        EQUALS((long)finish(threads[i]), 15, "every fsync worked");
}

static const struct check checks[] = {CHECK(write_and_sync), CHECK(several_at_once)};

TICKING_MAIN(checks)

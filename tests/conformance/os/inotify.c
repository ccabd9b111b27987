/* inotify: reading waits for an event. */
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "kit/expect.h"
#include "kit/threads.h"

static char directory[64];

static void create(void *arg)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", directory, (const char *)arg);
    int fd = MUST(open(path, O_CREAT | O_WRONLY, 0600));
    close(fd);
}

static void events(void)
{
    _Alignas(struct inotify_event) char room[4096];
    struct inotify_event *event = (struct inotify_event *)room;
    ssize_t n;
    snprintf(directory, sizeof(directory), "watched-%d", (int)getpid());
    MUST(mkdir(directory, 0700));
    int fd = MUST(inotify_init1(IN_CLOEXEC));
    int watch = MUST(inotify_add_watch(fd, directory, IN_CREATE | IN_DELETE));
    WHILE(create, "one", n = read(fd, room, sizeof(room)));
    HOLDS(n >= (ssize_t)sizeof(*event), "read waits for an event");
    EQUALS(event->wd, watch, "of this watch");
    EQUALS(event->mask, IN_CREATE, "IN_CREATE");
    HOLDS(strcmp(event->name, "one") == 0, "its name");
    struct pollfd wait = {fd, POLLIN, 0};
    int ready;
    WHILE(create, "two", ready = poll(&wait, 1, 4000));
    EQUALS(ready, 1, "poll waits for an event");
    int waiting = 0;
    EQUALS(ioctl(fd, FIONREAD, &waiting), 0, "FIONREAD");
    HOLDS(waiting >= (int)sizeof(*event), "counts");
    FAILS(read(fd, room, 4), EINVAL, "too little room");
    HOLDS(read(fd, room, sizeof(room)) > 0, "read takes it");
    signal_catch(SIGUSR1, 0);
    KICKED(SIGUSR1, n = read(fd, room, sizeof(room)));
    FAILS(n, EINTR, "a signal interrupts read");
    EQUALS(fcntl(fd, F_GETFL) & O_NONBLOCK, 0, "O_NONBLOCK is off");
    MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
    FAILS(read(fd, room, sizeof(room)), EAGAIN, "O_NONBLOCK");
    MUST(inotify_rm_watch(fd, watch));
    HOLDS(read(fd, room, sizeof(room)) > 0, "the end of the watch");
    EQUALS(event->mask, IN_IGNORED, "is an event");
    close(fd);
    char path[128];
    snprintf(path, sizeof(path), "%s/one", directory);
    unlink(path);
    snprintf(path, sizeof(path), "%s/two", directory);
    unlink(path);
    rmdir(directory);
}

static const struct check checks[] = {CHECK(events)};

TICKING_MAIN(checks)

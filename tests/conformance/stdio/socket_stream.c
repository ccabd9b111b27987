/* Streams over sockets: a line protocol between threads, both ways on one descriptor, ends and
 * time-outs. */
#include "kit/net.h"
#include "kit/threads.h"

enum { sessions = 12, rounds = 25 };

static struct address where;

/* A session: every line is answered with its length. */
static void *serve(void *arg)
{
    int fd = (int)(long)arg;
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    fprintf(out, "hello\r\n");
    fflush(out);
    while ((n = getline(&line, &room, in)) > 0) {
        if (strcmp(line, "quit\r\n") == 0)
            break;
        fprintf(out, "%zd %.*s\r\n", n - 2, (int)n - 2, line);
        if (fflush(out) != 0)
            break;
    }
    fputs("bye\r\n", out);
    free(line);
    fclose(in);
    fclose(out);
    return NULL;
}

static void *acceptor(void *arg)
{
    pthread_t threads[sessions];
    for (int i = 0; i < sessions; i++) {
        int fd = MUST(accept(*(int *)arg, NULL, NULL));
        threads[i] = start(serve, (void *)(long)fd);
    }
    for (int i = 0; i < sessions; i++)
        finish(threads[i]);
    return NULL;
}

static void *client(void *arg)
{
    long right = 0;
    char line[128], want[128];
    FILE *both = fdopen(net_connect(&where, SOCK_STREAM), "r+");
    if (fgets(line, sizeof(line), both) == NULL || strcmp(line, "hello\r\n") != 0)
        return (void *)-1L;
    for (int i = 0; i < rounds; i++) {
        char text[64];
        int n = snprintf(text, sizeof(text), "session %ld line %d", (long)arg, i);
        fprintf(both, "%s\r\n", text);
        fflush(both);
        snprintf(want, sizeof(want), "%d %s\r\n", n, text);
        right += fgets(line, sizeof(line), both) != NULL && strcmp(line, want) == 0;
    }
    fputs("quit\r\n", both);
    fflush(both);
    right += fgets(line, sizeof(line), both) != NULL && strcmp(line, "bye\r\n") == 0;
    right += fgets(line, sizeof(line), both) == NULL && feof(both);
    fclose(both);
    return (void *)right;
}

static void check_family(int family)
{
    pthread_t threads[sessions];
    long right = 0;
    int listener = net_listen(family, SOCK_STREAM, sessions, &where);
    pthread_t server = start(acceptor, &listener);
    for (long i = 0; i < sessions; i++)
        threads[i] = start(client, (void *)i);
    for (int i = 0; i < sessions; i++)
        right += (long)finish(threads[i]);
    finish(server);
    EQUALS(right, sessions * (rounds + 2), "every answer came");
    close(listener);
}

static void tcp4(void)
{
    check_family(AF_INET);
}

static void local(void)
{
    check_family(AF_UNIX);
}

static int pair[2];

static void shut(void *unused)
{
    (void)unused;
    MUST(shutdown(pair[0], SHUT_RDWR));
}

static void ends(void)
{
    char got[16];
    char *line;
    net_pair(AF_INET, SOCK_STREAM, pair);
    FILE *in = fdopen(pair[0], "r");
    net_timeout(pair[0], SO_RCVTIMEO, 40);
    int64_t began = moment();
    line = fgets(got, sizeof(got), in);
    HOLDS(line == NULL && errno == EAGAIN && ferror(in), "SO_RCVTIMEO ends fgets");
    LASTED_TICKS(began, 40, "after its time");
    clearerr(in);
    net_timeout(pair[0], SO_RCVTIMEO, 0);
    WHILE(shut, NULL, line = fgets(got, sizeof(got), in));
    HOLDS(line == NULL && feof(in), "shutdown ends fgets");
    fclose(in);
    close(pair[1]);
}

static const struct check checks[] = {CHECK(tcp4), CHECK(local), CHECK(ends)};

TICKING_MAIN(checks)

/* greenctl top: a table that refreshes. */
#include <curses.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "greenctl.h"

enum { REFRESH_MS = 1000 };

/* What one answer says of a thread; `text` points into the answer. */
struct row {
    uint64_t id;
    const char *name, *state, *waits;
    int64_t switches, ran, waiting;
    double switch_rate, share; /* since the last answer: per second, and of one processor */
};

struct table {
    char *answer;
    struct row *rows;
    size_t count;
};

enum order { BY_SWITCHES, BY_RUN_TIME, BY_WAIT };

static char *top_field(char **at)
{
    char *field = *at;
    char *end = strpbrk(field, "\t\n");
    if (end) {
        *at = end + 1;
        *end = 0;
    } else {
        *at = field + strlen(field);
    }
    return field;
}

static void top_parse(struct table *t)
{
    char *at = t->answer + 3;
    size_t room = 0;
    t->rows = NULL;
    t->count = 0;
    while (*at) {
        if (t->count == room) {
            room = room ? room * 2 : 256;
            struct row *more = realloc(t->rows, room * sizeof *more);
            if (!more)
                return;
            t->rows = more;
        }
        struct row *r = &t->rows[t->count++];
        *r = (struct row){.id = strtoull(top_field(&at), NULL, 10)};
        r->name = top_field(&at);
        r->state = top_field(&at);
        r->switches = atoll(top_field(&at));
        r->ran = atoll(top_field(&at));
        r->waiting = atoll(top_field(&at));
        r->waits = top_field(&at);
    }
}

/* Both are in the order of ids. */
static void top_rates(struct table *now, const struct table *before, double seconds)
{
    size_t b = 0;
    for (size_t i = 0; i < now->count; i++) {
        struct row *r = &now->rows[i];
        while (b < before->count && before->rows[b].id < r->id)
            b++;
        if (b == before->count || before->rows[b].id != r->id || seconds <= 0)
            continue;
        r->switch_rate = (double)(r->switches - before->rows[b].switches) / seconds;
        r->share = (double)(r->ran - before->rows[b].ran) / 1e9 / seconds;
    }
}

static enum order top_order;

static int top_compare(const void *a, const void *b)
{
    const struct row *const *x = a, *const *y = b;
    double difference = 0;
    if (top_order == BY_SWITCHES)
        difference = (*y)->switch_rate - (*x)->switch_rate;
    else if (top_order == BY_RUN_TIME)
        difference = (*y)->share - (*x)->share;
    else
        difference = (double)((*y)->waiting - (*x)->waiting);
    if (difference != 0)
        return difference < 0 ? -1 : 1;
    return (*x)->id < (*y)->id ? -1 : 1;
}

static void top_show(const struct table *t, const char *path)
{
    static const char *const orders[] = {"switches", "run time", "wait"};
    struct row **sorted = calloc(t->count ? t->count : 1, sizeof *sorted);
    if (!sorted)
        return;
    double switches = 0, share = 0;
    for (size_t i = 0; i < t->count; i++) {
        sorted[i] = &t->rows[i];
        switches += t->rows[i].switch_rate;
        share += t->rows[i].share;
    }
    qsort(sorted, t->count, sizeof *sorted, top_compare);
    erase();
    mvprintw(0, 0, "%s: %zu green threads, %.0f switches/s, %.0f%% running; by %s (s, r, w; q ends)",
             path, t->count, switches, share * 100, orders[top_order]);
    attron(A_REVERSE);
    mvprintw(2, 0, "%8s  %-15s  %-9s %10s %6s %10s  %s", "id", "name", "state", "switches/s", "run%",
             "wait s", "waits for");
    attroff(A_REVERSE);
    for (size_t i = 0; i < t->count && (int)i + 3 < LINES; i++) {
        const struct row *r = sorted[i];
        mvprintw((int)i + 3, 0, "%8llu  %-15.15s  %-9.9s %10.0f %6.1f %10.3f  %.*s",
                 (unsigned long long)r->id, r->name, r->state, r->switch_rate, r->share * 100,
                 (double)r->waiting / 1e9, COLS > 70 ? COLS - 70 : 0, r->waits);
    }
    refresh();
    free(sorted);
}

static void top_free(struct table *t)
{
    free(t->rows);
    free(t->answer);
    *t = (struct table){0};
}

int greenctl_top(const char *path)
{
    struct table before = {0};
    bool ended = false, started = false;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        greenctl_no(1, "use ps where there is none", "top needs a terminal");
    for (;;) {
        struct table now = {0};
        size_t length;
        now.answer = greenctl_ask(path, "top", &length);
        if (!now.answer || strncmp(now.answer, "ok\n", 3) != 0) {
            top_free(&now);
            break;
        }
        if (!started) {
            if (!newterm(NULL, stdout, stdin))
                greenctl_no(1, "set TERM, or use ps", "this terminal cannot show it");
            started = true;
            cbreak();
            noecho();
            curs_set(0);
            timeout(REFRESH_MS);
        }
        top_parse(&now);
        top_rates(&now, &before, REFRESH_MS / 1000.0);
        top_show(&now, path);
        top_free(&before);
        before = now;
        int key = getch();
        if (key == 's' || key == 'r' || key == 'w')
            top_order = key == 's' ? BY_SWITCHES : key == 'r' ? BY_RUN_TIME : BY_WAIT;
        if ((ended = key == 'q'))
            break;
    }
    top_free(&before);
    if (started)
        endwin();
    if (!ended)
        greenctl_no(1, "does the program still run?", "%s: nobody answers there", path);
    return 0;
}

#include "hub/debug/trace_write.h"

#include "hub/debug/words.h"

/* Microseconds, as the format wants them. */
static void put_us(struct put *p, int64_t ns)
{
    uint64_t size = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
    unsigned part = (unsigned)(size % 1000);
    const char digits[] = {'.', (char)('0' + part / 100), (char)('0' + part / 10 % 10),
                           (char)('0' + part % 10)};
    put_text(p, ns < 0 ? "-" : "");
    put_number(p, size / 1000);
    put_bytes(p, digits, sizeof digits);
}

static void put_ids(struct put *p, uint64_t pid, uint64_t id)
{
    put_text(p, ",\"pid\":");
    put_number(p, pid);
    put_text(p, ",\"tid\":");
    put_number(p, id);
}

static void put_wait(struct put *p, const struct trace_event *e)
{
    if (e->wait == WAIT_NOTHING) {
        put_text(p, "yield");
        return;
    }
    put_text(p, words_wait((enum wait_kind)e->wait));
    switch (e->wait) {
    case WAIT_FD:
    case WAIT_POLL:
        put_char(p, ' ');
        put_number(p, e->object);
        break;
    case WAIT_SLEEP:
    case WAIT_OFFLOAD:
    case WAIT_DNS:
    case WAIT_SIGNALS:
    case WAIT_CHILD:
        break;
    default:
        put_char(p, ' ');
        put_hex(p, e->object);
    }
}

static void put_slice(struct put *p, const char *category, uint64_t pid, uint64_t id, int64_t from,
                      int64_t to)
{
    put_text(p, ",\"cat\":\"");
    put_text(p, category);
    put_text(p, "\",\"ph\":\"X\"");
    put_ids(p, pid, id);
    put_text(p, ",\"ts\":");
    put_us(p, from);
    put_text(p, ",\"dur\":");
    put_us(p, to > from ? to - from : 0);
    put_text(p, "},\n");
}

static void put_instant(struct put *p, const char *name, const char *scope, uint64_t pid,
                        uint64_t id, int64_t time)
{
    put_text(p, "{\"name\":\"");
    put_text(p, name);
    put_text(p, "\",\"ph\":\"i\",\"s\":\"");
    put_text(p, scope);
    put_char(p, '"');
    put_ids(p, pid, id);
    put_text(p, ",\"ts\":");
    put_us(p, time);
}

void trace_write_begin(struct put *p, uint64_t pid)
{
    put_text(p, "[\n{\"name\":\"process_name\",\"ph\":\"M\"");
    put_ids(p, pid, 0);
    put_text(p, ",\"args\":{\"name\":\"green threads\"}},\n");
}

void trace_write_end(struct put *p, uint64_t pid)
{
    put_text(p, "{\"name\":\"end\",\"ph\":\"M\"");
    put_ids(p, pid, 0);
    put_text(p, "}\n]\n");
}

static void put_waited(struct put *p, uint64_t pid, const struct trace_event *e)
{
    int64_t woken = e->woken > e->from && e->woken <= e->time ? e->woken : e->time;
    if (e->wait == WAIT_NOTHING)
        woken = e->from;
    if (e->wait == TRACE_ALONE) {
        put_text(p, "{\"name\":\"run alone\"");
        put_slice(p, "run", pid, e->id, e->from, e->time);
        return;
    }
    if (woken > e->from) {
        put_text(p, "{\"name\":\"");
        put_wait(p, e);
        put_char(p, '"');
        put_slice(p, "wait", pid, e->id, e->from, woken);
    }
    if (e->time > woken) {
        put_text(p, "{\"name\":\"runnable\"");
        put_slice(p, "runnable", pid, e->id, woken, e->time);
    }
}

void trace_write_event(struct put *p, uint64_t pid, const struct trace_event *e)
{
    put_room(p, 512);
    switch ((enum trace_type)e->type) {
    case TRACE_RAN:
    case TRACE_ENDED:
        put_text(p, "{\"name\":\"run\"");
        put_slice(p, "run", pid, e->id, e->from, e->time);
        break;
    case TRACE_WAITED:
        put_waited(p, pid, e);
        break;
    case TRACE_BEGAN:
    case TRACE_HANDOFF:
        put_instant(p, e->type == TRACE_BEGAN ? "begins" : "handoff", "t", pid, e->id, e->time);
        put_text(p, "},\n");
        break;
    case TRACE_LOST:
        put_instant(p, "lost", "g", pid, 0, e->time);
        put_text(p, ",\"args\":{\"events\":");
        put_number(p, e->object);
        put_text(p, "}},\n");
        break;
    case TRACE_NAME: {
        char name[17] = {0};
        for (int i = 0; i < 16; i++)
            name[i] = e->name[i];
        put_text(p, "{\"name\":\"thread_name\",\"ph\":\"M\"");
        put_ids(p, pid, e->id);
        put_text(p, ",\"args\":{\"name\":");
        put_json(p, name);
        put_text(p, "}},\n");
        break;
    }
    }
}

void trace_write_line(struct put *p, const struct trace_event *e, int level)
{
    bool often = e->type == TRACE_RAN || e->type == TRACE_WAITED;
    if (e->type == TRACE_NAME || (level < TRACE_ALL && often))
        return;
    put_room(p, 256);
    put_text(p, "green ");
    put_seconds(p, e->time, 6);
    put_text(p, " [");
    put_number(p, e->id);
    put_text(p, "] ");
    switch ((enum trace_type)e->type) {
    case TRACE_BEGAN:
        put_text(p, "begins");
        break;
    case TRACE_RAN:
    case TRACE_ENDED:
        put_text(p, e->type == TRACE_ENDED ? "ends" : e->wait ? "waits: " : "");
        if (e->type == TRACE_RAN)
            put_wait(p, e);
        put_text(p, ", ran ");
        put_seconds(p, e->time - e->from, 6);
        break;
    case TRACE_WAITED:
        put_text(p, e->wait == TRACE_ALONE ? "has its hub again after " : "goes on after ");
        put_seconds(p, e->time - e->from, 6);
        if (e->wait != TRACE_ALONE) {
            put_text(p, ": ");
            put_wait(p, e);
        }
        break;
    case TRACE_HANDOFF:
        put_text(p, "runs on alone");
        break;
    case TRACE_LOST:
        put_number(p, e->object);
        put_text(p, " events were lost");
        break;
    case TRACE_NAME:
        break;
    }
    put_char(p, '\n');
}

#include "hub/debug/trace_write.h"

#include "coro/sys.h"
#include "hub/debug/describe.h"

/* Microseconds, as the format wants them. */
static void put_us(struct put *p, int64_t ns)
{
    unsigned part = (unsigned)(ns % 1000);
    const char digits[] = {'.', (char)('0' + part / 100), (char)('0' + part / 10 % 10),
                           (char)('0' + part % 10)};
    put_number(p, (uint64_t)ns / 1000);
    put_bytes(p, digits, sizeof digits);
}

static uint64_t writer_pid; /* as of trace_write_begin() */

static void put_ids(struct put *p, uint64_t id)
{
    put_text(p, ",\"pid\":");
    put_number(p, writer_pid);
    put_text(p, ",\"tid\":");
    put_number(p, id);
}

static void put_wait(struct put *p, const struct trace_event *e)
{
    if (e->wait == WAIT_NOTHING || e->wait == TRACE_ALONE) {
        put_text(p, e->wait == WAIT_NOTHING ? "yield" : "alone");
        return;
    }
    put_text(p, describe_kind((enum wait_kind)e->wait));
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

static void put_slice(struct put *p, const char *category, uint64_t id, int64_t from, int64_t to)
{
    put_text(p, ",\"cat\":\"");
    put_text(p, category);
    put_text(p, "\",\"ph\":\"X\"");
    put_ids(p, id);
    put_text(p, ",\"ts\":");
    put_us(p, from);
    put_text(p, ",\"dur\":");
    put_us(p, to > from ? to - from : 0);
    put_text(p, "},\n");
}

void trace_write_begin(struct put *p)
{
    writer_pid = (uint64_t)sys_0(SYS_getpid);
    put_text(p, "[\n{\"name\":\"process_name\",\"ph\":\"M\"");
    put_ids(p, 0);
    put_text(p, ",\"args\":{\"name\":\"green threads\"}},\n");
}

void trace_write_end(struct put *p)
{
    put_text(p, "{\"name\":\"end\",\"ph\":\"M\"");
    put_ids(p, 0);
    put_text(p, "}\n]\n");
}

void trace_write_lost(struct put *p, uint64_t events)
{
    put_text(p, "{\"name\":\"lost\",\"ph\":\"i\",\"s\":\"g\"");
    put_ids(p, 0);
    put_text(p, ",\"ts\":");
    put_us(p, clock_now());
    put_text(p, ",\"args\":{\"events\":");
    put_number(p, events);
    put_text(p, "}},\n");
}

size_t trace_write_event(struct put *p, const struct trace_event *e)
{
    size_t from = put_room(p, 512);
    int64_t woken = e->woken > e->from && e->woken <= e->time ? e->woken : e->time;
    switch ((enum trace_type)e->type) {
    case TRACE_RAN:
    case TRACE_ENDED:
        put_text(p, e->wait == TRACE_ALONE ? "{\"name\":\"run alone\"" : "{\"name\":\"run\"");
        put_slice(p, "run", e->id, e->from, e->time);
        break;
    case TRACE_WAITED:
        if (e->wait == WAIT_NOTHING)
            woken = e->from;
        if (woken > e->from) {
            put_text(p, "{\"name\":\"");
            put_wait(p, e);
            put_char(p, '"');
            put_slice(p, "wait", e->id, e->from, woken);
        }
        if (e->time > woken) {
            put_text(p, "{\"name\":\"runnable\"");
            put_slice(p, "runnable", e->id, woken, e->time);
        }
        break;
    case TRACE_BEGAN:
    case TRACE_HANDOFF:
        put_text(p, e->type == TRACE_BEGAN ? "{\"name\":\"begins\"" : "{\"name\":\"handoff\"");
        put_text(p, ",\"ph\":\"i\",\"s\":\"t\"");
        put_ids(p, e->id);
        put_text(p, ",\"ts\":");
        put_us(p, e->time);
        put_text(p, "},\n");
        break;
    case TRACE_NAME: {
        char name[17] = {0};
        for (int i = 0; i < 16; i++)
            name[i] = e->name[i];
        put_text(p, "{\"name\":\"thread_name\",\"ph\":\"M\"");
        put_ids(p, e->id);
        put_text(p, ",\"args\":{\"name\":");
        put_json(p, name);
        put_text(p, "}},\n");
        break;
    }
    }
    return p->used - from;
}

void trace_write_line(struct put *p, const struct trace_event *e, int level)
{
    if (e->type == TRACE_NAME || (level < TRACE_ALL && (e->type == TRACE_RAN || e->type == TRACE_WAITED)))
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
        put_text(p, e->type == TRACE_ENDED                     ? "ends"
                    : e->wait && e->wait != TRACE_ALONE ? "waits: "
                                                        : "");
        if (e->type == TRACE_RAN)
            put_wait(p, e);
        put_text(p, ", ran ");
        put_seconds(p, e->time - e->from, 6);
        break;
    case TRACE_WAITED:
        put_text(p, "goes on after ");
        put_seconds(p, e->time - e->from, 6);
        put_text(p, ": ");
        put_wait(p, e);
        break;
    case TRACE_HANDOFF:
        put_text(p, "runs on alone");
        break;
    case TRACE_NAME:
        break;
    }
    put_char(p, '\n');
}

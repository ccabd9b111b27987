/* What is pending for green threads, and for the process: records from a static pool, because handlers
 * take them. */
#include "preload/sigrecord.h"

#include <stddef.h>

#include "preload/signal.h"

enum { RECORDS = 1024 };
static struct signal_record records[RECORDS];
static _Atomic uint64_t records_used[RECORDS / 64];

struct signal_record *sigrecord_new(void)
{
    for (int i = 0; i < RECORDS / 64; i++) {
        uint64_t used = atomic_load_explicit(&records_used[i], memory_order_relaxed);
        while (~used) {
            int bit = __builtin_ctzll(~used);
            if (atomic_compare_exchange_weak(&records_used[i], &used, used | (UINT64_C(1) << bit)))
                return &records[i * 64 + bit];
        }
    }
    return NULL;
}

void sigrecord_free(struct signal_record *r)
{
    size_t i = (size_t)(r - records);
    atomic_fetch_and(&records_used[i / 64], ~(UINT64_C(1) << i % 64));
}

void sigrecord_push(struct signal_record *_Atomic *list, struct signal_record *r)
{
    r->next = atomic_load_explicit(list, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(list, &r->next, r))
        ;
}

void sigrecords_settle(struct green *g)
{
    struct signal_record *r = atomic_exchange(&g->arrived, NULL), *ordered = NULL;
    while (r) {
        struct signal_record *next = r->next;
        r->next = ordered;
        ordered = r;
        r = next;
    }
    struct signal_record **end = &g->queued;
    while (*end)
        end = &(*end)->next;
    *end = ordered;
}

/* A handler may run at any moment and take from the same list, so signals are held off meanwhile. Who
 * sends pushes the record before it sets the bit: so the bit is cleared before the list is looked at, and
 * set again when one is left. */
bool sigrecord_take(struct green *g, int sig, struct signal_record *out)
{
    uint64_t held = signals_hold();
    atomic_fetch_and(&g->pending, ~signal_bit(sig));
    sigrecords_settle(g);
    struct signal_record **slot = &g->queued;
    while (*slot && (*slot)->sig != sig)
        slot = &(*slot)->next;
    struct signal_record *r = *slot;
    bool got = true;
    if (r) {
        *out = *r;
        *slot = r->next;
        sigrecord_free(r);
        for (r = g->queued; r && r->sig != sig; r = r->next)
            ;
        if (r)
            atomic_fetch_or(&g->pending, signal_bit(sig));
    } else {
        *out = (struct signal_record){.sig = sig, .open = true,
                                      .info = {.si_signo = sig, .si_code = SI_USER}};
        got = atomic_fetch_and(&g->bare, ~signal_bit(sig)) & signal_bit(sig);
    }
    signals_release(held);
    return got;
}

int sigrecord_send(struct green *g, int sig, const siginfo_t *info, bool open)
{
    struct signal_record *r = sigrecord_new();
    if (!r && sig >= SIGRTMIN)
        return EAGAIN;
    if (r) {
        r->sig = sig;
        r->open = open;
        r->info = *info;
        sigrecord_push(&g->arrived, r);
    } else {
        atomic_fetch_or(&g->bare, signal_bit(sig));
    }
    atomic_fetch_or(&g->pending, signal_bit(sig));
    return 0;
}

void sigrecords_fork(void)
{
    for (int i = 0; i < RECORDS / 64; i++)
        atomic_store(&records_used[i], 0);
}

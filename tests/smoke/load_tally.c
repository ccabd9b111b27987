/* Counting answers, latencies and errors by kind. */
#include <stdio.h>
#include <string.h>

#include "load.h"

/* Buckets: 32 to each power of two, so a quantile is right to 3 %. */
static unsigned tally_bucket(uint64_t ns)
{
    unsigned power;

    if (ns < 32) {
        return (unsigned)ns;
    }
    power = 63u - (unsigned)__builtin_clzll(ns);
    return (power - 4) * 32 + (unsigned)((ns >> (power - 5)) & 31);
}

static uint64_t tally_bucket_floor(unsigned bucket)
{
    unsigned power = bucket / 32 + 4;

    if (bucket < 32) {
        return bucket;
    }
    return (32ull + bucket % 32) << (power - 5);
}

void tally_latency(struct load_tally *t, uint64_t ns)
{
    t->latency[tally_bucket(ns)]++;
    if (ns > t->latency_max) {
        t->latency_max = ns;
    }
}

uint64_t tally_quantile(const struct load_tally *t, double share)
{
    uint64_t all = 0, below = 0;

    for (unsigned i = 0; i < TALLY_BUCKETS; i++) {
        all += t->latency[i];
    }
    for (unsigned i = 0; i < TALLY_BUCKETS; i++) {
        below += t->latency[i];
        if (all > 0 && (double)below >= share * (double)all) {
            return tally_bucket_floor(i);
        }
    }
    return 0;
}

void tally_error(struct load_tally *t, const char *where, const char *what)
{
    char text[sizeof(t->kinds[0].text)];
    unsigned i;

    snprintf(text, sizeof(text), "%s: %s", where, what);
    for (i = 0; i < t->kind_count; i++) {
        if (strcmp(t->kinds[i].text, text) == 0) {
            break;
        }
    }
    if (i == t->kind_count) {
        if (i == TALLY_KINDS) {
            i--; /* the last kind stands for all that found no room */
        } else {
            t->kind_count++;
            memcpy(t->kinds[i].text, text, sizeof(text));
        }
    }
    t->kinds[i].count++;
}

void tally_reset_measures(struct load_tally *t)
{
    memset(t->latency, 0, sizeof(t->latency));
    t->latency_max = 0;
    t->bytes = 0;
}

/* Reads GREEN_ variables as the library does, and prints what came of them. An argument: as in a
 * process with AT_SECURE. */
#include <stdio.h>

#include "preload/config.h"

extern char **environ;

int main(int argc, char **argv)
{
    (void)argv;
    config_read(environ, argc > 1);
    printf("patch");
    for (unsigned group = 0; group < GROUP_COUNT; group++)
        if (config_patches((enum patch_group_id)group))
            printf(" %s", patch_group_name[group]);
    printf("\nstack_size %llu\n", (unsigned long long)config.stack_size);
    printf("carriers %u\n", config.carriers);
    printf("strict %d\n", config.strict);
    printf("handoff %lld\n", (long long)config.handoff);
    printf("max_carriers %u\n", config.max_carriers);
    printf("offload_threads %u\n", config.offload_threads);
    printf("file_io %d\n", config.file_io);
    printf("dns %d\n", config.dns);
    printf("children %d\n", config.children);
    printf("dump_signal %d\n", config.dump_signal);
    printf("stats %d\n", config.stats);
    printf("bind %s\n", config.bind);
    return 7;
}

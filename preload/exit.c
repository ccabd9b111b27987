/* The end of the process. exit(), quick_exit() and abort() work on a green thread as they are: exit
 * handlers run on the thread that calls, while others go on whenever it waits, and the kernel ends
 * all OS threads at once. So they have no rows; _exit() has one, because it passes by everything
 * that could print the figures of --stats.
 */
#include "hub/debug/debugging.h"
#include "patch.h"
#include "stats.h"

void green__exit(int status)
{
    if (atomic_load(&green_tls.own) != OWN_VFORK) {
        debug_exit();
        stats_print();
    }
    real._exit(status);
}

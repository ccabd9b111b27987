/* sigpause in its three forms: it waits for a handler, with one signal less blocked or with another
 * mask, and other threads go on meanwhile. */
#include "kit/expect.h"
#include "kit/threads.h"

/* Exported by libc; the header gives sigpause() X/Open's meaning. */
extern int __sigpause(int sig_or_mask, int is_sig);
extern int __xpg_sigpause(int sig);
extern int mask_sigpause(int mask) __asm__("sigpause");

static pthread_t waiter;

static void send_usr1(void *unused)
{
    (void)unused;
    pthread_kill(waiter, SIGUSR1);
}

static void block_usr1(void)
{
    sigset_t usr1;
    waiter = pthread_self();
    signal_count = 0;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    signal_catch(SIGUSR1, 0);
}

/* After the call: it was the handler that ended it, and the mask is as before. */
static void ended_by_handler(int result, int error)
{
    sigset_t now;
    EQUALS(result, -1, "sigpause fails");
    EQUALS(error, EINTR, "with EINTR");
    EQUALS(signal_count, 1, "the handler ran once");
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    EQUALS(sigismember(&now, SIGUSR1), 1, "the signal is blocked again");
}

static void one_signal(void)
{
    int r = 0;
    block_usr1();
    WHILE(send_usr1, NULL, r = __xpg_sigpause(SIGUSR1));
    ended_by_handler(r, errno);
    EXPECT_ERRNO(__xpg_sigpause(-1), EINVAL);
    EXPECT_ERRNO(__xpg_sigpause(1000), EINVAL);
}

static void a_mask(void)
{
    int r = 0;
    block_usr1();
    WHILE(send_usr1, NULL, r = mask_sigpause(0));
    ended_by_handler(r, errno);
}

static void both_forms(void)
{
    int r = 0;
    block_usr1();
    WHILE(send_usr1, NULL, r = __sigpause(SIGUSR1, 1));
    ended_by_handler(r, errno);
    block_usr1();
    WHILE(send_usr1, NULL, r = __sigpause(0, 0));
    ended_by_handler(r, errno);
}

static void pending_before(void)
{
    block_usr1();
    pthread_kill(pthread_self(), SIGUSR1);
    EQUALS(signal_count, 0, "not yet");
    int r = __xpg_sigpause(SIGUSR1);
    ended_by_handler(r, errno);
}

static const struct check checks[] = {CHECK(one_signal), CHECK(a_mask), CHECK(both_forms),
                                      CHECK(pending_before)};

TICKING_MAIN(checks)

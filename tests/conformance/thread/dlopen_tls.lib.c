/* A library with static (initial-exec) thread-local storage: it must fit into the room that was left beside
 * every thread's control block when the program started. */
static __thread int fast __attribute__((tls_model("initial-exec"))) = 5;

int fast_add(int value)
{
    fast += value;
    return fast;
}

int *fast_address(void)
{
    return &fast;
}

/* A library whose thread-local storage lies beside every thread's control block. */
static __thread int fast __attribute__((tls_model("initial-exec"))) = 5;

int fast_add(int value)
{
    fast += value;
    return fast;
}

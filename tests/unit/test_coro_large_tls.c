/* A process whose static TLS is larger than a stack. */
#include <criterion/criterion.h>
#include <errno.h>

#include "coro_kit.h"

static __thread char large[300000];

static void *use(void *arg)
{
    struct coro_stack s;
    coro_stack_of(&kit_current->coro, &s);
    if (large < (char *)s.low || large + sizeof large > (char *)s.low + s.size || large[5] != 0)
        return NULL;
    memset(large, 1, sizeof large);
    return arg;
}

Test(large_tls, a_stack_with_no_room_for_tls_is_refused_as_natively, .init = kit_start)
{
    struct coro_attr attr = {128 * 1024, 4096, NULL};
    cr_assert_eq(coro_new(&attr, KIT_EXTRA, kit_entry, NULL), NULL);
    cr_assert_eq(errno, EINVAL);
}

Test(large_tls, it_is_new_for_each_coroutine, .init = kit_start)
{
    struct coro_attr attr = {512 * 1024, 4096, NULL};
    for (int i = 0; i < 10; i++)
        cr_assert_eq(task_finish(task_new_on(&attr, use, &attr)), &attr);
}

static void *use_elsewhere(void *arg)
{
    memset(large, 1, sizeof large);
    return arg;
}

Test(large_tls, a_supplied_stack_need_not_hold_it, .init = kit_start)
{
    static char memory[32768];
    struct coro_attr attr = {sizeof memory, 0, memory};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(task_finish(task_new_on(&attr, use_elsewhere, &attr)), &attr);
}

/* pthread_exit and return run cleanup handlers, then keys' destructors, in POSIX's order. */
#include "check.h"

static char trace[256];
static pthread_key_t key;

static void note(void *text)
{
    strcat(trace, text);
}

static void *exit_through_handlers(void *argument)
{
    pthread_cleanup_push(note, "a");
    pthread_cleanup_push(note, "b");
    pthread_cleanup_push(note, "c");
    pthread_cleanup_pop(0);
    pthread_cleanup_push(note, "d");
    pthread_cleanup_pop(1);
    if (argument) {
        pthread_exit("value");
    }
    pthread_cleanup_pop(1);
    pthread_cleanup_pop(1);
    return "returned";
}

static void handlers_run_last_pushed_first(void)
{
    trace[0] = 0;
    EXPECT(strcmp(finish(start(exit_through_handlers, trace)), "value") == 0);
    EXPECT(strcmp(trace, "dba") == 0);
    trace[0] = 0;
    EXPECT(strcmp(finish(start(exit_through_handlers, NULL)), "returned") == 0);
    EXPECT(strcmp(trace, "dba") == 0);
}

static __attribute__((noinline)) void leave_from(int depth)
{
    char text[2] = { (char)('0' + depth), 0 };
    pthread_cleanup_push(note, text);
    if (depth > 0) {
        leave_from(depth - 1);
    }
    pthread_exit(NULL);
    pthread_cleanup_pop(0);
}

static void *leave_nested(void *argument)
{
    leave_from(9);
    return argument;
}

static void handlers_of_every_frame_run(void)
{
    trace[0] = 0;
    finish(start(leave_nested, NULL));
    EXPECT(strcmp(trace, "0123456789") == 0);
}

static void note_key(void *value)
{
    strcat(trace, value);
}

static void *exit_with_key(void *argument)
{
    (void)argument;
    pthread_setspecific(key, "K");
    pthread_cleanup_push(note, "h");
    pthread_exit(NULL);
    pthread_cleanup_pop(0);
    return NULL;
}

static void handlers_run_before_key_destructors(void)
{
    EXPECT_EQ(pthread_key_create(&key, note_key), 0);
    trace[0] = 0;
    finish(start(exit_with_key, NULL));
    EXPECT(strcmp(trace, "hK") == 0);
    pthread_key_delete(key);
}

static void sleep_and_note(void *text)
{
    sleep_ms(5);
    pthread_testcancel();
    strcat(trace, text);
}

static void *exit_with_sleeping_handlers(void *argument)
{
    pthread_cleanup_push(sleep_and_note, "1");
    pthread_cleanup_push(sleep_and_note, "2");
    pthread_exit(argument);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return NULL;
}

static void handlers_may_block(void)
{
    trace[0] = 0;
    EXPECT(finish(start(exit_with_sleeping_handlers, trace)) == trace);
    EXPECT(strcmp(trace, "21") == 0);
}

static void exit_again(void *value)
{
    pthread_exit(value);
}

static void *exit_in_a_handler(void *argument)
{
    pthread_cleanup_push(note, "o");
    pthread_cleanup_push(exit_again, "second");
    pthread_exit(argument);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return NULL;
}

static void handler_may_exit_again(void)
{
    trace[0] = 0;
    EXPECT(strcmp(finish(start(exit_in_a_handler, "first")), "second") == 0);
    EXPECT(strcmp(trace, "o") == 0);
}

/* With -fexceptions the cleanup attribute takes part in the unwinding. */
static void note_scope(const char *const *text)
{
    strcat(trace, *text);
}

static void *exit_through_scopes(void *argument)
{
    __attribute__((cleanup(note_scope))) const char *outer = "x";
    {
        __attribute__((cleanup(note_scope), unused)) const char *inner = "y";
        pthread_exit(argument);
    }
    return (void *)outer;
}

static void cleanup_attribute_runs(void)
{
    trace[0] = 0;
    finish(start(exit_through_scopes, NULL));
    EXPECT(strcmp(trace, "yx") == 0);
}

static void *exit_with_type_restored(void *argument)
{
    int type = -1;
    pthread_cleanup_push_defer_np(note, "n");
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
    *(int *)argument = type;
    pthread_cleanup_pop_restore_np(1);
    return NULL;
}

static void push_defer_and_pop_restore(void)
{
    int type = -1;
    trace[0] = 0;
    finish(start(exit_with_type_restored, &type));
    EXPECT_EQ(type, PTHREAD_CANCEL_DEFERRED);
    EXPECT(strcmp(trace, "n") == 0);
}

static const struct check checks[] = {
    CHECK(handlers_run_last_pushed_first),
    CHECK(handlers_of_every_frame_run),
    CHECK(handlers_run_before_key_destructors),
    CHECK(handlers_may_block),
    CHECK(handler_may_exit_again),
    CHECK(cleanup_attribute_runs),
    CHECK(push_defer_and_pop_restore),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}

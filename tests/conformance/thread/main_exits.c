/* main calls pthread_exit: the others go on, and the last one's end is the end of the process with status 0. */
#include "check.h"

static pthread_t main_thread;

static void *go_on(void *argument)
{
    void *value = NULL;
    sleep_ms(30);
    EXPECT_EQ(pthread_join(main_thread, &value), 0);
    printf("main said %s\n", (char *)value);
    return argument;
}

static void clean_up(void *argument)
{
    puts(argument);
}

static void say_goodbye(void)
{
    puts("goodbye");
}

int main(void)
{
    main_thread = pthread_self();
    atexit(say_goodbye);
    pthread_detach(start(go_on, NULL));
    pthread_cleanup_push(clean_up, "main's handler");
    pthread_exit("good night");
    pthread_cleanup_pop(0);
    return 5;
}

/*
 * The setuid family with threads alive changes every thread of the process; setfsuid changes its caller alone. As
 * root; else the same checks end early. Each in a forked child, because there is no way back.
 */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { NOBODY = 65534, OTHERS = 5 };

static sem_t changed, checked;
static uid_t expected_uid;

static int opens(const char *path)
{
    int fd = open(path, O_RDONLY);
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0 ? 0 : error;
}

static void *look_after_change(void *argument)
{
    sem_wait(&changed);
    EXPECT_EQ(getuid(), expected_uid);
    EXPECT_EQ(syscall(SYS_getuid), expected_uid);
    EXPECT_EQ(opens("secret"), expected_uid == 0 ? 0 : EACCES);
    sem_post(&checked);
    pause();
    return argument;
}

/* Every kernel thread of the process has these real, effective, saved and file system identities. */
static void all_kernel_threads_have(const char *field, unsigned a, unsigned b, unsigned c, unsigned d)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    EXPECT(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL) {
        char path[300], line[256];
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *status = fopen(path, "r");
        while (status && fgets(line, sizeof line, status)) {
            unsigned ids[4];
            if (strncmp(line, field, strlen(field)) == 0 &&
                sscanf(line + strlen(field), "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) == 4) {
                EXPECT_EQ(ids[0], a);
                EXPECT_EQ(ids[1], b);
                EXPECT_EQ(ids[2], c);
                EXPECT_EQ(ids[3], d);
            }
        }
        if (status) {
            fclose(status);
        }
    }
    closedir(tasks);
}

static void crowd_start(void)
{
    sem_init(&changed, 0, 0);
    sem_init(&checked, 0, 0);
    for (int i = 0; i < OTHERS; i++) {
        pthread_detach(start(look_after_change, NULL));
    }
    let_others_block();
}

static void crowd_check(uid_t uid)
{
    expected_uid = uid;
    for (int i = 0; i < OTHERS; i++) {
        sem_post(&changed);
    }
    for (int i = 0; i < OTHERS; i++) {
        sem_wait(&checked);
    }
}

static void *drop_everything(void *argument)
{
    EXPECT_EQ(setgroups(0, NULL), 0);
    EXPECT_EQ(setgid(NOBODY), 0);
    EXPECT_EQ(setuid(NOBODY), 0);
    EXPECT_EQ(getgroups(0, NULL), 0);
    EXPECT_ERRNO(setuid(0), EPERM);
    EXPECT_ERRNO(setgid(0), EPERM);
    return argument;
}

static int drop_in_thread(void)
{
    crowd_start();
    finish(start(drop_everything, NULL));
    all_kernel_threads_have("Uid:", NOBODY, NOBODY, NOBODY, NOBODY);
    all_kernel_threads_have("Gid:", NOBODY, NOBODY, NOBODY, NOBODY);
    crowd_check(NOBODY);
    EXPECT_EQ(opens("secret"), EACCES);
    return 0;
}

static int drop_in_main(void)
{
    crowd_start();
    drop_everything(NULL);
    all_kernel_threads_have("Uid:", NOBODY, NOBODY, NOBODY, NOBODY);
    crowd_check(NOBODY);
    return 0;
}

static void *go_there_and_back(void *argument)
{
    uid_t real, effective, saved;
    EXPECT_EQ(setresuid(-1, NOBODY, -1), 0);
    all_kernel_threads_have("Uid:", 0, NOBODY, 0, NOBODY);
    EXPECT_EQ(opens("secret"), EACCES);
    EXPECT_EQ(seteuid(0), 0);
    all_kernel_threads_have("Uid:", 0, 0, 0, 0);
    EXPECT_EQ(opens("secret"), 0);
    EXPECT_EQ(setresgid(NOBODY, NOBODY, 0), 0);
    all_kernel_threads_have("Gid:", NOBODY, NOBODY, 0, NOBODY);
    EXPECT_EQ(setegid(0), 0);
    EXPECT_EQ(setregid(0, 0), 0);
    all_kernel_threads_have("Gid:", 0, 0, 0, 0);
    EXPECT_EQ(setreuid(NOBODY, 0), 0);
    EXPECT_EQ(getresuid(&real, &effective, &saved), 0);
    EXPECT_EQ(real, NOBODY);
    EXPECT_EQ(effective, 0);
    all_kernel_threads_have("Uid:", NOBODY, 0, 0, 0);
    EXPECT_EQ(setuid(0), 0);
    all_kernel_threads_have("Uid:", 0, 0, 0, 0);
    return argument;
}

static int change_again_and_again(void)
{
    crowd_start();
    for (int i = 0; i < 5; i++) {
        finish(start(go_there_and_back, NULL));
    }
    crowd_check(0);
    return 0;
}

static void *change_file_system_identity(void *argument)
{
    EXPECT_EQ(setfsuid(NOBODY), 0);
    EXPECT_EQ(setfsuid(-1), NOBODY);
    EXPECT_EQ(opens("secret"), EACCES);
    sem_post(&changed);
    sleep_ms(20);
    EXPECT_EQ(opens("secret"), EACCES);
    return argument;
}

static void *keep_file_system_identity(void *argument)
{
    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(opens("secret"), 0);
        sleep_ms(3);
    }
    return argument;
}

static int change_one_thread_alone(void)
{
    sem_init(&changed, 0, 0);
    pthread_t other = start(keep_file_system_identity, NULL);
    pthread_t thread = start(change_file_system_identity, NULL);
    sem_wait(&changed);
    EXPECT_EQ(opens("secret"), 0);
    EXPECT_EQ(setfsuid(-1), 0);
    finish(thread);
    finish(other);
    finish(start(keep_file_system_identity, NULL));
    return 0;
}

static void *raw_change(void *argument)
{
    EXPECT_EQ(syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY), 0);
    EXPECT_EQ(syscall(SYS_getuid), NOBODY);
    sched_yield();
    EXPECT_EQ(syscall(SYS_getuid), NOBODY);
    EXPECT_EQ(opens("secret"), EACCES);
    return argument;
}

static int raw_change_stays_with_its_thread(void)
{
    finish(start(raw_change, NULL));
    EXPECT_EQ(syscall(SYS_getuid), 0);
    EXPECT_EQ(opens("secret"), 0);
    finish(start(keep_file_system_identity, NULL));
    return 0;
}

static void in_child(int (*function)(void))
{
    if (geteuid() != 0) {
        return;
    }
    int fd = open("secret", O_CREAT | O_WRONLY, 0600);
    EXPECT(fd >= 0);
    close(fd);
    EXPECT_EQ(chmod(".", 0755), 0);
    EXPECT_EXITS(child_run(function), 0);
}

static void a_thread_drops_for_all(void)
{
    in_child(drop_in_thread);
}

static void main_drops_for_all(void)
{
    in_child(drop_in_main);
}

static void there_and_back_again(void)
{
    in_child(change_again_and_again);
}

static void setfsuid_is_the_caller_s_alone(void)
{
    in_child(change_one_thread_alone);
}

static void raw_system_call_is_the_caller_s_alone(void)
{
    in_child(raw_change_stays_with_its_thread);
}

static void *in_thread(void *argument)
{
    in_child((int (*)(void))(uintptr_t)argument);
    return NULL;
}

static void also_in_the_child_of_a_thread(void)
{
    finish(start(in_thread, (void *)(uintptr_t)drop_in_thread));
    finish(start(in_thread, (void *)(uintptr_t)drop_in_main));
    finish(start(in_thread, (void *)(uintptr_t)change_one_thread_alone));
}

static const struct check checks[] = {
    CHECK(a_thread_drops_for_all),
    CHECK(main_drops_for_all),
    CHECK(there_and_back_again),
    CHECK(setfsuid_is_the_caller_s_alone),
    CHECK(raw_system_call_is_the_caller_s_alone),
    CHECK(also_in_the_child_of_a_thread),
};

int main(int argc, char **argv)
{
    return CHECKS_RUN(checks, argc, argv);
}

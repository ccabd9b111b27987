/* Reading /proc: see footprint.h. */
#include "footprint.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL_STACK_KB 16

static pid_t footprint_parent(pid_t pid)
{
    char path[64], line[512];
    const char *after;
    FILE *f;
    int parent = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    f = fopen(path, "re");
    if (f == NULL) {
        return 0;
    }
    if (fgets(line, sizeof(line), f) != NULL) {
        after = strrchr(line, ')'); /* a name may hold anything, also brackets */
        if (after != NULL && sscanf(after + 1, " %*c %d", &parent) != 1) {
            parent = 0;
        }
    }
    fclose(f);
    return parent;
}

size_t footprint_tree(pid_t root, pid_t *pids, size_t room)
{
    static struct {
        pid_t pid, parent;
    } all[32768];
    size_t count = 0, found = 0;
    struct dirent *entry;
    DIR *proc = opendir("/proc");

    if (proc == NULL || room == 0) {
        return 0;
    }
    while ((entry = readdir(proc)) != NULL && count < sizeof(all) / sizeof(all[0])) {
        pid_t pid = atoi(entry->d_name);

        if (pid > 0 && pid != root) {
            all[count].pid = pid;
            all[count].parent = footprint_parent(pid);
            count++;
        }
    }
    closedir(proc);
    pids[found++] = root;
    for (size_t i = 0; i < found; i++) {
        for (size_t j = 0; j < count && found < room; j++) {
            if (all[j].parent == pids[i]) {
                pids[found++] = all[j].pid;
            }
        }
    }
    return found;
}

static long footprint_field(const char *path, const char *name)
{
    char line[256];
    size_t len = strlen(name);
    long value = -1;
    FILE *f = fopen(path, "re");

    if (f == NULL) {
        return -1;
    }
    while (value < 0 && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, name, len) == 0) {
            value = atol(line + len);
        }
    }
    fclose(f);
    return value;
}

bool footprint_add_light(pid_t pid, struct footprint *f)
{
    char path[64];
    long threads, tables;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    threads = footprint_field(path, "Threads:");
    tables = footprint_field(path, "VmPTE:"); /* absent in a zombie */
    if (threads < 0 || tables < 0) {
        return false;
    }
    f->processes++;
    f->threads += threads;
    f->kernel_stack_kb += threads * KERNEL_STACK_KB;
    f->page_table_kb += tables;
    return true;
}

void footprint_add_heavy(pid_t pid, struct footprint *f)
{
    char path[64];
    long user;
    struct dirent *entry;
    DIR *fds;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    user = footprint_field(path, "Pss:");
    f->user_kb += user > 0 ? user : 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    fds = opendir(path);
    if (fds == NULL) {
        return;
    }
    while ((entry = readdir(fds)) != NULL) {
        f->fds += entry->d_name[0] != '.';
    }
    closedir(fds);
}

long footprint_total_kb(const struct footprint *f)
{
    return f->user_kb + f->kernel_stack_kb + f->page_table_kb;
}

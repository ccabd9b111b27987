/* Libraries that are built beside a program from its *.lib.c files. */
#ifndef CONFORMANCE_LIBRARY_H
#define CONFORMANCE_LIBRARY_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Open the one that is called as the program is, with `suffix` behind; exits where that fails. */
static void *library_open(const char *suffix)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 20);
    if (length <= 0) {
        perror("FAIL /proc/self/exe");
        exit(1);
    }
    strcpy(path + length, suffix);
    void *library = dlopen(path, RTLD_NOW);
    if (!library) {
        printf("FAIL %s\n", dlerror());
        exit(1);
    }
    return library;
}

#endif

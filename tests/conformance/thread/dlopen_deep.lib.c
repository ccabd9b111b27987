/* A library that waits, through a direct call and through a pointer that the loader fills in. */
#include <unistd.h>

static ssize_t (*volatile read_pointer)(int, void *, size_t) = read;

int read_by_call(int fd)
{
    char byte;
    return read(fd, &byte, 1) == 1 ? byte : -1;
}

int read_by_pointer(int fd)
{
    char byte;
    return read_pointer(fd, &byte, 1) == 1 ? byte : -1;
}

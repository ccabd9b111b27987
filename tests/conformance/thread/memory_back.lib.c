#include "thread/dlopen_tls.lib.c"

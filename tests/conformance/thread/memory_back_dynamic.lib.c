#include "thread/dlopen_tls_dynamic.lib.c"

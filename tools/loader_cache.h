/* /etc/ld.so.cache, as ldconfig(8) writes it. */
#ifndef TOOLS_LOADER_CACHE_H
#define TOOLS_LOADER_CACHE_H

/* The path that the cache has for a library of this name and this machine, or NULL. The caller
 * frees it. */
char *loader_cache_find(const char *name);

#endif

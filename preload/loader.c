/* dlopen: static TLS for threads that are older than the library, and a caller that libc no longer
 * sees.
 *
 * libc takes the return address of dlopen() for its caller, and a name without a slash is looked
 * for along the caller's RUNPATH (or RPATH). Behind this wrapper the caller is libgreen, which has
 * neither. So where the caller does have one, its directories are tried here, in libc's order.
 *
 * RTLD_DEEPBIND is left as it is: see rebind.c.
 */
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "coro/libc.h"
#include "hub/hub.h"
#include "patch.h"
#include "rebind.h"

/* ---- Where the caller's libraries lie ---- */

static struct link_map *loader_caller(const void *address)
{
    Dl_info info;
    struct link_map *map = NULL;
    return dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) ? map : NULL;
}

static bool loader_has_path(const struct link_map *map)
{
    for (const ElfW(Dyn) *dyn = map->l_ld; dyn && dyn->d_tag != DT_NULL; dyn++)
        if (dyn->d_tag == DT_RUNPATH || dyn->d_tag == DT_RPATH)
            return true;
    return false;
}

/* The directories in which libc looks for what the object needs, in order; NULL when they cannot be
 * had. To be freed. */
static Dl_serinfo *loader_directories(void *handle)
{
    Dl_serinfo head;
    if (dlinfo(handle, RTLD_DI_SERINFOSIZE, &head))
        return NULL;
    Dl_serinfo *all = malloc(head.dls_size);
    if (!all)
        return NULL;
    all->dls_size = head.dls_size;
    all->dls_cnt = head.dls_cnt;
    if (dlinfo(handle, RTLD_DI_SERINFO, all) == 0)
        return all;
    free(all);
    return NULL;
}

/* How many of the caller's directories come before those in which libc looks for anybody. */
static unsigned loader_own_count(const Dl_serinfo *caller, const Dl_serinfo *ours)
{
    unsigned n = caller->dls_cnt;
    unsigned m = ours->dls_cnt;
    while (n > 0 && m > 0 &&
           strcmp(caller->dls_serpath[n - 1].dls_name, ours->dls_serpath[m - 1].dls_name) == 0) {
        n--;
        m--;
    }
    return n;
}

static void *loader_open_in(const char *directory, const char *name, int mode)
{
    char path[PATH_MAX];
    size_t length = strlen(directory);
    if (length + 1 + strlen(name) >= sizeof path)
        return NULL;
    memcpy(path, directory, length);
    path[length] = '/';
    strcpy(path + length + 1, name);
    return real.dlopen(path, mode);
}

static void *loader_search(struct link_map *caller, const char *name, int mode)
{
    void *handle = NULL;
    Dl_serinfo *theirs = loader_directories(caller);
    Dl_serinfo *ours = loader_directories(loader_caller(_DYNAMIC));
    unsigned own = theirs && ours ? loader_own_count(theirs, ours) : 0;
    for (unsigned i = 0; i < own && !handle; i++)
        handle = loader_open_in(theirs->dls_serpath[i].dls_name, name, mode);
    free(theirs);
    free(ours);
    return handle;
}

/* A name that is loaded already is found by that name, whoever asks. */
static void *loader_open(const char *name, int mode, const void *return_address)
{
    struct link_map *caller = NULL;
    if (name && *name && !strchr(name, '/'))
        caller = loader_caller(return_address);
    if (caller && loader_has_path(caller)) {
        void *handle = real.dlopen(name, mode | RTLD_NOLOAD);
        if (!handle)
            handle = loader_search(caller, name, mode);
        if (handle)
            return handle;
    }
    return real.dlopen(name, mode);
}

static void *loader_open_deep(const char *name, int mode, const void *return_address)
{
    unsigned count = rebind_count();
    void *handle = loader_open(name, mode, return_address);
    if (handle)
        rebind_since(count, handle);
    return handle;
}

void *green_dlopen(const char *name, int mode)
{
    const void *return_address = __builtin_extract_return_addr(__builtin_return_address(0));
    bool started = hub_started();
    (void)patch_passes(PATCH_dlopen);
    if (started)
        libc_tls_loading();
    void *handle = mode & RTLD_DEEPBIND && config_patches(GROUP_thread)
                       ? loader_open_deep(name, mode, return_address)
                       : loader_open(name, mode, return_address);
    if (started)
        libc_tls_loaded();
    return handle;
}

/* rtnetlink(7), with system calls: one dump of RTM_GETADDR. */
#include "netaddrs.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "coro/sys.h"
#include "hub/alloc.h"

enum { DUMP_SIZE = 32768 }; /* the kernel fills no more into one message */

static bool list_append(struct netaddrs *n, const struct netaddr *one)
{
    if (!(n->count & (n->count - 1))) { /* a power of two: it is full */
        size_t room = n->count ? n->count * 2 : 1;
        struct netaddr *larger = green_realloc(n->list, room * sizeof *larger);
        if (!larger)
            return false;
        n->list = larger;
    }
    n->list[n->count++] = *one;
    return true;
}

/* The peer's address where there is one, as libc takes it. */
static const uint8_t *message_address(const struct ifaddrmsg *message, size_t size)
{
    const uint8_t *local = NULL;
    const struct rtattr *a = IFA_RTA(message);
    for (size_t left = size - NLMSG_ALIGN(sizeof *message); RTA_OK(a, left);
         a = RTA_NEXT(a, left)) {
        if (a->rta_type == IFA_ADDRESS)
            return RTA_DATA(a);
        if (a->rta_type == IFA_LOCAL)
            local = RTA_DATA(a);
    }
    return local;
}

static bool message_add(struct netaddrs *n, const struct ifaddrmsg *message, size_t size)
{
    struct netaddr one = {.prefix = message->ifa_prefixlen, .interface = message->ifa_index};
    bool four = message->ifa_family == AF_INET;
    if (size < sizeof *message || (!four && message->ifa_family != AF_INET6))
        return true;
    const uint8_t *address = message_address(message, size);
    if (!address)
        return true;
    if (message->ifa_flags & (IFA_F_DEPRECATED | IFA_F_OPTIMISTIC))
        one.flags |= NETADDR_DEPRECATED;
    if (message->ifa_flags & IFA_F_HOMEADDRESS)
        one.flags |= NETADDR_HOME;
    if (four) {
        static const uint8_t loopback[4] = {127, 0, 0, 1};
        one.address[10] = one.address[11] = 0xff;
        memcpy(&one.address[12], address, 4);
        n->four |= memcmp(address, loopback, 4) != 0;
    } else {
        memcpy(one.address, address, 16);
        n->six |= memcmp(address, &in6addr_loopback, 16) != 0;
    }
    return list_append(n, &one);
}

/* One piece of the dump. 1: there is more, 0: that was the last, -1: it failed. */
static int dump_piece(struct netaddrs *n, const char *piece, size_t size)
{
    const struct nlmsghdr *m = (const struct nlmsghdr *)piece;
    for (; NLMSG_OK(m, size); m = NLMSG_NEXT(m, size)) {
        if (m->nlmsg_type == NLMSG_DONE)
            return 0;
        if (m->nlmsg_type == NLMSG_ERROR)
            return -1;
        if (m->nlmsg_type == RTM_NEWADDR && !message_add(n, NLMSG_DATA(m), NLMSG_PAYLOAD(m, 0)))
            return -1;
    }
    return 1;
}

static bool dump(struct netaddrs *n, long fd, char *piece)
{
    struct {
        struct nlmsghdr header;
        struct rtgenmsg family;
    } request = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof request.family),
                   .nlmsg_type = RTM_GETADDR,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                   .nlmsg_seq = 1},
        .family = {.rtgen_family = AF_UNSPEC},
    };
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sys_6(SYS_sendto, fd, &request, sizeof request, 0, &kernel, sizeof kernel) < 0)
        return false;
    for (int more = 1; more;) {
        struct sockaddr_nl from;
        unsigned from_size = sizeof from;
        long got = sys_6(SYS_recvfrom, fd, piece, DUMP_SIZE, 0, &from, &from_size);
        if (got == -EINTR || (got > 0 && from.nl_pid))
            continue;
        more = got > 0 ? dump_piece(n, piece, (size_t)got) : -1;
        if (more < 0)
            return false;
    }
    return true;
}

struct netaddrs netaddrs_read(void)
{
    struct netaddrs n = {.count = 0};
    char *piece = green_alloc(DUMP_SIZE);
    long fd = sys_3(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    bool known = piece && fd >= 0 && dump(&n, fd, piece);
    if (fd >= 0)
        sys_1(SYS_close, fd);
    green_free(piece);
    if (!known)
        n.four = n.six = true;
    if (!known || !n.six) {
        /* libc keeps the list only where there are IPv6 addresses to choose from. */
        netaddrs_free(&n);
    }
    return n;
}

void netaddrs_free(struct netaddrs *n)
{
    green_free(n->list);
    n->list = NULL;
    n->count = 0;
}

const struct netaddr *netaddrs_find(const struct netaddrs *n, const uint8_t *address)
{
    for (size_t i = 0; i < n->count; i++)
        if (!memcmp(n->list[i].address, address, 16))
            return &n->list[i];
    return NULL;
}

bool netaddrs_native(uint32_t interface)
{
    struct ifreq request = {.ifr_ifindex = (int)interface};
    long fd = sys_3(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool native = false;
    if (!sys_3(SYS_ioctl, fd, SIOCGIFNAME, &request) &&
        !sys_3(SYS_ioctl, fd, SIOCGIFHWADDR, &request)) {
        unsigned short type = request.ifr_hwaddr.sa_family;
        native = type != ARPHRD_TUNNEL && type != ARPHRD_TUNNEL6 && type != ARPHRD_SIT;
    }
    sys_1(SYS_close, fd);
    return native;
}

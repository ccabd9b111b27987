/* What decides the way of a name before anybody is asked: files, and the form of the name. */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hub/alloc.h"
#include "preload/dns.h"
#include "preload/dnsfile.h"
#include "preload/hosts.h"

/* A file with this text, for as long as the program runs. */
static const char *file_with(const char *text)
{
    static char path[32];
    strcpy(path, "/tmp/names.XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static struct hosts *hosts_of(const char *text)
{
    bool lost = false;
    const char *path = file_with(text);
    struct hosts *h = hosts_read(path, &lost);
    unlink(path);
    cr_assert(h && !lost);
    return h;
}

Test(hosts, a_name_counts_for_the_families_of_its_lines)
{
    struct hosts *h = hosts_of("10.0.0.1 four\n2001:db8::1\tsix\n10.0.0.2 both # no\n::2 both\n");
    cr_expect_eq(hosts_name(h, "four", AF_INET), HOSTS_YES);
    cr_expect_eq(hosts_name(h, "four", AF_UNSPEC), HOSTS_YES);
    cr_expect_eq(hosts_name(h, "four", AF_INET6), HOSTS_OTHER);
    cr_expect_eq(hosts_name(h, "six", AF_INET), HOSTS_OTHER);
    cr_expect_eq(hosts_name(h, "six", AF_INET6), HOSTS_YES);
    cr_expect_eq(hosts_name(h, "both", AF_INET), HOSTS_YES);
    cr_expect_eq(hosts_name(h, "both", AF_INET6), HOSTS_YES);
    cr_expect_eq(hosts_name(h, "no", AF_UNSPEC), HOSTS_NO);
    cr_expect_eq(hosts_name(h, "FOUR", AF_INET), HOSTS_YES);
    cr_expect_eq(hosts_name(h, "four.", AF_INET), HOSTS_NO);
    hosts_free(h);
}

Test(hosts, ipv6_forms_of_ipv4_addresses_count_as_libc_counts_them)
{
    struct hosts *h = hosts_of("::1 loop\n::ffff:10.0.0.9 mapped\n");
    cr_expect_eq(hosts_name(h, "loop", AF_INET), HOSTS_YES);
    cr_expect_eq(hosts_name(h, "mapped", AF_INET), HOSTS_YES);
    cr_expect(hosts_address(h, "\177\0\0\1", AF_INET));
    cr_expect(hosts_address(h, "\12\0\0\11", AF_INET));
    cr_expect(hosts_address(h, &in6addr_loopback, AF_INET6));
    cr_expect(!hosts_address(h, "\12\0\0\12", AF_INET));
    hosts_free(h);
}

Test(hosts, lines_that_libc_skips_count_for_nothing)
{
    struct hosts *h = hosts_of("\n#10.0.0.1 comment\n10.0.0.2\nnonsense word\n 10.0.0.3  last");
    cr_expect_eq(hosts_name(h, "comment", AF_UNSPEC), HOSTS_NO);
    cr_expect_eq(hosts_name(h, "word", AF_UNSPEC), HOSTS_NO);
    cr_expect(!hosts_address(h, "\12\0\0\2", AF_INET), "an address without a name");
    cr_expect_eq(hosts_name(h, "last", AF_INET), HOSTS_YES);
    hosts_free(h);
}

Test(hosts, a_long_file_is_held_whole)
{
    enum { LINES = 20000 };
    char *text = malloc(LINES * 40), *end = text, name[16];
    for (int i = 0; i < LINES; i++)
        end += sprintf(end, "10.%d.%d.1 n%d alias%d\n", i / 250, i % 250, i, i);
    struct hosts *h = hosts_of(text);
    for (int i = 0; i < LINES; i++) {
        sprintf(name, "alias%d", i);
        cr_assert_eq(hosts_name(h, name, AF_INET), HOSTS_YES);
    }
    cr_expect_eq(hosts_name(h, "alias20000", AF_INET), HOSTS_NO);
    hosts_free(h);
    free(text);
}

Test(hosts, no_file_has_no_names)
{
    bool lost = true;
    struct hosts *h = hosts_read("/nonexistent/hosts", &lost);
    cr_expect_null(h);
    cr_expect_eq(hosts_name(h, "any", AF_UNSPEC), HOSTS_NO);
    cr_expect(!hosts_address(h, "\177\0\0\1", AF_INET));
}

Test(files, a_state_tells_a_file_from_another_and_from_none)
{
    const char *path = file_with("one");
    struct dns_file_state first = dns_file_state(path), again = dns_file_state(path), none = {0};
    cr_expect(!memcmp(&first, &again, sizeof first));
    cr_assert_eq(truncate(path, 1), 0);
    again = dns_file_state(path);
    cr_expect(memcmp(&first, &again, sizeof first));
    unlink(path);
    again = dns_file_state(path);
    cr_expect(!memcmp(&none, &again, sizeof none));
}

Test(files, lines_and_words)
{
    const char *path = file_with(" one\ttwo # three\n\nfour");
    char *text = dns_file_read(path), *at = text;
    unlink(path);
    char *line = dns_file_line(&at);
    cr_expect_str_eq(dns_file_word(&line), "one");
    cr_expect_str_eq(dns_file_word(&line), "two");
    cr_expect_null(dns_file_word(&line));
    line = dns_file_line(&at);
    cr_expect_null(dns_file_word(&line));
    line = dns_file_line(&at);
    cr_expect_str_eq(dns_file_word(&line), "four");
    cr_expect_null(dns_file_line(&at));
    green_free(text);
}

Test(forms, plain_names)
{
    char label[65], name[300] = "";
    static const char *const plain[] = {"a",        "a.b",         "A-1.b_c", "a.b.",
                                        "3com.com", "1.2.3.4.com", "_srv.x",  "xn--bcher-kva.test"};
    static const char *const other[] = {"",
                                        ".",
                                        "..",
                                        ".a",
                                        "a..b",
                                        "a..",
                                        "-a",
                                        "a b",
                                        "a\\b",
                                        "b\xc3\xbc"
                                        "cher",
                                        "1.2.3.4",
                                        "12",
                                        "999.1",
                                        "a:b",
                                        "x.onion",
                                        "onion",
                                        "ONION.",
                                        "localhost",
                                        "y.LocalHost."};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        cr_expect(dns_name_plain(plain[i]), "%s", plain[i]);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        cr_expect(!dns_name_plain(other[i]), "%s", other[i]);
    cr_expect(dns_name_plain("notonion") && dns_name_plain("mylocalhost"));
    memset(label, 'x', sizeof label);
    label[63] = 0;
    cr_expect(dns_name_plain(label), "63 letters");
    label[63] = 'x';
    label[64] = 0;
    cr_expect(!dns_name_plain(label), "64 letters");
    for (int i = 0; i < 126; i++)
        strcat(name, "a.");
    strcat(name, "a");
    cr_expect(dns_name_plain(name), "253 letters");
    strcat(name, "a");
    cr_expect(!dns_name_plain(name), "254 letters");
}

Test(forms, numeric_names)
{
    static const char *const numeric[] = {"1.2.3.4", "127.1", "0", "::1", "2001:db8::1"};
    static const char *const other[] = {"",       "1.2.3.4.", "256.1.1.1.1", "999.999.999.999",
                                        "0x7f.1", "1.2.3.4 ", "::x",         "a"};
    for (size_t i = 0; i < sizeof numeric / sizeof *numeric; i++)
        cr_expect(dns_name_numeric(numeric[i]), "%s", numeric[i]);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        cr_expect(!dns_name_numeric(other[i]), "%s", other[i]);
}

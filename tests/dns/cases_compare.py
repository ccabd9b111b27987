"""The same call natively and green: the same result, by the expected way.

A row: what `lookup` is told, and which way the names go under libgreen: c(-ares), o(ffloaded to libc) or h(ere: in
place), or - for no name at all; a word of several letters for several names.
"""

from place import Failure

RULES = """
one.test A 10.1.1.1
six.test AAAA 2001:db8:5::5
both.test A 192.0.2.77
both.test AAAA 2001:db8:1::77
many.test A 10.3.0.1 192.0.2.20 127.0.0.1 169.254.1.1 10.3.0.2 192.0.2.11 198.51.100.1
mixed.test A 10.4.0.1 192.0.2.30
mixed.test AAAA 2001:db8:9::1 fe80::1 ::1 2002:c000:201::1 fc00::1 2001:db8:1::40 fec0::1 2001::1 ff02::1 ::ffff:10.1.2.3 ::10.1.1.1
prefix.test AAAA 2001:db8:2::1 2001:db8:1:0:8000::1 2001:db8:1::11 3fff::1 2001:db8:1::10
alias.test CNAME alias2.test
alias2.test CNAME Real.Test
real.test A 10.5.0.1
real.test AAAA 2001:db8:5::1
dangling.test CNAME nowhere.test
bare.test CNAME txt.test
txt.test PTR nothing.test
empty.test PTR nothing.test
servfail.test rcode servfail
refused.test rcode refused
notimp.test rcode notimp
formerr.test rcode formerr
half.test rcode servfail AAAA
half.test A 10.6.0.1
half4.test rcode servfail A
half4.test AAAA 2001:db8:6::1
halfnx.test rcode nxdomain AAAA
halfnx.test A 10.6.0.2
large.test A {large}
host.a.example A 10.7.0.1
host.b.example A 10.7.0.2
dotted.host.b.example A 10.7.0.3
top A 10.7.0.4
UPPER.test A 10.8.0.1
with_underscore.test A 10.8.0.2
in-hosts.test A 10.66.0.1
in-hosts.test AAAA 2001:db8:66::1
four-hosts.test AAAA 2001:db8:66::2
odd.test mangle name
10.2.0.192.in-addr.arpa PTR own.test
1.1.1.10.in-addr.arpa PTR one.test
2.1.1.10.in-addr.arpa PTR first.test second.test
3.1.1.10.in-addr.arpa CNAME 3.0.1.1.10.in-addr.arpa
3.0.1.1.10.in-addr.arpa PTR delegated.test
4.1.1.10.in-addr.arpa rcode servfail
5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR six.test
""".format(large=" ".join(f"10.9.{i // 250}.{i % 250 + 1}" for i in range(60)))

HOSTS = """127.0.0.1 localhost
::1 localhost6 ip6-localhost
10.60.0.1 in-hosts.test alias-in-hosts   # a comment
2001:db8:60::1 in-hosts.test
10.60.0.2 four-hosts.test
10.60.0.3 MixedCase.test
not-an-address broken.test
10.60.0.4
"""

HINTS = "- inet stream 0"


def gai(name, flags="0", family="unspec", socktype="stream", protocol="0", service="-"):
    return ["gai", name, service, flags, family, socktype, protocol]


CASES = [
    # Families
    (gai("one.test"), "c"), (gai("one.test", family="inet"), "c"), (gai("one.test", family="inet6"), "c"),
    (gai("six.test"), "c"), (gai("six.test", family="inet6"), "c"), (gai("six.test", family="inet"), "c"),
    (gai("both.test"), "c"), (gai("both.test", family="inet"), "c"), (gai("both.test", family="inet6"), "c"),
    (gai("one.test", family="unix"), "-"), (gai("one.test", family="77"), "-"),
    # No hints: AI_V4MAPPED and AI_ADDRCONFIG, every socket type
    (gai("both.test", flags="-"), "c"), (gai("one.test", flags="-", service="http"), "c"),
    # Order
    (gai("many.test"), "c"), (gai("mixed.test"), "c"), (gai("mixed.test", socktype="0"), "c"),
    (gai("prefix.test"), "c"), (gai("large.test"), "c"),
    # Flags
    (gai("both.test", "passive"), "c"), (gai("both.test", "canonname"), "c"),
    (gai("alias.test", "canonname"), "c"), (gai("alias.test", "canonname", "inet"), "c"),
    (gai("alias.test", "canonname", "inet6"), "c"), (gai("alias.test"), "c"),
    (gai("both.test", "addrconfig"), "c"), (gai("one.test", "addrconfig", "inet6"), "c"),
    (gai("both.test", "v4mapped"), "c"), (gai("both.test", "v4mapped", "inet6"), "o"),
    (gai("one.test", "v4mapped", "inet6"), "o"), (gai("both.test", "v4mapped+all", "inet6"), "o"),
    (gai("both.test", "all"), "c"), (gai("one.test", "numerichost"), "-"), (gai("one.test", "idn"), "c"),
    (gai("one.test", "canonname+canonidn"), "o"), (gai("b\u00fccher.test", "idn"), "o"),
    (gai("b\u00fccher.test"), "o"), (gai("one.test", "bad"), "o"),
    (gai("one.test", "numericserv", service="http"), "-"), (gai("one.test", "numericserv", service="80"), "c"),
    # Sockets and services
    (gai("one.test", socktype="0"), "c"), (gai("one.test", socktype="dgram"), "c"),
    (gai("one.test", socktype="raw"), "c"), (gai("one.test", socktype="seqpacket"), "c"),
    (gai("one.test", socktype="0", protocol="udp"), "c"), (gai("one.test", protocol="udp"), "-"),
    (gai("one.test", socktype="0", protocol="sctp"), "c"), (gai("one.test", service="http"), "c"),
    (gai("one.test", socktype="0", service="domain"), "c"), (gai("one.test", service="80"), "c"),
    (gai("one.test", service="*"), "c"), (gai("one.test", service=""), "c"),
    (gai("one.test", service="no-such-service"), "-"), (gai("one.test", socktype="raw", service="http"), "-"),
    (gai("one.test", socktype="dgram", service="https"), "c"), (gai("one.test", socktype="77"), "-"),
    (gai("one.test", socktype="0", protocol="77"), "c"),
    (gai("-", service="http"), "-"), (gai("*", service="http"), "-"), (gai("-"), "-"),
    (gai("-", "passive", service="80"), "-"), (gai("-", "canonname", service="80"), "-"),
    # Literals
    (gai("127.1"), "-"), (gai("0x7f000001"), "-"), (gai("010.1.1.1"), "-"), (gai("10.1.1.1", family="inet6"), "-"),
    (gai("10.1.1.1", "v4mapped", "inet6"), "-"), (gai("::1"), "-"), (gai("::1", family="inet"), "-"),
    (gai("fe80::1%lo"), "-"), (gai("fe80::1%1", service="22"), "-"), (gai("fe80::1%nothing"), "o"),
    (gai("::ffff:10.1.1.1", family="inet"), "-"), (gai("10.1.1.1", "canonname"), "-"),
    # Errors
    (gai("nowhere.test"), "c"), (gai("nowhere.test", family="inet"), "c"), (gai("nowhere.test", family="inet6"), "c"),
    (gai("empty.test"), "c"), (gai("empty.test", family="inet"), "c"), (gai("empty.test", family="inet6"), "c"),
    (gai("dangling.test"), "c"), (gai("bare.test"), "o"), (gai("bare.test", family="inet"), "o"),
    (gai("servfail.test"), "c"), (gai("servfail.test", family="inet"), "c"), (gai("refused.test"), "c"),
    (gai("notimp.test"), "c"), (gai("formerr.test"), "o"),
    (gai("half.test"), "c"), (gai("half4.test"), "c"), (gai("halfnx.test"), "c"),
    # Names
    (gai("ONE.test"), "c"), (gai("upper.TEST", "canonname"), "c"), (gai("one.test.", "canonname"), "c"),
    (gai("with_underscore.test"), "c"), (gai(""), "o"), (gai("."), "o"), (gai("a..b"), "o"), (gai(".test"), "o"),
    (gai("-begins.test"), "o"), (gai("has space.test"), "o"), (gai("x" * 63 + ".test"), "c"),
    (gai("x" * 64 + ".test"), "o"), (gai(".".join(["x" * 49] * 6)), "o"), (gai("999.999.999.999"), "o"),
    (gai("999.999.999.999", family="inet"), "o"), (gai("1.2.3.4.5"), "o"), (gai("odd.test", "canonname"), "o"),
    (gai("hidden.onion"), "o"),
    # /etc/hosts
    (gai("localhost"), "h"), (gai("localhost", family="inet6"), "o"), (gai("localhost6"), "h"),
    (gai("ip6-localhost", family="inet"), "h"), (gai("in-hosts.test", "canonname"), "h"),
    (gai("in-hosts.test", family="inet6"), "h"), (gai("alias-in-hosts", "canonname"), "h"),
    (gai("four-hosts.test"), "h"), (gai("four-hosts.test", family="inet6"), "o"), (gai("mixedcase.TEST"), "h"),
    (gai("broken.test"), "c"), (gai("localhost."), "o"), (gai("x.localhost"), "o"),
    # gethostbyname
    (["host1", "one.test"], "c"), (["host1", "alias.test"], "c"), (["host1", "six.test"], "c"),
    (["host1", "nowhere.test"], "c"), (["host1", "empty.test"], "c"), (["host1", "servfail.test"], "c"),
    (["host1", "10.1.1.1"], "h"), (["host1", "999.999.999.999"], "o"), (["host1", "localhost"], "h"),
    (["host1", "many.test"], "c"), (["host1", "large.test"], "c"), (["host1", "dangling.test"], "c"),
    (["host1", "bare.test"], "o"),
    (["host", "six.test", "inet6"], "c"), (["host", "one.test", "inet6"], "c"), (["host", "alias.test", "inet6"], "c"),
    (["host", "one.test", "77"], "h"), (["host", "::1", "inet6"], "h"), (["host", "10.1.1.1", "inet6"], "h"),
    (["host", "::1", "inet"], "h"), (["host", "", "inet"], "o"),
    (["host_r", "one.test", "inet", "4096"], "c"), (["host_r", "one.test", "inet", "8"], "-"),
    (["host_r", "one.test", "inet", "0"], "-"), (["host_r", "nowhere.test", "inet", "8"], "-"), (["host_r", "nowhere.test", "inet", "4096"], "c"),
    (["host_r", "servfail.test", "inet", "4096"], "c"), (["host_r", "large.test", "inet", "600"], "c"),
    (["host_r", "alias.test", "inet6", "4096"], "c"), (["host_r", "localhost", "inet", "8"], "h"),
    (["host_r", "10.1.1.1", "inet", "8"], "h"),
    # gethostbyaddr
    (["addr", "10.1.1.1"], "c"), (["addr", "10.1.1.2"], "c"), (["addr", "10.1.1.3"], "c"), (["addr", "10.1.1.4"], "c"),
    (["addr", "10.1.1.9"], "c"), (["addr", "2001:db8:5::5"], "c"), (["addr", "127.0.0.1"], "h"),
    (["addr", "::1"], "h"), (["addr", "::"], "h"), (["addr", "::ffff:10.1.1.1"], "o"), (["addr", "10.60.0.2"], "h"),
    (["addr_r", "10.1.1.1", "4096"], "c"), (["addr_r", "10.1.1.1", "8"], "-"), (["addr_r", "10.1.1.9", "4096"], "c"),
    (["addr_r", "10.1.1.4", "4096"], "c"),
    # getnameinfo
    (["name", "10.1.1.1", "0", "1025", "32"], "c"), (["name", "10.1.1.1", "ni_namereqd", "1025", "32"], "c"),
    (["name", "10.1.1.9", "0", "1025", "32"], "c"), (["name", "10.1.1.9", "ni_namereqd", "1025", "32"], "c"),
    (["name", "10.1.1.1", "ni_numerichost", "1025", "32"], "-"), (["name", "10.1.1.1", "ni_numericserv", "1025", "32"], "c"),
    (["name", "10.1.1.1", "ni_dgram", "1025", "32"], "c"), (["name", "10.1.1.1", "0", "4", "32"], "c"),
    (["name", "10.1.1.1", "0", "1025", "2"], "c"), (["name", "10.1.1.1", "0", "1025", "0"], "c"),
    (["name", "10.1.1.1", "0", "0", "32"], "-"), (["name", "10.1.1.1", "0", "0", "0"], "-"),
    (["name", "10.1.1.4", "0", "1025", "32"], "c"), (["name", "2001:db8:5::5", "0", "1025", "32"], "c"),
    (["name", "10.1.1.1", "ni_nofqdn", "1025", "32"], "o"), (["name", "10.1.1.1", "ni_idn", "1025", "32"], "o"),
    (["name", "10.1.1.1", "bad", "1025", "32"], "-"), (["name", "127.0.0.1", "0", "1025", "32"], "h"),
    (["name", "fe80::5", "0", "1025", "32"], "c"), (["name", "10.1.1.3", "0", "1025", "32"], "c"),
    # The rest
    (["async", "one.test"], "-"), (["async", "nowhere.test"], "-"),
    (["query", "one.test", "1"], "o"), (["query", "nowhere.test", "1"], "o"), (["search", "both.test", "28"], "o"),
    (["nquery", "one.test", "1"], "o"),
    (["options", "0"] + ["then"] + gai("one.test"), "c"),
    (["options", "8"] + ["then"] + gai("one.test"), "o"),  # RES_USEVC in this thread alone
    (["server", "127.0.0.2"] + ["then"] + gai("one.test"), "o"),
]

# The same under other configurations: (what is different, environment, rows).
SEARCH = [
    (gai("host"), "c"), (gai("host", family="inet"), "c"), (gai("host", "canonname"), "c"), (gai("dotted.host"), "c"),
    (gai("top"), "c"), (gai("top."), "c"), (gai("nowhere"), "c"), (gai("host.b.example"), "c"), (gai("no.where"), "c"),
    (["host1", "host"], "c"), (["host1", "dotted.host"], "c"), (["host1", "nowhere"], "c"),
]
BASE = "nameserver 127.0.0.1\noptions timeout:1 attempts:1"
CONFIGURATIONS = [
    ("search", {"resolv": BASE + "\nsearch a.example b.example\n"}, {}, SEARCH),
    ("domain", {"resolv": BASE + "\ndomain b.example\n"}, {}, SEARCH),
    ("ndots", {"resolv": BASE + " ndots:2\nsearch b.example\n"}, {}, SEARCH),
    ("root", {"resolv": BASE + "\nsearch a.example .\n"}, {}, SEARCH),
    ("no-tld-query", {"resolv": BASE + " no-tld-query\nsearch a.example\n"}, {}, SEARCH),
    ("six-domains", {"resolv": BASE + "\nsearch a b c d e f b.example\n"}, {},
     [(gai("host"), "o"), (gai("one.test"), "o")]),
    ("LOCALDOMAIN", {"resolv": BASE + "\nsearch a.example\n"}, {"LOCALDOMAIN": "b.example"}, SEARCH[:3]),
    ("RES_OPTIONS", {"resolv": BASE + "\nsearch b.example\n"}, {"RES_OPTIONS": "ndots:5"}, SEARCH[:4]),
    ("HOSTALIASES", {"resolv": BASE + "\n"}, {"HOSTALIASES": "/etc/host.conf"}, [(gai("one.test"), "o")]),
    ("single-request", {"resolv": BASE + " single-request\n"}, {}, [(gai("both.test"), "c"), (gai("nowhere.test"), "c")]),
    ("rotate", {"resolv": "nameserver 127.0.0.1\nnameserver 127.0.0.2\noptions rotate timeout:1\n"}, {},
     [(gai("both.test"), "c"), (gai("nowhere.test"), "c")]),
    ("edns0", {"resolv": BASE + " edns0 trust-ad\n"}, {}, [(gai("large.test"), "c"), (gai("both.test"), "c")]),
    ("use-vc", {"resolv": BASE + " use-vc\n"}, {}, [(gai("both.test"), "c")]),
    ("no-aaaa", {"resolv": BASE + " no-aaaa\n"}, {}, [(gai("both.test"), "o")]),
    ("unknown-option", {"resolv": BASE + " whatever:3\n"}, {}, [(gai("both.test"), "c")]),
    ("sortlist", {"resolv": BASE + "\nsortlist 10.3.0.0/255.255.0.0\n"}, {}, [(["host1", "many.test"], "o")]),
    ("first-server-silent", {"resolv": "nameserver 127.0.0.3\nnameserver 127.0.0.1\noptions timeout:1 attempts:1\n"}, {},
     [(gai("both.test"), "c"), (["host1", "one.test"], "c")]),
    ("first-server-closed", {"resolv": "nameserver 127.0.0.4\nnameserver 127.0.0.1\noptions timeout:1\n"}, {},
     [(gai("both.test"), "c"), (["host1", "one.test"], "c")]),
    ("all-servers-silent", {"resolv": "nameserver 127.0.0.3\noptions timeout:1 attempts:1\n"}, {},
     [(gai("both.test"), "c"), (gai("both.test", family="inet"), "c"), (["host1", "one.test"], "c"),
      (["host_r", "one.test", "inet", "4096"], "c"), (["addr_r", "10.1.1.1", "4096"], "c"),
      (["name", "10.1.1.1", "0", "1025", "32"], "c"), (["query", "one.test", "1"], "o")]),
    ("all-servers-closed", {"resolv": "nameserver 127.0.0.4\noptions timeout:1 attempts:1\nsearch a.example\n"}, {},
     [(gai("both.test"), "c"), (gai("host"), "c"), (["host_r", "one.test", "inet", "4096"], "c")]),
    ("ipv6-server", {"resolv": "nameserver ::1\noptions timeout:1 attempts:1\n"}, {},
     [(gai("both.test"), "c"), (gai("large.test"), "c")]),
    ("no-resolv-conf", {"resolv": None}, {}, [(gai("one.test"), "c")]),
    ("no-nsswitch-conf", {"nsswitch": None}, {}, [(gai("one.test"), "c"), (gai("in-hosts.test"), "h")]),
    ("nsswitch-without-hosts", {"nsswitch": "passwd: files\n"}, {}, [(gai("one.test"), "c"), (gai("in-hosts.test"), "h")]),
    ("files", {"nsswitch": "hosts: files\n"}, {}, [(gai("one.test"), "h"), (gai("in-hosts.test"), "h"),
                                                  (gai("in-hosts.test", family="inet6"), "h"), (["host1", "one.test"], "h"),
                                                  (["addr", "10.1.1.1"], "h")]),
    ("dns", {"nsswitch": "hosts: dns\n"}, {}, [(gai("one.test"), "c"), (gai("in-hosts.test"), "c"),
                                              (["addr", "10.60.0.2"], "c")]),
    ("dns-files", {"nsswitch": "hosts: dns files\n"}, {}, [(gai("one.test"), "o"), (gai("four-hosts.test"), "o")]),
    ("notfound-return", {"nsswitch": "hosts: files [NOTFOUND=return] dns\n"}, {},
     [(gai("one.test"), "o"), (gai("in-hosts.test"), "o")]),
    ("other-module", {"nsswitch": "hosts: files nosuchmodule dns\n"}, {}, [(gai("one.test"), "o")]),
    ("gai.conf", {"gai": "precedence ::ffff:0:0/96 100\n"}, {}, [(gai("both.test"), "o"), (gai("mixed.test"), "o")]),
    ("gai.conf-comments", {"gai": "# precedence ::ffff:0:0/96 100\n\n"}, {}, [(gai("both.test"), "c")]),
    ("host.conf", {"host": "multi on\nreorder on\n"}, {}, [(["host1", "many.test"], "o")]),
    ("no-hosts", {"hosts": None}, {}, [(gai("one.test"), "c"), (gai("localhost"), "o")]),
]

ADDRESSES = ("127.0.0.1", "127.0.0.2", "-127.0.0.3", "::1")
WAYS = {"c": "names_by_cares", "o": "names_offloaded", "h": "names_in_place"}


def asked(place):
    """The names that the server was asked for since the last call, in order, repetitions left out."""
    names = []
    for line in place.questions():
        name = line.split()[1]
        if names[-1:] != [name]:
            names.append(name)
    return names


def compare(place, words, way, env):
    command = [place.program("lookup")] + words
    place.questions()
    native = place.native(command, env)
    native_asked = asked(place)
    green = place.green(command, env=env)
    green_asked = asked(place)
    if native.returncode or green.returncode:
        raise Failure(f"status {native.returncode} natively, {green.returncode} green: {native.stderr}{green.stderr}")
    if native.stdout != green.stdout:
        raise Failure(f"natively:\n{native.stdout}green:\n{green.stdout}")
    if way == "c" and native_asked != green_asked:
        raise Failure(f"natively {native_asked} is asked for, green {green_asked}")
    for letter, figure in WAYS.items():
        if green.stats.get(figure) != way.count(letter):
            raise Failure(f"{figure} {green.stats.get(figure)}, not {way.count(letter)}; the result is right")


def label(words):
    return " ".join(word if len(word) < 40 else word[:20] + "..." for word in words)


def prepare(place, files=None):
    place.etc(**{"hosts": HOSTS, **(files or {})})
    place.serve(RULES, ADDRESSES)


def cases():
    for words, way in CASES:
        yield (f"compare/{label(words)}", prepare, {},
               lambda place, words=words, way=way: compare(place, words, way, None))
    for name, files, env, rows in CONFIGURATIONS:
        for words, way in rows:
            yield (f"compare/{name}/{label(words)}", prepare, files,
                   lambda place, words=words, way=way, env=env: compare(place, words, way, env))

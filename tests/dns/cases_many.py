"""Many lookups at once, while another green thread ticks."""

from place import Failure

RULES = """
*.slow.test A 10.9.9.9
*.slow.test delay 500
*.dead.test silent
*.quick.test A 10.9.9.9
"""
TRIES = 5  # the machine may be busy with something else


def prepare(place, files=None):
    place.etc(**{"resolv": "nameserver 127.0.0.1\n", **(files or {})})
    place.serve(RULES, ("127.0.0.1", "127.0.0.2", "-127.0.0.3", "::1"))


def measured(done):
    words = done.stdout.split()
    if done.returncode or not words:
        raise Failure(f"status {done.returncode}: {done.stdout}{done.stderr}")
    return dict(zip(words[::2], map(int, words[1::2])))


def within(place, limits, command, options=(), **more):
    """Runs until a run keeps the limits; .stats of that run."""
    seen = []
    for _ in range(TRIES):
        done = place.green([place.program("many"), *command], options, **more)
        result = measured(done)
        if all(result[word] <= limit for word, limit in limits.items()):
            print(f"     {done.stdout.strip()}")
            return done.stats
        seen.append(done.stdout.strip())
    raise Failure("; ".join(seen))


def thousand(place):
    stats = within(place, {"ms": 1500, "gap": 50, "threads": 4}, ["1000", "slow.test"])
    if stats["names_by_cares"] != 1000:
        raise Failure(f"{stats['names_by_cares']} by c-ares")


def small_stacks(place):
    within(place, {"ms": 1500}, ["200", "slow.test", "32768"])


def strict(place):
    within(place, {"ms": 1500, "gap": 50, "threads": 3}, ["1000", "slow.test"], ["--strict"])


def carriers(place):
    within(place, {"ms": 1500, "threads": 8}, ["1000", "slow.test"], ["--carriers=4"])


def offloaded(place):
    """No more helper threads than allowed, and the others go on."""
    stats = within(place, {"gap": 50, "threads": 40}, ["32", "slow.test"], ["--dns=offload"])
    if stats["names_offloaded"] != 32 or stats["names_by_cares"]:
        raise Failure(f"{stats}")


def native_way(place):
    stats = within(place, {}, ["4", "slow.test"], ["--dns=native"])
    if stats["names_offloaded"] or stats["names_by_cares"]:
        raise Failure(f"{stats}")


def repeated(place):
    """More questions than one channel is good for, one after the other and all at once."""
    within(place, {}, ["3000", "quick.test"])


def cases():
    for check in (thousand, small_stacks, strict, carriers, offloaded, native_way, repeated):
        yield f"many/{check.__name__}", prepare, {}, check

"""gdb commands for programs that run under libgreen.

    green threads        every green thread: id, name, state, what it waits for and since when
    green bt ID|all      its stack
    green frame ID       make its stack the current one: up, down, info locals work on it;
                         `green frame off`, or letting the program run, goes back
    green gcore [FILE]   write a core file of the live process, as gcore does, that has all stacks

gdb loads this file by itself when it lies beside libgreen.so as libgreen.so-gdb.py and the
directory is in its auto-load safe-path; else `source` it. Works on live processes and core files.

A suspended green thread's registers lie on its stack, in coro_switch()'s frame. An unwinder of ours
makes that frame the caller of the selected thread's innermost one, so that nothing in the process
is changed, which a core file would not allow.
"""

import os
import re
import socket
import struct
import time

import gdb
import gdb.unwinder

KINDS = {
    "WAIT_MUTEX": "mutex", "WAIT_COND": "condition", "WAIT_RWLOCK": "rwlock",
    "WAIT_BARRIER": "barrier", "WAIT_SEM": "semaphore", "WAIT_ONCE": "pthread_once",
    "WAIT_FUTEX": "futex", "WAIT_JOIN": "join of", "WAIT_FILE": "FILE", "WAIT_SLEEP": "sleep",
    "WAIT_FD": "descriptor", "WAIT_POLL": "descriptors from", "WAIT_SIGNALS": "signals",
    "WAIT_CHILD": "child", "WAIT_OFFLOAD": "offloaded call", "WAIT_DNS": "name lookup",
}


def variable(name, file):
    """A static variable of the library; None when libgreen is not in the process."""
    try:
        return gdb.parse_and_eval("'%s'::%s" % (file, name))
    except gdb.error:
        try:
            return gdb.parse_and_eval(name)
        except gdb.error:
            return None


def green_threads():
    """Every live green thread (struct green *), oldest first."""
    head = variable("green_list_head", "start.c")
    if head is None:
        raise gdb.GdbError("libgreen is not in this program, or has no debug information.")
    found = []
    g = head
    while g:
        found.append(g)
        g = g["all_next"]
    return sorted(found, key=lambda t: int(t["id"]))


def number(value):
    """An atomic or plain integer."""
    return int(value.cast(gdb.lookup_type("long")))


def monotonic_now():
    """Now in the process's CLOCK_MONOTONIC ns; for a core file, when a hub last looked at the clock."""
    if live():
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    hubs = variable("hub_all", "start.c")
    if hubs is None:
        return None
    first, last = hubs.type.range()
    looked = [int(hubs[i]["now"]) for i in range(first, last + 1) if hubs[i]]
    return max(looked, default=None)


def live():
    """A process, not a core file."""
    connection = getattr(gdb.selected_inferior(), "connection", None)
    return connection is not None and connection.type != "core"


# ---- What a green thread is doing ----------------------------------------------------------------

def state_of(g):
    """A word, and the OS thread that runs it (or None)."""
    state = str(g["state"].cast(gdb.lookup_type("enum green_state")))
    own = str(g["tls"]["own"].cast(gdb.lookup_type("enum own")))
    carrier = g["carrier"]
    tid = int(carrier["tid"]) if carrier else None
    if g["bound"]:
        return "bound", tid
    if state in ("GREEN_RUNNING", "GREEN_NOTIFIED"):
        if own == "OWN_DETACHED":
            return "detached", tid
        return "running", tid
    return {"GREEN_PARKED": "parked", "GREEN_RUNNABLE": "runnable"}.get(state, state), None


def peer_of(fd):
    """What descriptor fd of the process is, with its peer if it is a TCP connection."""
    pid = gdb.selected_inferior().pid
    try:
        target = os.readlink("/proc/%d/fd/%d" % (pid, fd))
    except OSError:
        return ""
    if not target.startswith("socket:["):
        return " (%s)" % target
    inode = target[8:-1]
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            with open("/proc/%d/net/%s" % (pid, name)) as table:
                for line in list(table)[1:]:
                    field = line.split()
                    if field[9] == inode:
                        if field[3] == "0A":
                            return " (listens on %s)" % address(field[1], family)
                        return " (peer %s)" % address(field[2], family)
        except OSError:
            pass
    return " (%s)" % target


def address(text, family):
    host, port = text.split(":")
    raw = b"".join(struct.pack("=I", int(host[i:i + 8], 16)) for i in range(0, len(host), 8))
    return "%s:%d" % (socket.inet_ntop(family, raw), int(port, 16))


def owner_of(mutex, threads):
    """Which green thread owns a mutex."""
    try:
        owner = int(mutex.cast(gdb.lookup_type("int").pointer())[2])
    except gdb.MemoryError:
        return ""
    if not owner:
        return ""
    for g in threads:
        if thread_number(g) == owner:
            return ", held by %d" % int(g["id"])
    return ", held by thread %d" % owner


def thread_number(g):
    """The id that libc keeps as the owner of locks."""
    try:
        block = int(g["coro"]["tp"]) + int(gdb.parse_and_eval("(long)PTHREAD_HEADER"))
        if stack_register() == "sp":
            block -= int(gdb.parse_and_eval("(long)PTHREAD_SIZE"))
        return int(gdb.parse_and_eval("((struct libc_pthread *)%d)->tid" % block))
    except gdb.error:
        return -1


def wait_of(g, threads):
    kind = str(g["waits_for"])
    what = KINDS.get(kind, "")
    wanted = g["wait_object"]
    if kind in ("WAIT_FD", "WAIT_POLL"):
        fd = int(wanted)
        what += " %d%s" % (fd, peer_of(fd))
    elif kind == "WAIT_JOIN" and int(wanted):
        what += " %d" % int(wanted.cast(gdb.lookup_type("struct green").pointer())["id"])
    elif kind in ("WAIT_SLEEP", "WAIT_OFFLOAD", "WAIT_DNS", "WAIT_SIGNALS", "WAIT_CHILD"):
        pass
    elif what and int(wanted):
        what += " %#x" % int(wanted)
        symbol = gdb.execute("info symbol %#x" % int(wanted), to_string=True)
        if not symbol.startswith("No symbol"):
            what += " <%s>" % symbol.split(" in section")[0]
        if kind == "WAIT_MUTEX":
            what += owner_of(wanted, threads)
    now = monotonic_now()
    since = int(g["wait_since"])
    if what and since and now:
        what += ", for %.3f s" % ((now - since) / 1e9)
    if int(g["timer_slot"]) and now:
        what += ", at most %.3f s more" % ((int(g["deadline"]) - now) / 1e9)
    return what


# ---- Stacks --------------------------------------------------------------------------------------

class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class GreenUnwinder(gdb.unwinder.Unwinder):
    """While `target` is set, the selected thread's innermost frame has the green thread's saved
    registers for its caller."""

    def __init__(self):
        super().__init__("libgreen")
        self.target = None
        self.at = None

    def __call__(self, pending):
        if self.target is None:
            return None
        sp = int(pending.read_register(stack_register()))
        if sp != self.at:
            return None
        pc = int(pending.read_register("pc"))
        # gdb takes a caller that lies below its callee for a corrupt stack, so the innermost frame
        # is said to lie just under the green thread's.
        below = int(self.target["coro"]["sp"]) - 16
        info = pending.create_unwind_info(FrameId(gdb.Value(below), gdb.Value(pc)))
        for name, value in saved_registers(self.target).items():
            info.add_saved_register(name, gdb.Value(value).cast(gdb.lookup_type("long")))
        return info


def stack_register():
    return "sp" if "aarch64" in gdb.selected_inferior().architecture().name() else "rsp"


def saved_registers(g):
    sp = int(g["coro"]["sp"])
    words = lambda offset, n: struct.unpack(
        "=%dq" % n, gdb.selected_inferior().read_memory(sp + offset, 8 * n).tobytes())
    if stack_register() == "rsp":
        names = ("r15", "r14", "r13", "r12", "rbx", "rbp", "rip")
        saved = dict(zip(names, words(8, 7)))
        saved["rsp"] = sp + 64
        return saved
    x = words(0, 12)
    saved = {"x29": x[0], "x30": x[1], "pc": x[1], "sp": sp + 176}
    saved.update({"x%d" % (19 + i): x[2 + i] for i in range(10)})
    return saved


UNWINDER = GreenUnwinder()
gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)


def show(g):
    """Redirect the selected thread to g's stack, or back (None)."""
    UNWINDER.target = None
    gdb.invalidate_cached_frames()
    if g is not None:
        UNWINDER.at = int(gdb.newest_frame().read_register(stack_register()))
        UNWINDER.target = g
        gdb.invalidate_cached_frames()


def own_frames():
    """How many frames are the selected thread's own: one, and those of functions inlined into it."""
    count, frame = 1, gdb.newest_frame()
    while frame.type() == gdb.INLINE_FRAME:
        count, frame = count + 1, frame.older()
    return count


def os_thread(tid):
    for thread in gdb.selected_inferior().threads():
        if thread.ptid[1] == tid or thread.ptid[2] == tid:
            return thread
    return None


def backtrace(g):
    state, tid = state_of(g)
    before = gdb.selected_thread()
    try:
        if tid is not None and state != "parked":
            thread = os_thread(tid)
            if thread is None:
                print("  (OS thread %d is gone)" % tid)
                return
            thread.switch()
            show(None)
            print(gdb.execute("bt", to_string=True), end="")
            return
        show(g)
        for line in gdb.execute("bt", to_string=True).splitlines()[own_frames():]:
            print(line)
    finally:
        show(None)
        if before is not None and before.is_valid():
            before.switch()


# ---- Core files of live processes ------------------------------------------------------------------

PAGE = os.sysconf("SC_PAGE_SIZE")
IN_MEMORY = 3 << 62  # bits of an entry of /proc/PID/pagemap: present, swapped out


def load_segments(core):
    """The PT_LOAD segments of a core file: (address, size in the file, offset in the file)."""
    core.seek(0)
    header = struct.unpack("=16sHHIQQQIHHHHHH", core.read(64))
    core.seek(header[5])
    table = [struct.unpack("=IIQQQQQQ", core.read(56)) for _ in range(header[10])]
    return [(h[3], h[5], h[2]) for h in table if h[0] == 1]


def copy_pages(pid, core, address, size, offset):
    """Copy what the process has in memory of a segment; pages that cannot be read are guards."""
    with open("/proc/%d/pagemap" % pid, "rb") as pagemap, \
            open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
        pagemap.seek(address // PAGE * 8)
        entries = pagemap.read(size // PAGE * 8)
        for i, (entry,) in enumerate(struct.iter_unpack("=Q", entries)):
            if entry & IN_MEMORY:
                try:
                    page = os.pread(memory.fileno(), PAGE, address + i * PAGE)
                except OSError:
                    continue
                os.pwrite(core.fileno(), page, offset + i * PAGE)


def write_core(path):
    """gdb gives a mapping up at the first page that it cannot read, and the guard below a stack is
    such a page: what it left out is copied afterwards."""
    said = gdb.execute("generate-core-file " + path, to_string=True)
    failed = {int(at, 16) for at in re.findall(r"read failed .* at (0x[0-9a-f]+)", said)}
    with open(path, "r+b") as core:
        for address, size, offset in load_segments(core):
            if address in failed and address < 1 << 63:
                copy_pages(gdb.selected_inferior().pid, core, address, size, offset)


# ---- Commands ------------------------------------------------------------------------------------

class Green(gdb.Command):
    """Green threads of a program that runs under libgreen."""

    def __init__(self):
        super().__init__("green", gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)


def chosen(argument):
    try:
        wanted = int(argument)
    except ValueError:
        raise gdb.GdbError("green: the id of a green thread is wanted; see `green threads`.")
    for g in green_threads():
        if int(g["id"]) == wanted:
            return g
    raise gdb.GdbError("green: there is no green thread %d." % wanted)


class GreenThreads(gdb.Command):
    """List green threads: id, name, state, what each waits for and since when."""

    def __init__(self):
        super().__init__("green threads", gdb.COMMAND_STATUS, gdb.COMPLETE_NONE)

    def invoke(self, argument, from_tty):
        threads = green_threads()
        print("%6s  %-15s  %-18s  %s" % ("id", "name", "state", "waits for"))
        for g in threads:
            state, tid = state_of(g)
            if tid is not None:
                state += " on %d" % tid
            name = g["name"].string(errors="replace")
            print("%6d  %-15s  %-18s  %s" % (
                int(g["id"]), name, state, wait_of(g, threads) if "parked" in state else ""))


class GreenBacktrace(gdb.Command):
    """Print the stack of a green thread, or of all: green bt ID|all"""

    def __init__(self):
        super().__init__("green bt", gdb.COMMAND_STACK, gdb.COMPLETE_NONE)

    def invoke(self, argument, from_tty):
        for g in green_threads() if argument == "all" else [chosen(argument)]:
            print("\nGreen thread %d (%s), %s:" % (
                int(g["id"]), g["name"].string(errors="replace"), state_of(g)[0]))
            backtrace(g)


class GreenFrame(gdb.Command):
    """Make a green thread's stack the current one: green frame ID; back with green frame off"""

    def __init__(self):
        super().__init__("green frame", gdb.COMMAND_STACK, gdb.COMPLETE_NONE)

    def invoke(self, argument, from_tty):
        if argument == "off":
            show(None)
            return
        g = chosen(argument)
        state, tid = state_of(g)
        show(None)
        if tid is not None:
            thread = os_thread(tid)
            if thread is not None:
                thread.switch()
        else:
            show(g)
            gdb.execute("frame %d" % own_frames(), to_string=True)
        gdb.execute("frame")


class GreenCore(gdb.Command):
    """Write a core file of the live process that has the stacks of green threads: green gcore [FILE]"""

    def __init__(self):
        super().__init__("green gcore", gdb.COMMAND_DATA, gdb.COMPLETE_FILENAME)

    def invoke(self, argument, from_tty):
        if not live() or gdb.selected_inferior().connection.type != "native":
            raise gdb.GdbError("green gcore: a live process on this machine is wanted.")
        path = argument or "core.%d" % gdb.selected_inferior().pid
        write_core(path)
        print("Saved corefile %s" % path)


Green()
GreenThreads()
GreenBacktrace()
GreenFrame()
GreenCore()
gdb.events.cont.connect(lambda event: show(None) if UNWINDER.target is not None else None)

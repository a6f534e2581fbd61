"""Cost of the process door: many `/bin/sh -c true`, against a bare posix_spawn loop, in alternating rounds.

Run: python benchmarks/spawn.py [--tasks 1000] [--lanes 2] [--rounds 7]
The ratio is bare time over ours, from the medians; above 1 means faster than the bare loop.
"""

import argparse
import asyncio
import json
import os
import statistics
import time

from runwright.adapters.process import WardenProcesses
from runwright.ports.system import Command

ARGV = ("/bin/sh", "-c", "true")


def bare(tasks: int, lanes: int) -> float:
    start = time.perf_counter()
    left, live = tasks, 0
    while left or live:
        if left and live < lanes:
            os.posix_spawn(ARGV[0], ARGV, os.environ)
            left, live = left - 1, live + 1
        else:
            os.waitpid(-1, 0)
            live -= 1
    return time.perf_counter() - start


async def ours(processes: WardenProcesses, tasks: int, lanes: int) -> float:
    command = Command(argv=ARGV, cwd="/")

    async def lane(count: int) -> None:
        for _ in range(count):
            await processes.run(command, lambda _stream, _data: None)

    start = time.perf_counter()
    await asyncio.gather(*(lane(len(range(index, tasks, lanes))) for index in range(lanes)))
    return time.perf_counter() - start


async def alternate(tasks: int, lanes: int, rounds: int) -> tuple[list[float], list[float]]:
    processes = WardenProcesses()
    await ours(processes, lanes * 5, lanes)
    ours_times, bare_times = [], []
    for _ in range(rounds):
        ours_times.append(await ours(processes, tasks, lanes))
        await processes.close()  # the bare loop waits for any child, so it must be alone
        bare_times.append(bare(tasks, lanes))
        await ours(processes, lanes * 5, lanes)
    await processes.close()
    return ours_times, bare_times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    ours_times, bare_times = asyncio.run(alternate(options.tasks, options.lanes, options.rounds))
    ours_s, bare_s = statistics.median(ours_times), statistics.median(bare_times)
    print(
        json.dumps(
            {
                "tasks": options.tasks,
                "lanes": options.lanes,
                "ours_s": round(ours_s, 4),
                "bare_s": round(bare_s, 4),
                "ratio": round(bare_s / ours_s, 3),
                "ours_min_s": round(min(ours_times), 4),
                "bare_min_s": round(min(bare_times), 4),
            }
        )
    )


if __name__ == "__main__":
    main()

"""No-op async steps of one durable DBOS workflow on SQLite: ``noop_dbos.py COUNT``."""

import asyncio
import json
import sys
import time
from pathlib import Path

from dbos import DBOS, DBOSConfig


@DBOS.step()
async def nothing():
    return None


@DBOS.workflow()
async def many(count):
    for _ in range(count):
        await nothing()


async def main(count):
    started = time.perf_counter()
    await many(count)
    return time.perf_counter() - started


if __name__ == "__main__":
    count = int(sys.argv[1])
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": f"sqlite:///{Path('dbos.sqlite').resolve()}",
        "run_admin_server": False,
        "log_level": "CRITICAL",
    }
    DBOS(config=config)
    DBOS.launch()
    seconds = asyncio.run(main(count))
    DBOS.destroy()
    print(json.dumps({"seconds": seconds, "tasks": count}))

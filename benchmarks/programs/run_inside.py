"""A workflow file through the library, durable: ``run_inside.py FILE STRATEGY WORKERS``."""

import asyncio
import json
import sys
import time
from pathlib import Path

from runwright import Engine, load_workflow, open_store


async def main(path, url, strategy, workers):
    workflow = load_workflow(path)
    async with Engine(open_store(url), strategy=strategy, workers=workers) as engine:
        started = time.perf_counter()
        run = await engine.execute(workflow)
        seconds = time.perf_counter() - started
    assert str(run.state) == "succeeded", run
    return seconds


if __name__ == "__main__":
    url = f"sqlite:///{Path('store.db').resolve()}"
    seconds = asyncio.run(main(Path(sys.argv[1]), url, sys.argv[2], int(sys.argv[3])))
    print(json.dumps({"seconds": seconds}))

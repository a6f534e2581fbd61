"""Run compress.toml from Python, show its progress, and print what came out: python3 run.py [PACKAGE]."""

import asyncio
import sys
from pathlib import Path

from runwright import DefinitionError, Engine, ProgressEvent, RunOptions, load_workflow

HERE = Path(__file__).parent
METHODS = ("bz2", "gzip", "lzma", "zlib")


def show(event: ProgressEvent) -> None:
    """Print one line for each task that ends; called from the event loop, in order."""
    if event.kind in {"task_done", "task_failed"}:
        print(f"  {event.at:%H:%M:%S}  {event.state:<10} {event.task_id}  {event.error}".rstrip())


def print_table(values: dict[str, str]) -> None:
    whole = int(values["collect.value"])
    print(f"\n{'method':<8} {'bytes':>10} {'share':>7}")
    for method in sorted(METHODS, key=lambda method: int(values[f"squeeze[method={method}].value"])):
        size = int(values[f"squeeze[method={method}].value"])
        print(f"{method:<8} {size:>10,} {size / whole:>7.1%}")
    print(f"\nsmallest: {values['smallest']}")


async def main(package: str) -> int:
    workflow = load_workflow(HERE / "compress.toml")
    options = RunOptions(variables={"package": package}, directory=str(HERE), timeout=120.0, progress=show)
    async with Engine(HERE / "out" / "runs.db", workers=4) as engine:
        run = await engine.execute(workflow, options)
        if run.state != "succeeded":
            print(f"{run.name} {run.state}: {run.reason}", file=sys.stderr)
            return 1
        values = {each.name: each.value for each in await engine.store.variables(run.id)}
    print_table(values)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(*sys.argv[1:2] or ["asyncio"])))
    except DefinitionError as error:
        sys.exit(str(error))

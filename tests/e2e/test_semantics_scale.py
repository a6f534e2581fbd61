"""A chain and a fan of no-op Python tasks from a file to the end, on the store on disk.

``RUNWRIGHT_SCALE_TASKS_DURABLE`` sets the number of tasks; the form with 100,000 is run in memory by the unit tests.
"""

import asyncio
import os
import time
from pathlib import Path

import pytest

from runwright import Engine, RunOptions, load_workflow
from runwright.core.options import Strategy
from runwright.core.states import RunState

TASKS = int(os.environ.get("RUNWRIGHT_SCALE_TASKS_DURABLE", "10000"))
MOST_SECONDS_A_TASK = 0.01
"""Ten times what it takes: a bound that only a quadratic loop or a commit a task exceeds."""


def text(shape: str) -> str:
    lines = [f'name = "{shape}"']
    for number in range(TASKS):
        lines += [f"[tasks.t{number}]", 'executor = "python"']
        if shape == "chain" and number:
            lines.append(f'depends_on = ["t{number - 1}"]')
        lines.append(f'args = {{ function = "noop_{shape}:noop" }}')
    return "\n".join(lines)


@pytest.mark.parametrize("shape", ["chain", "fan"])
def test_very_many_durable_tasks_run_to_the_end(shape: str, tmp_path: Path) -> None:
    (tmp_path / f"noop_{shape}.py").write_text("async def noop():\n    pass\n")
    path = tmp_path / f"{shape}.toml"
    path.write_text(text(shape))

    async def scenario() -> float:
        async with Engine(tmp_path / ".runwright", strategy=Strategy.WORK_STEALING, workers=8) as engine:
            loaded = load_workflow(path)
            begun = time.perf_counter()
            run = await engine.execute(loaded, RunOptions(directory=str(tmp_path)))
            spent = time.perf_counter() - begun
            assert run.state is RunState.SUCCEEDED
            assert run.counts.succeeded == TASKS
            integrity = await engine.store.verify(run.id)
            assert integrity.ok, integrity.problem
            return spent

    spent = asyncio.run(scenario())
    print(f"{shape} of {TASKS} durable tasks: {spent:.1f} s")
    assert spent < TASKS * MOST_SECONDS_A_TASK

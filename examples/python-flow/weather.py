"""A year of weather for a few towns, made up, cleaned and summed up: a workflow of functions.

Run it with `runwright run weather:flow --var year=2024`, or from a script of your own with `Engine.execute(flow)`.
"""

import json
import random
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TypedDict

from runwright import Workflow

TOWNS = ["bergen", "cairo", "quito"]
MEAN = {"bergen": 8.0, "cairo": 22.0, "quito": 14.0}

flow = Workflow("weather", description="A year of weather, from readings to a table")


class Reading(TypedDict):
    """One hour of one town; `celsius` is missing where the instrument failed."""

    town: str
    day: str
    hour: int
    celsius: float | None


@dataclass(frozen=True)
class Summary:
    """A year of one town. It is no plain data, so what returns it is a task with `pickle=True`."""

    town: str
    hours: int
    coldest: float
    warmest: float
    mean: float


@flow.task(retries=2, retry_delay="200ms")
def read(town: str, year: str) -> list[Reading]:
    """Make up the readings: some 9,000, far too many to be recorded with the run, so they are stored by digest."""
    chance = random.Random(f"{town} {year}")
    first = date(int(year), 1, 1)
    days = (date(int(year) + 1, 1, 1) - first).days
    return [
        {
            "town": town,
            "day": str(first + timedelta(days=day)),
            "hour": hour,
            "celsius": None if chance.random() < 0.01 else round(MEAN[town] + chance.gauss(0, 4), 1),
        }
        for day in range(days)
        for hour in range(24)
    ]


@flow.task
def without_gaps(readings: list[Reading]) -> list[Reading]:
    """Leave out the hours in which the instrument failed."""
    return [reading for reading in readings if reading["celsius"] is not None]


@flow.task(pickle=True)
def sum_up(readings: list[Reading]) -> Summary:
    """Sum up the year of one town."""
    degrees = [reading["celsius"] for reading in readings if reading["celsius"] is not None]
    mean = sum(degrees) / len(degrees)
    return Summary(readings[0]["town"], len(degrees), min(degrees), max(degrees), round(mean, 2))


@flow.task
async def write_table(summaries: list[Summary], path: str) -> str:
    """Write the table; an async function runs in the engine itself, so it starts at once."""
    rows = [vars(summary) for summary in sorted(summaries, key=lambda summary: summary.mean)]
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rows, indent=1) + "\n")  # noqa: ASYNC240 - three lines
    return path


@flow.task(mode="thread")
def announce(year: str, coldest: Summary) -> str:
    """Say which town was the coldest of the first ones."""
    return f"{coldest.town} had {coldest.mean} degrees in {year}"


@flow.subflow
def of_town(town: str, year: str) -> Summary:
    """From readings to the summary of one town; its tasks are `of_town-read`, `of_town-without_gaps`, ..."""
    return sum_up(without_gaps(read(town, year)))


year = flow.param("year", default="2024")
summaries = [of_town(town, year) for town in TOWNS]
table = write_table(summaries, flow.text("out/{{.year}}.json"))
announce.after(table)(year, summaries[0])

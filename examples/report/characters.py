"""The data of report.toml: what Python's unicodedata knows of every character."""

import asyncio
import csv
import sys
import unicodedata
from collections import Counter
from pathlib import Path

FIELDS = ("code", "name", "category", "width")
CATEGORIES = set("LMNPSZC")
WIDTHS = {"A", "F", "H", "N", "Na", "W"}


def extract(target: str) -> int:
    """Write a row for every character that has a category; returns the number of rows. One CPU, about a second."""
    Path(target).parent.mkdir(exist_ok=True)
    count = 0
    with Path(target).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(FIELDS)
        for code in range(sys.maxunicode + 1):
            char = chr(code)
            category = unicodedata.category(char)
            if category not in {"Cn", "Co", "Cs"}:  # unassigned, private, half of a pair
                width = unicodedata.east_asian_width(char)
                table.writerow((f"U+{code:04X}", unicodedata.name(char, ""), category, width))
                count += 1
    return count


def validate(source: str, good: str, bad: str) -> int:
    """Divide the rows into sound ones and others; returns the number of sound ones."""
    sound = 0
    with (
        Path(source).open(newline="", encoding="utf-8") as rows,
        Path(good).open("w", newline="", encoding="utf-8") as kept,
        Path(bad).open("w", newline="", encoding="utf-8") as rejected,
    ):
        into_good, into_bad = csv.DictWriter(kept, FIELDS), csv.DictWriter(rejected, (*FIELDS, "why"))
        into_good.writeheader()
        into_bad.writeheader()
        for row in csv.DictReader(rows):
            why = fault(row)
            if why:
                into_bad.writerow({**row, "why": why})
            else:
                into_good.writerow(row)
                sound += 1
    return sound


def fault(row: dict[str, str]) -> str:
    """Return what is wrong with a row, or nothing."""
    if not row["name"]:
        return "no name"
    if row["category"][:1] not in CATEGORIES:
        return f"unknown category {row['category']}"
    if row["width"] not in WIDTHS:
        return f"unknown width {row['width']}"
    return ""


def aggregate(source: str, by: str, target: str) -> int:
    """Count rows by category, width, or the first word of the name, most first; returns the number of groups."""
    with Path(source).open(newline="", encoding="utf-8") as file:
        counts = Counter(group(row, by) for row in csv.DictReader(file))
    with Path(target).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow((by, "characters"))
        table.writerows(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return len(counts)


def group(row: dict[str, str], by: str) -> str:
    return row["name"].split()[0].partition("-")[0].title() if by == "script" else row[by]


async def facts() -> list[str]:
    """Ask three programs at once where and when this is; returns a line of each."""
    return await asyncio.gather(
        ask("uname", "-sm"), ask("date", "-u", "+%F"), ask(sys.executable, "--version")
    )


async def ask(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    answer, _ = await process.communicate()
    return answer.decode().strip()

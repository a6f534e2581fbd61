"""Check what the run of report.toml left: python3 check.py, in this folder, after the run."""

import csv
import unicodedata
from html.parser import HTMLParser
from pathlib import Path


def rows(name: str) -> list[dict[str, str]]:
    with Path("out", name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "meta" and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


everything, valid, rejected = rows("characters.csv"), rows("valid.csv"), rows("rejected.csv")
assert len(everything) == len(valid) + len(rejected) > 100_000
assert {row["why"] for row in rejected} == {"no name"}
assert all(unicodedata.name(chr(int(row["code"][2:], 16)), None) is None for row in rejected)
assert sum(row["category"] == "Cc" for row in rejected) == 65, "no control character has a name"

for by in ("category", "script", "width"):
    counts = [int(row["characters"]) for row in rows(f"by-{by}.csv")]
    assert sum(counts) == len(valid), f"no row is lost by {by}"
    assert counts == sorted(counts, reverse=True)
digits = sum(unicodedata.category(chr(int(row["code"][2:], 16))) == "Nd" for row in valid)
assert {"category": "Nd", "characters": str(digits)} in rows("by-category.csv")

page = Page()
page.feed(Path("out/report.html").read_text("utf-8"))
assert page.tags.count("svg") == 3
assert not page.open, f"{page.open} left open"
assert f"{len(valid):,} characters" in page.texts
assert "Cjk" in page.texts
print(f"{len(valid):,} characters, {len(rejected)} rejected, {len(page.tags)} elements on the page")

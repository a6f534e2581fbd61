"""Check what the run of stdlib.toml left: python3 check.py, in this folder, after the run."""

import csv
import sysconfig
from pathlib import Path
from xml.etree import ElementTree

with Path("out/stdlib.csv").open(encoding="utf-8") as file:
    rows = {
        row["package"]: {key: int(row[key]) for key in row if key != "package"}
        for row in csv.DictReader(file)
    }

assert len(rows) == 18, sorted(rows)
lengths = [row["lines"] for row in rows.values()]
assert lengths == sorted(lengths, reverse=True), "longest first"
assert all(row["functions"] + row["classes"] > 0 for row in rows.values() if row["modules"] > 1), rows

# One package counted again, in another way.
package = Path(sysconfig.get_path("stdlib"), "json")
sources = [path.read_text("utf-8") for path in package.rglob("*.py") if "test" not in path.parts]
assert rows["json"]["modules"] == len(sources)
assert rows["json"]["lines"] == sum(len(text.splitlines()) for text in sources)

texts = [element.text or "" for element in ElementTree.parse("out/stdlib.svg").iter() if element.text]
assert set(rows) <= set(texts), "every package has its bar"
print(f"{len(rows)} packages, {sum(lengths):,} lines")

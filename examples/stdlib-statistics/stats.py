"""The functions of the workflow beside this file; they use the standard library alone."""

import ast
import csv
import sysconfig
import tokenize
from html import escape
from pathlib import Path

BAR, GAP, LEFT, WIDTH = 22, 8, 150, 860


def locate() -> str:
    """Return the directory of the standard library."""
    return sysconfig.get_path("stdlib")


def measure(root: str, package: str, out: str) -> dict[str, int]:
    """Count modules, lines, functions, classes and comments of a package into a CSV line."""
    sources = [p for p in sorted(Path(root, package).rglob("*.py")) if "test" not in p.parts]
    counts = {"modules": len(sources), "lines": 0, "functions": 0, "classes": 0, "comments": 0}
    for path in sources:
        _count(path, counts)
    line = ",".join([package, *(str(number) for number in counts.values())])
    Path(out, f"{package}.csv").write_text(f"{line}\n", "utf-8")
    print(f"{package}: {counts['lines']} lines in {counts['modules']} modules")
    return counts


def _count(path: Path, counts: dict[str, int]) -> None:
    text = path.read_bytes()
    counts["lines"] += text.count(b"\n")
    for node in ast.walk(ast.parse(text)):
        counts["functions"] += isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        counts["classes"] += isinstance(node, ast.ClassDef)
    with path.open("rb") as file:
        counts["comments"] += sum(
            token.type == tokenize.COMMENT for token in tokenize.tokenize(file.readline)
        )


def chart(table: str, target: str) -> str:
    """Draw lines a package as an SVG bar chart; returns its absolute path."""
    with Path(table).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    most = max(int(row["lines"]) for row in rows)
    height = 96 + len(rows) * (BAR + GAP)
    bars = "".join(_bar(place, row, most) for place, row in enumerate(rows))
    Path(target).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13">'
        "<style>.page{fill:#fff}.text{fill:#1f2933}.faint{fill:#7b8794}.bar{fill:#2f7d6b}.share{fill:#9ad0c2}"
        "@media(prefers-color-scheme:dark){.page{fill:#14181d}.text{fill:#e4e7eb}.faint{fill:#9aa5b1}"
        ".bar{fill:#4fb39b}.share{fill:#275e52}}</style>"
        f'<rect class="page" width="{WIDTH}" height="{height}"/>'
        '<text class="text" x="24" y="36" font-size="20" font-weight="600">'
        "Python's standard library, lines a package</text>"
        '<text class="faint" x="24" y="58">the light part of a bar: the share of lines that hold a comment</text>'
        f"{bars}</svg>\n",
        "utf-8",
    )
    return str(Path(target).absolute())


def _bar(place: int, row: dict[str, str], most: int) -> str:
    lines, comments = int(row["lines"]), int(row["comments"])
    length = (WIDTH - LEFT - 90) * lines / most
    share = length * min(1.0, comments / lines) if lines else 0.0
    y = 78 + place * (BAR + GAP)
    middle = y + BAR / 2 + 4.5
    return (
        f'<text class="text" x="{LEFT - 12}" y="{middle}" text-anchor="end">{escape(row["package"])}</text>'
        f'<rect class="bar" x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3"/>'
        f'<rect class="share" x="{LEFT}" y="{y}" width="{share:.1f}" height="{BAR}" rx="3"/>'
        f'<text class="faint" x="{LEFT + length + 8:.1f}" y="{middle}">{lines:,}</text>'
    )

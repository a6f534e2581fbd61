"""The documentation is true: its links lead somewhere, its code runs, its workflow files are valid.

A fenced block is executed by its language, all blocks of a page in one empty directory, from top to bottom:

* ``toml`` or ``python`` whose first line is ``# NAME.toml`` or ``# NAME.py`` becomes that file;
* ``toml`` that holds ``[tasks.``, ``[[steps]]`` or a ``plan`` must be a valid workflow, plan or goal, other ``toml``
  must parse;
* ``python`` without a name is run;
* ``console``: each line that starts with ``$`` is run by the shell and must end with status 0, or with the status that
  a comment at its end gives (``# exit 1``). Lines below it are its output, where ``...`` stands for anything. The port
  8700 is another one here, which is free. What a command leaves running in the background is ended after the page.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("examples/*/*.md")),
]
PORT = "8700"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
DEFINITION = re.compile(r"\[tasks\.|^\[\[steps\]\]|^plan = ", re.MULTILINE)
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line where it starts."""

    language: str
    text: str
    line: int


def label(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str) -> list[Block]:
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 1) for found in FENCE.finditer(text)
    ]


def shell(command: str, folder: Path) -> tuple[int, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RUNWRIGHT")}
    with TemporaryFile() as out:  # a pipe would have to be read until the last background process ends
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=folder,
            env=env
            | {
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(folder),
                "PYTHONPATH": str(folder),
            },
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
        out.seek(0)
        return done.returncode, out.read().decode()


def port_of(folder: Path) -> str:
    """Return the port that stands for 8700 on the page whose code runs in a directory."""
    kept = folder.with_name(f"{folder.name}.port")
    if not kept.exists():
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            kept.write_text(str(one.getsockname()[1]))
    return kept.read_text()


def end_of_background(folder: Path) -> None:
    """End what runs in a directory."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink().is_relative_to(folder):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue


def commands(text: str) -> Iterator[tuple[str, int, str]]:
    """Yield each command of a console block with the status and the output it promises."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = re.sub(r"\\\n> ?", "", part).partition("\n")
        while output.startswith("> "):  # what a command reads from the lines below it
            more, _, output = output.removeprefix("> ").partition("\n")
            command += f"\n{more}"
        status = re.search(r"  # exit (\d+)$", command)
        yield command, int(status[1]) if status else 0, output.strip()


def as_promised(promised: str, actual: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in promised.split("..."))
    return re.fullmatch(pattern, actual.strip(), re.DOTALL) is not None


def run_console(block: Block, folder: Path) -> None:
    for command, status, promised in commands(block.text):
        got, output = shell(command.replace(PORT, port_of(folder)), folder)
        output = output.replace(port_of(folder), PORT)
        assert got == status, f"line {block.line}: {command}: exit {got}\n{output}"
        assert not promised or as_promised(promised, output), (
            f"line {block.line}: {command} printed\n{output}"
        )


def run_block(block: Block, folder: Path) -> None:
    named = re.match(r"# ([\w./-]+\.(?:toml|py))$", block.text.partition("\n")[0])
    file = folder / (named[1] if named else f"block-{block.line}.{block.language}")
    if block.language in ("toml", "python"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)
    if block.language == "toml":
        tomllib.loads(block.text)
    if block.language == "toml" and DEFINITION.search(block.text):
        got, output = shell(f"runwright validate {file.relative_to(folder)}", folder)
        assert got == 0, f"line {block.line}: not valid\n{output}"
    if block.language == "python" and not named:
        got, output = shell(f"python {file.name}", folder)
        assert got == 0, f"line {block.line}: exit {got}\n{output}"
    if block.language == "console":
        run_console(block, folder)


def slug(heading: str) -> str:
    """Return the anchor that forges give a heading."""
    return re.sub(r"[^\w -]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")


def dead_links(page: Path) -> list[str]:
    return [target for target in LINK.findall(page.read_text()) if is_dead(page, target)]


def is_dead(page: Path, target: str) -> bool:
    if re.match(r"(https?|mailto):", target):
        return False
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    if not file.exists():
        return True
    return bool(anchor) and anchor not in map(slug, HEADING.findall(file.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_links_lead_somewhere(page: Path) -> None:
    assert not dead_links(page)


def test_the_map_names_every_page() -> None:
    index = ROOT / "docs/README.md"
    named = {
        (index.parent / target.partition("#")[0]).resolve() for target in LINK.findall(index.read_text())
    }
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - {index} <= named


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page.read_text())], ids=label)
def test_code_runs(page: Path, tmp_path: Path) -> None:
    try:
        for block in blocks(page.read_text()):
            run_block(block, tmp_path)
    finally:
        end_of_background(tmp_path)


def test_what_a_page_leaves_running_is_ended(tmp_path: Path) -> None:
    run_console(Block("console", "$ sleep 600 & echo $! > pid; echo 8700 > port\n", 1), tmp_path)
    process = Path("/proc", (tmp_path / "pid").read_text().strip(), "cwd")
    assert process.readlink() == tmp_path
    assert (tmp_path / "port").read_text().strip() == port_of(tmp_path) != PORT
    end_of_background(tmp_path)
    deadline = time.monotonic() + 30
    while process.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("toml", "a = \n"),
        ("toml", '[tasks.a]\ncmd = "true"\ndepends = ["b"]\n'),
        ("python", "raise SystemExit(3)\n"),
        ("console", "$ false\n"),
        ("console", "$ true  # exit 1\n"),
        ("console", "$ echo one\ntwo\n"),
        ("console", "$ cat <<END\n> one\n> END\ntwo\n"),
        ("console", "$ echo one two three\none ... four\n"),
    ],
)
def test_an_untrue_block_is_caught(language: str, text: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, tomllib.TOMLDecodeError)):
        run_block(Block(language, text, 1), tmp_path)


def test_a_dead_link_is_caught(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`\n[a](page.md#one-two) [b](#three) [c](nowhere.md) [d](https://example.org)\n"
    )
    assert dead_links(page) == ["#three", "nowhere.md"]

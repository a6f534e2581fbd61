"""Edit and rebuild, and check what ran and why: python3 check.py, in this folder, after a first run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from generate import EACH, FAMILIES, mixed

if shutil.which("gcc") is None:
    print("skipped: there is no gcc on this machine")
    sys.exit(0)


def runwright(*words: str) -> str:
    return subprocess.run(("runwright", *words), check=True, capture_output=True, text=True).stdout


def build(*options: str) -> dict[str, str]:
    """Build, and return the reason of each cached task."""
    runwright("run", "build.toml", "--quiet", "--workers", "2", *options)
    tasks = json.loads(runwright("status", "latest", "--json"))["tasks"]
    return {task["id"]: task["reason"] for task in tasks if task["key"] not in ("sources", "compiler")}


def ran(reasons: dict[str, str]) -> set[str]:
    return {name for name, why in reasons.items() if why not in ("up to date", "restored from the cache")}


def explain(task: str) -> str:
    text = runwright("explain", "latest", task)
    assert len(text.splitlines()) <= 10, text
    return text


def objects(family: str) -> set[str]:
    return {f"compile[family={family},n={number}]" for number in range(EACH)}


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


assert len(list(Path("out/src").glob("*.c"))) == EACH * len(FAMILIES) + 1
assert subprocess.check_output(["out/mix", "42"], text=True).strip() == mixed(42)
program = Path("out/mix").read_bytes()

reasons = build()
assert set(reasons.values()) == {"up to date"}, reasons

edit("out/include/rotate.h", "share. */", "have in common. */")
reasons = build()
assert ran(reasons) == objects("rotate"), reasons
assert reasons["link"] == "up to date"
assert "input out/include/rotate.h changed" in explain("compile[family=rotate,n=3]")
assert "did not have to run: up to date" in explain("link")
assert Path("out/mix").read_bytes() == program

Path("out/mix").unlink()
Path("out/obj/add_0.o").unlink()
Path("out/obj/main.o").write_bytes(b"not an object")
reasons = build()
assert ran(reasons) == set(), reasons
assert "output out/obj/add_0.o is missing" in explain("compile[family=add,n=0]")
assert "output out/obj/main.o was altered" in explain("main")
assert "output out/mix is missing" in explain("link")
assert Path("out/mix").read_bytes() == program

edit("out/include/xorshift.h", "32", "33")
reasons = build()
assert ran(reasons) == {*objects("xorshift"), "link", "try"}, reasons
assert "input out/obj/xorshift_0.o changed" in explain("link")
assert Path("out/mix").read_bytes() != program

reasons = build("--var", "level=2")
assert ran(reasons) >= {*objects("add"), "link"}, reasons
assert '''from "-O'1'" to "-O'2'"''' in explain("compile[family=add,n=0]")

edit("out/include/xorshift.h", "33", "32")
edit("out/include/rotate.h", "have in common. */", "share. */")
reasons = build()
assert ran(reasons) == set(), reasons
assert Path("out/mix").read_bytes() == program

shutil.rmtree("out/obj")
Path("out/mix").unlink()
reasons = build()
assert ran(reasons) == set(), reasons
assert Path("out/mix").read_bytes() == program
print(f"{len(reasons)} tasks: rebuilt what changed, restored what was gone, and nothing else")

"""Whatever is edited, by whom, and wherever a process dies: the result is that of a build from nothing.

Random graphs of real file tasks are built through the cache, edited and built again: alone, by two runs at once in one
tree, in two trees that share a cache, and after a crash at a random file operation of a process that is really gone.
Every test that holds the cache to this has a control in which one thing is left out of it, and which must be caught.
"""

import asyncio
import os
import random
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from msgspec import Struct, field
from msgspec.structs import replace

from runwright.adapters.cachestore import DirectoryCache
from runwright.core import cachekey
from runwright.core.cachekey import PARTS, Material
from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import Result, Task, TaskId
from runwright.executors import cache as cache_module
from runwright.executors import cache_files
from runwright.executors.cache import Cache
from runwright.executors.cache_files import Budget, Files
from runwright.executors.cache_tree import Tree
from runwright.ports.executor import NoSessions, Session
from runwright.testing import LocalSession

SEED = int(os.environ.get("RUNWRIGHT_SEED", "20260401"))
ROUNDS = 12
CRASHED = 77

File = tuple[bytes, bool]
"""Content, and whether it can be executed."""


class Node(Struct):
    """A task of the model; `shape` says what its outputs are like."""

    number: int
    shape: str
    groups: str
    needs: list[int]
    executor: str = "x"
    args: dict[str, Any] = field(default_factory=dict)
    env: tuple[str, ...] = ()
    more: bool = False
    fails: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        path = {"file": f"o{self.number}", "dir": f"d{self.number}", "glob": f"g{self.number}_*"}[self.shape]
        return (path, f"more{self.number}") if self.more else (path,)

    def task(self, nodes: "list[Node]") -> Task:
        inputs = [f"src/{group}*.txt" for group in self.groups]
        inputs += [path for need in self.needs for path in nodes[need].outputs]
        return Task(
            id=TaskId(f"t{self.number}"),
            executor=self.executor,
            args={**self.args, "n": self.number, "fails": self.fails},
            inputs=tuple(inputs),
            outputs=self.outputs,
            env=self.env,
        )


def worked(task: Task, files: Mapping[str, File], env: Mapping[str, str]) -> dict[str, bytes]:
    """Return what a task makes of files, by path: it depends on everything that the key is made of."""
    seen = [task.executor, sorted(task.args.items()), sorted(files.items())]
    seen += [[(name, env.get(name)) for name in task.env], task.outputs]
    text = blake3(repr(seen).encode()).hexdigest().encode()
    made: dict[str, bytes] = {}
    size = int(task.args.get("size", 1))
    for output in task.outputs:
        if output.startswith("d"):
            made |= {f"{output}/{n % 2}/f{n}": text + bytes([n]) for n in range(size)}
        elif output.startswith("g"):
            made |= {output.replace("*", str(n)): text + bytes([n]) for n in range(size)}
        else:
            made[output] = text
    return made


class Model:
    """What there is: sources, tasks and environment; knows what a clean build would make."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.env = {"E0": "0", "E1": "1"}
        self.sources: dict[str, File] = {
            f"src/{group}{n}.txt": (b"0000", False) for group in "abc" for n in range(2)
        }
        self.nodes: list[Node] = []
        for number in range(dice.randint(3, 7)):
            needs = sorted(dice.sample(range(number), min(number, dice.randint(0, 2))))
            node = Node(
                number,
                dice.choice(["file", "dir", "glob"]),
                "".join(dice.sample("abc", dice.randint(0 if needs else 1, 2))),
                needs,
                args={"size": dice.randint(1, 4), "v": 0},
                env=tuple(dice.sample(["E0", "E1"], dice.randint(0, 2))),
            )
            self.nodes.append(node)

    def expected(self) -> tuple[dict[str, bytes], set[int]]:
        """Return the outputs of a clean build by path, and the tasks that do not succeed in it."""
        made: dict[str, bytes] = {}
        bad: set[int] = set()
        for node in self.nodes:
            if node.fails or bad & set(node.needs):
                bad.add(node.number)
                continue
            made |= worked(node.task(self.nodes), self.inputs(node, made), self.env)
        return made, bad

    def inputs(self, node: Node, made: Mapping[str, bytes]) -> dict[str, File]:
        files = {path: file for path, file in self.sources.items() if path[4] in node.groups}
        for need in node.needs:
            for output in self.nodes[need].outputs:
                stem = output.rstrip("*") if output.endswith("*") else output
                files |= {
                    path: (made[path], False)
                    for path in made
                    if path == output or path.startswith(f"{stem}/" if stem == output else stem)
                }
        return files

    def edit(self, part: str) -> Callable[[Path], None]:
        """Change one thing; returns what to do in a tree for it, beside writing the sources."""
        dice = self.dice
        node = dice.choice(self.nodes)
        if part == "executor":
            node.executor = dice.choice(["x", "y", "z"])
        elif part == "args":
            node.args[dice.choice(["v", "size"])] = dice.randint(1, 4)
        elif part == "env":
            self.env[dice.choice(["E0", "E1"])] = str(dice.randint(0, 3))
        elif part == "inputs":
            self._move_source()
        elif part == "input content":
            path = dice.choice(sorted(self.sources))
            self.sources[path] = (b"%04d" % dice.randint(0, 3), dice.random() < 0.2)
        elif part == "outputs":
            if dice.random() < 0.2:
                node.more = not node.more
            return self._harm
        elif part == "fails":
            node.fails = not node.fails
        return lambda _: None

    def _move_source(self) -> None:
        path = self.dice.choice(sorted(self.sources))
        content = self.sources.pop(path)
        if self.dice.random() < 0.8:
            self.sources[f"src/{path[4]}{self.dice.randint(0, 5)}.txt"] = content
        if not self.sources:
            self.sources["src/a0.txt"] = content

    def _harm(self, tree: Path) -> None:
        """Alter, remove or add to what was built."""
        built = sorted(path for path in tree.rglob("*") if path.is_file() and not _is_source(tree, path))
        for path in self.dice.sample(built, min(len(built), 2)):
            how = self.dice.randint(0, 4)
            if how == 0:
                path.unlink()
            elif how == 1:
                path.write_bytes(b"?" * path.stat().st_size)
            elif how == 2:
                path.chmod(0o640)
            elif path.parent != tree:
                (path.parent / "extra").write_text("x")
            else:
                path.write_bytes(b"longer than before " * 5)

    def write(self, tree: Path) -> None:
        """Make the sources of a tree those of the model."""
        folder = tree / "src"
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if f"src/{path.name}" not in self.sources:
                path.unlink()
        for name, (content, executable) in self.sources.items():
            path = tree / name
            if (
                not path.exists()
                or path.read_bytes() != content
                or bool(path.stat().st_mode & 0o100) != executable
            ):
                path.write_bytes(content)
                path.chmod(0o755 if executable else 0o644)


def _is_source(tree: Path, path: Path) -> bool:
    return path.relative_to(tree).parts[0] in ("src", ".runwright")


class Worker(NoSessions):
    """Does the work of the model's tasks with real files, in steps between which others get a turn."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.ran: list[str] = []

    async def execute(self, session: Session, task: Task) -> Result:
        self.ran.append(task.id)
        await asyncio.sleep(0)
        files = {path: _read(session.source / path) for path in _matches(session.source, task.inputs)}
        for number, (path, content) in enumerate(worked(task, files, self.env).items()):
            if task.args["fails"] and number:
                break
            target = session.source / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content[:5])
            await asyncio.sleep(0)
            target.write_bytes(content)
        if task.args["fails"]:
            raise TaskFailed(Failure(code="E_X", message="it was to fail"))
        return Result(value=len(files))


def _read(path: Path) -> File:
    return path.read_bytes(), bool(path.stat().st_mode & 0o100)


def _matches(source: Path, patterns: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        if (source / pattern).is_dir():
            inside = (path for path in (source / pattern).rglob("*") if path.is_file())
            found += (str(path.relative_to(source)) for path in inside)
        else:
            found += (str(path.relative_to(source)) for path in source.glob(pattern))
    return found


async def build(model: Model, tree: Path, cache: Path, start: int = 0) -> list[str]:
    """Build a tree as a run would; returns the tasks that ran."""
    worker = Worker(model.env)
    store = DirectoryCache(cache)
    executor = Cache(worker, lambda _: store, environ=model.env)
    session = LocalSession(tree.parent, source=tree)
    await executor.open_session(session)
    bad: set[int] = set()
    for _ in range(start):
        await asyncio.sleep(0)
    for node in model.nodes:
        task = node.task(model.nodes)
        if bad & set(node.needs):
            bad.add(node.number)
        elif executor.at_once(session, task) is None:
            try:
                await executor.execute(session, task)
            except TaskFailed:
                bad.add(node.number)
    await executor.close_session(session.id)
    return worker.ran


def wrong(model: Model, tree: Path) -> list[str]:
    """Return the paths that are not as after a clean build."""
    expected, bad = model.expected()
    found: dict[str, bytes] = {}
    for path in tree.rglob("*"):
        if path.is_file() and not _is_source(tree, path):
            found[str(path.relative_to(tree))] = path.read_bytes()
    good = {
        path: content
        for node in model.nodes
        if node.number not in bad
        for output in node.outputs
        for path, content in found.items()
        if path == output
        or path.startswith(f"{output}/")
        or (output.endswith("*") and path.startswith(output[:-1]))
    }
    return sorted(p for p in expected.keys() | good.keys() if expected.get(p) != good.get(p))


def crash(model: Model, tree: Path, cache: Path, after: int) -> bool:
    """Build in a process that dies at one of its file operations; returns False if it came to its end before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if not child:
        left = after

        def die(event: str, _: Any) -> None:
            nonlocal left
            if event in OPERATIONS:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), 9)

        try:
            sys.addaudithook(die)
            asyncio.run(build(model, tree, cache))
        finally:
            os.kill(os.getpid(), 9 if sys.exc_info()[0] is None and left < 0 else 15)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) == 9


OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.utime", "os.truncate"}
EDITS = (*PARTS, "fails")


def play(seed: int, folder: Path, edits: tuple[str, ...], *, crashes: bool = True) -> list[str]:
    """Play one random history; returns what was wrong, empty if nothing was."""
    dice = random.Random(seed)
    model = Model(dice)
    cache = folder / "cache"
    trees = [folder / "one" / "source", folder / "two" / "source"]
    for number in range(ROUNDS):
        harm = [model.edit(dice.choice(edits)) for _ in range(dice.randint(0, 3) if number else 0)]
        for tree in trees:
            tree.parent.mkdir(parents=True, exist_ok=True)
            model.write(tree)
            for act in harm:
                act(tree)
        if dice.random() < 0.1:
            DirectoryCache(cache).collect(max_bytes=dice.randint(0, 300), max_age=None, now=2e10)
        if dice.random() < 0.1:
            _damage(dice, cache)
        if crashes and dice.random() < 0.3:
            crash(model, trees[0], cache, dice.randint(0, 120))
        asyncio.run(_built(model, trees, cache, dice))
        for tree in trees:
            if found := wrong(model, tree):
                return [f"round {number}, {tree.parent.name}: {path}" for path in found]
            expected_runs = {f"t{node.number}" for node in model.nodes if node.fails}
            again = asyncio.run(build(model, tree, cache))
            if set(again) - expected_runs:
                return [f"round {number}, {tree.parent.name}: {again} ran again"]
    return []


async def _built(model: Model, trees: list[Path], cache: Path, dice: random.Random) -> None:
    one, two = trees
    runs = dice.choice([(one, two), (one, one, two), (one, two, two)])
    async with asyncio.timeout(120):
        await asyncio.gather(*(build(model, tree, cache, dice.randint(0, 5)) for tree in runs))


def _damage(dice: random.Random, cache: Path) -> None:
    files = sorted(
        path for name in ("blobs", "entries") for path in (cache / name).rglob("*") if path.is_file()
    )
    for path in dice.sample(files, min(3, len(files))):
        data = path.read_bytes()
        path.write_bytes(dice.choice([b"", data[:-1], b"!" + data[1:]]))


@pytest.mark.parametrize("case", range(int(os.environ.get("RUNWRIGHT_CASES", "16"))))
def test_the_result_is_that_of_a_clean_build(case: int, tmp_path: Path) -> None:
    print(f"RUNWRIGHT_SEED={SEED}, case {case}")
    assert play(SEED + case, tmp_path, EDITS) == []


def without(part: str) -> Callable[[Material], str]:
    """Return a way to make keys that one part has no influence on."""

    def key_of(material: Material) -> str:
        blank: dict[str, Any] = {
            "executor": {"executor": ""},
            "args": {"args": {}},
            "env": {"env": {}},
            "outputs": {"outputs": ()},
            "input content": {"inputs": dict.fromkeys(material.inputs, "")},
            "inputs": {
                "inputs": {str(n): material.inputs[name] for n, name in enumerate(sorted(material.inputs))}
            },
        }[part]
        return cachekey.key_of(replace(material, **blank))

    return key_of


def is_caught(folder: Path, part: str) -> bool:
    for case in range(20):
        if play(SEED + case, folder / str(case), (part,), crashes=False):
            return True
        shutil.rmtree(folder / str(case))
    return False


@pytest.mark.parametrize("part", PARTS)
def test_a_key_without_one_of_its_parts_is_caught(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"RUNWRIGHT_SEED={SEED}")
    monkeypatch.setattr(cache_module, "key_of", without(part))
    assert is_caught(tmp_path, part)


def test_outputs_that_are_not_looked_at_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"RUNWRIGHT_SEED={SEED}")
    monkeypatch.setattr(Tree, "is_as_recorded", lambda *_: True)
    monkeypatch.setattr(Tree, "output_differences", lambda *_: [])
    assert is_caught(tmp_path, "outputs")


def test_outputs_that_are_not_removed_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"RUNWRIGHT_SEED={SEED}")
    monkeypatch.setattr(Tree, "clear", lambda *_: None)
    assert is_caught(tmp_path, "args")


def test_contents_that_are_not_checked_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged blob that is handed out as it is."""
    print(f"RUNWRIGHT_SEED={SEED}")
    model = Model(random.Random(SEED))
    tree, cache = tmp_path / "one" / "source", tmp_path / "cache"
    tree.mkdir(parents=True)
    model.write(tree)
    asyncio.run(build(model, tree, cache))
    for path in (cache / "blobs").rglob("*"):
        if path.is_file():
            path.write_bytes(b"!" + path.read_bytes()[1:])
    for path in tree.rglob("*"):
        if path.is_file() and not _is_source(tree, path):
            path.unlink()
    monkeypatch.setattr("runwright.adapters.cachestore._copy", _unchecked)
    asyncio.run(build(model, tree, cache))
    assert wrong(model, tree)


def _unchecked(source: int, target: int) -> tuple[str, int]:
    data = os.read(source, 1 << 20)
    os.write(target, data)
    return _Anything(), len(data)


class _Anything(str):
    """Equal to every digest."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


def test_crashes_are_real_and_many(tmp_path: Path) -> None:
    """The instrument: a child that is told to die early has built little, and it was killed."""
    model = Model(random.Random(SEED))
    tree, cache = tmp_path / "one" / "source", tmp_path / "cache"
    tree.mkdir(parents=True)
    model.write(tree)
    died = [crash(model, tree, cache, after) for after in (0, 10, 40, 100_000)]
    assert died == [True, True, True, False]
    assert wrong(model, tree) == []


def missed_changes(folder: Path) -> int:
    """Change a file right after it was read, as often as it takes to do so within one tick of the clock."""
    path = folder / "a"
    missed = 0
    for number in range(2000):
        path.write_bytes(b"%05d" % number)
        files = Files(str(folder), {})
        first = files.mark("a", Budget(100))
        with path.open("r+b") as file:
            file.write(b"x%04d" % number)
        missed += files.mark("a", Budget(100)) == first
        if missed:
            break
    return missed


def test_a_change_within_one_tick_is_seen(tmp_path: Path) -> None:
    assert missed_changes(tmp_path) == 0


def test_without_the_slack_it_would_not_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_files, "_is_racy", lambda *_: False)
    if not missed_changes(tmp_path):
        pytest.skip("every change has a time of its own here")

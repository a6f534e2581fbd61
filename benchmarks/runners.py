"""How each contestant is given a graph: files written beforehand, then one process to time."""

import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from benchmarks.graphs import Graph, Node, noted
from benchmarks.harness import ROOT, Entry, Failed, child_env, run_once

PROGRAMS = Path(__file__).resolve().parent / "programs"
PEERS = ROOT / ".venv-bench" / "bin"
OWN = ROOT / ".venv-bench-own" / "bin"
PYTHON = str(OWN / "python") if (OWN / "runwright").exists() else sys.executable

OFFLINE = {
    "PREFECT_HOME": str(ROOT / "out" / "bench" / "prefect-home"),
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_CLI_COLORS": "false",
}


@dataclass(frozen=True)
class Runner:
    """A tool that runs graphs of commands.

    `write` puts its files into a directory and returns the argv to time, for a number of slots.
    """

    name: str
    kind: str
    write: Callable[[Graph, Path, int], list[str]]
    missing: Callable[[], str]
    slow: bool = False
    edges: bool = True


def shell_text(node: Node) -> str:
    """Return the node's command for tools that always use a shell."""
    return node.command if isinstance(node.command, str) else shlex.join(node.command)


def argv_of(node: Node) -> list[str]:
    """Return the node's command for tools that need no shell."""
    return ["/bin/sh", "-c", node.command] if isinstance(node.command, str) else list(node.command)


def write_spawn(graph: Graph, place: Path, slots: int, *flags: str) -> list[str]:
    """Write the line format of the floor's loop."""
    path = place / "graph.txt"
    with path.open("w") as file:
        for node in graph:
            file.write(",".join(map(str, node.needs)) + "\t" + "\x1f".join(argv_of(node)) + "\n")
    return [PYTHON, str(PROGRAMS / "spawn_loop.py"), str(path), str(slots), *flags]


def write_xargs(graph: Graph, place: Path, slots: int) -> list[str]:
    """Write one name a line; all commands must be the same."""
    (only,) = {tuple(argv_of(node)) for node in graph}
    path = place / "names"
    path.write_text("".join(f"{node.name}\n" for node in graph))
    return ["xargs", "-a", str(path), "-n", "1", "-P", str(slots), *only]


def write_make(graph: Graph, place: Path, slots: int) -> list[str]:
    """Write a Makefile of phony targets."""
    names = " ".join(node.name for node in graph)
    with (place / "Makefile").open("w") as file:
        file.write(f".PHONY: all {names}\nall: {names}\n")
        for node in graph:
            needs = " ".join(graph[need].name for need in node.needs)
            file.write(f"{node.name}: {needs}\n\t{shell_text(node).replace('$', '$$')}\n")
    return ["make", "-s", "-j", str(slots)]


def write_ninja(graph: Graph, place: Path, slots: int) -> list[str]:
    """Write a build.ninja whose outputs never exist, so that all of it runs."""
    with (place / "build.ninja").open("w") as file:
        file.write("rule r\n  command = $c\n")
        for node in graph:
            needs = " ".join(graph[need].name for need in node.needs)
            file.write(f"build {node.name}: r {needs}\n  c = {shell_text(node).replace('$', '$$')}\n")
    return ["ninja", "--quiet", "-j", str(slots)]


def write_json(graph: Graph, place: Path) -> None:
    """Write what the Python peers read."""
    rows = [(n.name, n.command, [graph[need].name for need in n.needs]) for n in graph]
    (place / "graph.json").write_text(json.dumps(rows))


def write_doit(graph: Graph, place: Path, slots: int) -> list[str]:
    """Write graph.json for doit; one slot needs no worker processes."""
    write_json(graph, place)
    parallel = ["-n", str(slots)] if slots > 1 else []
    return [str(PEERS / "doit"), "-f", str(PROGRAMS / "dodo.py"), "--dir", str(place), *parallel]


def write_luigi(graph: Graph, place: Path, slots: int) -> list[str]:
    """Write graph.json for luigi; its targets are touched files."""
    write_json(graph, place)
    return [str(PEERS / "python"), str(PROGRAMS / "luigi_run.py"), str(slots)]


SNAKEFILE = """\
import json
with open("graph.json") as file:
    GRAPH = {name: (command, needs) for name, command, needs in json.load(file)}
rule all:
    input: [f"o/{name}" for name in GRAPH]
rule node:
    output: touch("o/{name}")
    input: lambda wildcards: [f"o/{need}" for need in GRAPH[wildcards.name][1]]
    params: command=lambda wildcards: GRAPH[wildcards.name][0]
    shell: "{params.command}"
"""


def write_snakemake(graph: Graph, place: Path, slots: int) -> list[str]:
    """Write a Snakefile of one rule; its outputs are touched files."""
    write_json([Node(n.name, shell_text(n), n.needs) for n in graph], place)
    (place / "Snakefile").write_text(SNAKEFILE)
    return [str(PEERS / "snakemake"), "-j", str(slots), "--quiet", "all"]


def write_prefect(graph: Graph, place: Path, slots: int) -> list[str]:
    """Write graph.json for Prefect, which starts its own local server."""
    write_json(graph, place)
    return [str(PEERS / "python"), str(PROGRAMS / "prefect_run.py"), str(slots)]


def toml_text(node: Node, graph: Graph) -> str:
    """Return the node as a table of a workflow file."""
    key = "cmd" if isinstance(node.command, str) else "argv"
    value = node.command if isinstance(node.command, str) else list(node.command)
    needs = [graph[need].name for need in node.needs]
    tail = f"depends_on = {json.dumps(needs)}\n" if needs else ""
    return f"[tasks.{node.name}]\n{key} = {json.dumps(value)}\n{tail}"


def write_runwright(graph: Graph, place: Path, slots: int, *flags: str) -> list[str]:
    """Write a workflow file; the store is the default one, durable, in the same directory."""
    (place / "runwright.toml").touch()
    with (place / "bench.toml").open("w") as file:
        file.write('name = "bench"\n')
        file.writelines(toml_text(node, graph) for node in graph)
    return [
        *runwright_command(),
        "run",
        "bench.toml",
        *(flags or ("--work-stealing", "--workers", str(slots))),
    ]


def write_runwright_levels(graph: Graph, place: Path, slots: int) -> list[str]:
    """Write a workflow file, to be run level by level."""
    return write_runwright(graph, place, slots, "--parallel", "--workers", str(slots))


def write_runwright_sequential(graph: Graph, place: Path, slots: int) -> list[str]:
    """Write a workflow file, to be run one task at a time."""
    del slots
    return write_runwright(graph, place, 1, "--workers", "1")


def runwright_command() -> list[str]:
    """Return the console script beside this interpreter."""
    return [str(Path(PYTHON).with_name("runwright"))]


def write_inside(graph: Graph, place: Path, slots: int, strategy: str = "work-stealing") -> list[str]:
    """Write a workflow file for the library: the time is that of `Engine.execute` alone."""
    write_runwright(graph, place, slots)
    return [PYTHON, str(PROGRAMS / "run_inside.py"), "bench.toml", strategy, str(slots)]


def nothing_missing() -> str:
    """Say that it can always run."""
    return ""


def on_path(name: str) -> str:
    """Say whether the system has the program."""
    return "" if shutil.which(name) else "not installed"


def in_peers(name: str) -> str:
    """Say whether the peers' environment has the program."""
    return "" if (PEERS / name).exists() else "not installed"


def luigi_missing() -> str:
    """Say whether luigi is there."""
    return in_peers("luigi")


@cache
def runwright_missing() -> str:
    """Say whether Runwright's command line starts at all."""
    command = runwright_command()
    if not os.access(command[0], os.X_OK):
        return "not run: the runwright command is not installed beside this Python"
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        try:
            run_once(Entry("probe", [*command, "--version"], cwd=home, env=child_env(home), timeout=30))
        except (Failed, OSError) as error:
            return f"not run: {error}"[:160]
    return ""


RUNNERS = {
    runner.name: runner
    for runner in (
        Runner("bare spawn loop", "floor", write_spawn, nothing_missing),
        Runner(
            "bare barrier loop", "floor", lambda g, p, s: write_spawn(g, p, s, "--barrier"), nothing_missing
        ),
        Runner("xargs -P", "peer", write_xargs, partial(on_path, "xargs"), edges=False),
        Runner("make", "peer", write_make, partial(on_path, "make")),
        Runner("ninja", "peer", write_ninja, partial(on_path, "ninja")),
        Runner("doit", "peer", write_doit, partial(in_peers, "doit")),
        Runner("luigi", "peer", write_luigi, luigi_missing, slow=True),
        Runner("snakemake", "peer", write_snakemake, partial(in_peers, "snakemake"), slow=True),
        Runner("prefect", "peer", write_prefect, partial(in_peers, "prefect"), slow=True),
        Runner("runwright", "runwright", write_runwright, runwright_missing),
        Runner("runwright levels", "runwright", write_runwright_levels, runwright_missing),
        Runner("runwright sequential", "runwright", write_runwright_sequential, runwright_missing, slow=True),
        Runner("library work-stealing", "runwright", write_inside, runwright_missing),
        Runner("library levels", "runwright", partial(write_inside, strategy="levels"), runwright_missing),
        Runner(
            "library sequential",
            "runwright",
            partial(write_inside, strategy="sequential"),
            runwright_missing,
            slow=True,
        ),
    )
}


def clear(place: Path, keep: frozenset[str]) -> None:
    """Remove everything from a directory but the files written for the runner."""
    for path in place.iterdir():
        if path.name in keep:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    (place / "o").mkdir()


def entry(
    name: str,
    graph: Graph,
    base: Path,
    slots: int,
    rounds: int | None = None,
    label: str = "",
    inside: bool = False,
) -> Entry:
    """Return the runner's entry for a graph, its files written below `base`.

    With `inside`, its time is the one it prints, which leaves its own start out.
    """
    runner = RUNNERS[name]
    label = label or name
    if missing := runner.missing() or _unfit(runner):
        return Entry(label, kind=runner.kind, missing=missing)
    place = base / label.replace(" ", "-").replace("/", "-")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    argv = runner.write(graph, place, slots)
    keep = frozenset(path.name for path in place.iterdir())
    env = child_env(place, OFFLINE)
    return Entry(
        label,
        argv,
        runner.kind,
        place,
        env,
        rounds,
        reset=lambda: clear(place, keep),
        slow=runner.slow,
        inner=inside,
    )


@cache
def _unfit_name(name: str) -> str:
    runner = RUNNERS[name]
    with tempfile.TemporaryDirectory() as folder:
        place, log = Path(folder) / "place", Path(folder) / "log"
        place.mkdir()
        graph = noted(_diamond(), str(log))
        argv = runner.write(graph, place, 2)
        (place / "o").mkdir()
        try:
            run_once(Entry(name, argv, cwd=place, env=child_env(place, OFFLINE), timeout=120))
        except (Failed, OSError) as error:
            return f"failed its check: {error}"[:160]
        return order_problem(graph, log.read_text().split() if log.exists() else [])


def _unfit(runner: Runner) -> str:
    return _unfit_name(runner.name) if runner.edges else ""


def _diamond() -> list[Node]:
    return [Node("a", ""), Node("b", "", (0,)), Node("c", "", (0,)), Node("d", "", (1, 2)), Node("e", "")]


def order_problem(graph: Graph, done: list[str]) -> str:
    """Say what is wrong with the order in which tasks were seen; empty if each ran once, after its needs."""
    if sorted(done) != sorted(node.name for node in graph):
        return f"failed its check: ran {' '.join(done) or 'nothing'}"
    for node in graph:
        for need in node.needs:
            if done.index(graph[need].name) > done.index(node.name):
                return f"failed its check: {node.name} ran before {graph[need].name}"
    return ""

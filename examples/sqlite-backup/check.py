"""Check what the runs of backup.toml left: python3 check.py, in this folder, after a run or several."""

from pathlib import Path

from databases import content

NAMES = ["orders", "users", "visits"]
generations = sorted(Path("out/backups").iterdir())
assert 1 <= len(generations) <= 2, "two are kept"

for generation in generations:
    manifest = [line.split() for line in (generation / "MANIFEST").read_text().splitlines()]
    assert [line[0] for line in manifest] == NAMES
    for name, rows, _, digest in manifest:
        assert content(str(generation / f"{name}.db")) == (int(rows), digest), (
            f"{generation / name} as its manifest says"
        )

for name in NAMES:
    assert content(str(generations[-1] / f"{name}.db")) == content(f"out/live/{name}.db"), (
        "the newest copy is complete"
    )
assert not list(Path("out").glob("restored-*")), "the cleanups took the restored copies away"
assert not list(Path("out/unproved").iterdir()), "and what was not proved"
print(f"{len(generations)} generations, all as their manifests say")

"""The same goal in Python: python3 keep.py [ROUNDS]."""

import logging
import stat
import sys
from pathlib import Path

from runwright import Action, Goal, GoalOutcome, Reconciler, ReconcilerOptions, RunwrightError

HERE = Path(__file__).resolve().parent
TREE = HERE / "out" / "tree"
STORE = HERE / "out" / "goals.db"


class Make(Action):
    """Makes a file what the manifest says."""

    def __init__(self, path: str, mode: int, text: str) -> None:
        super().__init__(f"make {path}")
        self.file = TREE / path
        self.mode = mode
        self.text = text

    @property
    def is_right(self) -> bool:
        if not self.file.is_file() or self.file.is_symlink():
            return False
        return (
            stat.S_IMODE(self.file.stat().st_mode) == self.mode
            and self.file.read_bytes() == self.text.encode()
        )

    def pre(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)

    def perform(self) -> None:
        new = self.file.with_name(f"{self.file.name}.new")
        new.write_text(self.text)
        new.chmod(self.mode)
        new.replace(self.file)

    def post(self) -> None:
        if not self.is_right:
            raise RuntimeError(f"{self.file} is not what it should be")


class Tree(Goal):
    """A directory that is equal to a manifest.

    Args:
        manifest: Its lines: mode, path and the one line that the file holds.
        rounds: Look at least so often.
    """

    def __init__(self, manifest: Path, rounds: int) -> None:
        super().__init__()
        lines = [line.split(" ", 2) for line in manifest.read_text().splitlines()]
        self.files = [Make(path, int(mode, 8), f"{text}\n") for mode, path, text in lines]
        self.rounds = rounds
        self.round = 0

    def plan(self) -> list[Action]:
        self.round += 1
        wanted = {each.file for each in self.files}
        strays = [path for path in sorted(TREE.rglob("*")) if not path.is_dir() and path not in wanted]
        needed = [
            *(each for each in self.files if not each.is_right),
            *(Action(f"remove {path.relative_to(TREE)}", path.unlink) for path in strays),
        ]
        if not needed and self.round < self.rounds:
            return [Action(f"look again after round {self.round} of {self.rounds}", lambda: None)]
        return needed


def main(rounds: int) -> GoalOutcome:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    STORE.parent.mkdir(exist_ok=True)
    options = (
        ReconcilerOptions(workers=2)
        .with_logger(logging.getLogger("manifest"))
        .with_sleep_between_runs(0.1)
        .with_errors_to_tolerate(3)
        .with_execution_timeout(60)
    )
    outcome = Reconciler(options, store=STORE, name="manifest").run_sync(Tree(HERE / "manifest.txt", rounds))
    print(f"{outcome.state} after {outcome.rounds} rounds, {outcome.performed} actions performed")
    return outcome


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    except RunwrightError as error:
        sys.exit(str(error))

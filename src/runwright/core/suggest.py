"""Did you mean: the nearest of some names to a name that is not among them."""

from collections.abc import Collection, Iterable

MOST_CANDIDATES = 20_000
"""Further candidates are not looked at: a suggestion is a courtesy and must not cost seconds."""


def distance(left: str, right: str, limit: int) -> int:
    """Return the number of edits (insert, delete, replace, swap neighbours) between two texts, or `limit` + 1."""
    if abs(len(left) - len(right)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, char in enumerate(left, 1):
        after = [i]
        for j, other in enumerate(right, 1):
            cost = min(row[j] + 1, after[j - 1] + 1, row[j - 1] + (char != other))
            if i > 1 and j > 1 and char == right[j - 2] and left[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            after.append(cost)
        if min(after) > limit:
            return limit + 1
        before, row = row, after
    return min(row[-1], limit + 1)


SYNONYMS: dict[str, tuple[str, ...]] = {
    "cmd": ("exec", "plan", "perform"),
    "command": ("cmd", "exec", "plan", "perform"),
    "script": ("cmd", "exec", "plan", "perform"),
    "run": ("cmd", "exec", "plan", "perform"),
    "exec": ("cmd", "perform"),
    "shell": ("cmd", "exec"),
    "action": ("perform",),
    "needs": ("depends_on",),
    "requires": ("depends_on",),
    "dependencies": ("depends_on",),
    "deps": ("depends_on",),
    "depends": ("depends_on",),
    "dependson": ("depends_on",),
    "after": ("depends_on", "post_exec", "post"),
    "retry": ("retries",),
    "attempts": ("retries",),
    "backoff": ("retry_backoff",),
    "delay": ("retry_delay", "sleep_between_runs"),
    "cwd": ("working_dir",),
    "dir": ("working_dir",),
    "workdir": ("working_dir",),
    "directory": ("working_dir",),
    "environment": ("env",),
    "when": ("if",),
    "condition": ("if",),
    "only_if": ("if",),
    "strategy": ("matrix",),
    "output": ("register",),
    "vars": ("variables", "state"),
    "variables": ("state",),
    "jobs": ("tasks", "steps"),
    "steps": ("tasks",),
    "tasks": ("steps",),
    "before": ("pre", "pre_exec"),
    "pre": ("pre_exec",),
    "setup": ("pre_exec", "pre"),
    "post": ("post_exec",),
    "finally": ("cleanup",),
    "teardown": ("cleanup",),
    "undo": ("cleanup",),
    "sleep": ("pause", "sleep_between_runs"),
    "wait": ("pause", "sleep_between_runs"),
    "interval": ("sleep_between_runs",),
    "allow_failure": ("ignore_failure",),
    "continue_on_error": ("ignore_failure",),
    "keep_going": ("continue_on_error",),
    "max_errors": ("errors_to_tolerate",),
    "parallel": ("workers",),
    "time_limit": ("timeout", "limit_duration", "execution_timeout"),
    "timeout": ("limit_duration", "execution_timeout"),
}
"""What other tools, or other kinds of our files, call what a file calls otherwise: the first that it has is meant."""


def meant_key(word: str, keys: Collection[str]) -> str | None:
    """Return the key of a table that `word` was probably meant to be, by its sound or from another tool."""
    synonym = next((key for key in SYNONYMS.get(_fold(word), ()) if key in keys), None)
    if synonym is not None:
        return synonym
    return closest(word, keys) or next((key for key in keys if _is_short_for(key, word)), None)


def _is_short_for(key: str, word: str) -> bool:
    """Tell whether all letters of `key` come in `word` in order, as those of "cmd" in "comand"."""
    letters = iter(_fold(word))
    return (
        len(key) >= 3 and len(word) <= 2 * len(key) and word[:1] == key[0] and all(c in letters for c in key)
    )


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` was probably meant to be, or None; ties go to the first."""
    folded = _fold(word)
    best, limit = None, max(1, len(folded) // 3)
    for candidate, _ in zip(candidates, range(MOST_CANDIDATES), strict=False):
        found = distance(folded, _fold(candidate), limit)
        if found == 0:
            return candidate
        if found <= limit:
            best, limit = candidate, found - 1
    return best


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return ``did you mean "x"?``, or an empty text if nothing is near."""
    found = closest(word, candidates)
    return f'did you mean "{found}"?' if found is not None else ""


def _fold(word: str) -> str:
    return word.lower().replace("-", "_")

"""How people name a run: a prefix of its id, or ``latest``."""

from collections.abc import Sequence

LATEST = "latest"

_DASHES = (8, 13, 18, 23)


def id_range(prefix: str) -> tuple[str, str]:
    """Return the first id that a prefix may mean and the first after those; dashes and case do not matter.

    An empty prefix, or one that no id can start with, gives an empty range.
    """
    digits = prefix.strip().lower().replace("-", "")
    if not digits or any(digit not in "0123456789abcdef" for digit in digits):
        return "", ""
    for place in _DASHES:
        if len(digits) > place:
            digits = f"{digits[:place]}-{digits[place:]}"
    return digits, digits + "g"


def not_found_text(prefix: str) -> str:
    """Say that no run has this id, and what to do."""
    if prefix.strip().lower() == LATEST:
        return "there is no run yet; `runwright run` starts one"
    return f'no run has an id that starts with "{prefix}"; `runwright runs` lists them'


def ambiguous_text(prefix: str, ids: Sequence[str]) -> str:
    """Say which runs a prefix may mean; lists five at most."""
    more = ", ..." if len(ids) > 5 else ""
    return f'several runs have an id that starts with "{prefix}": {", ".join(ids[:5])}{more}; give more of its digits'

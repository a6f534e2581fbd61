"""Regular expressions that are compiled when they are first used: most starts need only a few of those there are."""

import re
from typing import Any, cast


class _Later:
    """Becomes as quick as the pattern itself once it has been used: its methods are then the pattern's own."""

    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern = pattern
        self.flags = flags

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(self.pattern, self.flags), name)
        setattr(self, name, value)
        return value


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """Return what can be used like the compiled pattern of a text; a mistake in it shows when it is used."""
    return cast("re.Pattern[str]", _Later(text, flags))

"""No progress at all."""

from runwright.core.events import ProgressEvent


class Silence:
    """Shows nothing."""

    listens = False

    def event(self, event: ProgressEvent) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def close(self) -> None:
        """Have nothing to finish."""

    def abandon(self) -> None:
        """Have nothing to give back."""

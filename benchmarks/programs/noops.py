"""The no-op function that Runwright's tasks call."""


async def nothing() -> None:
    """Do nothing."""

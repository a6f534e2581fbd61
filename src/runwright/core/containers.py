"""How containers are removed, for all who have to."""

LABEL = "runwright.owner"
"""Label of the process that had a container made."""


def is_podman(engine: str) -> bool:
    """Tell which of the two engines a program is."""
    return engine.rpartition("/")[2].startswith("podman")


def list_argv(engine: str, owner: str) -> tuple[str, ...]:
    """Return the command line that prints the ids of an owner's containers, running or not."""
    return (engine, "ps", "--all", "--quiet", "--filter", f"label={LABEL}={owner}")


def remove_argv(engine: str, *names: str) -> tuple[str, ...]:
    """Return the command line that ends containers at once, if they still run, and removes them."""
    at_once = ("--time", "0") if is_podman(engine) else ()
    return (engine, "rm", "--force", *at_once, "--volumes", *names)


def is_unknown(said: str) -> bool:
    """Tell whether an engine says that there is no such container."""
    text = said.lower()
    return "no such container" in text or "no container with name" in text


def is_leaving(said: str) -> bool:
    """Tell whether an engine says that it removes the container already."""
    return "already in progress" in said.lower()

"""Container engines, each started once for all tests of a process that need it."""

from collections.abc import Iterator

import pytest
from isolation import container_engine


@pytest.fixture(scope="session")
def docker() -> Iterator[str]:
    with container_engine("docker") as name:
        yield name


@pytest.fixture(scope="session")
def podman() -> Iterator[str]:
    with container_engine("podman") as name:
        yield name


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(request.param)
    return name

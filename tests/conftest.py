"""What holds for every test."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from postgres import Cluster, find_binaries

# A shell starts its background jobs with these ignored, children inherit that, and our command line leaves what is
# ignored ignored. The tests send them, so they must count.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)

# How long an example takes tells of the machine's load, not of us; what must be quick has tests of its own.
settings.register_profile("runwright", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("runwright")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A server of PostgreSQL, one for each process that runs tests; skipped with a reason where there is none."""
    cluster = Cluster(find_binaries())
    yield cluster
    cluster.close()

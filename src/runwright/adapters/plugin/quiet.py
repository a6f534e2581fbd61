"""gRPC, loaded so that it keeps its own remarks to itself.

It writes to standard error, for instance whenever a plugin is ended, unless the environment says otherwise while it is
loaded. The environment is put back, because tasks inherit it.
"""

import os

__all__ = ["grpc"]

VERBOSITY = "GRPC_VERBOSITY"

_told = os.environ.get(VERBOSITY)
os.environ.setdefault(VERBOSITY, "NONE")
try:
    import grpc
    import grpc.aio
finally:
    if _told is None:
        del os.environ[VERBOSITY]

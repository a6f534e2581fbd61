"""The `runwright` command without some of what keeps secrets secret: the control of the tests that look for them.

The variable that names what is left out means nothing to Runwright itself.
"""

import os
import sys
from typing import Any

from msgspec import to_builtins

from runwright.adapters.sealer import AesSealer
from runwright.cli.main import command
from runwright.core.redact import RedactingStream, Redactor
from runwright.engines import job_run, queue

OPEN = "QUEUE_TEST_OPEN"
"""Those of `redaction`, `memory`, `masking`, `sealing` and `unsealing` that are left out, with blanks between them.

Without a memory each piece of output is redacted by itself.
"""


def leave_out(names: str) -> None:
    """Replace protections by nothing."""
    ways: dict[str, tuple[Any, str, Any]] = {
        "redaction": (job_run, "redactor_of", lambda _job, _settings: Redactor(())),
        "memory": (RedactingStream, "feed", lambda stream, chunk: stream._emit(chunk, len(chunk))),
        "masking": (queue, "masked", to_builtins),
        "sealing": (AesSealer, "seal", lambda _sealer, data: data),
        "unsealing": (AesSealer, "unseal", lambda _sealer, data: data),
    }
    for name in names.split():
        setattr(*ways[name])


if __name__ == "__main__":
    leave_out(os.environ.get(OPEN, ""))
    sys.exit(command())

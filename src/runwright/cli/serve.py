"""Serve the job queue over HTTP to workers and users, until SIGTERM.

Jobs are in the store, so several servers may serve one. Tokens let workers and users in: `runwright tokens create`.
Jobs with secrets are encrypted with the key in a file beside the store, which is made when it is needed first.
"""

import argparse
import asyncio
from pathlib import Path

from runwright.cli import values
from runwright.cli.arguments import Arguments
from runwright.core.errors import Problem, UsageError

DEFAULT = "127.0.0.1:8700"
LEAST_LEASE = 1.0
MOST_LEASE = 86_400.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `serve`."""
    parser.add_argument(
        "--listen", default=DEFAULT, metavar="HOST:PORT", help=f"where to listen; {DEFAULT}; port 0: any"
    )
    parser.add_argument(
        "--lease",
        type=values.seconds,
        default=25.0,
        metavar="DURATION",
        help="how long a worker keeps a job after its last heartbeat; 25s",
    )
    parser.add_argument("--key-file", metavar="FILE", help="key that encrypts jobs with secrets")
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain for HTTPS, PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="key of the certificate, PEM")
    parser.add_argument("--max-body", type=values.size, metavar="SIZE", help="largest job; 64MiB")
    parser.add_argument(
        "--keep-days",
        type=values.count,
        default=30,
        metavar="N",
        help="days that ended jobs are kept; 30; 0 for ever",
    )


def execute(args: Arguments) -> int:
    """Serve until told to stop."""
    from runwright.wiring.server import Serving, serve_queue  # noqa: PLC0415 - for help it is not needed

    host, port = address(args.listen)
    _check(args)
    how = Serving(
        store=args.store,
        host=host,
        port=port,
        lease_seconds=args.lease,
        keep_days=args.keep_days,
        key_file=_path(args.key_file),
        tls_cert=_path(args.tls_cert),
        tls_key=_path(args.tls_key),
        max_body=args.max_body,
    )
    asyncio.run(serve_queue(how, lambda url: print(f"runwright: serving on {url}", flush=True)))
    return 0


def address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 address stands in brackets.

    Raises:
        UsageError: If it is none.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        advice = "write HOST:PORT, for instance 0.0.0.0:8700 or [::]:8700"
        raise UsageError((Problem(message=f'can\'t listen at "{text}"', suggestion=advice),))
    return host, int(port)


def _check(args: Arguments) -> None:
    if not LEAST_LEASE <= args.lease <= MOST_LEASE:
        advice = "heartbeats come every few seconds; 25s is usual"
        raise UsageError((Problem(message="--lease must be in 1s to 1d", suggestion=advice),))
    if (args.tls_cert is None) is not (args.tls_key is None):
        raise UsageError((Problem(message="HTTPS needs both --tls-cert and --tls-key"),))


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).absolute()

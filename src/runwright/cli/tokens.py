"""Make, list and revoke the tokens that let workers and users of the queue in.

create   make one and print it, alone on the last line: it is shown this once, and only its digest is kept
list     the tokens there are
revoke   end one: servers refuse it within seconds

Workers show theirs as `Authorization: token-executor TOKEN`, admins as `Authorization: Bearer TOKEN`.
"""

import argparse
import asyncio

from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import now
from runwright.cli.records import Record
from runwright.cli.render.tables import Cell, Column, table
from runwright.cli.render.times import instant
from runwright.core.errors import DefinitionError, Problem, UsageError
from runwright.core.job_requests import text_problem
from runwright.core.job_rows import TokenRole, TokenRow
from runwright.core.tokens import digest_of
from runwright.ports.jobs import JobStore

ACTIONS = ("create", "list", "revoke")
COLUMNS = (Column("name", least=8), Column("role"), Column("created"), Column("revoked"))


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tokens`."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("name", nargs="?", metavar="NAME", help="of whom it is for: a worker, a person")
    parser.add_argument(
        "--role",
        choices=tuple(TokenRole),
        default=TokenRole.WORKER.value,
        metavar="ROLE",
        help="create: worker takes jobs, which is the default; admin submits and steers them",
    )
    add_json(parser)


def execute(args: Arguments) -> int:
    """Do what is asked for."""
    if (args.name is None) is not (args.action == "list"):
        text = "list takes no NAME" if args.action == "list" else f"{args.action} needs the NAME of a token"
        raise UsageError((Problem(message=text, suggestion="`runwright tokens list` lists them"),))
    asyncio.run(_act(args))
    return 0


async def _act(args: Arguments) -> None:
    from runwright.wiring.server import opened_jobs  # noqa: PLC0415 - for help it is not needed

    act = {"create": _create, "list": _list, "revoke": _revoke}[args.action]
    async with opened_jobs(args.store, only_reads=args.action == "list") as store:
        await act(args, store)


async def _create(args: Arguments, store: JobStore) -> None:
    from runwright.wiring.server import new_token  # noqa: PLC0415 - as above

    if problems := list(text_problem("name", args.name)):
        raise DefinitionError(problems)
    token = new_token()
    row = await store.add_token(args.name, TokenRole(args.role), digest_of(token), now())
    if args.json:
        args.out.json({**_record(row), "token": token})
    else:
        args.out.line(f"{row.role.value} {args.out.clean(row.name)}; keep it, it is not shown again:")
        args.out.line(token)


async def _list(args: Arguments, store: JobStore) -> None:
    rows = await store.tokens()
    if args.json:
        args.out.json([_record(row) for row in rows])
    elif rows:
        args.out.lines(table(COLUMNS, [_row(row) for row in rows], args.out))
    else:
        args.out.line("there are no tokens; `runwright tokens create NAME` makes one")


async def _revoke(args: Arguments, store: JobStore) -> None:
    row = await store.revoke_token(args.name, now())
    if args.json:
        args.out.json(_record(row))
    else:
        args.out.line(f"revoked {args.out.clean(row.name)}")


def _row(row: TokenRow) -> tuple[Cell | str, ...]:
    revoked = instant(row.revoked_at) if row.revoked_at is not None else ""
    return row.name, row.role.value, instant(row.created_at), revoked


def _record(row: TokenRow) -> Record:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role.value,
        "created_at": row.created_at,
        "revoked_at": row.revoked_at,
    }

"""Look after the cache: list what is kept, show an entry, make room, look for damage.

ls       the entries, the last used first
show     one entry: what its key was made of, and what it restores; KEY may be cut short
gc       remove entries that are old or too much, and content that nobody needs
verify   read everything; exit status 1 if something is damaged; --repair removes it, and the next run makes it again
"""

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from runwright import wiring
from runwright.cli import values
from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import EXIT_FAILED, now
from runwright.cli.records import Record, plural
from runwright.cli.render.tables import Column, table
from runwright.cli.render.terminal import Out
from runwright.cli.render.times import ago, duration, instant
from runwright.core.cacheentry import Entry, Output
from runwright.core.errors import Problem, UsageError
from runwright.ports.stores import CacheItem, CacheStore
from runwright.wiring.caches import open_cache

ACTIONS = ("ls", "show", "gc", "verify")
KEY_LENGTH = 12
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
COLUMNS = (
    Column("key"),
    Column("task", least=8),
    Column("used", optional=True),
    Column("made", optional=True),
    Column("size", right=True),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cache`."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("key", nargs="?", metavar="KEY", help="of the entry to show, or a beginning of it")
    parser.add_argument(
        "--max-size", type=values.size, metavar="SIZE", help="gc: leave no more than so much: 500MiB, 10GiB"
    )
    parser.add_argument(
        "--max-age",
        type=values.seconds,
        metavar="DURATION",
        help="gc: remove what was not used for so long: 30d, 12h",
    )
    parser.add_argument("--repair", action="store_true", help="verify: remove what is damaged")
    add_json(parser)


def execute(args: Arguments) -> int:
    """Do what is asked for."""
    _check(args)
    store = open_cache(wiring.state_location(args.store).cache_dir)
    return {"ls": _list, "show": _show, "gc": _collect, "verify": _verify}[args.action](args, store)


def _check(args: Arguments) -> None:
    """Refuse options of another action.

    Raises:
        UsageError: If one is given, or if the key is missing.
    """
    if (args.key is None) is (args.action == "show"):
        text = "show needs the KEY of an entry" if args.key is None else f"{args.action} takes no KEY"
        raise _wrong(text, "`runwright cache ls` lists the keys; `runwright cache show KEY` shows one")
    if args.action != "gc" and (args.max_size is not None or args.max_age is not None):
        raise _wrong(f"{args.action} removes nothing", "--max-size and --max-age are for gc")
    if args.action != "verify" and args.repair:
        raise _wrong(f"{args.action} repairs nothing", "--repair is for verify")


def _list(args: Arguments, store: CacheStore) -> int:
    items = sorted(store.items(), key=lambda item: (-item.used_at, item.key))
    if args.json:
        args.out.json([_item_record(item) for item in items])
    elif items:
        args.out.lines(table(COLUMNS, [_row(item) for item in items], args.out))
        total = sum(item.size_bytes for item in items)
        args.out.line(f"{plural(len(items), 'entry', 'entries')}, {size_text(total)}")
    else:
        args.out.line("the cache is empty")
    return 0


def _show(args: Arguments, store: CacheStore) -> int:
    found = store.find(args.key)
    if len(found) != 1:
        many = f"{len(found)} entries begin with {args.key}; write more of the key"
        raise _wrong(many if found else f"no entry begins with {args.key}", "`runwright cache ls` lists them")
    entry = store.entry(found[0])
    if entry is None:
        raise _wrong(f"the entry {found[0]} is damaged", "`runwright cache verify --repair` removes it")
    if args.json:
        args.out.json(_entry_record(entry))
    else:
        args.out.lines(_entry_lines(entry, args.out))
    return 0


def _collect(args: Arguments, store: CacheStore) -> int:
    found = store.collect(max_bytes=args.max_size, max_age=args.max_age, now=time.time())
    if args.json:
        args.out.json({"entries": found.entries, "files": found.files, "size_bytes": found.size_bytes})
    else:
        what = f"{plural(found.entries, 'entry', 'entries')} and {plural(found.files, 'file')}"
        args.out.line(f"removed {what}, {size_text(found.size_bytes)}")
    return 0


def _verify(args: Arguments, store: CacheStore) -> int:
    found = store.verify(repair=args.repair)
    if args.json:
        args.out.json({"ok": not found, "problems": found, "repaired": bool(found and args.repair)})
    else:
        for line in found:
            args.out.line(f"{args.out.paint(args.out.mark('failed'), 'bad')} {args.out.clean(line)}")
        args.out.line(_verdict(found, repair=args.repair))
    return EXIT_FAILED if found and not args.repair else 0


def _verdict(found: list[str], *, repair: bool) -> str:
    if not found:
        return "everything is as it was kept"
    return (
        "removed; the next run makes it again" if repair else "`runwright cache verify --repair` removes it"
    )


def _row(item: CacheItem) -> tuple[str, ...]:
    used, made = _at(item.used_at), _at(item.made_at)
    return item.key[:KEY_LENGTH], item.task_id, ago(used, now()), instant(made), size_text(item.size_bytes)


def _entry_lines(entry: Entry, out: Out) -> Iterator[str]:
    account = entry.account
    facts = [
        ("key", entry.key),
        ("task", entry.task_id),
        ("made", f"{instant(_at(entry.made_at))} in {duration(entry.seconds)}"),
        ("executor", account.executor.text),
        *((f"argument {name}", shown.text) for name, shown in account.args.items()),
        *((f"variable {name}", shown.text) for name, shown in account.env.items()),
        *((f"input {path}", digest[:KEY_LENGTH]) for path, digest in sorted(account.inputs.items())),
        *((f"output {output.path}", _output_text(output)) for output in entry.outputs),
    ]
    for name, text in facts:
        yield f"{out.paint(out.clean(name), 'dim')}  {out.clean(text)}"


def _output_text(output: Output) -> str:
    if output.digest and not output.size_bytes and output.kind == "link":
        return f"link to {output.digest}"
    return f"{output.kind.value} {output.mode:o} {output.digest[:KEY_LENGTH]} {size_text(output.size_bytes)}"


def _item_record(item: CacheItem) -> Record:
    return {
        "key": item.key,
        "task_id": item.task_id,
        "made_at": _at(item.made_at),
        "used_at": _at(item.used_at),
        "size_bytes": item.size_bytes,
    }


def _entry_record(entry: Entry) -> Record:
    account = entry.account
    return {
        "key": entry.key,
        "task_id": entry.task_id,
        "made_at": _at(entry.made_at),
        "duration": entry.seconds,
        "executor": account.executor.text,
        "args": {name: shown.text for name, shown in account.args.items()},
        "env": {name: shown.text for name, shown in account.env.items()},
        "inputs": dict(account.inputs),
        "outputs": [
            {
                "path": output.path,
                "kind": output.kind.value,
                "mode": output.mode,
                "digest": output.digest,
                "size_bytes": output.size_bytes,
            }
            for output in entry.outputs
        ],
        "value": entry.value,
        "variables": dict(entry.variables),
    }


def size_text(size_bytes: int) -> str:
    """Return a size as people say it: ``312 B``, ``4.1 MiB``."""
    size, unit = float(size_bytes), 0
    while size >= 999.5 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 or size >= 99.5 else f"{size:.1f} {UNITS[unit]}"


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _wrong(message: str, advice: str) -> UsageError:
    return UsageError((Problem(message=message, suggestion=advice),))

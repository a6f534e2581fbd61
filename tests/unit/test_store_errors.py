"""What the errors of SQLite and of the system mean to the user of a store."""

import errno
import os
from pathlib import Path

import apsw
import pytest

from runwright.adapters.sqlite.errors import explain
from runwright.core.errors import StoreCorrupt


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOTDIR, "a part of this path is a file"),
        (errno.EACCES, "you have no permission"),
        (errno.EPERM, "you have no permission"),
        (errno.EROFS, "its file system is read-only"),
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "your quota"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.ELOOP, "symbolic link"),
        (errno.EMFILE, "too many files"),
        (errno.ENOENT, "its directory can't be made"),
        (errno.EIO, "the disk failed"),
    ],
)
def test_errors_of_the_system_say_what_to_do(number: int, said: str) -> None:
    message = str(explain("runs.db", OSError(number, os.strerror(number))))
    assert message.startswith("runs.db: ")
    assert said in message
    assert os.strerror(number) in message


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (apsw.FullError("x"), "the disk is full"),
        (apsw.ReadOnlyError("x"), "can't be written"),
        (apsw.CantOpenError("x"), "can't be opened"),
        (apsw.IOError("x"), "the disk failed"),
        (apsw.SQLError("x"), "can't be used (SQLError: x)"),
    ],
)
def test_errors_of_sqlite_say_what_to_do(error: Exception, said: str) -> None:
    assert said in str(explain("runs.db", error))


def test_a_directory_is_no_store(tmp_path: Path) -> None:
    assert str(explain(str(tmp_path), apsw.CantOpenError("x"))).endswith(
        "this is a directory; name a file in it with --store"
    )


def test_a_damaged_store_is_told_apart() -> None:
    assert isinstance(explain("runs.db", apsw.CorruptError("x")), StoreCorrupt)

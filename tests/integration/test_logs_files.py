"""Logs on a real disk: what is written is what is read, in order, apart, bounded and closed to others."""

import os
import random
import shutil
import stat
from pathlib import Path

import pytest

from runwright.adapters.logs import FileLogs, safe_name
from runwright.core.errors import StoreError
from runwright.ports.executor import Stream

BIG = 1 << 30
RUN = "0199-run"


def text_of(logs: FileLogs, offset: int = 0) -> bytes:
    return b"".join(chunk.data for chunk in logs.read(RUN, "t", 1, offset))


def runs_of(logs: FileLogs, offset: int = 0) -> list[tuple[Stream, bytes]]:
    """Neighbouring pieces of one stream, joined."""
    runs: list[tuple[Stream, bytes]] = []
    for chunk in logs.read(RUN, "t", 1, offset):
        if runs and runs[-1][0] == chunk.stream:
            runs[-1] = (chunk.stream, runs[-1][1] + chunk.data)
        else:
            runs.append((chunk.stream, chunk.data))
    return runs


def test_no_file_before_the_first_byte(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path / "logs")
    log = logs.open(RUN, "t", 1, BIG)
    assert not (tmp_path / "logs").exists()
    assert text_of(logs) == b""
    log.close()
    log.close()
    assert not (tmp_path / "logs").exists()


def test_stdout_alone_is_one_plain_file(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path / "logs")
    log = logs.open(RUN, "t", 1, BIG)
    log.write("stdout", b"a\0\xff")
    log.write("stdout", b"")
    log.write("stdout", b"b\n")
    assert text_of(logs) == b"a\0\xffb\n", "readable while it is written"
    log.close()
    path = logs.path(RUN, "t", 1)
    assert path.read_bytes() == b"a\0\xffb\n"
    assert [file.name for file in path.parent.iterdir()] == ["1.log"]


def test_streams_are_kept_apart_and_in_order(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path)
    log = logs.open(RUN, "t", 1, BIG)
    log.write("stderr", b"one\n")
    log.write("stdout", b"two\n")
    log.write("stdout", b"three\n")
    log.write("stderr", b"four\n")
    expected = [("stderr", b"one\n"), ("stdout", b"two\nthree\n"), ("stderr", b"four\n")]
    assert runs_of(logs) == expected
    log.close()
    assert runs_of(logs) == expected
    assert runs_of(logs, 6) == [("stdout", b"o\nthree\n"), ("stderr", b"four\n")]
    assert logs.path(RUN, "t", 1).read_bytes() == b"one\ntwo\nthree\nfour\n"


def test_a_follower_continues_where_it_stopped(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path)
    log = logs.open(RUN, "t", 1, BIG)
    log.write("stdout", b"x" * 200_000)
    chunks = list(logs.read(RUN, "t", 1))
    assert max(len(chunk.data) for chunk in chunks) <= 65536
    end = chunks[-1].offset + len(chunks[-1].data)
    assert list(logs.read(RUN, "t", 1, end)) == []
    log.write("stderr", b"more")
    log.close()
    assert [(c.offset, c.stream, c.data) for c in logs.read(RUN, "t", 1, end)] == [
        (200_000, "stderr", b"more")
    ]


def test_files_are_closed_to_others(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path / "deep" / "logs")
    log = logs.open(RUN, "t", 1, 100_000)
    for _ in range(40):
        log.write("stderr", b"x" * 10_000)
    modes = {
        (path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (tmp_path / "deep").rglob("*")
    } | {(True, stat.S_IMODE((tmp_path / "deep").stat().st_mode))}
    assert modes == {(True, 0o700), (False, 0o600)}
    log.close()
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "deep").rglob("*") if p.is_file()} == {0o600}


@pytest.mark.parametrize("size", [99_999, 100_000])
def test_a_log_up_to_its_limit_is_kept_whole(tmp_path: Path, size: int) -> None:
    logs = FileLogs(tmp_path)
    log = logs.open(RUN, "t", 1, 100_000)
    data = random.Random(1).randbytes(size)
    log.write("stdout", data)
    assert text_of(logs) == data
    log.close()
    assert text_of(logs) == data
    assert logs.path(RUN, "t", 1).read_bytes() == data
    assert len(list(logs.path(RUN, "t", 1).parent.iterdir())) == 1


def test_past_its_limit_head_and_tail_are_kept_and_the_cut_is_marked(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path)
    log = logs.open(RUN, "t", 1, 100_000)
    data = random.Random(2).randbytes(1_000_000)
    for at in range(0, len(data), 7_000):
        log.write("stdout", data[at : at + 7_000])
    assert_bounded(tmp_path, 100_000 * 1.2)
    log.close()
    line = b"\n[runwright: 900000 bytes cut here]\n"
    expected = data[:50_000] + line + data[-50_000:]
    assert logs.path(RUN, "t", 1).read_bytes() == expected
    assert text_of(logs) == expected
    assert text_of(logs, 950_010) == data[950_010:], "offsets count what was written, not what was kept"
    assert text_of(logs, 50_000 + len(line)) == data[-50_000:], (
        "a follower that has seen the marker goes on behind it"
    )


def assert_bounded(folder: Path, limit: float) -> None:
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= limit


def test_a_killed_engine_leaves_head_and_segments_readable(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path)
    log = logs.open(RUN, "t", 1, 100_000)
    data = random.Random(3).randbytes(500_000)
    log.write("stdout", data)  # and never closed
    text = text_of(logs)
    head, tail = text.split(b"\n[runwright: ", 1)
    missing, tail = tail.split(b" bytes cut here]\n", 1)
    assert head == data[:50_000]
    assert len(tail) >= 50_000
    assert tail == data[50_000 + int(missing) :]


@pytest.mark.parametrize("seed", range(20))
def test_any_mix_of_streams_sizes_and_limits(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    limit = rng.choice([1, 3, 60, 130, 5_000, 40_000, 90_000])
    logs = FileLogs(tmp_path)
    log = logs.open(RUN, "t", 1, limit)
    written, streams = bytearray(), bytearray()
    for _ in range(rng.randrange(1, 120)):
        stream: Stream = rng.choice(["stdout", "stderr"])
        data = rng.randbytes(rng.randrange(3_000))
        log.write(stream, data)
        written += data
        streams += (b"e" if stream == "stderr" else b"o") * len(data)
        check_live(logs, bytes(written), rng.randrange(len(written) + 1), limit // 2)
    log.close()
    check_pieces(logs, bytes(written), bytes(streams), limit)


def check_live(logs: FileLogs, written: bytes, offset: int, head: int) -> None:
    for chunk in logs.read(RUN, "t", 1, offset):
        assert chunk.offset >= offset
        if not chunk.data.startswith(b"\n[runwright: "):
            assert written[chunk.offset : chunk.offset + len(chunk.data)] == chunk.data


def check_pieces(logs: FileLogs, written: bytes, streams: bytes, limit: int) -> None:
    """Every byte is there or covered by the marker, at its offset and in its stream."""
    seen, at = 0, 0
    for chunk in logs.read(RUN, "t", 1):
        if (
            chunk.data.startswith(b"\n[runwright: ")
            and chunk.data != written[chunk.offset :][: len(chunk.data)]
        ):
            at = chunk.offset + int(chunk.data.split()[1])
            continue
        assert chunk.offset == at
        at += len(chunk.data)
        assert written[chunk.offset : at] == chunk.data
        assert set(streams[chunk.offset : at]) <= {ord("e" if chunk.stream == "stderr" else "o")}
        seen += len(chunk.data)
    assert at == len(written)
    assert seen <= limit
    assert seen >= min(len(written), limit - 64)


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path)
    path = logs.path(RUN, "t", 1)
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/full")
    log = logs.open(RUN, "t", 1, BIG)
    with pytest.raises(StoreError, match=r"can't write the log .*1\.log: No space left"):
        log.write("stdout", b"x")
    log.close()


def test_a_file_in_the_way_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / RUN).write_text("not a directory")
    logs = FileLogs(tmp_path)
    with pytest.raises(StoreError, match=RUN):
        logs.open(RUN, "t", 1, BIG).write("stdout", b"x")
    with pytest.raises(StoreError, match="can't read the log"):
        list(logs.read(RUN, "t", 1))


def test_a_segment_that_goes_while_it_is_read_is_passed_over(tmp_path: Path) -> None:
    logs = FileLogs(tmp_path)
    log = logs.open(RUN, "t", 1, 40_000)
    log.write("stdout", b"h" * 20_000 + b"t" * 20_000)
    reading = logs.read(RUN, "t", 1)
    assert next(reading).data == b"h" * 20_000
    shutil.rmtree(logs.path(RUN, "t", 1).with_suffix(".tail"))
    assert list(reading) == []


def test_awkward_ids_stay_inside_and_apart(tmp_path: Path) -> None:
    rng = random.Random(4)
    ids = [
        "",
        ".",
        "..",
        "...",
        "a/b",
        "../../etc/passwd",
        "a[k=v,x=/]",
        "%",
        "%2E",
        "a%2Fb",
        "\n",
        "é",
        "\ud800",
        "~",
    ]
    ids += ["x" * 10_000, "x" * 10_001, "/" * 10_000, "-rf", "$(id)"]
    ids += ["".join(rng.choices("ab%2F/.-", k=rng.randrange(1, 8))) for _ in range(3_000)]
    names = {task_id: safe_name(task_id) for task_id in ids}
    assert len(set(names.values())) == len(names)
    for name in names.values():
        assert "/" not in name
        assert name not in {"", ".", ".."}
        assert len(os.fsencode(name)) <= 255
    logs = FileLogs(tmp_path / "root")
    for task_id in ids[:19]:
        log = logs.open(RUN, task_id, 1, BIG)
        log.write("stdout", task_id.encode("utf-8", "replace") + b"!")
        log.close()
    for task_id in ids[:19]:
        assert (
            b"".join(c.data for c in logs.read(RUN, task_id, 1)) == task_id.encode("utf-8", "replace") + b"!"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["root"]

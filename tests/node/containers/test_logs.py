"""Logs of containers, cut and followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiphys.node.containers import logs
from tiphys.node.containers.logs import LogOptions, end_of_log, read, shown

LOG = (
    b"2026-01-01T00:00:00.123456789Z stdout F one\n"
    b"2026-01-01T00:00:01.5Z stderr P tw\n"
    b"2026-01-01T00:00:02Z stdout F o\n"
)
LINE = b"2026-01-01T00:00:00.000000000Z stdout F %s\n"


async def test_logs_are_cut_as_asked(tmp_path: Path) -> None:
    async def said(**asked: int) -> bytes:
        return b"".join([c async for c in read(file, LogOptions(**asked), lambda: False)])  # type: ignore[arg-type]

    (tmp_path / "log").write_bytes(LOG)
    file = os.open(tmp_path / "log", os.O_RDONLY)
    assert await said() == b"one\ntwo\n"
    assert await said(limit=4) == b"one\n" and await said(limit=0) == b""
    assert [await said(tail=n) for n in (0, 1, 2, 3, 9)] == [
        b"",
        b"o\n",
        b"two\n",
        b"one\ntwo\n",
        b"one\ntwo\n",
    ]
    assert end_of_log(file, 1, 99) == "o\n" and end_of_log(file, 9, 5) == "\ntwo\n"
    assert shown(LOG.splitlines(True)[0], LogOptions(timestamps=True)).startswith(
        b"2026-01-01T00:00:00.123456789Z one"
    )
    assert shown(LOG.splitlines(True)[0], LogOptions(since=1767225601.0)) == b""


async def test_followers_of_a_log_go_on_with_the_new_one(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(LINE % b"one")
    file = os.open(log, os.O_RDONLY)
    seen: list[bytes] = []

    def renewed(old: int) -> int | None:
        newer = os.open(log, os.O_RDONLY)
        if os.path.sameopenfile(old, newer):
            os.close(newer)
            return None
        return newer

    async for chunk in read(file, LogOptions(follow=True), lambda: b"two\n" not in seen, renewed):
        seen.extend(chunk.splitlines(True))
        if seen == [b"one\n"]:
            log.rename(tmp_path / "0.log.2026")
            log.write_bytes(LINE % b"two")
    os.close(file)
    assert seen == [b"one\n", b"two\n"]


def test_lines_come_in_pieces_and_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LONGEST", 6)
    lines = logs._Lines()
    assert lines.add(b"ab") == [] and lines.add(b"cd") == []
    assert lines.add(b"e\nf\ng") == [b"abcde\n", b"f\n"]
    assert lines.add(b"hijklmnop") == [] and lines.add(b"qrs\n") == [b"ghijkl\n"]
    assert lines.add(b"\n") == [b"\n"]

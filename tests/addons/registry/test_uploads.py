"""Sessions of uploads: how many, how long, by whom, and what the disk gets when."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tiphys.addons.registry import uploads as module
from tiphys.addons.registry.faults import Fault
from tiphys.addons.registry.storage import Storage
from tiphys.addons.registry.uploads import MOST, Upload, Uploads

HOUR = 3600.0
PIECE = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    storage = Storage(tmp_path, 1 << 30)
    storage.open()
    return Uploads(storage)


async def body(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def is_known(uploads: Uploads, upload: Upload) -> bool:
    try:
        return uploads.find(upload.repository, upload.id) is upload
    except Fault as fault:
        assert (fault.status, fault.code) == (404, "BLOB_UPLOAD_UNKNOWN")
        return False


def test_so_many_are_under_way_and_no_more(uploads: Uploads) -> None:
    begun = [uploads.begin("a") for _ in range(MOST)]
    with pytest.raises(Fault) as refused:
        uploads.begin("a")
    assert (refused.value.status, refused.value.code) == (429, "TOOMANYREQUESTS")
    assert refused.value.headers == {"Retry-After": "5"}
    uploads.forget(begun[0])
    assert is_known(uploads, uploads.begin("a"))


def test_a_session_is_its_repositorys(uploads: Uploads) -> None:
    upload = uploads.begin("a")
    assert is_known(uploads, upload)
    with pytest.raises(Fault):
        uploads.find("b", upload.id)


@pytest.mark.parametrize("later, stays", [(HOUR, True), (HOUR + 1, False)])
def test_a_session_is_forgotten_an_hour_after_it_was_asked_for(
    uploads: Uploads, clock: Clock, later: float, stays: bool
) -> None:
    upload = uploads.begin("a")
    clock.now += 10
    uploads.find("a", upload.id)
    clock.now += later
    uploads.forget_abandoned()
    assert upload.file.exists() is stays
    assert is_known(uploads, upload) is stays


def test_one_that_is_written_to_is_not_abandoned(uploads: Uploads, clock: Clock) -> None:
    upload = uploads.begin("a")
    upload.is_written = True
    clock.now += 2 * HOUR
    uploads.begin("a")
    assert is_known(uploads, upload)


async def test_what_comes_keeps_a_session(uploads: Uploads, clock: Clock) -> None:
    upload = uploads.begin("a")
    clock.now += HOUR
    await uploads.receive(upload, body(b"x"))
    assert upload.used == clock.now


async def test_a_mebibyte_is_written_at_a_time(uploads: Uploads) -> None:
    upload = uploads.begin("a")
    offsets: list[int] = []

    async def slow() -> AsyncIterator[bytes]:
        for piece in (b"x" * (PIECE - 1), b"x", b"x"):
            yield piece
            offsets.append(upload.offset)

    await uploads.receive(upload, slow())
    assert offsets == [0, PIECE, PIECE]
    assert upload.offset == upload.file.stat().st_size == PIECE + 1
    assert upload.range == f"0-{PIECE}"


async def test_one_request_at_a_time_writes(uploads: Uploads) -> None:
    upload = uploads.begin("a")
    upload.is_written = True
    with pytest.raises(Fault) as refused:
        await uploads.receive(upload, body(b"x"))
    assert (refused.value.status, refused.value.code) == (409, "BLOB_UPLOAD_INVALID")
    assert (upload.is_written, upload.offset) == (True, 0)


async def test_what_has_come_stays_when_the_rest_does_not(uploads: Uploads) -> None:
    upload = uploads.begin("a")

    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await uploads.receive(upload, broken())
    assert (upload.range, upload.is_written) == ("0-2", False)
    await uploads.receive(upload, body(b"d"))
    assert upload.hexdigest == hashlib.sha256(b"abcd").hexdigest()


async def test_room_is_shared_by_all_that_is_under_way(tmp_path: Path) -> None:
    storage = Storage(tmp_path, 10)
    storage.open()
    uploads = Uploads(storage)
    first, second = uploads.begin("a"), uploads.begin("a")
    await uploads.receive(first, body(b"123456"))
    await uploads.receive(second, body(b"1234"))
    with pytest.raises(Fault) as refused:
        await uploads.receive(second, body(b"5"))
    assert refused.value.status == 507
    assert not is_known(uploads, second) and not second.file.exists()
    assert is_known(uploads, first)


@pytest.mark.parametrize("said", ["abc", "other"])
async def test_a_session_is_over_once_it_has_ended(uploads: Uploads, said: str) -> None:
    upload = uploads.begin("a")
    await uploads.receive(upload, body(b"abc"))
    try:
        await uploads.finish(upload, hashlib.sha256(said.encode()).hexdigest())
    except Fault as fault:
        assert (said, fault.status, fault.code) == ("other", 400, "DIGEST_INVALID")
        assert fault.detail == {"digest": f"sha256:{hashlib.sha256(b'abc').hexdigest()}"}
    assert not is_known(uploads, upload) and not upload.file.exists()

"""Certificates are taken when they are renewed, as a pair."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from pathlib import Path

import pytest

from tiphys.client import certfiles
from tiphys.cluster.certificates import Authority


class Renewal:
    """A context that follows a pair of files, and how often it has loaded them anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate, self.key = folder / "c", folder / "k"
        self.count = 0
        self.issue("one")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def issue(self, name: str, certificate: bool = True, key: bool = True) -> None:
        """Writes a new pair, or one half of it."""
        pair = Authority(self._folder / name).ensure(name, name)
        for half, target, wanted in (
            (pair[0], self.certificate, certificate),
            (pair[1], self.key, key),
        ):
            if wanted:
                fresh = self._folder / "fresh"
                fresh.write_bytes(half.read_bytes())
                fresh.rename(target)

    def renewed(self) -> None:
        self.count += 1

    def follow(self) -> None:
        certfiles.use(self.context, self.certificate, self.key, self.renewed)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.count != count:  # noqa: ASYNC110 - a count that a timer raises
                await asyncio.sleep(0)


@pytest.fixture
def renewal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Renewal:
    monkeypatch.setattr(certfiles, "EVERY", 0.01)
    return Renewal(tmp_path)


async def test_a_renewed_pair_is_loaded_once_each_time(renewal: Renewal) -> None:
    renewal.follow()
    for count, name in enumerate(("two", "three"), 1):
        renewal.issue(name)
        await renewal.until(count)
    follower = certfiles._Follower(
        renewal.context,
        renewal.certificate,
        renewal.key,
        certfiles._stamp(renewal.certificate, renewal.key),
        renewal.renewed,
    )
    follower._look(renewal.context)
    assert renewal.count == 2, "nothing changed"


async def test_half_of_a_pair_is_not_loaded(
    renewal: Renewal, caplog: pytest.LogCaptureFixture
) -> None:
    follower = certfiles._Follower(
        renewal.context, renewal.certificate, renewal.key, None, renewal.renewed
    )
    renewal.issue("two", key=False)
    with caplog.at_level(logging.INFO):
        follower._look(renewal.context)
        follower._look(renewal.context)
    assert renewal.count == 0 and caplog.text.count("is not loaded yet: ") == 2
    renewal.key.unlink()
    follower._look(renewal.context)
    assert caplog.text.count("is not loaded yet: ") == 2, "it is waited for"
    renewal.issue("two", certificate=False)
    follower._look(renewal.context)
    assert renewal.count == 1
    follower._look(renewal.context)
    assert renewal.count == 1


@pytest.mark.parametrize("half", ["certificate", "key"])
def test_either_file_tells_that_the_pair_has_changed(renewal: Renewal, half: str) -> None:
    before = certfiles._stamp(renewal.certificate, renewal.key)
    assert before == certfiles._stamp(renewal.certificate, renewal.key)
    file = getattr(renewal, half)
    times = file.stat().st_mtime_ns
    os.utime(file, ns=(times, times + 1))
    assert before != certfiles._stamp(renewal.certificate, renewal.key)
    os.utime(file, ns=(times, times))
    assert before == certfiles._stamp(renewal.certificate, renewal.key)
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    os.utime(copy, ns=(times, times))
    copy.rename(file)
    assert before != certfiles._stamp(renewal.certificate, renewal.key), "it is another file"
    file.unlink()
    assert certfiles._stamp(renewal.certificate, renewal.key) is None


async def test_a_context_that_nobody_uses_is_not_followed(renewal: Renewal) -> None:
    renewal.follow()
    del renewal.context
    renewal.issue("two")
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(0.05, done.set_result, None)
    await done
    assert renewal.count == 0


def test_a_command_without_a_loop_loads_its_pair_once(renewal: Renewal) -> None:
    renewal.follow()
    renewal.certificate.write_text("none")
    with pytest.raises(ssl.SSLError):
        renewal.follow()

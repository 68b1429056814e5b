"""An informer lists until it has listed, and watches on from where it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import config_map
from tiphys.api import core_v1
from tiphys.client import informer as module
from tiphys.client.client import Unreachable
from tiphys.client.informer import Informer
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import errors


class Server:
    """Answers lists and watches with what it is given, in turn; the last one for ever."""

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        self._lists = lists
        self._watches = watches
        self.asked: list[str] = []

    async def list(self, kind: type, **how: Any) -> Any:
        self.asked.append(f"list {how['token']}".strip())
        answer = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        if isinstance(answer, BaseException):
            raise answer
        names, token = answer
        items = [config_map(name) for name in names]
        return SimpleNamespace(items=items, token=token, revision="7")

    async def watch(self, kind: type, revision: str, **_: Any) -> AsyncIterator[Any]:
        self.asked.append(f"watch {revision}")
        if not self._watches:
            await asyncio.Event().wait()
        for event in self._watches.pop(0):
            if isinstance(event, BaseException):
                raise event
            yield event


def event(kind: str, name: str, revision: str) -> Any:
    obj = config_map(name)
    obj.metadata.resource_version = revision
    return SimpleNamespace(kind=kind, obj=obj)


@pytest.fixture
async def begin(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.0)
    tasks = TaskGroup("informer")

    def made(lists: list[Any], *watches: list[Any]) -> tuple[Server, Informer[core_v1.ConfigMap]]:
        server = Server(lists, list(watches))
        informer: Informer[core_v1.ConfigMap] = Informer(server, core_v1.ConfigMap)  # type: ignore[arg-type]
        tasks.start(informer.run(), "run")
        return server, informer

    yield made
    await tasks.stop()


async def asked(server: Server, count: int) -> list[str]:
    async with asyncio.timeout(10):
        while len(server.asked) < count:  # noqa: ASYNC110 - a list that a task fills
            await asyncio.sleep(0)
    return server.asked


GOOD = (["a"], "")


async def test_a_list_that_fails_is_made_again(
    begin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server, informer = begin([errors.internal("x"), Unreachable("x"), GOOD])
    assert await asked(server, 4) == ["list", "list", "list", "watch 7"]
    assert informer.synced.is_set() and [obj.metadata.name for obj in informer] == ["a"]
    assert caplog.text.count("Watching ConfigMap failed: ") == 1, "a server may be away for a while"


async def test_a_list_in_pages_is_one(begin: Any) -> None:
    server, informer = begin([(["a"], "t1"), (["b"], "t2"), (["c"], "")])
    assert (await asked(server, 4))[:3] == ["list", "list t1", "list t2"]
    assert sorted(obj.metadata.name for obj in informer) == ["a", "b", "c"]


async def test_a_watch_goes_on_from_where_it_was(begin: Any) -> None:
    server, informer = begin(
        [GOOD],
        [event("ADDED", "b", "8"), event("BOOKMARK", "", "9"), Unreachable("x")],
        [event("DELETED", "a", "10")],
    )
    assert (await asked(server, 4))[1:] == ["watch 7", "watch 9", "watch 10"]
    assert [obj.metadata.name for obj in informer] == ["b"]


@pytest.mark.parametrize(
    ("error", "then"),
    [(errors.gone("x"), "list"), (errors.internal("x"), "watch 8"), (Unreachable("x"), "watch 8")],
)
async def test_only_what_is_no_longer_kept_is_listed_again(
    begin: Any, error: Exception, then: str
) -> None:
    server, _ = begin([GOOD], [event("ADDED", "b", "8"), error])
    assert (await asked(server, 3))[2] == then


async def test_pauses_grow_until_a_watch_ends_well(
    begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 1.0)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 3.0)
    monkeypatch.setattr(module.random, "uniform", lambda low, high: (low + high) / 2)
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def short(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
        await sleep(0)

    away = [Unreachable("x")]
    server, _ = begin([GOOD], away, away, away, [], away)
    with monkeypatch.context() as patched:
        patched.setattr(module.asyncio, "sleep", short)
        async with asyncio.timeout(10):
            while len(pauses) < 5:
                await sleep(0)
    assert pauses[:5] == [1.0, 2.0, 3.0, 1.0, 2.0] and server.asked[0] == "list"


async def test_what_a_later_list_lacks_is_gone(begin: Any) -> None:
    server, informer = begin([(["a", "b"], ""), (["b"], "")], [errors.gone("x")])
    await asked(server, 4)
    assert [obj.metadata.name for obj in informer] == ["b"]


# --- what was left alone is compacted ---


class Loop:
    """A loop whose time is set by hand; `later` are the seconds until each call, and the call."""

    def __init__(self) -> None:
        self.now = 100.0
        self.later: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.later.append((seconds, call))

    def passes(self) -> float:
        """Waits for the next call; returns for how long."""
        [(seconds, call)] = self.later
        self.later.clear()
        self.now += seconds
        call()
        return seconds


class Settling:
    """An informer that nobody runs, and the names of what it has compacted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = Loop()
        self.compacted: list[str] = []
        monkeypatch.setattr(module, "_SETTLED", 10.0)
        monkeypatch.setattr(module.asyncio, "get_running_loop", lambda: self.loop)
        monkeypatch.setattr(module, "compact", lambda obj: self.compacted.append(obj.metadata.name))
        self.informer: Informer[core_v1.ConfigMap] = Informer(None, core_v1.ConfigMap)  # type: ignore[arg-type]

    def put(self, name: str, revision: str) -> None:
        obj = config_map(name)
        obj.metadata.resource_version = revision
        self.informer.note_written(obj)


@pytest.fixture
def settling(monkeypatch: pytest.MonkeyPatch) -> Settling:
    return Settling(monkeypatch)


def test_an_object_is_compacted_once_it_was_left_alone(settling: Settling) -> None:
    settling.put("a", "1")
    settling.loop.now += 4
    settling.put("b", "2")
    settling.loop.now += 4
    settling.put("a", "3")  # it begins again
    settling.loop.now -= 8
    assert settling.loop.passes() == 10 and settling.compacted == []
    assert settling.loop.passes() == 4 and settling.compacted == ["b"]
    assert settling.loop.passes() == 4 and settling.compacted == ["b", "a"]
    assert not settling.loop.later
    settling.put("c", "4")
    assert settling.loop.passes() == 10 and settling.compacted[-1] == "c"


def test_what_is_gone_by_then_is_not_compacted(settling: Settling) -> None:
    settling.put("a", "1")
    settling.informer._remove(config_map("a"))
    settling.informer._remove(config_map("a"))
    settling.loop.passes()
    assert settling.compacted == [] and not settling.loop.later


def test_so_many_are_compacted_in_one_turn(
    settling: Settling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    monkeypatch.setattr(module, "_BETWEEN_TURNS", 0.5)
    for number in range(5):
        settling.put(f"c{number}", "1")
    turns = []
    while settling.loop.later:
        seconds = settling.loop.passes()
        turns.append((seconds, len(settling.compacted)))
    assert turns == [(10, 2), (0.5, 4), (0.5, 5)]


def test_a_write_that_the_watch_has_overtaken_changes_nothing(settling: Settling) -> None:
    seen: list[str] = []
    settling.informer.on_change(
        lambda old, new: seen.append((new or old).metadata.resource_version)
    )  # type: ignore[union-attr]
    for revision in ("5", "4", "5", "6"):
        settling.put("a", revision)
    assert seen == ["5", "6"]

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

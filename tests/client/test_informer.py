"""Copies of what a server holds: that they follow it, and find back to it after anything was
missed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.builders import config_map
from tiphys.api import core_v1
from tiphys.client.client import Unreachable
from tiphys.client.informer import Informer, Informers, key_of
from tiphys.testing import LocalCluster

Seen = list[tuple[str, str]]


def changes_of(informer: Informer[core_v1.ConfigMap]) -> Seen:
    """What handlers are told from now on: what happened, and the name of the object."""
    seen: Seen = []

    def note(old: core_v1.ConfigMap | None, new: core_v1.ConfigMap | None) -> None:
        name = (new or old).metadata.name  # type: ignore[union-attr]
        if old is not None and new is not None:
            seen.append(("changed", name))
        else:
            seen.append(("deleted" if old else "created", name))

    informer.on_change(note)
    return seen


def named(informer: Informer[core_v1.ConfigMap]) -> list[str]:
    return sorted(obj.metadata.name for obj in informer)


@contextlib.asynccontextmanager
async def running(informer: Informer[core_v1.ConfigMap]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(informer.run())
    yield
    task.cancel()
    await asyncio.wait((task,))


@pytest.fixture
def informer(server: LocalCluster) -> Iterator[Informer[core_v1.ConfigMap]]:
    """An informer that nobody runs yet, of the ConfigMaps in one namespace."""
    yield Informer(server.client, core_v1.ConfigMap, namespace="default", labels="kept=yes")


def kept(name: str, **data: str) -> core_v1.ConfigMap:
    made = config_map(name, **data)
    made.metadata.labels = {"kept": "yes"}
    return made


async def test_a_new_list_shows_what_was_written_before_it_was_asked_for(
    server: LocalCluster,
) -> None:
    informer = Informers(server.client, server.tasks).of(core_v1.ConfigMap)
    await informer.synced.wait()
    for number in range(20):
        await server.client.create(config_map(f"c{number}"))
        async with asyncio.timeout(10):
            await asyncio.gather(informer.relisted(), informer.relisted())
        assert informer.get(f"default/c{number}") is not None
    await server.client.delete(core_v1.ConfigMap, "c0", "default")
    await server.eventually(lambda: informer.get("default/c0") is None)  # and it watches on


async def test_handlers_learn_of_every_change_and_of_what_was_there(
    server: LocalCluster, informer: Informer[core_v1.ConfigMap]
) -> None:
    made = await server.client.create(kept("a"))
    async with running(informer):
        await informer.synced.wait()
        seen = changes_of(informer)
        made.data = {"x": "1"}
        made = await server.client.update(made)
        made.metadata.labels = {}  # it leaves the view
        await server.client.update(made)
        await server.client.create(config_map("other"))
        await server.client.create(kept("b"))
        await server.eventually(lambda: ("created", "b") in seen)
    assert seen == [("created", "a"), ("changed", "a"), ("deleted", "a"), ("created", "b")]
    assert named(informer) == ["b"]


async def test_a_broken_watch_goes_on_where_it_was(
    server: LocalCluster, informer: Informer[core_v1.ConfigMap]
) -> None:
    async with running(informer):
        await informer.synced.wait()
        seen = changes_of(informer)
        await server.client.create(kept("a"))
        await server.eventually(lambda: seen == [("created", "a")])
        await server.client.drop_connections()
        await server.client.create(kept("b"))
        await server.eventually(lambda: named(informer) == ["a", "b"])
    assert seen == [("created", "a"), ("created", "b")]


async def test_what_was_missed_beyond_the_history_comes_with_a_new_list(
    server: LocalCluster, informer: Informer[core_v1.ConfigMap]
) -> None:
    for name in ("changed", "deleted", "left-alone"):
        await server.client.create(kept(name))
    async with running(informer):
        await informer.synced.wait()
    seen = changes_of(informer)
    seen.clear()
    await server.client.update(kept("changed", x="1"))
    await server.client.delete(core_v1.ConfigMap, "deleted", "default")
    await server.client.create(kept("created"))
    store = server.server.store
    await store.compact(store.revision)
    async with running(informer):
        await server.eventually(lambda: len(seen) == 3)
    assert sorted(seen) == [("changed", "changed"), ("created", "created"), ("deleted", "deleted")]
    assert named(informer) == ["changed", "created", "left-alone"]


async def test_an_index_follows_every_change(
    server: LocalCluster, informer: Informer[core_v1.ConfigMap]
) -> None:
    informer.index("x", lambda obj: [obj.data["x"]] if "x" in obj.data else [])
    async with running(informer):
        await server.client.create(kept("a", x="1"))
        await server.client.create(kept("b", x="1"))
        await server.eventually(lambda: len(informer.by("x", "1")) == 2)
        await server.client.update(kept("a", x="2"))
        await server.eventually(lambda: informer.by("x", "2"))
        assert [key_of(obj) for obj in informer.by("x", "1")] == ["default/b"]
        await server.client.delete(core_v1.ConfigMap, "b", "default")
        await server.eventually(lambda: not informer.by("x", "1"))
        informer.index("name", lambda obj: [obj.metadata.name])
        assert [key_of(obj) for obj in informer.by("name", "a")] == ["default/a"]


async def test_an_own_write_can_be_seen_before_the_watch_brings_it(
    server: LocalCluster, informer: Informer[core_v1.ConfigMap]
) -> None:
    seen = changes_of(informer)
    made = await server.client.create(kept("a"))
    informer.note_written(made)
    assert informer.get("default/a") is made and made.metadata.managed_fields == []
    async with running(informer):
        await informer.synced.wait()
    assert seen == [("created", "a")], "the same version again is no change"


async def test_an_own_write_that_the_watch_has_overtaken_changes_nothing(
    server: LocalCluster, informer: Informer[core_v1.ConfigMap]
) -> None:
    first = await server.client.create(kept("overtaken", value="1"))
    second = await server.client.patch(
        core_v1.ConfigMap, "overtaken", {"data": {"value": "2"}}, "default"
    )
    informer.note_written(second)
    informer.note_written(first)  # its answer came late
    (shown,) = informer
    assert shown.data == {"value": "2"}


async def test_a_handler_that_fails_keeps_nothing_from_the_others(
    server: LocalCluster, informer: Informer[core_v1.ConfigMap]
) -> None:
    def fail(old: object, new: object) -> None:
        raise RuntimeError("meant")

    informer.on_change(fail)
    seen = changes_of(informer)
    await server.client.create(kept("a"))
    async with running(informer):
        await informer.synced.wait()
    assert seen == [("created", "a")]


async def test_one_informer_serves_all_who_ask_for_a_kind(server: LocalCluster) -> None:
    informers = Informers(server.client, server.tasks)
    assert informers.existing(core_v1.Namespace) is None
    assert informers.of(core_v1.Namespace) is informers.of(core_v1.Namespace)
    await informers.synced()
    made = informers.existing(core_v1.Namespace)
    assert made is not None and informers.held == len(made) > 0
    assert made.get("default") is not None, "what has no namespace goes by its name"


async def test_an_informer_gives_up_a_watch_that_falls_silent(
    server: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiphys.client.transport._SILENCE", 0.05)
    await server.client.create(config_map("a"))
    listed = await server.client.list(core_v1.ConfigMap)
    with pytest.raises(Unreachable):
        async for event in server.client.watch(core_v1.ConfigMap, revision=listed.revision):
            raise AssertionError(event)
    informer = Informers(server.client, server.tasks).of(core_v1.ConfigMap)
    await server.client.create(config_map("b"))
    await server.eventually(lambda: informer.get("default/b"))

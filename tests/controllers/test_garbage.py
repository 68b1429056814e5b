"""What the collector follows, and how it judges owners, on a server of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.builders import config_map
from tests.controllers.bench import Bench
from tiphys.api import core_v1
from tiphys.api.apiextensions_v1 import (
    CustomResourceDefinition,
    CustomResourceDefinitionCondition,
    CustomResourceDefinitionVersion,
)
from tiphys.api.catalog import RESOURCES, resource_of
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.controllers import garbage
from tiphys.controllers.garbage import GarbageCollector, is_collected, rows_of
from tiphys.controllers.ownership import OwnerState
from tiphys.controllers.shell import Context
from tiphys.testing import LocalCluster


def definition(established: str, **served: bool) -> CustomResourceDefinition:
    made = CustomResourceDefinition()
    made.spec.group, made.spec.scope = "example.com", "Namespaced"
    made.spec.versions = [
        CustomResourceDefinitionVersion(name=name, served=value) for name, value in served.items()
    ]
    made.status.accepted_names.plural, made.status.accepted_names.kind = "tabs", "Tab"
    made.status.conditions = [
        CustomResourceDefinitionCondition(type="Established", status=established)
    ]
    return made


def test_a_custom_resource_is_followed_while_it_is_served() -> None:
    rows = rows_of(definition("True", v1=True, v2=False, v3=True))
    assert [(row.version, row.plural, row.namespaced) for row in rows] == [
        ("v1", "tabs", True),
        ("v3", "tabs", True),
    ]
    assert rows_of(definition("False", v1=True)) == []


def test_every_kind_is_followed_once_and_events_are_not() -> None:
    followed = [resource.group_resource for resource in RESOURCES if is_collected(resource)]
    assert len(followed) == len(set(followed))
    assert {"pods", "deployments.apps", "secrets"} <= set(followed)
    assert not {"events", "events.events.k8s.io"} & set(followed)


@pytest.fixture
async def collector(server: LocalCluster) -> AsyncIterator[GarbageCollector]:
    """A collector that follows nothing: its graph is what a test puts into it."""
    recorder = EventRecorder(server.client, "test")
    context = Context(server.client, Informers(server.client, server.tasks), recorder, server.tasks)
    made = GarbageCollector(context)
    made.watch()
    yield made


def owner(name: str, uid: str, kind: str = "ConfigMap") -> OwnerReference:
    return OwnerReference(api_version="v1", kind=kind, name=name, uid=uid)


async def test_an_owner_is_asked_for_before_it_counts_as_gone(
    server: LocalCluster, collector: GarbageCollector
) -> None:
    made = await server.client.create(config_map("o"))
    standing, earlier = owner("o", made.metadata.uid), owner("o", "earlier")
    states = await collector._states([standing, earlier, owner("never", "none")], "default")
    assert list(states.values()) == [OwnerState.SOLID, OwnerState.DANGLING, OwnerState.DANGLING]


async def test_nothing_is_deleted_on_a_guess(collector: GarbageCollector) -> None:
    unknown = owner("x", "x", kind="Unheard")
    assert await collector._state(unknown, "default") is OwnerState.SOLID


def seen(**fields: object) -> Iterator[ObjectMeta]:
    meta = ObjectMeta(name="o", namespace="default", uid="uid")
    for name, value in fields.items():
        setattr(meta, name, value)
    yield meta


@pytest.mark.parametrize(
    ("fields", "namespace", "state"),
    [
        ({}, "default", OwnerState.SOLID),
        ({}, "other", OwnerState.DANGLING),
        (
            {"deletion_timestamp": "x", "finalizers": ["foregroundDeletion"]},
            "default",
            OwnerState.WAITING,
        ),
        ({"deletion_timestamp": "x", "finalizers": ["other"]}, "default", OwnerState.SOLID),
        ({"finalizers": ["foregroundDeletion"]}, "default", OwnerState.SOLID),
    ],
)
async def test_what_is_in_the_graph_is_not_asked_for(
    collector: GarbageCollector, fields: dict[str, object], namespace: str, state: OwnerState
) -> None:
    [meta] = seen(**fields)
    collector.graph.put(resource_of(core_v1.ConfigMap), meta)
    assert await collector._state(owner("o", "uid"), namespace) is state


async def test_an_owner_without_a_namespace_is_one_everywhere(collector: GarbageCollector) -> None:
    meta = ObjectMeta(name="n", uid="n")
    collector.graph.put(resource_of(core_v1.Node), meta)
    assert await collector._state(owner("n", "n", kind="Node"), "any") is OwnerState.SOLID


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def gc(bench: Bench) -> GarbageCollector:
    """A collector that is told of what it has to know by hand."""
    made = bench.start(GarbageCollector)
    made._informers, made._own = [], []
    return made


async def show(bench: Bench, gc: GarbageCollector, *names: str) -> dict[str, str]:
    """Has the collector see config maps as they are. Returns their uids."""
    handler = gc._objects_changed(resource_of(core_v1.ConfigMap))
    uids = {}
    for name in names:
        found = await bench.get(core_v1.ConfigMap, name)
        assert found is not None
        handler(None, found)
        uids[name] = found.metadata.uid
    return uids


async def owned(
    bench: Bench, name: str, *owners: core_v1.ConfigMap, block: bool = False, **meta: Any
) -> core_v1.ConfigMap:
    made = config_map(name)
    made.metadata.owner_references = [
        OwnerReference(
            api_version="v1",
            kind="ConfigMap",
            name=one.metadata.name,
            uid=one.metadata.uid,
            block_owner_deletion=block,
        )
        for one in owners
    ]
    for field, value in meta.items():
        setattr(made.metadata, field, value)
    return await bench.add(made)


async def owners_of(bench: Bench, name: str) -> list[str] | None:
    """The names of the owners, None when the object is gone."""
    found = await bench.get(core_v1.ConfigMap, name)
    if found is None:
        return None
    return [one.name for one in found.metadata.owner_references]


@together
async def test_what_nobody_owns_any_more_goes_and_what_is_owned_stays(
    bench: Bench, gc: GarbageCollector
) -> None:
    first, second = await bench.add(config_map("first")), await bench.add(config_map("second"))
    await owned(bench, "both", first, second)
    await owned(bench, "one", first)
    uids = await show(bench, gc, "first", "second", "both", "one")
    assert await gc.reconcile(uids["both"]) is None
    assert await owners_of(bench, "both") == ["first", "second"]
    await bench.remove(first)
    gc._objects_changed(resource_of(core_v1.ConfigMap))(first, None)
    assert {uids["both"], uids["one"]} <= set(await everything_queued(gc))
    for name in ("both", "one"):
        await gc.reconcile(uids[name])
    assert await owners_of(bench, "both") == ["second"] and await owners_of(bench, "one") is None
    assert await gc.reconcile("unheard") is None


async def everything_queued(gc: GarbageCollector) -> list[str]:
    keys = []
    while len(gc.queue):
        keys.append(await gc.queue.get())
        gc.queue.done(keys[-1])
    return keys


@together
async def test_an_owner_that_was_not_seen_is_waited_for_once(
    bench: Bench, gc: GarbageCollector
) -> None:
    first = await bench.add(config_map("first"))
    await owned(bench, "one", first)
    uids = await show(bench, gc, "one")
    assert await gc.reconcile(uids["one"]) == 0.2
    assert await gc.reconcile(uids["one"]) is None
    assert await owners_of(bench, "one") == ["first"], "the server has it"


@together
async def test_an_owner_that_is_gone_is_remembered(bench: Bench, gc: GarbageCollector) -> None:
    first = await bench.add(config_map("first"))
    await owned(bench, "one", first)
    await bench.remove(first)
    uids = await show(bench, gc, "one")
    assert await gc.reconcile(uids["one"]) == 0.2
    await gc.reconcile(uids["one"])
    assert await owners_of(bench, "one") is None and first.metadata.uid in gc._absent
    again = await owned(bench, "two", first)
    await show(bench, gc, "two")
    assert await gc.reconcile(again.metadata.uid) is None, "nobody is waited for"
    assert await owners_of(bench, "two") is None


def test_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_REMEMBERED", 2)
    made = GarbageCollector.__new__(GarbageCollector)
    made._absent = {}
    for uid in "abc":
        made._note_absent(uid)
    assert list(made._absent) == ["b", "c"]


@together
async def test_orphans_are_freed_before_their_owner_goes(
    bench: Bench, gc: GarbageCollector
) -> None:
    first = await bench.add(config_map("first"))
    other = await bench.add(config_map("other"))
    await owned(bench, "one", first)
    await owned(bench, "both", first, other)
    await bench.remove(first, propagation="Orphan")
    uids = await show(bench, gc, "first", "other", "one", "both")
    await gc.reconcile(uids["first"])
    assert await owners_of(bench, "one") == [] and await owners_of(bench, "both") == ["other"]
    assert await owners_of(bench, "first") is None


@together
async def test_in_the_foreground_what_blocks_goes_first(bench: Bench, gc: GarbageCollector) -> None:
    first = await bench.add(config_map("first"))
    await owned(bench, "one", first, block=True, finalizers=["a.b/c"])
    await bench.remove(first, propagation="Foreground")
    uids = await show(bench, gc, "first", "one")
    await everything_queued(gc)
    await gc.reconcile(uids["first"])
    assert await everything_queued(gc) == [uids["one"]]
    assert await owners_of(bench, "first") == [], "it waits for its dependent"
    await gc.reconcile(uids["one"])
    one = await bench.get(core_v1.ConfigMap, "one")
    assert one is not None and one.metadata.deletion_timestamp
    await show(bench, gc, "one")
    await everything_queued(gc)
    await gc.reconcile(uids["first"])
    assert await everything_queued(gc) == [], "its deletion has begun"
    await bench.change(one, metadata={"finalizers": None})
    gc._objects_changed(resource_of(core_v1.ConfigMap))(one, None)
    await gc.reconcile(uids["first"])
    assert await owners_of(bench, "first") is None


@together
async def test_what_has_dependents_of_its_own_goes_in_the_foreground_and_no_circle_holds(
    bench: Bench, gc: GarbageCollector
) -> None:
    first = await bench.add(config_map("first"))
    middle = await owned(bench, "middle", first, block=True)
    await owned(bench, "last", middle, block=True)
    await bench.remove(first, propagation="Foreground")
    uids = await show(bench, gc, "first", "middle", "last")
    await gc.reconcile(uids["middle"])
    found = await bench.get(core_v1.ConfigMap, "middle")
    assert found is not None and found.metadata.finalizers == ["foregroundDeletion"]
    assert [one.block_owner_deletion for one in found.metadata.owner_references] == [True]
    gc.graph.nodes[uids["last"]].deleting = True
    gc.graph.nodes[uids["last"]].finalizers = ["foregroundDeletion"]
    await gc._unblock(gc.graph.nodes[uids["middle"]], found.metadata)
    found = await bench.get(core_v1.ConfigMap, "middle")
    assert found is not None
    assert [one.block_owner_deletion for one in found.metadata.owner_references] == [False]


@pytest.mark.parametrize(
    ("finalizers", "left"),
    [(["orphan", "a.b/c"], ["a.b/c"]), (["a.b/c"], ["a.b/c"])],
)
@together
async def test_only_the_finalizer_that_is_meant_goes(
    bench: Bench, gc: GarbageCollector, finalizers: list[str], left: list[str]
) -> None:
    made = config_map("o")
    made.metadata.finalizers = finalizers
    await bench.add(made)
    uids = await show(bench, gc, "o")
    await gc._drop_finalizer(gc.graph.nodes[uids["o"]], "orphan")
    found = await bench.get(core_v1.ConfigMap, "o")
    assert found is not None and found.metadata.finalizers == left


@together
async def test_one_that_was_made_anew_meanwhile_is_left_alone(
    bench: Bench, gc: GarbageCollector
) -> None:
    first = await bench.add(config_map("first"))
    one = await owned(bench, "one", first)
    uids = await show(bench, gc, "one")
    await bench.remove(one)
    await owned(bench, "one", first)
    await bench.remove(first)
    node = gc.graph.nodes[uids["one"]]
    await gc._judge(node)
    await gc._drop_owners(node, {first.metadata.uid})
    assert await owners_of(bench, "one") == ["first"]


@together
async def test_a_definition_is_followed_as_long_as_it_is_served(
    bench: Bench, gc: GarbageCollector
) -> None:
    served = definition("True", v1=True)
    served.metadata.name = "tabs.example.com"
    gc._definition_changed(None, served)
    first = gc._custom["tabs.example.com"]
    assert ("example.com/v1", "Tab") in gc._kinds
    gc._definition_changed(served, served)
    assert gc._custom["tabs.example.com"] is first, "nothing has changed"
    first.informer._objects["x"] = core_v1.ConfigMap(metadata=ObjectMeta(name="x", uid="u"))  # type: ignore[assignment]
    owner_of = ObjectMeta(name="d", uid="d", owner_references=[owner("x", "u")])
    gc.graph.put(resource_of(core_v1.ConfigMap), ObjectMeta(name="x", uid="u"))
    gc.graph.put(resource_of(core_v1.ConfigMap), owner_of)
    gc._definition_changed(served, None)
    assert gc._custom == {} and ("example.com/v1", "Tab") not in gc._kinds
    assert first.task.cancelling() and await everything_queued(gc) == ["d"]

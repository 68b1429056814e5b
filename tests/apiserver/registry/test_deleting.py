"""Deletion: what stays, what goes, and what refuses to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.apiserver.registry.builders import created, registry, write_of
from tests.builders import config_map, pod
from tiphys.api import batch_v1, core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import DeleteOptions, Preconditions
from tiphys.apiserver.registry.writes import Write
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import EVERYTHING, parse_labels
from tiphys.store.cache import Filter
from tiphys.store.engine import Change, Listener, Snapshot
from tiphys.store.engine import Write as EngineWrite
from tiphys.store.memory import MemoryEngine

MAPS = resource_of(core_v1.ConfigMap)


def job() -> batch_v1.Job:
    made = batch_v1.Job()
    made.metadata.name = "j"
    made.metadata.namespace = "default"
    made.spec.template.spec.containers = [core_v1.Container(name="c", image="i")]
    made.spec.template.spec.restart_policy = "Never"
    return made


@pytest.mark.parametrize(
    ("has", "options", "left"),
    [
        ([], {}, []),
        (["a.b/c"], {}, ["a.b/c"]),
        ([], {"propagation_policy": "Orphan"}, ["orphan"]),
        ([], {"propagation_policy": "Foreground"}, ["foregroundDeletion"]),
        (["orphan"], {"propagation_policy": "Background"}, []),
        (["foregroundDeletion"], {"propagation_policy": "Orphan"}, ["orphan"]),
        ([], {"orphan_dependents": True}, ["orphan"]),
        (["orphan"], {"orphan_dependents": False}, []),
        (["orphan"], {}, ["orphan"]),
        (["orphan"], {"orphan_dependents": True, "propagation_policy": "Background"}, []),
    ],
)
async def test_the_propagation_policy_decides_on_the_finalizers(
    has: list[str], options: dict[str, Any], left: list[str]
) -> None:
    async with registry() as objects:
        obj = config_map()
        obj.metadata.finalizers = has
        stored = await created(objects, obj)
        deleted = await objects.delete(write_of(stored), DeleteOptions(**options))
        assert deleted.gone == (not left)
        if left:
            meta = decode(deleted.entry.data, core_v1.ConfigMap).metadata
            assert meta.finalizers == left
            assert meta.deletion_timestamp


async def test_a_job_leaves_its_pods_unless_it_is_told_otherwise() -> None:
    async with registry() as objects:
        stored = await created(objects, job())
        deleted = await objects.delete(write_of(stored), DeleteOptions())
        assert decode(deleted.entry.data, batch_v1.Job).metadata.finalizers == ["orphan"]
    async with registry() as objects:
        stored = await created(objects, job())
        background = DeleteOptions(propagation_policy="Background")
        assert (await objects.delete(write_of(stored), background)).gone


@pytest.mark.parametrize("wrong", ["uid", "resource_version"])
async def test_a_precondition_that_does_not_hold_refuses_the_deletion(wrong: str) -> None:
    async with registry() as objects:
        stored = await created(objects, config_map())
        options = DeleteOptions(preconditions=Preconditions(**{wrong: "123"}))
        with pytest.raises(StatusError, match="in the precondition") as refused:
            await objects.delete(write_of(stored), options)
        assert refused.value.reason == "Conflict"
        meta = stored.metadata
        right = Preconditions(uid=meta.uid, resource_version=meta.resource_version)
        assert (await objects.delete(write_of(stored), DeleteOptions(preconditions=right))).gone


async def test_a_dry_run_deletes_nothing() -> None:
    async with registry() as objects:
        stored = await created(objects, config_map())
        await objects.delete(write_of(stored, dry_run=True), DeleteOptions())
        await objects.delete(write_of(stored), DeleteOptions(dry_run=["All"]))
        assert objects.find(core_v1.ConfigMap, "default", "c") is not None


async def test_a_pod_that_is_being_deleted_may_only_go_sooner() -> None:
    async with registry() as objects:
        obj = pod(nodeName="n")
        stored = await created(objects, obj)
        seconds = []
        for grace in (30, 40, 10):
            options = DeleteOptions(grace_period_seconds=grace)
            deleted = await objects.delete(write_of(stored), options)
            meta = decode(deleted.entry.data, core_v1.Pod).metadata
            seconds.append(meta.deletion_grace_period_seconds)
        assert seconds == [30, 30, 10]
        now = DeleteOptions(grace_period_seconds=0)
        assert (await objects.delete(write_of(stored), now)).gone


async def test_a_collection_is_what_the_view_shows() -> None:
    async with registry() as objects:
        for name, label in (("a", "x"), ("b", "y"), ("c", "x")):
            obj = config_map(name)
            obj.metadata.labels = {"l": label}
            await created(objects, obj)
        view = Filter(f"{MAPS.prefix}default/", parse_labels("l=x"))
        gone = await objects.delete_collection(Write(MAPS, "default"), view, DeleteOptions())
        assert [entry.key.rpartition("/")[2] for entry in gone] == ["a", "c"]
        assert objects.find(core_v1.ConfigMap, "default", "b") is not None


async def test_what_is_not_there_cannot_be_deleted() -> None:
    async with registry() as objects:
        with pytest.raises(StatusError) as refused:
            await objects.delete(write_of(config_map()), DeleteOptions())
        assert refused.value.reason == "NotFound"


class Corrupted(MemoryEngine):
    """Has a value that is no object."""

    async def open(self, listener: Listener) -> Snapshot:
        await super().open(lambda changes: None)
        key = MAPS.key("default", "b")
        revision = await self.commit(EngineWrite(key, b"[]", 0))
        await super().open(listener)
        return Snapshot(revision, 0, [Change(revision, key, b"[]", 0)])


async def test_a_collection_with_what_cannot_be_read_is_not_deleted() -> None:
    async with registry(Corrupted()) as objects:
        await created(objects, config_map("a"))
        view = Filter(f"{MAPS.prefix}default/", EVERYTHING)
        with pytest.raises(StatusError) as refused:
            await objects.delete_collection(Write(MAPS, "default"), view, DeleteOptions())
        assert refused.value.reason == "StorageReadError"
        assert objects.find(core_v1.ConfigMap, "default", "a") is not None
        other = Filter(f"{MAPS.prefix}other/", EVERYTHING)
        assert await objects.delete_collection(Write(MAPS, "other"), other, DeleteOptions()) == []


async def test_to_delete_what_is_being_deleted_writes_nothing_unless_it_shortens() -> None:
    async with registry() as objects:
        obj = pod("a")
        obj.spec.node_name = "n"
        stored = await created(objects, obj)

        async def deleted(seconds: int) -> tuple[int, int | None]:
            options = DeleteOptions(grace_period_seconds=seconds)
            entry = (await objects.delete(write_of(stored), options)).entry
            meta = decode(entry.data, core_v1.Pod).metadata
            return entry.revision, meta.deletion_grace_period_seconds

        first, seconds = await deleted(30)
        assert seconds == 30
        assert await deleted(30) == (first, 30)
        assert await deleted(60) == (first, 30)
        later, seconds = await deleted(10)
        assert later > first and seconds == 10


async def test_what_cannot_be_read_is_removed_whatever_it_was() -> None:
    async with registry(Corrupted()) as objects:
        corrupt = Write(MAPS, "default", "b")
        await objects.delete_corrupt(replace(corrupt, dry_run=True))
        assert objects.cache(MAPS).corrupt
        await objects.delete_corrupt(corrupt)
        assert not objects.cache(MAPS).corrupt
        with pytest.raises(StatusError) as gone:
            await objects.delete_corrupt(corrupt)
        assert gone.value.reason == "NotFound"


async def test_what_can_be_read_is_not_removed_as_corrupt() -> None:
    async with registry() as objects:
        stored = await created(objects, config_map("a"))
        with pytest.raises(StatusError, match="exclusively used to delete corrupt") as refused:
            await objects.delete_corrupt(write_of(stored))
        assert refused.value.reason == "Invalid"
        assert objects.find(core_v1.ConfigMap, "default", "a") is not None


async def test_who_shows_it_is_being_deleted_has_another_generation() -> None:
    async with registry() as objects:
        obj = pod("a", nodeName="n")
        stored = await created(objects, obj)
        deleted = await objects.delete(write_of(stored), DeleteOptions(grace_period_seconds=5))
        assert decode(deleted.entry.data, core_v1.Pod).metadata.generation == 2
        held = config_map("c")
        held.metadata.finalizers = ["a.b/c"]
        deleted = await objects.delete(write_of(await created(objects, held)), DeleteOptions())
        meta = decode(deleted.entry.data, core_v1.ConfigMap).metadata
        assert (meta.generation, meta.deletion_grace_period_seconds) == (0, 0)

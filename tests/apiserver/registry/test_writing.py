"""Creation and change: versions, names, and what only the server says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.apiserver.registry.builders import created, registry, write_of
from tests.builders import config_map, service
from tiphys.api import core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import DeleteOptions, OwnerReference
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.registry.changes import Mutation, Replace
from tiphys.apiserver.registry.writes import Write
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.store import store
from tiphys.store.engine import StoreError

MAPS = resource_of(core_v1.ConfigMap)


def whole(new: Any, old: Any) -> Any:
    """A path that may change all of an object."""
    return new


async def replaced(change: Callable[[Any], None]) -> core_v1.ConfigMap:
    """A stored object after it was sent back with a change."""
    async with registry() as objects:
        stored = await created(objects, config_map(a="1"))
        change(stored)
        written = await objects.update(write_of(stored), Replace(stored, whole))
        assert not written.created
        return decode(written.entry.data, core_v1.ConfigMap)


async def test_what_only_the_server_says_is_not_taken_from_the_client() -> None:
    obj = config_map()
    obj.metadata.uid = "mine"
    obj.metadata.creation_timestamp = obj.metadata.deletion_timestamp = "2020-01-01T00:00:00Z"
    obj.metadata.deletion_grace_period_seconds = 3
    async with registry() as objects:
        meta = (await created(objects, obj)).metadata
    assert meta.uid not in ("", "mine")
    assert meta.creation_timestamp not in ("", "2020-01-01T00:00:00Z")
    assert (meta.deletion_timestamp, meta.deletion_grace_period_seconds) == (None, None)
    assert meta.resource_version not in ("", "0")


async def test_a_name_is_generated_and_a_given_one_stays() -> None:
    async with registry() as objects:
        obj = config_map("")
        obj.metadata.generate_name = "g-"
        assert (await created(objects, obj)).metadata.name.startswith("g-")
        named = config_map("named")
        named.metadata.generate_name = "g-"
        assert (await created(objects, named)).metadata.name == "named"


async def test_a_name_is_taken_once() -> None:
    async with registry() as objects:
        await created(objects, config_map())
        with pytest.raises(StatusError) as refused:
            await created(objects, config_map())
        assert refused.value.reason == "AlreadyExists"


async def test_a_new_object_has_no_version() -> None:
    obj = config_map()
    obj.metadata.resource_version = "5"
    async with registry() as objects:
        with pytest.raises(StatusError, match="resourceVersion should not be set"):
            await created(objects, obj)


async def test_a_dry_run_writes_nothing() -> None:
    async with registry() as objects:
        entry = await objects.create(Write(MAPS, "default", dry_run=True), config_map())
        assert decode(entry.data, core_v1.ConfigMap).metadata.name == "c"
        assert entry.revision == 0
        assert objects.find(core_v1.ConfigMap, "default", "c") is None


async def test_an_object_is_replaced_at_the_version_it_was_read() -> None:
    written = await replaced(lambda obj: obj.data.update(a="2"))
    assert written.data == {"a": "2"}


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("resource_version", "1000", "Conflict"),
        ("uid", "other", "Conflict"),
        ("name", "d", "BadRequest"),
    ],
)
async def test_another_version_or_identity_is_refused(
    attribute: str, value: str, reason: str
) -> None:
    async with registry() as objects:
        stored = await created(objects, config_map())
        write = write_of(stored)
        setattr(stored.metadata, attribute, value)
        with pytest.raises(StatusError) as refused:
            await objects.update(write, Replace(stored, whole))
        assert refused.value.reason in (reason, "Invalid")


async def test_a_change_that_changes_nothing_writes_nothing() -> None:
    async with registry() as objects:
        stored = await created(objects, config_map())
        before = objects.store.revision
        await objects.update(write_of(stored), Replace(stored, whole))
        assert objects.store.revision == before


async def test_a_mutation_is_made_of_the_object_as_it_is() -> None:
    def change(obj: core_v1.ConfigMap) -> core_v1.ConfigMap:
        obj.data["b"] = "2"
        return obj

    async with registry() as objects:
        stored = await created(objects, config_map(a="1"))
        await objects.update(write_of(stored), Mutation(change))
        found = objects.find(core_v1.ConfigMap, "default", "c")
        assert found is not None and found.data == {"a": "1", "b": "2"}


async def test_what_is_not_there_is_not_changed() -> None:
    async with registry() as objects:
        with pytest.raises(StatusError) as refused:
            await objects.update(write_of(config_map()), Mutation(lambda obj: obj))
        assert refused.value.reason == "NotFound"


async def test_an_update_that_is_a_dry_run_shows_what_would_be_there() -> None:
    async with registry() as objects:
        stored = await created(objects, config_map(a="1"))
        stored.data["a"] = "2"
        written = await objects.update(write_of(stored, dry_run=True), Replace(stored, whole))
        shown = decode(written.entry.data, core_v1.ConfigMap)
        assert shown.data == {"a": "2"}
        assert shown.metadata.resource_version == stored.metadata.resource_version
        found = objects.find(core_v1.ConfigMap, "default", "c")
        assert found is not None and found.data == {"a": "1"}


async def test_the_address_of_a_service_is_given_back_when_its_write_fails() -> None:
    async with registry() as objects:
        first = service("a")
        first.spec.cluster_ip = "10.96.0.77"
        objects.store.put = refuse  # type: ignore[method-assign]
        with pytest.raises(StatusError):
            await created(objects, first)
        del objects.store.put
        second = service("b")
        second.spec.cluster_ip = "10.96.0.77"
        assert (await created(objects, second)).spec.cluster_ip == "10.96.0.77"


async def refuse(*args: Any) -> Any:
    raise StoreError("no space")


def long_map(name: str, count: int) -> core_v1.ConfigMap:
    obj = config_map(name)
    obj.data = {f"key-{number}": "v" for number in range(count)}
    return obj


async def test_an_object_that_is_too_large_goes_without_its_managed_fields(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "MOST_BYTES", 2500)  # of some 1,800 without them, and 3,200 with
    async with registry() as objects:

        async def made(name: str, count: int) -> core_v1.ConfigMap:
            obj = long_map(name, count)
            entry = await objects.create(Write(MAPS, "default", manager="m"), obj)
            return decode(entry.data, core_v1.ConfigMap)

        small = await made("small", 10)
        large = await made("large", 100)
        assert small.metadata.managed_fields and not large.metadata.managed_fields
        small.data = large.data
        written = await objects.update(write_of(small, manager="m"), Replace(small, whole))
    changed = decode(written.entry.data, core_v1.ConfigMap)
    assert changed.data == large.data and not changed.metadata.managed_fields


async def test_what_is_too_large_for_the_store_says_so_as_etcd_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "MOST_BYTES", 1000)
    async with registry() as objects:
        with pytest.raises(StatusError) as refused:
            await created(objects, long_map("large", 100))
    status = refused.value.status
    assert (status.code, status.reason) == (500, "")
    assert status.message == "etcdserver: request is too large"


class Labelling(Base):
    """Labels what is written with the operation, and refuses maps with the key "bad"."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def mutate(self, attributes: Attributes) -> None:
        self.asked.append(attributes.operation)
        if attributes.obj is not None:
            attributes.obj.metadata.labels["last"] = attributes.operation

    async def validate(self, attributes: Attributes) -> None:
        if attributes.obj is not None and "bad" in attributes.obj.data:
            raise errors.forbidden("configmaps", attributes.name, "it is bad")


async def test_plugins_see_every_write_and_what_they_change_is_stored() -> None:
    plugin = Labelling()
    async with registry(plugins=[plugin]) as objects:
        stored = await created(objects, config_map("a"))
        assert stored.metadata.labels == {"last": "CREATE"}
        written = await objects.update(write_of(stored), Replace(stored, whole))
        changed = decode(written.entry.data, core_v1.ConfigMap)
        assert changed.metadata.labels == {"last": "UPDATE"}
        await objects.delete(write_of(stored), DeleteOptions())
    assert plugin.asked == ["CREATE", "UPDATE", "DELETE"]


@pytest.mark.parametrize("admitted", [True, False])
async def test_a_plugin_refuses_but_not_what_was_admitted_before(admitted: bool) -> None:
    async with registry(plugins=[Labelling()]) as objects:
        stored = await created(objects, config_map("a"))
        stored.data["bad"] = "1"
        change = Replace(stored, whole)
        if admitted:
            assert await objects.update(write_of(stored, admitted=True), change)
            return
        with pytest.raises(StatusError, match="it is bad"):
            await objects.update(write_of(stored), change)
        with pytest.raises(StatusError, match="it is bad"):
            await created(objects, config_map("b", bad="1"))


async def test_an_owner_that_is_named_twice_counts_once_after_an_update() -> None:
    def owned_twice(stored: core_v1.ConfigMap) -> None:
        owner = OwnerReference(api_version="v1", kind="Pod", name="p", uid="1")
        stored.metadata.owner_references = [owner, copy.deepcopy(owner)]

    assert len((await replaced(owned_twice)).metadata.owner_references) == 1

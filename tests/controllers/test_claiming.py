"""Adopting and releasing, on a server of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.builders import pod
from tiphys.api import apps_v1, core_v1
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.client.client import MERGE
from tiphys.client.informer import Informer
from tiphys.controllers.claiming import claim
from tiphys.controllers.pods import owner_reference
from tiphys.controllers.shell import owner_index
from tiphys.machinery.selectors import from_labels
from tiphys.testing import LocalCluster

LABELS = {"app": "web"}


def replica_set() -> apps_v1.ReplicaSet:
    made = apps_v1.ReplicaSet(metadata=ObjectMeta(name="web", namespace="default"))
    made.spec.selector = LabelSelector(match_labels=LABELS)
    made.spec.template.metadata.labels = LABELS
    made.spec.template.spec.containers = [core_v1.Container(name="c", image="i")]
    return made


@pytest.fixture
async def owner(server: LocalCluster) -> AsyncIterator[apps_v1.ReplicaSet]:
    """A set with a pod of its own that no longer matches, beside pods of nobody."""
    account = core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    await server.client.create(account)
    made = await server.client.create(replica_set())
    stray = pod("stray")
    stray.metadata.owner_references = [owner_reference(made)]
    stray.metadata.finalizers = ["example.org/held"]
    for each in (stray, pod("match", labels=LABELS), pod("other", labels={"app": "x"})):
        await server.client.create(each)
    yield made


async def claimed(server: LocalCluster, owner: apps_v1.ReplicaSet) -> list[str]:
    pods = Informer(server.client, core_v1.Pod, namespace="default")
    pods.index("owner", owner_index)
    server.tasks.start(pods.run(), "pods")
    await pods.synced.wait()
    selector = from_labels(LABELS)
    found = await claim(server.client, pods, owner, selector, finalizer="example.org/held")
    return [each.metadata.name for each in found]


async def owners_of(server: LocalCluster, name: str) -> tuple[list[str], list[str]]:
    meta = (await server.client.get(core_v1.Pod, name, "default")).metadata
    return [ref.uid for ref in meta.owner_references], meta.finalizers


async def test_what_matches_is_adopted_and_what_does_not_is_released(
    server: LocalCluster, owner: apps_v1.ReplicaSet
) -> None:
    assert await claimed(server, owner) == ["match"]
    assert await owners_of(server, "match") == ([owner.metadata.uid], ["example.org/held"])
    assert await owners_of(server, "stray") == ([], [])
    assert await owners_of(server, "other") == ([], [])


async def test_an_owner_that_the_server_does_not_know_adopts_nothing(
    server: LocalCluster, owner: apps_v1.ReplicaSet
) -> None:
    earlier = replica_set()
    earlier.metadata.uid = "earlier"
    assert await claimed(server, earlier) == []
    assert (await owners_of(server, "match"))[0] == []


async def test_an_owner_that_is_deleted_neither_adopts_nor_releases(
    server: LocalCluster, owner: apps_v1.ReplicaSet
) -> None:
    held = {"metadata": {"finalizers": ["example.org/held"]}}
    await server.client.patch(apps_v1.ReplicaSet, "web", held, "default", media=MERGE)
    await server.client.delete(apps_v1.ReplicaSet, "web", "default")
    assert await claimed(server, owner) == [], "the server knows what was not seen yet"
    going = await server.client.get(apps_v1.ReplicaSet, "web", "default")
    assert await claimed(server, going) == []
    assert (await owners_of(server, "match"))[0] == []

"""What the collector follows, and how it judges owners, on a server of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.builders import config_map
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

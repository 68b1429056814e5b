"""By which labels a pod without constraints is spread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.builders import pod
from tiphys.api import apps_v1, core_v1
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta, OwnerReference
from tiphys.client.informer import Informers
from tiphys.machinery.selectors import Selector
from tiphys.scheduler.default_selector import DefaultSelector
from tiphys.testing import LocalCluster

SelectorOf = Callable[[core_v1.Pod], Selector | None]


def owned_by(kind: str, name: str, controller: bool = True) -> core_v1.Pod:
    made = pod(labels={"app": "x", "tier": "t"})
    owner = OwnerReference(
        api_version="apps/v1", kind=kind, name=name, uid="u", controller=controller
    )
    made.metadata.owner_references = [owner]
    return made


@pytest.fixture
async def selector_of() -> AsyncIterator[SelectorOf]:
    async with LocalCluster() as cluster:
        for name, labels in (("x", {"app": "x"}), ("y", {"app": "y"}), ("all", {})):
            service = core_v1.Service(metadata=ObjectMeta(name=name, namespace="default"))
            service.spec.selector = labels
            service.spec.ports = [core_v1.ServicePort(port=80)]
            await cluster.client.create(service)
        replicas = apps_v1.ReplicaSet(metadata=ObjectMeta(name="r", namespace="default"))
        replicas.spec.selector = LabelSelector(match_labels={"tier": "t"})
        replicas.spec.template.metadata.labels = {"tier": "t"}
        replicas.spec.template.spec.containers = [core_v1.Container(name="c", image="i")]
        await cluster.client.create(replicas)
        informers = Informers(cluster.client, cluster.tasks)
        made = DefaultSelector(informers)
        await informers.synced()
        yield made.selector_of


async def test_services_and_the_controller_select(selector_of: SelectorOf) -> None:
    def requirements(one: core_v1.Pod) -> list[tuple[str, tuple[str, ...]]]:
        selector = selector_of(one)
        return [] if selector is None else [(r.key, r.values) for r in selector.requirements]

    by_service = ("app", ("x",))
    assert requirements(pod(labels={"app": "x"})) == [by_service]
    assert requirements(pod(labels={"app": "z"})) == []
    assert requirements(pod(namespace="other", labels={"app": "x"})) == []
    assert requirements(owned_by("ReplicaSet", "r")) == [by_service, ("tier", ("t",))]
    assert requirements(owned_by("ReplicaSet", "r", controller=False)) == [by_service]
    assert requirements(owned_by("ReplicaSet", "missing")) == [by_service]
    assert requirements(owned_by("StatefulSet", "r")) == [by_service]

"""An eviction asks the one disruption budget that covers the pod, against a real server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.api.base import encode, from_builtins
from tiphys.api.core_v1 import Pod, PodStatus, ServiceAccount
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.policy_v1 import Eviction, PodDisruptionBudget, PodDisruptionBudgetStatus
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


async def running(server: LocalCluster, **status: Any) -> Pod:
    """A pod on a node, labelled app=web."""
    account = ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    await server.client.create(account)
    created = await server.client.create(pod("p", nodeName="n", labels={"app": "web"}))
    created.status = from_builtins({**READY, **status}, PodStatus)
    return await server.client.update_status(created)


async def budget(server: LocalCluster, name: str, allowed: int, **spec: Any) -> None:
    made = from_builtins(
        {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}, **spec},
        },
        PodDisruptionBudget,
    )
    created = await server.client.create(made)
    generation = created.metadata.generation
    created.status = PodDisruptionBudgetStatus(
        observed_generation=generation, disruptions_allowed=allowed, desired_healthy=1
    )
    await server.client.update_status(created)


async def evict(server: LocalCluster) -> None:
    eviction = Eviction(metadata=ObjectMeta(name="p", namespace="default"))
    path = "/api/v1/namespaces/default/pods/p/eviction"
    await server.client.request("POST", path, encode(eviction))


async def test_a_budget_is_spent_by_one(server: LocalCluster) -> None:
    await running(server)
    await budget(server, "b", allowed=1)
    await evict(server)
    spent = await server.client.get(PodDisruptionBudget, "b", "default")
    assert spent.status.disruptions_allowed == 0 and "p" in spent.status.disrupted_pods
    going = await server.client.get(Pod, "p", "default")
    assert going.metadata.deletion_timestamp
    assert [c.type for c in going.status.conditions if c.status == "True"] == [
        "Ready",
        "DisruptionTarget",
    ]


async def test_a_budget_that_allows_nothing_keeps_its_pod(server: LocalCluster) -> None:
    await running(server)
    await budget(server, "b", allowed=0)
    with pytest.raises(StatusError) as refused:
        await evict(server)
    assert refused.value.code == 429
    assert not (await server.client.get(Pod, "p", "default")).metadata.deletion_timestamp


async def test_a_pod_of_two_budgets_cannot_be_evicted(server: LocalCluster) -> None:
    await running(server)
    await budget(server, "b", allowed=1)
    await budget(server, "c", allowed=1)
    with pytest.raises(StatusError, match="more than one PodDisruptionBudget"):
        await evict(server)


async def test_a_pod_that_is_not_ready_goes_for_nothing_where_the_policy_says_so(
    server: LocalCluster,
) -> None:
    await running(server, conditions=[])
    await budget(server, "b", allowed=0, unhealthyPodEvictionPolicy="AlwaysAllow")
    await evict(server)
    assert (await server.client.get(Pod, "p", "default")).metadata.deletion_timestamp

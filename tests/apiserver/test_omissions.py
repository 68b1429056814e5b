"""What nodes do not carry out is told to who asks for it."""

from __future__ import annotations

from typing import Any

from tests.apiserver.kit import SERVED, body_of, changed, spec, warnings_of
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing import LocalCluster

ROWS: list[tuple[str, Any, str]] = [
    (
        "pods",
        spec(securityContext={"seLinuxOptions": {"level": "s0"}}),
        "spec.securityContext.seLinuxOptions: ",
    ),
    (
        "deployments.apps",
        {"spec": {"template": {"spec": {"securityContext": {"seLinuxOptions": {"level": "s0"}}}}}},
        "spec.template.spec.securityContext.seLinuxOptions: is not carried out by nodes of Tiphys",
    ),
]


async def test_who_creates_such_an_object_is_warned(server: LocalCluster) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    for number, (kind, parts, starts) in enumerate(ROWS):
        body = changed(body_of(SERVED[kind], f"one-{number}"), parts)
        says = await warnings_of(server, "POST", SERVED[kind].path("default"), body)
        assert len(says) == 1 and says[0].startswith(starts), (parts, says)


async def test_policies_are_told_not_to_hold_on_hollow_nodes_where_there_are_any(
    cluster: LocalCluster,
) -> None:
    resource = SERVED["networkpolicies.networking.k8s.io"]
    says = await warnings_of(cluster, "POST", resource.path("default"), body_of(resource, "one"))
    assert says == ["network policies are not enforced on hollow nodes: their pods have no network"]


async def test_policies_of_a_cluster_without_hollow_nodes_are_taken_silently(
    server: LocalCluster,
) -> None:
    resource = SERVED["networkpolicies.networking.k8s.io"]
    assert (
        await warnings_of(server, "POST", resource.path("default"), body_of(resource, "one")) == []
    )

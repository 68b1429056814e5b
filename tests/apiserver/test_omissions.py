"""What nodes do not carry out is told to who asks for it."""

from __future__ import annotations

import json
from typing import Any

from tests.apiserver.test_resources import body_of
from tests.apiserver.test_validation import SERVED, whole
from tests.apiserver.test_warnings import container, spec, told
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing import LocalCluster

LOCAL = {"type": "Localhost", "localhostProfile": "p"}
RULES = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]


ROWS: list[tuple[str, Any, str]] = [
    (
        "pods",
        spec(securityContext={"seLinuxOptions": {"level": "s0"}}),
        "spec.securityContext.seLinuxOptions: ",
    ),
    (
        "pods",
        container(securityContext={"seccompProfile": LOCAL}),
        "spec.containers[0].securityContext.seccompProfile: Localhost",
    ),
    (
        "pods",
        container(securityContext={"appArmorProfile": {"type": "RuntimeDefault"}}),
        "spec.containers[0].securityContext.appArmorProfile",
    ),
    (
        "pods",
        container(restartPolicy="Always", restartPolicyRules=RULES),
        "spec.containers[0].restartPolicyRules: ",
    ),
    (
        "deployments.apps",
        {"spec": {"template": {"spec": {"securityContext": {"seLinuxOptions": {"level": "s0"}}}}}},
        "spec.template.spec.securityContext.seLinuxOptions: is not carried out by nodes of Tiphys",
    ),
    ("services", {"spec": {"trafficDistribution": "PreferClose"}}, "spec.trafficDistribution: "),
]


async def test_a_create_is_told(server: LocalCluster) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    for number, (kind, parts, starts) in enumerate(ROWS):
        body = whole(json.dumps(body_of(SERVED[kind], f"one-{number}")), parts)
        says = await told(server, "POST", SERVED[kind].path("default"), body)
        assert len(says) == 1 and says[0].startswith(starts), (parts, says)


async def test_policies_are_told_not_to_hold_on_hollow_nodes_where_there_are_any(
    cluster: LocalCluster,
) -> None:
    resource = SERVED["networkpolicies.networking.k8s.io"]
    says = await told(cluster, "POST", resource.path("default"), body_of(resource, "one"))
    assert says == ["network policies are not enforced on hollow nodes: their pods have no network"]


async def test_policies_of_a_cluster_without_hollow_nodes_are_taken_silently(
    server: LocalCluster,
) -> None:
    resource = SERVED["networkpolicies.networking.k8s.io"]
    assert await told(server, "POST", resource.path("default"), body_of(resource, "one")) == []

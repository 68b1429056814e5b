"""`tiphys policy explain`: what it says, and what scripts see of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings

from tests.builders import pod as build_pod
from tests.network.cluster import NAMESPACES, PODS, policies_of, policy_lists
from tests.network.policies import policy
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.cli.main import cli
from tiphys.network.policy.explain import open_ports
from tiphys.network.policy.model import read
from tiphys.network.policy.semantics import Connection, Semantics
from tiphys.testing import LocalCluster

FRONT = policy(
    "front-only",
    "default",
    podSelector={"matchLabels": {"app": "web"}},
    policyTypes=["Ingress"],
    ingress=[
        {"from": [{"podSelector": {"matchLabels": {"app": "front"}}}], "ports": [{"port": "http"}]}
    ],
)


@pytest.fixture
async def shop(server: LocalCluster) -> AsyncIterator[LocalCluster]:
    """web (isolated), front and db on node n1, and a pod of the node's network on n2."""
    account = core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    await server.client.create(account)
    await server.client.create(FRONT)
    ports = [{"name": "http", "containerPort": 8080}]
    rows: list[tuple[str, str, str, dict[str, Any]]] = [
        (
            "web",
            "10.0.0.1",
            "10.9.0.1",
            {"containers": [{"name": "c", "image": "i", "ports": ports}]},
        ),
        ("front", "10.0.0.2", "10.9.0.1", {}),
        ("db", "10.0.0.3", "10.9.0.1", {}),
        ("agent", "10.9.0.2", "10.9.0.2", {"hostNetwork": True}),
    ]
    for name, address, host, spec in rows:
        one = await server.client.create(
            build_pod(name, labels={"app": name}, nodeName=f"n-{host}", **spec)
        )
        one.status.phase, one.status.pod_ip, one.status.host_ip = "Running", address, host
        await server.client.update_status(one)
    yield server


async def explain(cluster: LocalCluster, *words: str) -> Result:
    told = ["policy", "explain", *words, "--kubeconfig", str(cluster.kubeconfig())]
    return await asyncio.to_thread(CliRunner().invoke, cli, told)


async def test_it_tells_all_about_a_pod(shop: LocalCluster) -> None:
    told = await explain(shop, "web")
    assert told.output.splitlines() == [
        "default/web at 10.0.0.1 on node n-10.9.0.1",
        "Ingress: isolated by default/front-only",
        "  allowed: from pods with app=front of namespace default at TCP http"
        " (default/front-only, ingress rule 1)",
        "  nothing else, but for its own node and itself",
        "Egress: open, no policy is about it",
    ]
    assert told.exit_code == 0
    assert (
        "has no address of its own: no policy is about it" in (await explain(shop, "agent")).output
    )


ANSWERS = [
    (
        ("web", "--from", "front", "--port", "8080"),
        0,
        "allowed by default/front-only (ingress rule 1)",
    ),
    (
        ("web", "--from", "front", "--port", "http"),
        0,
        "default/front to default/web at TCP 8080: allowed",
    ),
    (
        ("web", "--from", "front", "--port", "80"),
        1,
        "denied, isolated by default/front-only, none of whose rules allows it",
    ),
    (("web", "--from", "front"), 0, "allowed at TCP 8080"),
    (("web", "--from", "default/db"), 1, "denied at every port"),
    (("web", "--to", "192.0.2.1"), 0, "allowed at all ports"),
    (("web", "--from", "10.0.0.2"), 0, "default/front to default/web: allowed at TCP 8080"),
    (("web", "--from", "agent"), 1, "10.9.0.2 to default/web: denied"),
    (("web", "--from", "10.9.0.1"), 0, "a node and its pods always reach each other"),
    (("web", "--from", "web", "--port", "1"), 0, "a pod always reaches itself"),
    (("none", "--from", "web"), 2, "there is no pod default/none"),
    (("web", "--from", "front", "--port", "x"), 2, "neither a port nor the name"),
    (("web", "--port", "1"), 2, "--port goes with"),
]


async def test_its_exit_code_is_the_answer(shop: LocalCluster) -> None:
    for words, code, said in ANSWERS:
        told = await explain(shop, *words)
        assert told.exit_code == code and said in told.output, (words, told.output)


@settings(max_examples=30, deadline=None)
@given(policy_lists)
def test_open_ports_are_those_that_are_open(rows: Any) -> None:
    semantics = Semantics(map(read, policies_of(rows)), NAMESPACES)
    for source, target in ((PODS[0], PODS[3]), (PODS[4], PODS[0])):
        found = open_ports(semantics, source, target)
        for protocol in ("TCP", "UDP", "SCTP"):
            for port in (1, 79, 80, 81, 82, 7999, 8000, 9000, 9001, 65535):
                told = any(one.matches(protocol, port, None) for one in found)
                assert told == semantics.allows(Connection(source, target, protocol, port))

"""Attacks on network policies: leaving one's own behind, and keeping others' from being enforced."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders import pod as build_pod
from tests.network.cluster import table_of
from tests.network.node import HERE, Node
from tests.network.policies import facts, policy
from tests.network.sockets import Try, ip
from tiphys.network.policy.script import base, script
from tiphys.node.abilities import RuntimeAbilities
from tiphys.node.resources.admission import unfit
from tiphys.node.resources.sysctls import SysctlAllowlist

pytestmark = [pytest.mark.root, pytest.mark.needs("nft", "ip", "unshare")]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    made_node = Node()
    yield made_node
    made_node.close()


def test_a_pod_that_takes_anothers_address_sends_nothing(node: Node) -> None:
    """From x/b, as y/a, to x/a, which lets y/a in alone: neither to be let in nor to leave one's
    own policies behind."""
    target, thief, victim = HERE[0], HERE[1], HERE[2]
    peer = {"namespaceSelector": {"matchLabels": {"ns": "y"}}}
    node.enforce(
        table_of(
            [
                policy(
                    "p",
                    podSelector={"matchLabels": {"pod": "a"}},
                    policyTypes=["Ingress"],
                    ingress=[{"from": [peer]}],
                )
            ]
        )
    )
    right, wrong = (
        Try(node.pods[pod.address], target.address, "SCTP", 80) for pod in (victim, thief)
    )
    assert node.servers.reached({right, wrong}) == {right}
    ip("-n", node.pods[thief.address], "addr", "add", f"{victim.address}/32", "dev", "lo")
    ip(
        "-n",
        node.pods[thief.address],
        "route",
        "change",
        "default",
        "via",
        "10.0.255.1",
        "dev",
        "eth0",
        "onlink",
        "src",
        victim.address,
    )
    try:
        assert not node.servers.reached({wrong})
    finally:
        ip(
            "-n",
            node.pods[thief.address],
            "route",
            "change",
            "default",
            "via",
            "10.0.255.1",
            "dev",
            "eth0",
            "onlink",
        )
        ip("-n", node.pods[thief.address], "addr", "del", f"{victim.address}/32", "dev", "lo")


_NETWORKS = [f"10.{i >> 7 & 255}.{i << 1 & 255}.0/32" for i in range(1, 20000)]
_MANY_PORTS = [
    {"port": 2 * i + 1, "protocol": p} for i in range(3000) for p in ("TCP", "UDP", "SCTP")
]


@pytest.mark.parametrize(
    "rule",
    [
        {"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": _NETWORKS}}]},
        {"from": [{"ipBlock": {"cidr": cidr}} for cidr in _NETWORKS]},
        {
            "from": [{"ipBlock": {"cidr": cidr, "except": []}} for cidr in _NETWORKS[:300]],
            "ports": _MANY_PORTS,
        },
        {
            "from": [{"podSelector": {"matchLabels": {"n": str(i)}}} for i in range(300)],
            "ports": _MANY_PORTS,
        },
    ],
)
def test_a_policy_of_many_parts_does_not_keep_others_waiting(rule: Any) -> None:
    """nft is given a minute; what took longer would keep every policy of the node from being
    written."""
    began = time.monotonic()
    table = table_of([policy("p", ingress=[rule])], pods=[facts("web", "10.0.0.1")])
    text = base("t-policy") + script("t-policy", table.everything())
    done = subprocess.run(
        ["unshare", "-n", "nft", "-f", "-"], input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[:500]
    assert time.monotonic() - began < 10 and len(text) < 2_000_000


def test_no_text_of_a_policy_reaches_nft() -> None:
    """Names and labels are digested, networks and ports are numbers by then."""
    evil = "x; flush ruleset"
    selector = {"matchLabels": {evil: evil}}
    rule = {
        "from": [{"podSelector": selector, "namespaceSelector": selector}],
        "ports": [{"port": evil}],
    }
    one = policy(
        evil,
        "x",
        ingress=[rule],
        egress=[{"to": [{"podSelector": selector}]}],
        policyTypes=["Ingress", "Egress"],
    )
    assert "flush ruleset" not in script(
        "t-policy", table_of([one], pods=[facts("web", "10.0.0.1")]).everything()
    )


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        (
            {"os": {"name": "windows"}},
            "PodOSNotSupported",
            "Failed to admit pod as the OS field doesn't match node OS",
        ),
        (
            {
                "securityContext": {
                    "sysctls": [{"name": "net/ipv4/conf/eth0.1/forwarding", "value": "1"}]
                }
            },
            "SysctlForbidden",
            'forbidden sysctl: "net.ipv4.conf.eth0/1.forwarding" not allowlisted',
        ),
        (
            {
                "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "0"}]},
                "hostNetwork": True,
            },
            "SysctlForbidden",
            'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host Net enabled',
        ),
        (
            {
                "securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]},
                "hostIPC": True,
            },
            "SysctlForbidden",
            'forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host IPC enabled',
        ),
    ],
)
def test_a_node_refuses_what_reaches_beyond_the_pod(spec: Any, reason: str, message: str) -> None:
    node = RuntimeAbilities(), SysctlAllowlist()
    assert unfit(build_pod(**spec).spec, *node) == (reason, message)
    safe = [{"name": "net/ipv4/ip_unprivileged_port_start", "value": "0"}]
    assert unfit(build_pod(securityContext={"sysctls": safe}).spec, *node) is None

"""Nodes, endpoints and network policies: upstream's core, discovery and networking validation, both sides
of each rule, and what tables show of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import SERVED
from tests.apiserver.rules import STRATEGIES, built, fields, wrong_with, wrong_with_change
from tests.apiserver.tables import each_row
from tiphys.api.base import from_builtins

NODE = "nodes"
SLICE = "endpointslices.discovery.k8s.io"
ENDPOINTS = "endpoints"
POLICY = "networkpolicies.networking.k8s.io"


def taint(**parts: str) -> dict[str, Any]:
    return {"spec": {"taints": [{"key": "a", "effect": "NoSchedule", **parts}]}}


def ranges(*cidrs: str) -> dict[str, Any]:
    return {"spec": {"podCIDRs": list(cidrs)}}


def ready(*addresses: str, kind: str = "IPv4", **endpoint: Any) -> dict[str, Any]:
    return {"addressType": kind, "endpoints": [{"addresses": list(addresses), **endpoint}]}


def ports(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"ports": list(rows)}


def subset(address: str = "10.1.1.1", *ports: dict[str, Any], kind: str = "addresses") -> Any:
    return {"subsets": [{kind: [{"ip": address}], "ports": list(ports)}]}


def peer(**parts: Any) -> dict[str, Any]:
    return {"spec": {"ingress": [{"from": [parts]}]}}


def outgoing(**port: Any) -> dict[str, Any]:
    return {"spec": {"egress": [{"ports": [port]}]}}


BAD = {"matchLabels": {"a b": "c"}}
PEER = "spec.ingress[0].from[0]"
BLOCK = {"cidr": "10.0.0.0/8"}


@each_row(
    [
        (NODE, taint(), []),
        (NODE, taint(effect="NoExecute", value="b"), []),
        (NODE, taint(effect=""), ["metadata.taints[0].effect"]),
        (NODE, taint(key=""), ["metadata.taints[0].key"]),
        (NODE, taint(key="a b"), ["metadata.taints[0].key"]),
        (NODE, taint(value="b c"), ["metadata.taints[0].value"]),
        (NODE, ranges("10.0.0.0/24", "fd00::/64"), []),
        (NODE, ranges("10.0.0.0/24", "10.0.1.0/24"), ["spec.podCIDRs"]),
        (NODE, ranges("x"), ["spec.podCIDRs[0]"]),
        (NODE, {"status": {"capacity": {"cpu": "-1"}, "allocatable": {"cpu": "1"}}}, ["status.capacity[cpu]"]),
        (NODE, {"status": {"allocatable": {"cpu": "-1"}}}, ["status.allocatable[cpu]"]),
        # --- slices ---
        (SLICE, {"addressType": ""}, ["addressType"]),
        (SLICE, {"addressType": "IPX"}, ["addressType"]),
        (SLICE, ready("10.1.1.1"), []),
        (SLICE, ready("fd00::1", kind="IPv6"), []),
        (SLICE, ready("a.b", kind="FQDN"), []),
        (SLICE, ready(), ["endpoints[0].addresses"]),
        (SLICE, ready("fd00::1"), ["endpoints[0].addresses"]),
        (SLICE, ready("10.1.1.1", kind="IPv6"), ["endpoints[0].addresses"]),
        (SLICE, ready("10.1.1.1", "x"), ["endpoints[0].addresses[1]"]),
        (SLICE, ready("127.0.0.1"), ["endpoints[0].addresses[0]"]),
        (SLICE, ready("10.1.1.1", nodeName="N", hostname="H"), ["endpoints[0].nodeName", "endpoints[0].hostname"]),
        (SLICE, {"endpoints": [{"addresses": ["10.1.1.1"]}] * 1000}, []),
        (SLICE, {"endpoints": [{"addresses": ["10.1.1.1"]}] * 1001}, ["endpoints"]),
        (SLICE, ports({"name": "a", "port": 1}, {"port": 2, "protocol": "SCTP"}), []),
        (SLICE, ports({"port": 1}, {"port": 2}), ["ports[1].name"]),
        (SLICE, ports({"name": "A", "port": 1}), ["ports[0].name"]),
        (SLICE, ports({"port": 0}), ["ports[0].port"]),
        (SLICE, ports({"port": 1, "protocol": "ICMP"}), ["ports[0].protocol"]),
        (SLICE, ports({"port": 1, "appProtocol": "a b"}), ["ports[0].appProtocol"]),
        # --- endpoints ---
        (ENDPOINTS, subset("10.1.1.1", {"port": 80}), []),
        (ENDPOINTS, subset("10.1.1.1", {"port": 80}, {"port": 81, "name": "a"}), ["subsets[0].ports[0].name"]),
        (ENDPOINTS, subset("10.1.1.1", {"port": 80, "name": "A"}), ["subsets[0].ports[0].name"]),
        (ENDPOINTS, subset("10.1.1.1", {"port": 65536}), ["subsets[0].ports[0].port"]),
        (ENDPOINTS, subset("10.1.1.1", {"port": 1, "protocol": "x"}), ["subsets[0].ports[0].protocol"]),
        (ENDPOINTS, subset("10.1.1.1", {"port": 1, "appProtocol": "a b"}), ["subsets[0].ports[0].appProtocol"]),
        (ENDPOINTS, subset("x"), ["subsets[0].addresses[0].ip"]),
        (ENDPOINTS, subset("169.254.1.1", kind="notReadyAddresses"), ["subsets[0].notReadyAddresses[0].ip"]),
        # --- network policies ---
        (POLICY, peer(podSelector={}), []),
        (POLICY, peer(podSelector={}, namespaceSelector={}), []),
        (POLICY, peer(ipBlock=BLOCK), []),
        (POLICY, peer(), [PEER]),
        (POLICY, peer(ipBlock=BLOCK, podSelector={}), [PEER]),
        (POLICY, peer(ipBlock=BLOCK, namespaceSelector={}), [PEER]),
        (POLICY, peer(podSelector=BAD), [f"{PEER}.podSelector.matchLabels"]),
        (POLICY, peer(namespaceSelector=BAD), [f"{PEER}.namespaceSelector.matchLabels"]),
        (POLICY, peer(ipBlock={"cidr": "fd00::/8", "except": ["10.0.0.0/8"]}), [f"{PEER}.ipBlock.except[0]"]),
        (POLICY, {"spec": {"egress": [{"to": [{}]}]}}, ["spec.egress[0].to[0]"]),
        (POLICY, {"spec": {"podSelector": BAD}}, ["spec.podSelector.matchLabels"]),
        (POLICY, {"spec": {"policyTypes": ["Ingress", "Sideways"]}}, ["spec.policyTypes[1]"]),
        (POLICY, outgoing(port=65535), []),
        (POLICY, outgoing(port=65536), ["spec.egress[0].ports[0].port"]),
        (POLICY, outgoing(protocol="ICMP"), ["spec.egress[0].ports[0].protocol"]),
        (POLICY, {"spec": {"ingress": [{"ports": [{"port": 0}]}]}}, ["spec.ingress[0].ports[0].port"]),
    ],
)  # fmt: skip
def test_what_is_wrong(kind: str, parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(kind, parts)) == wrong


PROVIDED = {"spec": {"providerID": "a"}}


@pytest.mark.parametrize(
    ("kind", "before", "after", "wrong"),
    [
        (NODE, {}, ranges("10.0.0.0/24"), []),
        (NODE, ranges("10.0.0.0/24"), {"spec": {"podCIDRs": ["10.0.1.0/24"]}}, ["spec.podCIDRs"]),
        (NODE, ranges("10.0.0.0/24"), {"metadata": {"labels": {"a": "b"}}}, []),
        (NODE, {}, PROVIDED, []),
        (NODE, PROVIDED, {"spec": {"providerID": "b"}}, ["spec.providerID"]),
        (NODE, PROVIDED, {"spec": {"unschedulable": True}}, []),
        (SLICE, {}, {"addressType": "IPv6"}, ["addressType"]),
    ],
)
def test_what_may_change(
    kind: str, before: dict[str, Any], after: dict[str, Any], wrong: list[str]
) -> None:
    assert fields(wrong_with_change(kind, before, after)) == wrong


@pytest.mark.parametrize(
    ("spec", "after"),
    [
        ({}, ("", [])),
        ({"podCIDR": "10.0.0.0/24"}, ("10.0.0.0/24", ["10.0.0.0/24"])),
        ({"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}, ("10.0.0.0/24", ["10.0.0.0/24", "fd00::/64"])),
    ],
)
def test_the_range_of_a_node_has_two_names(spec: dict[str, Any], after: Any) -> None:
    made = built(SERVED[NODE], {"spec": spec})
    assert (made.spec.pod_cidr, made.spec.pod_cidrs) == after


def test_what_a_node_has_can_be_given() -> None:
    made = built(SERVED[NODE], {"status": {"capacity": {"cpu": "2"}}})
    assert made.status.allocatable == {"cpu": "2"}
    told = {"capacity": {"cpu": "2"}, "allocatable": {"cpu": "1"}}
    assert built(SERVED[NODE], {"status": told}).status.allocatable == {"cpu": "1"}


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, ["Ingress"]),
        ({"ingress": [{}]}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"egress": [{}], "policyTypes": ["Egress"]}, ["Egress"]),
    ],
)
def test_which_way_a_policy_is_about(spec: dict[str, Any], types: list[str]) -> None:
    assert built(SERVED[POLICY], {"spec": spec}).spec.policy_types == types


def test_ports_are_tcp() -> None:
    rule = {"ports": [{"port": 1}, {"port": 2, "protocol": "UDP"}]}
    spec = built(SERVED[POLICY], {"spec": {"ingress": [rule], "egress": [rule]}}).spec
    for one in (spec.ingress[0], spec.egress[0]):
        assert [port.protocol for port in one.ports] == ["TCP", "UDP"]
    made = built(SERVED[SLICE], ports({"port": 1}, {"port": 2, "name": "a", "protocol": "UDP"}))
    assert [(port.name, port.protocol) for port in made.ports] == [("", "TCP"), ("a", "UDP")]
    made = built(SERVED[ENDPOINTS], subset("10.1.1.1", {"port": 1}, {"port": 2, "protocol": "UDP"}))
    assert [port.protocol for port in made.subsets[0].ports] == ["TCP", "UDP"]


# --- columns ---


def cells(kind: str, body: dict[str, Any], *names: str) -> list[Any]:
    obj = from_builtins(body, SERVED[kind].type)
    shown = {column.name: column.cell(obj) for column in STRATEGIES.of(SERVED[kind]).columns if column.name != "Age"}  # fmt: skip
    return [shown[name] for name in names]


def condition(status: str) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": "Ready", "status": status}]}}


@pytest.mark.parametrize(
    ("body", "status", "roles"),
    [
        ({}, "Unknown", "<none>"),
        (condition("True"), "Ready", "<none>"),
        (condition("Unknown"), "NotReady", "<none>"),
        ({**condition("True"), "spec": {"unschedulable": True}}, "Ready,SchedulingDisabled", "<none>"),
        ({"metadata": {"labels": {"node-role.kubernetes.io/b": "", "kubernetes.io/role": "a"}}}, "Unknown", "a,b"),
        ({"metadata": {"labels": {"node-role.kubernetes.io/": ""}}}, "Unknown", "<none>"),
    ],
)  # fmt: skip
def test_how_a_node_is_shown(body: dict[str, Any], status: str, roles: str) -> None:
    assert cells(NODE, body, "Status", "Roles") == [status, roles]


ADDRESSES = [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "1.1.1.1"}]
INFO = {"kubeletVersion": "v", "osImage": "o", "kernelVersion": "k"}


def test_what_a_node_says_of_itself() -> None:
    names = ("Version", "Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime")  # fmt: skip
    assert cells(NODE, {}, *names) == ["", "<none>", "<none>", *["<unknown>"] * 3]
    body = {"status": {"addresses": ADDRESSES, "nodeInfo": INFO}}
    assert cells(NODE, body, *names) == ["v", "1.1.1.1", "<none>", "o", "k", "<unknown>"]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({}, ["<unset>", "<unset>"]),
        ({**ready("10.1.1.1", "10.1.1.2"), **ports({"port": 80}, {"name": "a"})}, ["80,*", "10.1.1.1,10.1.1.2"]),
    ],
)  # fmt: skip
def test_how_a_slice_is_shown(body: dict[str, Any], shown: list[str]) -> None:
    assert cells(SLICE, body, "Ports", "Endpoints") == shown


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({}, "<none>"),
        (subset(), "10.1.1.1"),
        (subset("10.1.1.1", {"port": 80}, {"port": 81}), "10.1.1.1:80,10.1.1.1:81"),
        (subset(kind="notReadyAddresses"), "<none>"),
    ],
)
def test_how_endpoints_are_shown(body: dict[str, Any], shown: str) -> None:
    assert cells(ENDPOINTS, body, "Endpoints") == [shown]

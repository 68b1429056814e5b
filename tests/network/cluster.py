"""A small cluster for network policies: pods of three namespaces on two nodes, and policies as
people write them, and unusual ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.network.policies import HTTP, Kernel, policy
from tiphys.network.policy.model import PodFacts, read
from tiphys.network.policy.table import PolicyTable

NAMESPACES = {"x": {"ns": "x"}, "y": {"ns": "y", "team": "a"}, "z": {"ns": "z", "team": "a"}}
PODS = [
    PodFacts(
        ns,
        name,
        {"pod": name, "tier": tier},
        f"10.0.{number}.{tail}",
        node,
        (HTTP,) if name == "a" else (),
    )
    for number, ns in enumerate(NAMESPACES)
    for tail, (name, tier, node) in enumerate(
        (("a", "front", "n1"), ("b", "back", "n1"), ("c", "back", "n2")), 1
    )
]
OUTSIDE = PodFacts("", "", {}, "192.0.2.7")
PORTS = (("TCP", 80), ("TCP", 81), ("UDP", 80), ("SCTP", 8500))

# --- policies as people write them, and stranger ones ---

_labels = st.sampled_from([{}, {"pod": "a"}, {"pod": "b"}, {"tier": "back"}, {"pod": "none"}])
_expressions = st.sampled_from(
    [
        {"key": "pod", "operator": "In", "values": ["a", "c"]},
        {"key": "pod", "operator": "NotIn", "values": ["b"]},
        {"key": "tier", "operator": "Exists"},
        {"key": "tier", "operator": "DoesNotExist"},
        {"key": "team", "operator": "NotIn", "values": ["a"]},
    ]
)
_pods = st.fixed_dictionaries(
    {"matchLabels": _labels}, optional={"matchExpressions": st.lists(_expressions, max_size=2)}
)
_spaces = st.sampled_from(
    [
        {},
        {"matchLabels": {"ns": "y"}},
        {"matchLabels": {"team": "a"}},
        {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]},
    ]
)
_blocks = st.sampled_from(
    [
        {"cidr": "0.0.0.0/0"},
        {"cidr": "10.0.0.0/8", "except": ["10.0.1.0/24", "10.0.1.2/32"]},
        {"cidr": "192.0.2.0/24"},
        {"cidr": "0.0.0.0/0", "except": ["10.0.0.1/32", "10.0.0.0/30"]},
        {"cidr": "fd00::/8"},
    ]
)
_peers = st.one_of(
    st.fixed_dictionaries({"podSelector": _pods}),
    st.fixed_dictionaries({"namespaceSelector": _spaces}),
    st.fixed_dictionaries({"namespaceSelector": _spaces, "podSelector": _pods}),
    st.fixed_dictionaries({"ipBlock": _blocks}),
)
_ports = st.sampled_from(
    [
        {"protocol": "TCP", "port": 80},
        {"port": 81},
        {"port": 80, "endPort": 81},
        {"protocol": "TCP", "port": "http"},
        {"protocol": "UDP"},
        {"protocol": "UDP", "port": "http"},
        {"protocol": "SCTP", "port": 8000, "endPort": 9000},
        {"protocol": "SCTP"},
    ]
)


def _rules(peers: str) -> Any:
    rows = {peers: st.lists(_peers, max_size=3), "ports": st.lists(_ports, max_size=3)}
    return st.lists(st.fixed_dictionaries({}, optional=rows), max_size=3)


policy_specs = st.fixed_dictionaries(
    {
        "podSelector": _pods,
        "ingress": _rules("from"),
        "egress": _rules("to"),
        "policyTypes": st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
    }
)
policy_lists = st.lists(st.tuples(st.sampled_from(sorted(NAMESPACES)), policy_specs), max_size=4)


def policies_of(rows: Any) -> list[Any]:
    return [
        policy(f"p{number}", namespace, **spec) for number, (namespace, spec) in enumerate(rows)
    ]


def table_of(policies: Any, node: str = "n1", pods: Any = PODS) -> PolicyTable:
    table = PolicyTable(node)
    for name, labels in NAMESPACES.items():
        table.put_namespace(name, labels)
    for one in policies:
        table.put_policy(f"{one.metadata.namespace}/{one.metadata.name}", read(one))
    for pod in pods:
        table.put_pod(pod)
    return table


def kernel_of(table: PolicyTable) -> Kernel:
    kernel = Kernel()
    kernel.take(table.everything())
    return kernel

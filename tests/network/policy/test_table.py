"""Network policies: that the ruleset means what the words mean, whatever way it came about."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network.cluster import (
    NAMESPACES,
    OUTSIDE,
    PODS,
    PORTS,
    kernel_of,
    policies_of,
    policy_lists,
    policy_specs,
    table_of,
)
from tests.network.policies import allowed, facts, policy
from tiphys.network.policy.model import PodFacts, read
from tiphys.network.policy.script import script
from tiphys.network.policy.semantics import Connection, Semantics
from tiphys.network.policy.table import PolicyTable


def cluster(policies: Any) -> Any:
    """Whether a packet passes the source's node and the target's."""
    kernels = {node: kernel_of(table_of(policies, node)) for node in ("n1", "n2")}

    def passes(source: PodFacts, target: PodFacts, protocol: str, port: int) -> bool:
        nodes = {pod.node for pod in (source, target) if pod.node}
        return all(
            kernels[node].passes(source.address, target.address, protocol, port) for node in nodes
        )

    return passes


# --- they mean the same ---


@settings(max_examples=60, deadline=None)
@given(policy_lists)
def test_evaluator_and_ruleset_say_what_is_documented(rows: Any) -> None:
    policies = policies_of(rows)
    semantics, passes = Semantics(map(read, policies), NAMESPACES), cluster(policies)
    ends = [*PODS[:5], PODS[7], OUTSIDE]
    for source in ends:
        for target in ends:
            for protocol, port in PORTS:
                expected = allowed(policies, NAMESPACES, source, target, protocol, port)
                ends_of = [one if one.namespace else one.address for one in (source, target)]
                connection = Connection(*ends_of, protocol, port)
                assert semantics.allows(connection) == expected
                if source is not target:
                    assert passes(source, target, protocol, port) == expected, (
                        source,
                        target,
                        protocol,
                        port,
                    )


_moves = st.lists(
    st.one_of(
        st.tuples(
            st.just("policy"),
            st.integers(0, 3),
            st.one_of(st.none(), st.tuples(st.sampled_from(["x", "y"]), policy_specs)),
        ),
        st.tuples(
            st.just("pod"),
            st.integers(0, 8),
            st.sampled_from(["gone", "n1", "n2", "no address", "shared", "labels"]),
        ),
        st.tuples(
            st.just("namespace"),
            st.sampled_from(["x", "y"]),
            st.sampled_from([{}, {"ns": "y"}, {"team": "a"}, None]),
        ),
        st.tuples(st.just("write"), st.none(), st.none()),
    ),
    max_size=14,
)


@settings(max_examples=100, deadline=None)
@given(policy_lists, _moves)
def test_steps_lead_to_what_a_fresh_start_gives(rows: Any, moves: Any) -> None:
    table = table_of(policies_of(rows))
    kernel = kernel_of(table)
    for move in moves:
        _move(table, *move)
        if move[0] == "write":
            kernel.take(table.changes())
    kernel.take(table.changes())
    fresh = PolicyTable("n1")
    for name, labels in table._namespaces.items():
        fresh.put_namespace(name, labels)
    for pod in table._pods:
        fresh.put_pod(pod)
    for policies in table._policies.values():
        for key, one in policies.items():
            fresh.put_policy(key, one)
    expected = kernel_of(fresh)
    assert (kernel.sets, kernel.chains) == (expected.sets, expected.chains)
    assert {name: rows.keys() for name, rows in kernel.maps.items()} == {
        name: rows.keys() for name, rows in expected.maps.items()
    }


def _move(table: PolicyTable, kind: str, which: Any, what: Any) -> None:
    if kind == "policy":
        for namespace in ("x", "y"):
            key = f"{namespace}/p{which}"
            new = (
                policy(f"p{which}", namespace, **what[1]) if what and what[0] == namespace else None
            )
            table.put_policy(key, read(new) if new else None)
    elif kind == "namespace":
        table.put_namespace(which, what)
    elif kind == "pod" and what == "gone":
        table.drop_pod(PODS[which].key)
    elif kind == "pod":
        pod = PODS[which]
        address = {"no address": "", "shared": "10.0.9.9"}.get(what, pod.address)
        node = what if what in ("n1", "n2") else pod.node
        labels = {"pod": "c"} if what == "labels" else pod.labels
        table.put_pod(PodFacts(pod.namespace, pod.name, labels, address, node, pod.ports))


# --- in particular ---


def test_an_address_that_is_used_again_has_the_policies_of_its_new_pod() -> None:
    deny = policy("deny", podSelector={"matchLabels": {"pod": "new"}}, policyTypes=["Ingress"])
    table = table_of([deny], pods=[facts("old", "10.0.0.1", pod="old")])
    kernel = kernel_of(table)
    table.put_pod(facts("new", "10.0.0.1", pod="new"))
    kernel.take(table.changes())
    assert not kernel.passes("10.0.0.2", "10.0.0.1", "TCP", 80)
    table.drop_pod("x/old")
    kernel.take(table.changes())
    assert not kernel.passes("10.0.0.2", "10.0.0.1", "TCP", 80)


def test_only_what_changed_is_written() -> None:
    back = policy("p", ingress=[{"from": [{"podSelector": {"matchLabels": {"role": "client"}}}]}])
    table = table_of(
        [back], pods=[facts("web", "10.0.0.1"), facts("client", "10.0.0.2", node="n2")]
    )
    table.everything()
    table.put_pod(facts("client", "10.0.0.2", node="n2", role="client"))
    changes = table.changes()
    assert list(changes.added.values()) == [["10.0.0.2"]]
    assert script("t", changes).count("\n") == 1 and not table.changes()


def test_a_namespace_that_is_not_known_yet_is_not_let_in_by_what_it_lacks() -> None:
    lacks = {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}
    table = table_of(
        [policy("p", ingress=[{"from": [{"namespaceSelector": lacks}]}])],
        pods=[facts("web", "10.0.0.1")],
    )
    kernel = kernel_of(table)
    table.put_pod(facts("early", "10.0.0.2", "new"))
    kernel.take(table.changes())
    assert not kernel.passes("10.0.0.2", "10.0.0.1", "TCP", 80)
    table.put_namespace("new", {})
    kernel.take(table.changes())
    assert kernel.passes("10.0.0.2", "10.0.0.1", "TCP", 80)


@pytest.mark.parametrize(
    ("rule", "protocols"),
    [
        ({}, {"udp", "tcp"}),
        ({"to": [{"podSelector": {}}]}, set()),
        (
            {
                "to": [
                    {
                        "namespaceSelector": {},
                        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
                    }
                ]
            },
            {"udp", "tcp"},
        ),
        ({"to": [{"namespaceSelector": {}}], "ports": [{"protocol": "UDP", "port": 53}]}, {"udp"}),
        ({"to": [{"namespaceSelector": {}}], "ports": [{"port": "dns-tcp"}]}, {"tcp"}),
        ({"to": [{"namespaceSelector": {}}], "ports": [{"port": 80}]}, set()),
        ({"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}, set()),
    ],
)
def test_the_clusters_dns_is_a_pod_of_kube_dns_to_policies(rule: Any, protocols: set[str]) -> None:
    table = table_of(
        [policy("p", policyTypes=["Egress"], egress=[rule])], pods=[facts("web", "10.0.0.1")]
    )
    table.put_namespace("kube-system", {})
    table.put_dns(["10.244.0.1"])
    kernel = kernel_of(table)
    found = {name for name in ("udp", "tcp") if kernel.passes("10.0.0.1", "10.244.0.1", name, 53)}
    assert found == protocols and (
        rule == {} or not kernel.passes("10.0.0.1", "10.244.0.1", "TCP", 10250)
    )

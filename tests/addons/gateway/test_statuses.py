"""What is written into the statuses of objects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.gateway.reports import gateway, http_route, listener, policy, report
from tiphys.addons.gateway import CONTROLLER
from tiphys.addons.gateway.snapshot import Verdict
from tiphys.addons.gateway.statuses import (
    class_status,
    conditions_of,
    gateway_status,
    ingress_status,
    policy_status,
    route_status,
)
from tiphys.api.base import from_builtins, to_builtins


@pytest.mark.parametrize(
    ("address", "ip", "hostname"),
    [
        ("127.0.80.1", "127.0.80.1", ""),
        ("fd00::1", "fd00::1", ""),
        ("edge.example", "", "edge.example"),
        ("edge", "", "edge"),
    ],
)
def test_an_ingress_is_at_an_address_or_a_name(address: str, ip: str, hostname: str) -> None:
    [entry] = ingress_status(address).load_balancer.ingress
    assert (entry.ip, entry.hostname) == (ip, hostname)


@pytest.mark.parametrize(
    ("published", "addresses", "shown"),
    [
        ("", "127.0.80.0/24", ["127.0.80.2"]),
        ("192.0.2.1", "127.0.80.0/24", ["192.0.2.1"]),
        ("192.0.2.1", "127.0.80.255/24", []),  # none is left
        ("", "127.0.80.255/24", []),
    ],
)
def test_another_address_is_published_for_who_has_one(
    published: str, addresses: str, shown: list[str]
) -> None:
    made = report(gateway([listener("a")]), addresses=addresses)
    status = gateway_status(made.gateways[0], published, 0.0)
    assert [one.value for one in status.addresses] == shown


def test_a_listener_counts_its_routes_and_names_its_kinds() -> None:
    made = report(gateway([listener("a"), listener("b", "TCP", 81)]), http_route())
    status = gateway_status(made.gateways[0], "", 0.0)
    assert [(one.name, one.attached_routes) for one in status.listeners] == [("a", 1), ("b", 0)]
    kinds = [[kind.kind for kind in one.supported_kinds] for one in status.listeners]
    assert kinds == [["HTTPRoute", "GRPCRoute"], ["TCPRoute"]]


def times(conditions: Any) -> dict[str, str]:
    return {one.type: one.last_transition_time for one in conditions}


FIRST, LATER = "1970-01-01T00:00:10Z", "1970-01-01T00:00:20Z"


def test_a_listeners_conditions_keep_their_times_while_they_hold() -> None:
    edge = gateway([listener("a"), listener("b", port=81)])
    edge.status = gateway_status(report(edge).gateways[0], "", 10.0)
    edge.spec.listeners[1].protocol = "UDP"
    status = gateway_status(report(edge).gateways[0], "", 20.0)
    assert set(times(status.listeners[0].conditions).values()) == {FIRST}
    assert times(status.listeners[1].conditions) == {
        "Accepted": LATER,
        "Programmed": LATER,
        "ResolvedRefs": FIRST,
        "Conflicted": FIRST,
    }
    assert set(times(status.conditions).values()) == {FIRST}


def test_a_condition_is_of_the_generation_that_was_looked_at() -> None:
    edge = gateway([listener("a")])
    edge.metadata.generation = 7
    made = conditions_of(edge, [], [Verdict("Accepted", False, "Bad", "why")], 10.0)
    assert to_builtins(made[0]) == {
        "type": "Accepted",
        "status": "False",
        "reason": "Bad",
        "message": "why",
        "observedGeneration": 7,
        "lastTransitionTime": FIRST,
    }


def test_conditions_of_others_stay_and_those_that_hold_while_true_go() -> None:
    edge = gateway([listener("a")])
    overlapping = Verdict("OverlappingTLSConfig", True, "OverlappingHostnames")
    insecure = Verdict("InsecureFrontendValidationMode", True, "ConfigurationChanged")
    theirs = Verdict("example.com/Theirs", True, "Said")
    before = conditions_of(edge, [], [overlapping, insecure, theirs], 10.0)
    assert len(before) == 3
    after = conditions_of(edge, before, [insecure, Verdict("Accepted", True, "Accepted")], 20.0)
    assert times(after) == {
        "InsecureFrontendValidationMode": FIRST,
        "example.com/Theirs": FIRST,
        "Accepted": LATER,
    }


def test_a_routes_parents_keep_their_own_times() -> None:
    route = http_route()
    edge = gateway([listener("a")])
    route.status = route_status(report(edge, route).routes[0], 10.0)
    again = route_status(report(edge, route).routes[0], 20.0)
    assert [set(times(one.conditions).values()) for one in again.parents] == [{FIRST}]
    moved = http_route(parent={"sectionName": "a"})
    moved.status = route.status
    other = route_status(report(edge, moved).routes[0], 20.0)
    assert [set(times(one.conditions).values()) for one in other.parents] == [{LATER}]


def test_a_route_without_a_parent_of_ours_says_nothing() -> None:
    made = report(gateway([listener("a")]), http_route(parent={"name": "theirs"}))
    assert route_status(made.routes[0], 0.0).parents == []
    service = http_route(parent={"group": "", "kind": "Service", "name": "edge"})
    made = report(gateway([listener("a")]), service)
    assert route_status(made.routes[0], 0.0).parents == []


def test_a_policy_speaks_of_the_gateways_that_use_it() -> None:
    edges = [gateway([listener("a")], name) for name in ("one", "edge")]
    route = http_route()
    route.spec.parent_refs += http_route(parent={"name": "one"}).spec.parent_refs
    one = policy("p")
    theirs = {
        "ancestorRef": {"name": "x"},
        "controllerName": "they.example/c",
        "conditions": to_builtins(conditions_of(one, [], [Verdict("Accepted", True, "Yes")], 0.0)),
    }
    one.status = from_builtins({"ancestors": [theirs]}, type(one.status))
    made = report(*edges, route, policies=[one])
    status = policy_status(made.policies[0], 10.0)
    shown = [
        (each.controller_name, each.ancestor_ref.namespace, each.ancestor_ref.name)
        for each in status.ancestors
    ]
    assert shown == [
        ("they.example/c", None, "x"),
        (CONTROLLER, "default", "edge"),
        (CONTROLLER, "default", "one"),
    ]
    one.status = status
    again = policy_status(made.policies[0], 20.0).ancestors[1:]
    assert [set(times(each.conditions).values()) for each in again] == [{FIRST}] * 2


def test_a_class_names_what_is_supported_in_order() -> None:
    """GatewayClass: supportedFeatures are sorted by name."""
    made = report(gateway([listener("a")]))
    [(one, verdict)] = made.classes
    status = class_status(one, verdict, 10.0)
    names = [feature.name for feature in status.supported_features]
    assert names == sorted(names) and "HTTPRoute" in names
    assert [(each.type, each.status) for each in status.conditions if each.type == "Accepted"] == [
        ("Accepted", "True")
    ]

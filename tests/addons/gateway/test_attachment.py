"""Which routes attach to which listeners, and everything compiled at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.gateway.reports import (
    DEFAULT,
    SERVICES,
    gateway,
    http_route,
    listener,
    policy,
    report,
    route_reasons,
)
from tests.addons.gateway.world import ingress
from tiphys.addons.gateway import CLASS, CONTROLLER, Settings
from tiphys.addons.gateway.attachment import owner
from tiphys.addons.gateway.compiling import compile_world
from tiphys.addons.gateway.objects import classes, definitions
from tiphys.addons.gateway.snapshot import Objects
from tiphys.addons.gateway.types.gateways import GatewayClass
from tiphys.api.base import from_builtins

TWO = [listener("a", hostname="a.example"), listener("b", port=81)]


def attached(*listeners: dict[str, Any], **route: Any) -> list[int]:
    """How many routes each listener has."""
    made = report(gateway(list(listeners)), http_route(**route))
    return [len(one.attached) for one in made.gateways[0].listeners]


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ({}, [1, 1]),
        ({"parent": {"sectionName": "a"}}, [1, 0]),
        ({"parent": {"port": 81}}, [0, 1]),
        ({"parent": {"sectionName": "a", "port": 81}}, [0, 0]),
        ({"hostnames": ["b.example"]}, [0, 1]),
        ({"hostnames": ["*.example"]}, [1, 1]),
        ({"hostnames": ["a.example", "b.example"]}, [1, 1]),
        ({"parent": {"name": "other"}}, [0, 0]),
        ({"parent": {"namespace": "other"}}, [0, 0]),
    ],
)
def test_a_route_attaches_where_it_names_and_is_let_in(
    route: dict[str, Any], expected: list[int]
) -> None:
    assert attached(*TWO, **route) == expected


def test_a_listener_for_other_kinds_takes_none() -> None:
    grpc = {"kinds": [{"kind": "GRPCRoute"}]}
    assert attached(listener("a", allowedRoutes=grpc)) == [0]
    assert attached(listener("a", "TCP")) == [0]


def test_a_route_that_names_a_listener_twice_is_attached_once() -> None:
    route = http_route()
    route.spec.parent_refs += http_route(parent={"sectionName": "b"}).spec.parent_refs
    made = report(gateway(TWO), route)
    assert [len(one.attached) for one in made.gateways[0].listeners] == [1, 1]
    assert len(made.routes[0].parents) == 2


def test_one_parent_may_take_what_another_does_not() -> None:
    route = http_route(hostnames=["b.example"], parent={"sectionName": "a"})
    route.spec.parent_refs += http_route(parent={"sectionName": "b"}).spec.parent_refs
    made = report(gateway(TWO), route)
    reasons = [verdicts[0].reason for _, verdicts in made.routes[0].parents]
    assert reasons == ["NoMatchingListenerHostname", "Accepted"]


def test_a_route_with_a_value_that_is_not_served_is_refused_and_not_attached() -> None:
    extension = {"group": "g", "kind": "K", "name": "x"}
    filters = [{"type": "ExtensionRef", "extensionRef": extension}]
    rules = [{"backendRefs": [{"name": "shop", "port": 80}], "filters": filters}]
    made = report(gateway(TWO), http_route(rules=rules))
    assert route_reasons(made)["Accepted"] == "UnsupportedValue"
    assert made.routes[0].parents[0][1][0].message == "filter ExtensionRef is not served"
    assert [len(one.attached) for one in made.gateways[0].listeners] == [0, 0]


def test_a_backend_that_is_lost_is_no_reason_not_to_attach() -> None:
    made = report(gateway(TWO), http_route(ref={"name": "lost", "port": 80}))
    assert route_reasons(made) == {"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"}
    assert [len(one.attached) for one in made.gateways[0].listeners] == [1, 1]


def test_a_policy_is_used_by_the_gateways_that_take_the_route() -> None:
    taken = report(gateway(TWO), http_route(), policies=[policy("p")])
    assert taken.policies[0].gateways == {"default/edge"}
    refused = http_route(hostnames=["x.y"], parent={"sectionName": "a"})
    assert report(gateway(TWO), refused, policies=[policy("p")]).policies[0].gateways == set()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.example", "one"), ("b.example", "wild"), ("c.b.example", "wild"), ("example", None)],
)
def test_a_name_belongs_to_the_closest_listener(name: str, expected: str | None) -> None:
    rows = [listener("wild", hostname="*.example"), listener("one", hostname="a.example")]
    found = owner(name, report(gateway(rows)).gateways[0].listeners)
    assert (found.listener.name if found is not None else None) == expected


# --- all at once ---


def world(address: str, **settings: Any) -> Any:
    ours = {"metadata": {"name": "ours"}, "spec": {"controllerName": CONTROLLER}}
    objects = Objects(
        ingresses=[ingress("web", "a.example", {"/": "shop"})],
        ingress_classes={"ours": DEFAULT},
        services=SERVICES,
        gateway_classes=[from_builtins(ours, GatewayClass)],
        gateways=[gateway([listener("a")])],
        routes=[http_route()],
    )
    return compile_world(objects, Settings(addresses=address, **settings))


@pytest.mark.parametrize(
    ("addresses", "ports", "accepted"),
    [
        ("127.0.80.0/24", ["127.0.80.1:80", "127.0.80.2:80"], "Accepted"),
        ("127.0.80.1", ["127.0.80.1:80"], "PortUnavailable"),
    ],
)
def test_ingresses_have_the_first_address_and_its_ports(
    addresses: str, ports: list[str], accepted: str
) -> None:
    made = world(addresses)
    assert [port.name for port in made.world.ports] == ports
    assert made.gateways.gateways[0].listeners[0].verdicts()[0].reason == accepted
    assert made.address == "127.0.80.1"


def test_ports_of_ingresses_and_the_address_that_is_shown_are_settings() -> None:
    made = world("127.0.80.1", http_port=8080, published="192.0.2.1")
    assert [port.name for port in made.world.ports] == ["127.0.80.1:8080", "127.0.80.1:80"]
    assert made.address == "192.0.2.1"


@pytest.mark.parametrize("default", [True, False])
def test_a_class_of_each_kind_comes_with_the_add_on(default: bool) -> None:
    found: list[Any] = list(classes(Settings(default=default)))
    assert [one.metadata.name for one in found] == [CLASS, CLASS]
    assert found[0].spec.controller == found[1].spec.controller_name == CONTROLLER
    marked = found[0].metadata.annotations["ingressclass.kubernetes.io/is-default-class"]
    assert marked == str(default).lower()


def test_definitions_of_a_protected_group_name_their_approval() -> None:
    """KEP-1111: groups below k8s.io."""
    for crd in definitions():
        approval = crd.metadata.annotations["api-approved.kubernetes.io"]
        assert approval.startswith("https://github.com/kubernetes-sigs/gateway-api")

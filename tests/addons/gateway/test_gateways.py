"""Gateways and routes: what is served, and what is said of each object."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.addons.gateway.reports import (
    SECRETS,
    gateway,
    grant,
    http_route,
    https,
    listener,
    policy,
    reasons,
    report,
    route_reasons,
)
from tests.addons.gateway.world import pair
from tiphys.addons.addresses import Pool
from tiphys.addons.gateway import CONTROLLER
from tiphys.addons.gateway.envoy import ResourceMaker
from tiphys.addons.gateway.gateways import Report, compile_gateways, refuse
from tiphys.addons.gateway.model import World
from tiphys.addons.gateway.routes import seconds
from tiphys.addons.gateway.snapshot import Objects
from tiphys.addons.gateway.statuses import gateway_status, route_status
from tiphys.addons.gateway.types.gateways import GatewayClass
from tiphys.api import core_v1
from tiphys.api.base import from_builtins


@pytest.mark.parametrize(
    ("text", "value"), [("1h2m3s4ms", 3723.004), ("0s", 0), (None, 0), ("soon", 0)]
)
def test_durations_of_gateway_api(text: str | None, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


def test_listeners_of_different_protocols_at_a_port_are_none_of_them_served() -> None:
    made = report(gateway([listener("a"), listener("b", "TCP")]))
    assert reasons(made)["Conflicted"] == reasons(made)["Accepted"] == "ProtocolConflict"
    assert not made.ports and made.gateways[0].verdicts[0].reason == "ListenersNotValid"


def test_one_host_name_twice_is_a_conflict_and_two_are_not() -> None:
    twice = [listener("a", hostname="a.example"), listener("b", hostname="a.example")]
    assert reasons(report(gateway(twice)))["Conflicted"] == "HostnameConflict"
    both = [listener("a", hostname="a.example"), listener("b", hostname="b.example")]
    assert reasons(report(gateway(both)))["Conflicted"] == "NoConflicts"


@pytest.mark.parametrize(
    ("listeners", "expected"),
    [
        ([https("1", "b", "x.a.example"), https("2", "wild", "b.example")], ["", ""]),
        (
            [
                https("1", "b", "*.a.example"),
                https("2", "wild", "x.a.example"),
                https("3", "b", "c.b"),
            ],
            ["OverlappingCertificates", "OverlappingHostnames", "OverlappingCertificates"],
        ),
        (
            [https("1", "wild", "y.a.example"), https("2", "one", "b.example")],
            ["OverlappingCertificates"] * 2,
        ),
        ([https("1", "b", "b.example"), {**https("2", "b", "c.b"), "port": 444}], ["", ""]),
    ],
)
def test_listeners_whose_tls_is_for_the_same_hosts_say_so(
    listeners: list[dict[str, Any]], expected: list[str]
) -> None:
    made = report(gateway(listeners), secrets=SECRETS)
    found = [
        {one.type: one.reason for one in state.verdicts()}.get("OverlappingTLSConfig", "")
        for state in made.gateways[0].listeners
    ]
    assert found == expected


def test_an_overlap_that_is_mended_is_not_spoken_of_any_more() -> None:
    two = [https("1", "wild", "y.a.example"), https("2", "one", "b.example")]
    edge = gateway(two)
    edge.status = gateway_status(report(edge, secrets=SECRETS).gateways[0], "", 0.0)
    assert "OverlappingTLSConfig" in {one.type for one in edge.status.listeners[0].conditions}
    edge.spec.listeners = edge.spec.listeners[:1]
    status = gateway_status(report(edge, secrets=SECRETS).gateways[0], "", 1.0)
    assert "OverlappingTLSConfig" not in {one.type for one in status.listeners[0].conditions}


def test_gateways_have_an_address_each_and_share_a_single_one_by_port() -> None:
    two = (gateway([listener("a")], "one"), gateway([listener("a")], "two"))
    assert [one.address for one in report(*two).ports] == ["127.0.80.2", "127.0.80.3"]
    shared = report(*two, addresses="127.0.80.1")
    assert [one.address for one in shared.ports] == ["127.0.80.1"]
    assert shared.gateways[1].listeners[0].verdicts()[0].reason == "PortUnavailable"


@pytest.mark.parametrize(
    ("spec", "accepted"),
    [
        ({}, "Accepted"),
        ({"parent": {"sectionName": "other"}}, "NoMatchingParent"),
        ({"parent": {"port": 81}}, "NoMatchingParent"),
        ({"hostnames": ["b.example"]}, "NoMatchingListenerHostname"),
        ({"namespace": "elsewhere"}, "NotAllowedByListeners"),
    ],
)
def test_a_route_is_accepted_or_told_why_not(spec: dict[str, Any], accepted: str) -> None:
    made = report(gateway([listener("a", hostname="a.example")]), http_route(**spec))
    assert route_reasons(made)["Accepted"] == accepted


def test_a_backend_in_another_namespace_needs_a_grant() -> None:
    edge = gateway([listener("a", allowedRoutes={"namespaces": {"from": "All"}})])
    route = http_route("elsewhere", {"name": "shop", "namespace": "default", "port": 80})
    assert route_reasons(report(edge, route))["ResolvedRefs"] == "RefNotPermitted"
    assert route_reasons(report(edge, route, grant("Service")))["ResolvedRefs"] == "ResolvedRefs"


def test_of_two_policies_for_a_service_the_first_counts_and_the_other_is_told() -> None:
    policies = [policy("b"), policy("a")]
    made = report(gateway([listener("a")]), http_route(), policies=policies)
    told = {one.policy.metadata.name: one.verdicts[0].reason for one in made.policies}
    assert told == {"a": "Accepted", "b": "Conflicted"}
    assert all(one.gateways == {"default/edge"} for one in made.policies)
    (host,) = made.ports[0].sites[0].hosts or ()
    target = host.rules[0].backends[0].target
    assert target is not None and target.tls is not None and target.tls.hostname == "a.example"


def test_other_controllers_parents_stay_in_a_status() -> None:
    route = http_route()
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    theirs = {
        "controllerName": "they.example/c",
        "parentRef": {"name": "x"},
        "conditions": [condition],
    }
    route.status = from_builtins({"parents": [theirs]}, type(route.status))
    made = report(gateway([listener("a")]), route)
    names = [one.controller_name for one in route_status(made.routes[0], 0.0).parents]
    assert names == ["they.example/c", CONTROLLER]


def test_a_gateway_listens_at_every_address_that_it_asks_for() -> None:
    def asking(*values: str) -> Report:
        asked = [{"type": "IPAddress", "value": value} for value in values]
        return report(gateway([listener("a")], addresses=asked), http_route())

    made = asking("127.0.80.7", "127.0.80.9")
    assert [port.name for port in made.ports] == ["127.0.80.7:80", "127.0.80.9:80"]
    status = gateway_status(made.gateways[0], "", 0.0)
    assert [one.value for one in status.addresses] == ["127.0.80.7", "127.0.80.9"]
    partly = asking("127.0.80.7", "10.0.0.1")
    programmed = partly.gateways[0].verdicts[1]
    assert (programmed.ok, programmed.reason) == (False, "AddressNotUsable")
    assert "10.0.0.1" in programmed.message and "127.0.80.7" not in programmed.message


# --- what changed, and nothing else ---


def world_of(hosts: dict[str, str]) -> World:
    """Of routes by host name with their services, behind one Gateway."""
    made = []
    for number, (name, target) in enumerate(hosts.items()):
        route = http_route(ref={"name": target, "port": 80}, hostnames=[name])
        route.metadata.name = f"r{number}"
        made.append(route)
    return World(tuple(report(gateway([listener("a")]), *made).ports))


def test_a_world_that_is_equal_gives_the_very_same_resources() -> None:
    maker = ResourceMaker()
    first = maker.resources_of(world_of({"a.example": "shop"}))
    assert maker.resources_of(world_of({"a.example": "shop"})) is first
    assert maker.resources_of(world_of({"a.example": "news"})) is not first


HOSTS = st.dictionaries(
    st.sampled_from("abc"), st.sampled_from(["shop", "news", "rest"]), max_size=3
)


@settings(max_examples=30, deadline=None)
@given(st.lists(HOSTS, min_size=2, max_size=5))
def test_what_is_made_after_a_change_is_what_is_made_anew(worlds: list[dict[str, str]]) -> None:
    maker = ResourceMaker()
    for hosts in worlds:
        world = world_of({f"{name}.example": target for name, target in hosts.items()})
        assert maker.resources_of(world) == ResourceMaker().resources_of(world)


# --- what is said of a Gateway and of its class ---


def verdicts(made: Report, of: int = 0) -> dict[str, str]:
    """Reason and message of each condition of a Gateway."""
    found = made.gateways[of].verdicts
    return {one.type: f"{one.reason}: {one.message}".removesuffix(": ") for one in found}


CERTIFICATE = {"clientCertificateRef": {"name": "wild"}}
PARAMETERS = {"parametersRef": {"group": "x", "kind": "P", "name": "p"}}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a name for an address": (
        {"addresses": [{"type": "Hostname", "value": "a.example"}]},
        "UnsupportedAddress: only IP addresses are served",
    ),
    "parameters": (
        {"infrastructure": PARAMETERS},
        "InvalidParameters: parameters are not read",
    ),
    "a certificate for backends": (
        {"tls": {"backend": CERTIFICATE}},
        "InvalidParameters: certificates that a Gateway shows to its backends are not served",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_gateway_that_asks_for_too_much_is_refused_as_a_whole(case: str) -> None:
    spec, reason = REFUSED[case]
    made = report(gateway([listener("a")], **spec), http_route())
    assert verdicts(made) == {
        "Accepted": reason,
        "Programmed": f"Invalid:{reason.partition(':')[2]}",
    }
    assert not made.gateways[0].verdicts[0].ok and not made.ports


def test_labels_of_the_infrastructure_are_no_parameters() -> None:
    made = report(gateway([listener("a")], infrastructure={"labels": {"a": "b"}}))
    assert verdicts(made)["Accepted"] == "Accepted"


def test_a_gateway_with_one_bad_listener_is_accepted_and_says_which() -> None:
    made = report(gateway([listener("bad", "UDP"), listener("good")]), http_route())
    accepted = made.gateways[0].verdicts[0]
    assert (accepted.ok, accepted.reason) == (True, "ListenersNotValid")
    assert accepted.message == "not valid: bad"
    assert [port.name for port in made.ports] == ["127.0.80.2:80"]
    none = report(gateway([listener("bad", "UDP"), listener("worse", "UDP", 81)]))
    assert none.gateways[0].verdicts[0].ok is False
    assert verdicts(none)["Accepted"] == "ListenersNotValid: not valid: bad, worse"


def test_a_gateway_without_an_address_is_not_programmed() -> None:
    three = [gateway([listener("a")], name) for name in ("one", "two", "xxx")]
    made = report(*three, addresses="127.0.80.0/30")
    assert [one.addresses for one in made.gateways] == [["127.0.80.2"], ["127.0.80.3"], []]
    assert verdicts(made, 2)["Programmed"] == "AddressNotAssigned: no address is left"
    assert verdicts(made, 2)["Accepted"] == "Accepted"


def test_a_gateway_keeps_the_address_that_it_had() -> None:
    edge = gateway([listener("a")])
    edge.status = from_builtins({"addresses": [{"value": "127.0.80.9"}]}, type(edge.status))
    assert report(edge).gateways[0].addresses == ["127.0.80.9"]
    asking = gateway([listener("a")], addresses=[{"type": "IPAddress"}])
    assert report(asking).gateways[0].addresses == ["127.0.80.2"], "any will do"


def test_what_envoy_refuses_is_not_programmed_and_neither_is_its_gateway() -> None:
    made = report(gateway([listener("a"), listener("b", port=81)]), http_route())
    refuse(made, {"127.0.80.2:81": "address in use", "127.0.80.3:80": "another's"})
    assert verdicts(made)["Programmed"] == "Invalid: address in use"
    shown = [
        {one.type: one.message for one in state.verdicts() if not one.ok}
        for state in made.gateways[0].listeners
    ]
    assert shown[0] == {"Conflicted": ""}
    assert shown[1] == {"Conflicted": "", "Programmed": "address in use"}
    refuse(made, {})
    assert verdicts(made)["Programmed"] == "Programmed", "it has become free"


def test_clients_that_are_let_in_without_a_certificate_are_spoken_of() -> None:
    maps = {"default/ca": core_v1.ConfigMap(data={"ca.crt": pair("ca.example")[0].decode()})}

    def insecure(mode: str) -> str:
        ref = {"group": "", "kind": "ConfigMap", "name": "ca"}
        check = {"validation": {"caCertificateRefs": [ref], "mode": mode}}
        edge = gateway([https("1", "b", "b.example")], tls={"frontend": {"default": check}})
        made = report(edge, secrets=SECRETS, config_maps=maps)
        return verdicts(made).get("InsecureFrontendValidationMode", "")

    assert insecure("AllowValidOnly") == ""
    assert insecure("AllowInsecureFallback") == (
        "ConfigurationChanged: clients without a certificate of the named authorities are let in"
    )


def classes(*specs: dict[str, Any]) -> Report:
    found = [
        from_builtins({"metadata": {"name": f"c{number}"}, "spec": spec}, GatewayClass)
        for number, spec in enumerate(specs)
    ]
    edges = [gateway([listener("a")], f"g{number}") for number in range(len(specs))]
    for number, one in enumerate(edges):
        one.spec.gateway_class_name = f"c{number}"
    return compile_gateways(
        Objects(gateway_classes=found, gateways=edges), Pool("10.0.0.0/24"), set()
    )


def test_gateways_of_other_controllers_and_of_bad_classes_are_left_alone() -> None:
    parameters = {"group": "x", "kind": "P", "name": "p"}
    made = classes(
        {"controllerName": "they.example/c"},
        {"controllerName": CONTROLLER},
        {"controllerName": CONTROLLER, "parametersRef": parameters},
    )
    told = {one.metadata.name: (verdict.ok, verdict.reason) for one, verdict in made.classes}
    assert told == {"c1": (True, "Accepted"), "c2": (False, "InvalidParameters")}
    assert [one.gateway.metadata.name for one in made.gateways] == ["g1"]

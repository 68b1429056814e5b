"""Listeners: what is wrong with one, and which routes it lets in."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.gateway.reports import (
    SECRETS,
    gateway,
    grant,
    http_route,
    https,
    listener,
    report,
    route_reasons,
)
from tests.addons.gateway.world import pair
from tiphys.addons.gateway import GROUP
from tiphys.addons.gateway.gateways import Report
from tiphys.addons.gateway.listeners import State
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta

AUTHORITY = pair("ca.example")[0].decode()
MAPS = {
    "default/ca": core_v1.ConfigMap(data={"ca.crt": AUTHORITY}),
    "default/none": core_v1.ConfigMap(data={"other": AUTHORITY}),
    "elsewhere/ca": core_v1.ConfigMap(data={"ca.crt": AUTHORITY}),
}


def made_of(*listeners: dict[str, Any], grants: Any = (), **spec: Any) -> Report:
    return report(gateway(list(listeners), **spec), *grants, secrets=SECRETS, config_maps=MAPS)


def said(state: State) -> dict[str, str]:
    """Reason and message of each condition."""
    found = {
        one.type: f"{one.reason}: {one.message}".removesuffix(": ") for one in state.verdicts()
    }
    return {kind: text for kind, text in found.items() if text not in (kind, "NoConflicts")}


def with_tls(*refs: dict[str, Any], protocol: str = "HTTPS", **more: Any) -> dict[str, Any]:
    return listener("l", protocol, 443, tls={"certificateRefs": list(refs), **more})


NO_SECRET = {"group": "x", "kind": "Vault", "name": "v"}
FAR = {"name": "wild", "namespace": "elsewhere"}

WRONG: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "nothing": (listener("l"), {}),
    "a protocol that is not served": (
        listener("l", "UDP"),
        {
            "Accepted": "UnsupportedProtocol: protocol UDP is not served",
            "Programmed": "Invalid: protocol UDP is not served",
        },
    ),
    "a kind of route of another protocol": (
        listener("l", allowedRoutes={"kinds": [{"kind": "TCPRoute"}]}),
        {"ResolvedRefs": "InvalidRouteKinds: TCPRoute is no kind of route for protocol HTTP"},
    ),
    "a kind of route of another group": (
        listener("l", allowedRoutes={"kinds": [{"group": "x", "kind": "HTTPRoute"}]}),
        {"ResolvedRefs": "InvalidRouteKinds: HTTPRoute is no kind of route for protocol HTTP"},
    ),
    "no certificate": (
        with_tls(),
        {
            "ResolvedRefs": "InvalidCertificateRef: it has no certificate",
            "Programmed": "Invalid: it has no certificate",
        },
    ),
    "a certificate that is none": (
        with_tls({"name": "lost"}),
        {
            "ResolvedRefs": "InvalidCertificateRef: Secret default/lost does not exist",
            "Programmed": "Invalid: Secret default/lost does not exist",
        },
    ),
    "a certificate that is no Secret": (
        with_tls(NO_SECRET),
        {
            "ResolvedRefs": "InvalidCertificateRef: Vault v is no Secret",
            "Programmed": "Invalid: Vault v is no Secret",
        },
    ),
    "a certificate of another namespace": (
        with_tls(FAR),
        {
            "ResolvedRefs": "RefNotPermitted: no ReferenceGrant of elsewhere allows Secret wild",
            "Programmed": "Invalid: no ReferenceGrant of elsewhere allows Secret wild",
        },
    ),
    # InvalidCertificateRef: "at least one" that is invalid or does not exist.
    "one certificate of two": (
        with_tls({"name": "lost"}, {"name": "wild"}),
        {
            "ResolvedRefs": "InvalidCertificateRef: Secret default/lost does not exist",
            "Programmed": "Invalid: Secret default/lost does not exist",
        },
    ),
    "TLS that passes needs no certificate": (
        with_tls(protocol="TLS", mode="Passthrough"),
        {},
    ),
    "TLS that ends here does": (
        with_tls(protocol="TLS", mode="Terminate"),
        {
            "ResolvedRefs": "InvalidCertificateRef: it has no certificate",
            "Programmed": "Invalid: it has no certificate",
        },
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_listener_is_said(case: str) -> None:
    row, expected = WRONG[case]
    [state] = made_of(row).gateways[0].listeners
    assert said(state) == expected
    assert state.is_served is ("Programmed" not in expected)


@pytest.mark.parametrize(
    ("protocol", "kinds"),
    [
        ("HTTP", ["HTTPRoute", "GRPCRoute"]),
        ("TCP", ["TCPRoute"]),
        ("UDP", []),
    ],
)
def test_a_listener_takes_the_routes_of_its_protocol(protocol: str, kinds: list[str]) -> None:
    [state] = made_of(listener("l", protocol)).gateways[0].listeners
    assert [(one.group, one.kind) for one in state.supported()] == [(GROUP, kind) for kind in kinds]


def test_a_listener_that_knows_one_of_two_kinds_serves_that() -> None:
    kinds = [{"kind": "HTTPRoute"}, {"kind": "UDPRoute"}]
    [state] = made_of(listener("l", allowedRoutes={"kinds": kinds})).gateways[0].listeners
    assert (state.kinds, state.is_served) == (["HTTPRoute"], True)


def test_a_port_of_ingresses_is_somebody_elses() -> None:
    """With one address for all, Ingresses have its ports."""
    one, other = gateway([listener("a")], "one"), gateway([listener("a"), listener("b", port=81)])
    made = report(one, other, addresses="127.0.80.1")
    states = {one.gateway.metadata.name: one.listeners for one in made.gateways}
    assert said(states["edge"][0]) == {}
    assert said(states["one"][0])["Accepted"] == "PortUnavailable: port 80 is somebody else's"
    assert said(states["edge"][1]) == {}


@pytest.mark.parametrize(
    ("listeners", "conflicts"),
    [
        ([("HTTP", 80, "a"), ("HTTP", 80, "b")], ["", ""]),
        ([("HTTP", 80, "a"), ("HTTP", 81, "a")], ["", ""]),
        ([("HTTP", 80, "a"), ("HTTP", 80, "a")], ["HostnameConflict"] * 2),
        ([("HTTP", 80, ""), ("HTTP", 80, ""), ("HTTP", 80, "b")], ["HostnameConflict"] * 2 + [""]),
        ([("HTTP", 80, "a"), ("TCP", 80, "")], ["ProtocolConflict"] * 2),
        ([("HTTPS", 80, "a"), ("TLS", 80, "b")], ["", ""]),  # both begin with TLS
        ([("HTTP", 80, "a"), ("HTTPS", 80, "b")], ["ProtocolConflict"] * 2),
        ([("HTTP", 80, "a"), ("UDP", 80, "")], ["", ""]),  # one that is not served is in no way
    ],
)
def test_listeners_are_in_each_others_way(
    listeners: list[tuple[str, int, str]], conflicts: list[str]
) -> None:
    rows = []
    for number, (protocol, port, hostname) in enumerate(listeners):
        tls = {"tls": {"certificateRefs": [{"name": "wild"}]}} if protocol[-1] == "S" else {}
        named = {"hostname": f"{hostname}.example"} if hostname else {}
        rows.append(listener(f"l{number}", protocol, port, **tls, **named))
    found = made_of(*rows).gateways[0].listeners
    assert [one.conflict for one in found] == conflicts
    for one in found:
        conflicted = next(verdict for verdict in one.verdicts() if verdict.type == "Conflicted")
        assert conflicted.ok is bool(one.conflict)
        assert not (one.conflict and one.is_served)


# --- which routes it lets in ---

SHOPS = {"matchLabels": {"kind": "shop"}}


@pytest.mark.parametrize(
    ("namespaces", "default", "elsewhere"),
    [
        ({}, True, False),
        ({"from": "Same"}, True, False),
        ({"from": "All"}, True, True),
        ({"from": "Selector", "selector": SHOPS}, False, True),
        ({"from": "Selector", "selector": {"matchLabels": {"kind": "other"}}}, False, False),
        ({"from": "Selector", "selector": {}}, True, True),
        ({"from": "Selector"}, False, False),
    ],
)
def test_routes_of_other_namespaces_are_let_in_or_not(
    namespaces: dict[str, Any], default: bool, elsewhere: bool
) -> None:
    """A selector without terms takes every namespace, and none is none (LabelSelector)."""
    known = {
        name: core_v1.Namespace(metadata=ObjectMeta(name=name, labels=labels))
        for name, labels in (("default", {}), ("elsewhere", {"kind": "shop"}))
    }
    row = listener("l", allowedRoutes={"namespaces": namespaces})
    for namespace, is_allowed in (("default", default), ("elsewhere", elsewhere), ("gone", False)):
        made = report(gateway([row]), http_route(namespace), namespaces=known)
        accepted = route_reasons(made)["Accepted"] == "Accepted"
        assert accepted is (is_allowed or (namespace == "gone" and namespaces == {"from": "All"}))


# --- certificates of clients ---


def check(*refs: dict[str, Any], mode: str = "AllowValidOnly") -> dict[str, Any]:
    return {"validation": {"caCertificateRefs": list(refs), "mode": mode}}


def ca(name: str, kind: str = "ConfigMap", **more: str) -> dict[str, Any]:
    return {"group": "", "kind": kind, "name": name, **more}


def checked(default: dict[str, Any], *per_port: dict[str, Any], grants: Any = ()) -> State:
    tls = {"frontend": {"default": default, "perPort": list(per_port)}}
    [state] = (
        made_of(https("l", "wild", "x.a.example"), tls=tls, grants=grants).gateways[0].listeners
    )
    return state


def test_clients_need_no_certificate_unless_that_is_said() -> None:
    assert checked({}).clients is None
    [state] = made_of(https("l", "wild", "x.a.example")).gateways[0].listeners
    assert state.clients is None


@pytest.mark.parametrize(
    ("mode", "is_optional"), [("AllowValidOnly", False), ("AllowInsecureFallback", True)]
)
def test_clients_show_a_certificate_of_a_named_authority(mode: str, is_optional: bool) -> None:
    state = checked(check(ca("ca"), mode=mode))
    assert state.clients is not None and state.is_served
    assert (state.clients.authorities, state.clients.is_optional) == (AUTHORITY, is_optional)


def test_what_is_said_of_a_port_stands_for_what_is_said_of_all() -> None:
    only_here = {"port": 443, "tls": check(ca("ca"), mode="AllowInsecureFallback")}
    elsewhere = {"port": 444, "tls": {}}
    state = checked(check(ca("ca")), elsewhere, only_here)
    assert state.clients is not None and state.clients.is_optional
    assert checked(check(ca("ca")), {"port": 443, "tls": {}}).clients is None


NO_AUTHORITY = "NoValidCACertificate: no authority for clients' certificates can be used"


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        (ca("lost"), "InvalidCACertificateRef: ConfigMap default/lost holds no certificate in PEM"),
        (ca("none"), "InvalidCACertificateRef: ConfigMap default/none holds no certificate in PEM"),
        (ca("ca", "Secret"), "InvalidCACertificateKind: Secret ca is no ConfigMap"),
        (
            ca("ca", namespace="elsewhere"),
            "RefNotPermitted: no ReferenceGrant of elsewhere allows ConfigMap ca",
        ),
    ],
)
def test_without_an_authority_no_client_is_let_in(ref: dict[str, Any], reason: str) -> None:
    state = checked(check(ref))
    assert said(state)["ResolvedRefs"] == reason
    assert said(state)["Accepted"] == NO_AUTHORITY
    assert not state.is_served
    partly = checked(check(ref, ca("ca")))
    assert partly.clients is not None and partly.clients.authorities == AUTHORITY
    assert said(partly)["ResolvedRefs"] == reason and "Accepted" not in said(partly)


def test_authorities_of_another_namespace_need_a_grant() -> None:
    allowed = grant("ConfigMap", of="Gateway", to="elsewhere")
    allowed.spec.from_[0].namespace = "default"
    assert checked(check(ca("ca", namespace="elsewhere")), grants=[allowed]).clients is not None

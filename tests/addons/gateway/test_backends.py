"""References to backends: what they lead to, and why they lead nowhere."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.addons.gateway.reports import SERVICES, grant, http_route, policy, service
from tests.addons.gateway.world import pair
from tiphys.addons.gateway.backends import Resolver, Unresolved
from tiphys.addons.gateway.model import Target
from tiphys.addons.gateway.snapshot import Objects
from tiphys.addons.gateway.types.grpc import GRPCRoute
from tiphys.addons.gateway.types.policies import BackendTLSPolicy
from tiphys.api import core_v1

AUTHORITY = pair("ca.example")[0].decode()
MAPS = {"default/ca": core_v1.ConfigMap(data={"ca.crt": AUTHORITY})}
EDGE = {"default/edge"}


def ref(name: str = "shop", **more: Any) -> Any:
    parts = {"group": "", "kind": "Service", "namespace": None, "port": 80, **more}
    return SimpleNamespace(name=name, **parts)


def resolver(*policies: BackendTLSPolicy, **objects: Any) -> Resolver:
    return Resolver(
        Objects(**{"services": SERVICES, "config_maps": MAPS, **objects}, policies=list(policies))
    )


def found(one: Any, made: Resolver | None = None, route: Any = None) -> Target:
    return (made or resolver()).target(route or http_route(), one, EDGE)


def away() -> dict[str, core_v1.Service]:
    made = service("away")
    made.spec.type = "ExternalName"
    return {"default/away": made}


LOST: dict[str, tuple[Any, str, str]] = {
    "no service": (ref(kind="Bucket"), "InvalidKind", "Bucket shop is no Service"),
    "of another group": (ref(group="x"), "InvalidKind", "Service shop is no Service"),
    "that there is not": (
        ref("lost"),
        "BackendNotFound",
        "there is no service default/lost",
    ),
    "a name outside": (ref("away"), "BackendNotFound", "there is no service default/away"),
    "a port that it has not": (
        ref(port=81),
        "BackendNotFound",
        "service default/shop has no TCP port 81",
    ),
    "of another namespace": (
        ref(namespace="elsewhere"),
        "RefNotPermitted",
        "no ReferenceGrant of elsewhere allows Service shop",
    ),
}


@pytest.mark.parametrize("case", LOST)
def test_a_backend_that_leads_nowhere_says_why(case: str) -> None:
    one, reason, message = LOST[case]
    with pytest.raises(Unresolved) as lost:
        found(one, resolver(services=SERVICES | away()))
    assert (lost.value.reason, str(lost.value)) == (reason, message)


def test_a_port_of_udp_is_none() -> None:
    udp = service("shop")
    udp.spec.ports[0].protocol = "UDP"
    with pytest.raises(Unresolved, match="service default/shop has no TCP port 80"):
        found(ref(), resolver(services={"default/shop": udp}))


def test_a_service_of_another_namespace_is_found_there() -> None:
    services = {"default/shop": service("shop")}
    made = resolver(services=services, grants=[grant("Service")])
    target = found(ref(namespace="default"), made, http_route("elsewhere"))
    assert target == Target("default", "shop", 80)


# --- what a port speaks ---

GRPC = GRPCRoute(metadata=http_route().metadata)


@pytest.mark.parametrize(
    ("said", "http", "grpc"),
    [
        ("", "http1", "h2c"),
        ("http", "http1", "http1"),
        ("kubernetes.io/h2c", "h2c", "h2c"),
        ("kubernetes.io/ws", "http1", "http1"),
        ("grpc", "h2c", "h2c"),
        ("example.com/own", "http1", "http1"),
        ("kubernetes.io/wss", "", ""),
    ],
)
def test_a_port_says_what_it_speaks_or_the_route_does(said: str, http: str, grpc: str) -> None:
    """GEP-1911: of the protocols of Kubernetes those that are not known are refused."""
    one = service("shop")
    one.spec.ports[0].app_protocol = said or None
    made = resolver(services={"default/shop": one})
    for route, protocol in ((http_route(), http), (GRPC, grpc)):
        if protocol:
            assert found(ref(), made, route).protocol == protocol
            continue
        with pytest.raises(Unresolved, match=f"app protocol {said} is not served") as refused:
            found(ref(), made, route)
        assert refused.value.reason == "UnsupportedProtocol"


# --- policies ---


def told(made: Resolver, name: str = "p") -> dict[str, str]:
    state = next(one for one in made.policies if one.policy.metadata.name == name)
    texts = {one.type: f"{one.reason}: {one.message}".removesuffix(": ") for one in state.verdicts}
    assert all(one.ok is (one.reason in (one.type, "Accepted")) for one in state.verdicts)
    return texts


def authorities(*refs: tuple[str, str]) -> dict[str, Any]:
    listed = [{"group": "", "kind": kind, "name": name} for kind, name in refs]
    return {"caCertificateRefs": listed, "wellKnownCACertificates": None}


GOOD = {"Accepted": "Accepted", "ResolvedRefs": "ResolvedRefs"}
NONE = "NoValidCACertificate: no authority can be used"
LOST_MAP = "InvalidCACertificateRef: ConfigMap default/lost holds no certificate in PEM"

POLICIES: dict[str, tuple[dict[str, Any], dict[str, str], str | None]] = {
    "authorities of the system": ({}, GOOD, ""),
    "one of a map": (authorities(("ConfigMap", "ca")), GOOD, AUTHORITY),
    "two": (
        authorities(("ConfigMap", "ca"), ("ConfigMap", "ca")),
        GOOD,
        f"{AUTHORITY}\n{AUTHORITY}",
    ),
    "one that is not there": (
        authorities(("ConfigMap", "lost")),
        {"Accepted": NONE, "ResolvedRefs": LOST_MAP},
        None,
    ),
    "one that is no map": (
        authorities(("Secret", "ca")),
        {"Accepted": NONE, "ResolvedRefs": "InvalidKind: Secret ca is no ConfigMap"},
        None,
    ),
    "of two problems the first": (
        authorities(("Secret", "ca"), ("ConfigMap", "lost")),
        {"Accepted": NONE, "ResolvedRefs": "InvalidKind: Secret ca is no ConfigMap"},
        None,
    ),
    "one of two is enough": (
        authorities(("ConfigMap", "lost"), ("ConfigMap", "ca")),
        {**GOOD, "ResolvedRefs": LOST_MAP},
        AUTHORITY,
    ),
    "none": (authorities(), {"Accepted": NONE}, None),
}


@pytest.mark.parametrize("case", POLICIES)
def test_a_policy_names_whom_a_backend_is_trusted_by(case: str) -> None:
    validation, expected, trusted = POLICIES[case]
    made = resolver(policy("p", **validation))
    assert told(made) == expected
    if trusted is None:
        with pytest.raises(Unresolved) as refused:
            found(ref(), made)
        assert refused.value.reason == "ResolvedRefs", "the policy says what is wrong"
        return
    tls = found(ref(), made).tls
    assert tls is not None and (tls.hostname, tls.authorities) == ("p.example", trusted)


def test_names_of_a_backend_are_of_two_kinds() -> None:
    names = [
        {"type": "Hostname", "hostname": "a.example"},
        {"type": "URI", "uri": "spiffe://a"},
    ]
    tls = found(ref(), resolver(policy("p", subjectAltNames=names))).tls
    assert tls is not None
    assert tls.names == (("Hostname", "a.example"), ("URI", "spiffe://a"))


def test_a_policy_of_a_port_stands_for_that_of_the_service() -> None:
    whole, close = policy("whole"), policy("close", "http")
    made = resolver(whole, close)
    tls = found(ref(), made).tls
    assert tls is not None and tls.hostname == "close.example"
    assert {one.policy.metadata.name: one.gateways for one in made.policies} == {
        "close": EDGE,
        "whole": set(),
    }
    other = found(ref(), resolver(whole, policy("far", "other"))).tls
    assert other is not None and other.hostname == "whole.example"


def test_of_two_policies_the_younger_is_told_who_came_first() -> None:
    made = resolver(policy("b"), policy("a"))
    assert told(made, "b")["Accepted"] == "Conflicted: BackendTLSPolicy a came first"
    assert told(made, "a") == GOOD


def test_a_policy_of_something_else_holds_nothing() -> None:
    other, elsewhere = policy("p"), policy("q")
    other.spec.target_refs[0].kind = "Bucket"
    elsewhere.metadata.namespace = "elsewhere"
    made = resolver(other, elsewhere)
    assert found(ref(), made).tls is None
    assert [one.gateways for one in made.policies] == [set(), set()]

"""From objects to the model and to Envoy's routes, case by case, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.addons.gateway.world import backend, ingress, pair, secret
from tiphys.addons.addresses import Pool
from tiphys.addons.gateway import CONTROLLER
from tiphys.addons.gateway.envoy import ResourceMaker
from tiphys.addons.gateway.envoy_routes import routes
from tiphys.addons.gateway.gateways import Report, compile_gateways
from tiphys.addons.gateway.ingress import Compiled, compile_ingresses, is_ours
from tiphys.addons.gateway.model import (
    Backend,
    Host,
    Match,
    PathMatch,
    PathRewrite,
    Redirect,
    Rule,
    Target,
    World,
    covering,
    covers,
    intersection,
    precedence,
    specificity,
)
from tiphys.addons.gateway.routes import seconds
from tiphys.addons.gateway.snapshot import Objects
from tiphys.addons.gateway.statuses import gateway_status, route_status
from tiphys.addons.gateway.types.gateways import Gateway, GatewayClass
from tiphys.addons.gateway.types.http import HTTPRoute
from tiphys.addons.gateway.types.policies import BackendTLSPolicy, ReferenceGrant
from tiphys.api import core_v1, networking_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta


def service(name: str, namespace: str = "default") -> core_v1.Service:
    port = core_v1.ServicePort(name="http", port=80, protocol="TCP")
    meta = ObjectMeta(name=name, namespace=namespace)
    return core_v1.Service(metadata=meta, spec=core_v1.ServiceSpec(ports=[port]))


SERVICES = {f"default/{name}": service(name) for name in ("shop", "news", "rest")}
DEFAULT = networking_v1.IngressClass(
    metadata=ObjectMeta(
        name="ours", annotations={"ingressclass.kubernetes.io/is-default-class": "true"}
    ),
    spec=networking_v1.IngressClassSpec(controller=CONTROLLER),
)


def compiled(*ingresses: networking_v1.Ingress) -> Compiled:
    return compile_ingresses(ingresses, {"ours": DEFAULT}, SERVICES, {}, "127.0.80.1", 80, 443)


def table(hosts: tuple[Host, ...] | None) -> dict[str, list[tuple[str, str, str]]]:
    """Kind, path and service of each rule, by host."""
    return {
        host.name: [
            (
                rule.match.path.kind,
                rule.match.path.value,
                rule.backends[0].target.service if rule.backends[0].target else "",
            )
            for rule in host.rules
        ]
        for host in hosts or ()
    }


# --- Ingress ---


def test_the_exact_path_comes_first_then_the_longest() -> None:
    one = ingress("a", "a.example", {"/": "rest", "/long/path/": "news"})
    two = ingress("b", "a.example", {"/x": "shop"}, path_type="Exact")
    made = compiled(one, two)
    rules = table(made.ports[0].sites[0].hosts)["a.example"]
    assert rules == [
        ("Exact", "/x", "shop"),
        ("Prefix", "/long/path", "news"),
        ("Prefix", "/", "rest"),
    ]


def test_who_came_first_has_a_path_that_two_claim() -> None:
    late = ingress("a", "a.example", {"/": "news"})
    late.metadata.creation_timestamp = "2026-01-02T00:00:00Z"
    early = ingress("b", "a.example", {"/": "shop"})
    early.metadata.creation_timestamp = "2026-01-01T00:00:00Z"
    made = compiled(late, early)
    assert table(made.ports[0].sites[0].hosts)["a.example"] == [("Prefix", "/", "shop")]


def test_a_backend_that_is_no_service_is_refused_with_an_event() -> None:
    one = ingress("a", "a.example", {"/": "shop"})
    one.spec.default_backend = networking_v1.IngressBackend(
        resource=core_v1.TypedLocalObjectReference(kind="Bucket", name="b")
    )
    (event,) = compiled(one).events
    assert event[1] == "UnsupportedBackend"


def test_the_default_backend_ends_every_host() -> None:
    one = ingress("a", "a.example", {"/x": "shop"})
    one.spec.default_backend = backend("rest")
    hosts = table(compiled(one).ports[0].sites[0].hosts)
    assert hosts["a.example"][-1] == ("Prefix", "/", "rest") == hosts["*"][-1]


@pytest.mark.parametrize(
    ("class_name", "annotation", "ours"),
    [
        ("ours", "", True),
        ("other", "", False),
        ("", "", True),
        ("", "other", False),
        ("", "ours", True),
    ],
)
def test_an_ingress_is_ours_by_class_or_default(
    class_name: str, annotation: str, ours: bool
) -> None:
    one = ingress("a", "a.example", {"/": "shop"})
    one.spec.ingress_class_name = class_name or None
    if annotation:
        one.metadata.annotations["kubernetes.io/ingress.class"] = annotation
    assert is_ours(one, {"ours": DEFAULT}) is ours


# --- host names and order ---


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ("*", "a.example", "a.example"),
        ("*.example", "a.example", "a.example"),
        ("*.example", "a.b.example", "a.b.example"),
        ("*.example", "*.b.example", "*.b.example"),
        ("*.example", "example", None),
        ("a.example", "b.example", None),
        ("*.example", "badexample", None),
    ],
)
def test_host_names_have_in_common(one: str, other: str, common: str | None) -> None:
    assert intersection(one, other) == intersection(other, one) == common
    assert common is None or covers(one, common)


@pytest.mark.parametrize("name", ["a.b.example", "*.b.example", "*.example", "example", "*"])
def test_what_covers_a_name_is_found_from_the_narrowest_to_the_widest(name: str) -> None:
    names = ["a.b.example", "*.b.example", "*.example", "example", "*"]
    wider = sorted((one for one in names if covers(one, name)), key=specificity)
    assert [one for one in covering(name) if one in names] == wider


def test_rules_are_ordered_by_path_then_method_then_headers() -> None:
    rules = [
        Rule(Match(PathMatch("Prefix", "/a"))),
        Rule(Match(PathMatch("Prefix", "/a"), "GET")),
        Rule(Match(PathMatch("Prefix", "/a/b"))),
        Rule(Match(PathMatch("Exact", "/a"))),
    ]
    assert [rules.index(one) for one in sorted(rules, key=precedence)] == [3, 2, 1, 0]


# --- Envoy's routes ---

SHOP = Backend(Target("default", "shop", 80))


def envoy(rule: Rule, port: int = 80, secure: bool = False) -> list[Any]:
    return list(routes(rule, port, secure))


@pytest.mark.parametrize(
    ("redirect", "port", "secure", "expected"),
    [
        (Redirect(scheme="https", hostname="b"), 80, False, ("https", "b", 0)),
        (Redirect(hostname="b"), 8080, False, ("", "b", 8080)),
        (Redirect(hostname="b"), 443, True, ("", "b", 0)),
        (Redirect(scheme="https", hostname="b", port=8443), 80, False, ("https", "b", 8443)),
        (Redirect(scheme="http", hostname="b", port=80), 443, True, ("http", "b", 0)),
    ],
)
def test_a_redirect_names_a_port_only_when_it_is_no_usual_one(
    redirect: Redirect, port: int, secure: bool, expected: tuple[str, str, int]
) -> None:
    (made,) = envoy(Rule(redirect=redirect), port, secure)
    action = made.redirect
    assert (action.scheme_redirect, action.host_redirect, action.port_redirect) == expected


@pytest.mark.parametrize(
    ("match", "replacement", "prefix", "pattern"),
    [
        ("/a", "/b", "/b", ""),
        ("/a/", "/b/", "/b", ""),
        ("/a", "/", "", "^/a/*"),
        ("/", "/b", "/b/", ""),
    ],
)
def test_a_prefix_is_rewritten_without_doubling_slashes(
    match: str, replacement: str, prefix: str, pattern: str
) -> None:
    path = PathMatch("Prefix", match)
    rule = Rule(Match(path), (SHOP,), path=PathRewrite(replacement, prefix=True))
    (made,) = envoy(rule)
    assert made.route.prefix_rewrite == prefix
    assert made.route.regex_rewrite.pattern.regex == pattern


def test_the_share_of_a_lost_backend_fails() -> None:
    failing, made = envoy(Rule(backends=(Backend(SHOP.target, 3), Backend(None, 1))))
    assert failing.direct_response.status == 500
    assert failing.match.runtime_fraction.default_value.numerator == 250_000
    assert made.route.cluster == "shop.default:80"


def test_without_a_timeout_there_is_none() -> None:
    (made,) = envoy(Rule(backends=(SHOP,)))
    assert made.route.HasField("timeout") and made.route.timeout.ToNanoseconds() == 0


@pytest.mark.parametrize(("text", "value"), [("1h2m3s4ms", 3723.004), ("0s", 0), (None, 0)])
def test_durations_of_gateway_api(text: str | None, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


# --- Gateways ---


def gateway(listeners: list[dict[str, Any]], name: str = "edge", **spec: Any) -> Gateway:
    plain = {"gatewayClassName": "ours", "listeners": listeners, **spec}
    return from_builtins({"metadata": meta(name), "spec": plain}, Gateway)


def meta(name: str, namespace: str = "default") -> dict[str, str]:
    return {"name": name, "namespace": namespace}


def listener(name: str, protocol: str = "HTTP", port: int = 80, **more: Any) -> dict[str, Any]:
    return {"name": name, "protocol": protocol, "port": port, **more}


def report(*objects: Any, addresses: str = "127.0.80.0/24", **more: Any) -> Report:
    ours = {"metadata": {"name": "ours"}, "spec": {"controllerName": CONTROLLER}}
    made = Objects(services=SERVICES, gateway_classes=[from_builtins(ours, GatewayClass)], **more)
    made.gateways = [one for one in objects if isinstance(one, Gateway)]
    made.grants = [one for one in objects if isinstance(one, ReferenceGrant)]
    made.routes = [one for one in objects if not isinstance(one, Gateway | ReferenceGrant)]
    return compile_gateways(made, Pool(addresses), set())


def http_route(namespace: str = "default", ref: Any = None, **spec: Any) -> HTTPRoute:
    rules = [{"backendRefs": [ref or {"name": "shop", "port": 80}]}]
    parent = {"name": "edge", "namespace": "default", **spec.pop("parent", {})}
    plain = {"parentRefs": [parent], "rules": rules, **spec}
    return from_builtins({"metadata": meta("r", namespace), "spec": plain}, HTTPRoute)


def reasons(made: Report) -> dict[str, str]:
    """Of the first listener, by condition."""
    return {one.type: one.reason for one in made.gateways[0].listeners[0].verdicts()}


def route_reasons(made: Report) -> dict[str, str]:
    return {one.type: one.reason for one in made.routes[0].parents[0][1]}


def test_listeners_of_different_protocols_at_a_port_are_none_of_them_served() -> None:
    made = report(gateway([listener("a"), listener("b", "TCP")]))
    assert reasons(made)["Conflicted"] == reasons(made)["Accepted"] == "ProtocolConflict"
    assert not made.ports and made.gateways[0].verdicts[0].reason == "ListenersNotValid"


def test_one_host_name_twice_is_a_conflict_and_two_are_not() -> None:
    twice = [listener("a", hostname="a.example"), listener("b", hostname="a.example")]
    assert reasons(report(gateway(twice)))["Conflicted"] == "HostnameConflict"
    both = [listener("a", hostname="a.example"), listener("b", hostname="b.example")]
    assert reasons(report(gateway(both)))["Conflicted"] == "NoConflicts"


SECRETS = {
    f"default/{name}": secret(name, *pair(*names))
    for name, names in {
        "wild": ("*.a.example",),
        "one": ("x.a.example",),
        "b": ("b.example",),
    }.items()
}


def https(name: str, certificate: str, hostname: str) -> dict[str, Any]:
    tls = {"certificateRefs": [{"name": certificate}]}
    return listener(name, "HTTPS", 443, hostname=hostname, tls=tls)


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
    group = "gateway.networking.k8s.io"
    source = {"group": group, "kind": "HTTPRoute", "namespace": "elsewhere"}
    spec = {"from": [source], "to": [{"group": "", "kind": "Service"}]}
    grant = from_builtins({"metadata": meta("g"), "spec": spec}, ReferenceGrant)
    assert route_reasons(report(edge, route, grant))["ResolvedRefs"] == "ResolvedRefs"


def test_of_two_policies_for_a_service_the_first_counts_and_the_other_is_told() -> None:
    def policy(name: str) -> BackendTLSPolicy:
        ref = {"group": "", "kind": "Service", "name": "shop"}
        validation = {"hostname": f"{name}.example", "wellKnownCACertificates": "System"}
        spec = {"targetRefs": [ref], "validation": validation}
        return from_builtins({"metadata": meta(name), "spec": spec}, BackendTLSPolicy)

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


def test_an_address_that_is_asked_for_is_given_once() -> None:
    pool = Pool("127.0.80.0/29")
    given = pool.assign(
        [
            ("a", ["127.0.80.4", "127.0.80.2"], []),
            ("b", ["127.0.80.4"], []),
            ("c", [], ["127.0.80.5"]),
            ("d", [], ["127.0.80.2"]),
        ]
    )
    assert given == {
        "a": ["127.0.80.4", "127.0.80.2"],
        "b": [],
        "c": ["127.0.80.5"],
        "d": ["127.0.80.3"],
    }


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

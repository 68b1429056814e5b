"""Ingresses as hosts, paths and certificates of two ports."""

from __future__ import annotations

import pytest

from tests.addons.gateway.reports import DEFAULT, SECRETS, SERVICES
from tests.addons.gateway.world import backend, ingress
from tiphys.addons.gateway import CONTROLLER
from tiphys.addons.gateway.ingress import Compiled, compile_ingresses, is_ours
from tiphys.addons.gateway.model import Host
from tiphys.api import core_v1, networking_v1
from tiphys.api.meta_v1 import ObjectMeta


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


# --- what cannot be served is told, and the rest is served ---


def with_default(target: networking_v1.IngressBackend) -> networking_v1.Ingress:
    one = ingress("a", "a.example", {"/": "shop"})
    one.spec.default_backend = target
    return one


def to_port(name: str = "", number: int = 0, service: str = "shop") -> networking_v1.IngressBackend:
    port = networking_v1.ServiceBackendPort(name=name, number=number)
    return networking_v1.IngressBackend(
        service=networking_v1.IngressServiceBackend(name=service, port=port)
    )


BUCKET = core_v1.TypedLocalObjectReference(kind="Bucket", name="b")

REFUSED = {
    "a resource": (
        networking_v1.IngressBackend(resource=BUCKET),
        ("UnsupportedBackend", "a backend is Bucket b: only services are served"),
    ),
    "nothing": (
        networking_v1.IngressBackend(),
        ("UnsupportedBackend", "a backend is nothing: only services are served"),
    ),
    "no such service": (
        to_port(number=80, service="lost"),
        ("ServiceNotFound", "there is no service lost"),
    ),
    "no such number": (to_port(number=81), ("ServiceNotFound", "service shop has no port 81")),
    "no such name": (to_port(name="web"), ("ServiceNotFound", "service shop has no port web")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_backend_that_cannot_be_had_is_told_and_its_requests_fail(case: str) -> None:
    target, event = REFUSED[case]
    made = compiled(with_default(target))
    assert [(reason, message) for _, reason, message in made.events] == [event]
    hosts = made.ports[0].sites[0].hosts or ()
    assert [host.rules[-1].backends[0].target for host in hosts] == [None, None]
    assert table(hosts)["a.example"][0] == ("Prefix", "/", "shop"), "the rest is served"


@pytest.mark.parametrize("target", [to_port(number=80), to_port(name="http")])
def test_a_port_is_meant_by_number_or_by_name(target: networking_v1.IngressBackend) -> None:
    assert compiled(with_default(target)).events == []


def test_what_one_ingress_says_twice_is_told_once_and_of_two_twice() -> None:
    one = ingress("a", "a.example", {"/x": "lost", "/y": "lost"})
    other = ingress("b", "b.example", {"/x": "lost"})
    assert [event[0].metadata.name for event in compiled(one, other).events] == ["a", "b"]


@pytest.mark.parametrize(
    ("path", "is_served"),
    [
        ("", True),
        ("/a b", True),
        ("/ä", True),
        ("a", False),
        ("/a?b", False),
        ("/a#b", False),
        ("/a\n", False),
    ],
)
def test_a_path_that_no_request_can_have_is_left_out(path: str, is_served: bool) -> None:
    made = compiled(ingress("a", "a.example", {path: "shop", "/other": "news"}))
    found = [where for _, where, _ in table(made.ports[0].sites[0].hosts)["a.example"]]
    assert (len(found) == 2, "/other" in found) == (is_served, True)
    assert [event[1] for event in made.events] == [] if is_served else ["PathNotServed"]


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        ("Exact", "/a/", ("Exact", "/a/")),
        ("Prefix", "/a/", ("Prefix", "/a")),
        ("Prefix", "/", ("Prefix", "/")),
        ("ImplementationSpecific", "/a/", ("Prefix", "/a")),
    ],
)
def test_a_trailing_slash_counts_in_an_exact_path_alone(
    kind: str, path: str, expected: tuple[str, str]
) -> None:
    """The documentation of Ingress: for a prefix, a trailing slash is passed over."""
    made = compiled(ingress("a", "a.example", {path: "shop"}, path_type=kind))
    [(*found, _)] = table(made.ports[0].sites[0].hosts)["a.example"]
    assert tuple(found) == expected


def test_a_service_of_udp_has_no_port_for_requests() -> None:
    row = core_v1.ServicePort(name="http", port=80, protocol="UDP")
    udp = core_v1.Service(metadata=ObjectMeta(name="u", namespace="default"))
    udp.spec.ports = [row]
    one = ingress("a", "a.example", {"/": "u"})
    made = compile_ingresses([one], {"ours": DEFAULT}, {"default/u": udp}, {}, "127.0.80.1", 80, 9)
    assert [event[2] for event in made.events] == ["service u has no port 80"]


@pytest.mark.parametrize(
    ("said", "protocol"),
    [(None, "http1"), ("kubernetes.io/h2c", "h2c"), ("grpc", "h2c"), ("http", "http1")],
)
def test_a_port_says_what_it_speaks(said: str | None, protocol: str) -> None:
    row = core_v1.ServicePort(name="http", port=80, app_protocol=said)
    one = core_v1.Service(metadata=ObjectMeta(name="shop", namespace="default"))
    one.spec.ports = [row]
    services = {"default/shop": one}
    rules = ingress("a", "a.example", {"/": "shop"})
    made = compile_ingresses([rules], {"ours": DEFAULT}, services, {}, "127.0.80.1", 80, 443)
    [target] = made.ports[0].sites[0].hosts[0].rules[0].backends  # type: ignore[index]
    assert target.target is not None and target.target.protocol == protocol


# --- host names ---


def test_a_wildcard_is_for_one_label_and_others_get_what_everybody_gets() -> None:
    """The documentation of Ingress: ``*.foo.com`` is ``bar.foo.com`` and not ``baz.bar.foo.com``."""
    wild = ingress("a", "*.a.example", {"/": "shop"})
    everybody = ingress("b", "", {"/": "news"})
    hosts = compiled(wild, everybody).ports[0].sites[0].hosts
    assert table(hosts) == {
        "*.a.example": [("Prefix", "/", "shop"), ("Prefix", "/", "news")],
        "*": [("Prefix", "/", "news")],
    }
    rules = {host.name: [rule.single_level for rule in host.rules] for host in hosts or ()}
    assert rules == {"*.a.example": ["*.a.example", ""], "*": [""]}


def test_a_name_without_a_wildcard_does_not_get_what_everybody_gets() -> None:
    made = compiled(ingress("a", "a.example", {"/x": "shop"}), ingress("b", "", {"/": "news"}))
    assert table(made.ports[0].sites[0].hosts)["a.example"] == [("Prefix", "/x", "shop")]


def test_of_two_default_backends_the_first_counts() -> None:
    late, early = with_default(backend("news")), with_default(backend("rest"))
    late.metadata.creation_timestamp = "2026-01-02T00:00:00Z"
    early.metadata.creation_timestamp = "2026-01-01T00:00:00Z"
    hosts = table(compiled(late, early).ports[0].sites[0].hosts)
    assert hosts["*"] == [("Prefix", "/", "rest")]


def test_without_any_ingress_of_ours_no_port_is_taken() -> None:
    foreign = ingress("a", "a.example", {"/": "shop"}, tls="wild")
    foreign.spec.ingress_class_name = "other"
    made = compiled(foreign)
    assert (made.ports, made.ours, made.events) == ([], [], [])


def test_of_several_default_classes_the_newest_counts() -> None:
    """kube-apiserver's admission DefaultIngressClass chooses so."""

    def default(name: str, controller: str, created: str) -> networking_v1.IngressClass:
        found = networking_v1.IngressClass(
            spec=networking_v1.IngressClassSpec(controller=controller)
        )
        annotations = {"ingressclass.kubernetes.io/is-default-class": "true"}
        found.metadata = ObjectMeta(
            name=name, annotations=annotations, creation_timestamp=f"{created}T00:00:00Z"
        )
        return found

    one = ingress("a", "a.example", {"/": "shop"})
    ours, theirs = default("x", CONTROLLER, "2026-01-02"), default("y", "they", "2026-01-01")
    assert is_ours(one, {"x": ours, "y": theirs})
    theirs.metadata.creation_timestamp = "2026-01-03T00:00:00Z"
    assert not is_ours(one, {"x": ours, "y": theirs})
    assert not is_ours(one, {})
    theirs.metadata.annotations = ours.metadata.annotations = {}
    assert not is_ours(one, {"x": ours})


# --- certificates ---


def served(*ingresses: networking_v1.Ingress) -> Compiled:
    found = {"ours": DEFAULT}
    return compile_ingresses(ingresses, found, SERVICES, SECRETS, "127.0.80.1", 80, 443)


def names(made: Compiled) -> dict[str, tuple[str, ...]]:
    """Host names by site of the port for TLS; () is for all others."""
    return {site.name: site.names for port in made.ports[1:] for site in port.sites}


def test_a_certificate_is_for_the_hosts_of_its_entry() -> None:
    made = served(ingress("a", "x.a.example", {"/": "shop"}, tls="wild"))
    assert [(port.address, port.port) for port in made.ports] == [
        ("127.0.80.1", 80),
        ("127.0.80.1", 443),
    ]
    assert names(made) == {"ingress/default/wild": ("x.a.example",)}
    assert made.ports[1].sites[0].secrets == ("default/wild",)
    assert made.ports[1].sites[0].hosts == made.ports[0].sites[0].hosts


def test_a_certificate_without_hosts_is_for_all_names_that_have_no_other() -> None:
    made = served(
        ingress("a", "", {"/": "shop"}, tls="wild"),
        ingress("b", "b.example", {"/": "shop"}, tls="b"),
        ingress("c", "c.example", {"/": "shop"}, tls="wild"),
    )
    assert names(made) == {
        "ingress/default/b": ("b.example",),
        "ingress/default/wild": ("c.example",),
        "ingress/default/wild/*": (),
    }


def test_a_host_has_the_certificate_of_who_came_first() -> None:
    late = ingress("a", "x.a.example", {"/": "shop"}, tls="one")
    early = ingress("b", "x.a.example", {"/y": "shop"}, tls="wild")
    late.metadata.creation_timestamp = "2026-01-02T00:00:00Z"
    early.metadata.creation_timestamp = "2026-01-01T00:00:00Z"
    assert names(served(late, early)) == {"ingress/default/wild": ("x.a.example",)}


def test_a_certificate_that_cannot_be_used_is_told_and_hosts_are_served_without() -> None:
    made = served(ingress("a", "a.example", {"/": "shop"}, tls="lost"))
    assert len(made.ports) == 1
    assert [event[1:] for event in made.events] == [
        ("CertificateNotUsable", "secret lost: does not exist")
    ]


def test_an_entry_that_names_no_secret_is_passed_over() -> None:
    one = ingress("a", "a.example", {"/": "shop"}, tls="wild")
    one.spec.tls.insert(0, networking_v1.IngressTLS(hosts=["a.example"]))
    assert names(served(one)) == {"ingress/default/wild": ("a.example",)}

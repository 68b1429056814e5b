"""Ingresses and the routes that they become: one thing about them in each row. The routes are those
that Skipper makes of the same objects and options."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.routeserver.builders import (
    INSIDE,
    NONE,
    ON_HOST,
    ON_INSIDE,
    ONE,
    SHOP,
    SUBTREE,
    TWO,
    compiled,
    ingress,
    path,
    same,
)
from tiphys.addons.routeserver.compiling.objects import (
    Ingress,
    IngressBackend,
    IngressPort,
    IngressService,
)
from tiphys.addons.routeserver.compiling.options import Appended
from tiphys.addons.routeserver.eskip import Call

INGRESSES: dict[str, tuple[Ingress, dict[str, Any], str]] = {
    "pods of a service share the requests": (
        ingress(path()),
        {},
        f"{SHOP}: {SUBTREE} -> {TWO};",
    ),
    "one pod gets them all": (
        ingress(path(to="next")),
        {},
        f"kube_a__x__shop_example_org_____next: {SUBTREE} -> {ONE};",
    ),
    "no pod is an error that says so": (
        ingress(path(to="bare")),
        {},
        f"kube_a__x__shop_example_org_____bare: {SUBTREE} -> {NONE};",
    ),
    "a port that the service has not is the same": (
        ingress(path(port="other")),
        {},
        f"{SHOP}: {SUBTREE} -> {NONE};",
    ),
    "no service is no route": (ingress(path(to="lost")), {}, ""),
    "an exact path": (
        ingress(path(kind="Exact")),
        {},
        f'{SHOP}: {ON_HOST} && Path("/") -> {TWO};',
    ),
    "a path of no type is an expression": (
        ingress(path("/a", kind="ImplementationSpecific")),
        {},
        f"kube_a__x__shop_example_org___a__shop: {ON_HOST} && PathRegexp(/^(\\/a)/) -> {TWO};",
    ),
    "a path of no type as an annotation wants it": (
        ingress(path("/a", kind=""), skipper_ingress_path_mode="path-prefix"),
        {},
        f'kube_a__x__shop_example_org___a__shop: {ON_HOST} && PathSubtree("/a") -> {TWO};',
    ),
    "filters of an annotation, the rate limit first": (
        ingress(path(), skipper_filter='setPath("/x")', ratelimit="ratelimit(2)"),
        {},
        f'{SHOP}: {SUBTREE} -> ratelimit(2) -> setPath("/x") -> {TWO};',
    ),
    "predicates of an annotation": (
        ingress(path(), skipper_predicate='Cookie("beta", "yes")'),
        {},
        f'{SHOP}: {SUBTREE} && Cookie("beta", "yes") -> {TWO};',
    ),
    "another way to choose a pod": (
        ingress(path(), skipper_loadbalancer="random"),
        {},
        f"{SHOP}: {SUBTREE} -> {TWO.replace('roundRobin', 'random')};",
    ),
    "another protocol": (
        ingress(path(), skipper_backend_protocol="fastcgi"),
        {},
        f"{SHOP}: {SUBTREE} -> {TWO.replace('http:', 'fastcgi:')};",
    ),
    "weights share a path": (
        ingress(path(), path(to="next"), backend_weights='{"shop": 90, "next": 10}'),
        {},
        f"{SHOP}: {SUBTREE} && Traffic(0.9) -> {TWO};"
        f"kube_a__x__shop_example_org_____next: {SUBTREE} -> {ONE};",
    ),
    "weights as segments": (
        ingress(path(), path(to="next"), backend_weights='{"shop": 75, "next": 25}'),
        {"traffic": "traffic-segment-predicate"},
        f"{SHOP}: {SUBTREE} && TrafficSegment(0, 0.75) -> {TWO};"
        f"kube_a__x__shop_example_org_____next: {SUBTREE} && TrafficSegment(0.75, 1) -> {ONE};",
    ),
    "no weight is no traffic": (
        ingress(path(), path(to="next"), backend_weights='{"next": 1}'),
        {},
        f"kube_a__x__shop_example_org_____next: {SUBTREE} -> {ONE};",
    ),
    "routes of an annotation": (
        ingress(path(), skipper_routes='Method("OPTIONS") -> status(204) -> <shunt>'),
        {},
        f"{SHOP}: {SUBTREE} -> {TWO};"
        f'kube_a__x__0__shop_example_org_____: {SUBTREE} && Method("OPTIONS") -> status(204) -> <shunt>;',
    ),
    "https alone": (
        ingress(path()),
        {"https_redirect": True},
        f"{SHOP}: {SUBTREE} -> {TWO};"
        f'{SHOP}_https_redirect: {SUBTREE} && Weight(1000) && Header("X-Forwarded-Proto", "http")'
        ' -> redirectTo(308, "https:") -> <shunt>;'
        'kube__redirect: Weight(1000) && Header("X-Forwarded-Proto", "http")'
        ' -> redirectTo(308, "https:") -> <shunt>;',
    ),
    "a name outside is not called unless it may be": (ingress(path(to="away")), {}, ""),
    "a name outside": (
        ingress(path(to="away")),
        {"external_names": True, "allowed_external_names": ("^away[.]",)},
        f"kube_a__x__shop_example_org____away_example_com: {ON_HOST}"
        ' -> setRequestHeader("Host", "away.example.com") -> "http://away.example.com:8080";',
    ),
    "a name outside that is not among those": (
        ingress(path(to="away")),
        {"external_names": True, "allowed_external_names": ("^other[.]",)},
        "",
    ),
    "a host of the cluster has a rule of its own": (
        ingress(path(), host=INSIDE),
        {
            "east_west_range_domains": ("shop.inside",),
            "east_west_range_predicates": (Call("ClientIP", ("10.0.0.0/8",)),),
        },
        f'kube_a__x__www_shop_inside_____shop: {ON_INSIDE} && PathSubtree("/")'
        f' && ClientIP("10.0.0.0/8") -> {TWO};',
    ),
    "filters by the value of an annotation": (
        ingress(path(), team="shop"),
        {"annotation_filters": (Appended("zalando.org/team", "shop", (Call("latency", (1.0,)),)),)},
        f"{SHOP}: {SUBTREE} -> latency(1) -> {TWO};",
    ),
    "default filters of a service come first": (
        ingress(path(), skipper_filter="compress()"),
        {"default_filters": {"shop.a": "corsOrigin()"}},
        f"{SHOP}: {SUBTREE} -> corsOrigin() -> compress() -> {TWO};",
    ),
}

ELSEWHERE = 'Host("^(x[.]a[.]ew[.]local[.]?(:[0-9]+)?)$")'
EAST_WEST = {"east_west": True, "east_west_domain": "ew.local"}
EW_SHOP = f"kubeew{SHOP.removeprefix('kube')}"
CATCH_ALL = "kube___catchall__shop_example_org____"
HTTPS = 'redirectTo(308, "https:") -> <shunt>'
FROM_HTTP = 'Header("X-Forwarded-Proto", "http")'
GLOBAL = f"kube__redirect: Weight(1000) && {FROM_HTTP} -> {HTTPS};"
TO_HTTPS = f"{SHOP}_https_redirect: {SUBTREE} && Weight(1000) && {FROM_HTTP} -> {HTTPS};"
AWAY = "kube_a__x__shop_example_org____away_example_com"


def default_of(service: str, port: str | int = "http", **annotations: str) -> Ingress:
    """An Ingress that sends everything to a service."""
    one = ingress(**annotations)
    assert one.spec is not None
    named = IngressPort(name=port) if isinstance(port, str) else IngressPort(number=port)
    one.spec.default_backend = IngressBackend(service=IngressService(service, named))
    return one


def labelled(one: Ingress, **labels: str) -> Ingress:
    one.metadata.labels = labels
    return one


INGRESSES |= {
    "a path is not all that a host has": (
        ingress(path("/a", kind="ImplementationSpecific")),
        {"catch_all": True},
        f"kube_a__x__shop_example_org___a__shop: {ON_HOST} && PathRegexp(/^(\\/a)/) -> {TWO};"
        f"{CATCH_ALL}: {ON_HOST} -> <shunt>;",
    ),
    "the root is": (
        ingress(path("/", kind="ImplementationSpecific")),
        {"catch_all": True},
        f"{SHOP}: {ON_HOST} && PathRegexp(/^\\//) -> {TWO};",
    ),
    "and so is no path": (
        ingress(path("")),
        {"catch_all": True},
        f"kube_a__x__shop_example_org____shop: {ON_HOST} -> {TWO};",
    ),
    "and a subtree, which says what it has not": (
        ingress(path("/a")),
        {"catch_all": True},
        f'kube_a__x__shop_example_org___a__shop: {ON_HOST} && PathSubtree("/a") -> {TWO};',
    ),
    "a path of no type as an expression": (
        ingress(path("/a", kind=""), skipper_ingress_path_mode="path-regexp"),
        {},
        f"kube_a__x__shop_example_org___a__shop: {ON_HOST} && PathRegexp(/\\/a/) -> {TWO};",
    ),
    "a rule without a host": (
        ingress(path(), host=""),
        {},
        f'kube_a__x_______shop: PathSubtree("/") -> {TWO};',
    ),
    "a path of a predicate stands for the rule's in path-prefix mode": (
        ingress(path(), skipper_predicate='Path("/b")', skipper_ingress_path_mode="path-prefix"),
        {},
        f'{SHOP}: {ON_HOST} && Path("/b") -> {TWO};',
    ),
    "everything to a service": (default_of("shop"), {}, f"kube_a__x______: * -> {TWO};"),
    "everything to a service, inside too": (
        default_of("shop"),
        EAST_WEST,
        f"kube_a__x______: * -> {TWO}; kubeew_a__x______: {ELSEWHERE} -> {TWO};",
    ),
    "everything to a name outside": (
        default_of("away"),
        {"external_names": True},
        'kube_a__x__default____away_example_com: * -> setRequestHeader("Host", "away.example.com")'
        ' -> "http://away.example.com:8080";',
    ),
    "everything to a name outside that has no such port": (
        default_of("away", 81),
        {"external_names": True},
        f"kube_a__x______: * -> {NONE};",
    ),
    "a name outside keeps the host of the request": (
        ingress(path(to="away")),
        {"external_names": True, "external_name_keeps_host": True},
        f'{AWAY}: {ON_HOST} -> "http://away.example.com:8080";',
    ),
    "a service by its name": (
        ingress(path(to="bare")),
        {"service_names": True},
        f"kube_a__x__shop_example_org_____bare: {SUBTREE}"
        ' -> "http://bare.a.svc.cluster.local:8080";',
    ),
    "to another cluster, which has the filters itself": (
        ingress(path(), skipper_filter="a()", skipper_backend="forward"),
        {"forward_url": "http://fwd.example"},
        f'{SHOP}: {SUBTREE} -> "http://fwd.example";',
    ),
    "nowhere else where there is no other cluster": (
        ingress(path(), skipper_backend="forward"),
        {},
        f"{SHOP}: {SUBTREE} -> {TWO};",
    ),
    "whose route it is": (
        labelled(ingress(path()), app="web"),
        {"application_label": "app"},
        f'{SHOP}: {SUBTREE} -> annotate("Application", "web") -> {TWO};',
    ),
    "whose route it is, if it says": (
        labelled(ingress(path()), other="web"),
        {"application_label": "app"},
        f"{SHOP}: {SUBTREE} -> {TWO};",
    ),
    "zones that mean nothing are said to the server": (
        ingress(path(), path("/n", to="next"), traffic_zone_aware="false"),
        {},
        f'{SHOP}: {SUBTREE} -> annotate("zalando.org/traffic-zone-aware", "false") -> {TWO};'
        f'kube_a__x__shop_example_org___n__next: {ON_HOST} && PathSubtree("/n") -> {ONE};',
    ),
    "a name inside beside the one outside": (
        ingress(path()),
        EAST_WEST,
        f'{SHOP}: {SUBTREE} -> {TWO}; {EW_SHOP}: {ELSEWHERE} && PathSubtree("/") -> {TWO};',
    ),
    "https alone is for hosts outside": (
        ingress(path(), host=INSIDE),
        {"https_redirect": True, "east_west_range_domains": ("shop.inside",)},
        f'kube_a__x__www_shop_inside_____shop: {ON_INSIDE} && PathSubtree("/") -> {TWO}; {GLOBAL}',
    ),
    "https alone, for paths that nothing takes as well": (
        ingress(path("/a", kind="ImplementationSpecific")),
        {"https_redirect": True, "catch_all": True},
        f"kube_a__x__shop_example_org___a__shop: {ON_HOST} && PathRegexp(/^(\\/a)/) -> {TWO};"
        "kube_a__x__shop_example_org___a__shop_https_redirect: Weight(1000) &&"
        f" {ON_HOST} && PathRegexp(/^(\\/a)/) && {FROM_HTTP} -> {HTTPS};"
        f"{CATCH_ALL}: {ON_HOST} -> <shunt>;"
        f"{CATCH_ALL}_https_redirect: Weight(1000) && {ON_HOST} && {FROM_HTTP} -> {HTTPS};{GLOBAL}",
    ),
    "https alone, where the Ingress wants it, with its code": (
        ingress(path(), skipper_ingress_redirect="true", skipper_ingress_redirect_code="301"),
        {},
        f"{SHOP}: {SUBTREE} -> {TWO};" + TO_HTTPS.replace("308", "301"),
    ),
    "http stays where the Ingress wants it": (
        ingress(path(), skipper_ingress_redirect="false"),
        {"https_redirect": True},
        f"{SHOP}: {SUBTREE} -> {TWO};"
        f"{SHOP}_disable_https_redirect: Weight(1000) && {SUBTREE} && {FROM_HTTP} -> {TWO};{GLOBAL}",
    ),
    "an Ingress that looks at the protocol handles it itself": (
        ingress(path(), skipper_predicate='Header("X-Forwarded-Proto", "http")'),
        {"https_redirect": True},
        f"{SHOP}: {SUBTREE} && {FROM_HTTP} -> {TWO}; {GLOBAL}",
    ),
    "predicates by the value of an annotation": (
        ingress(path(), team="shop"),
        {
            "annotation_predicates": (
                Appended("zalando.org/team", "shop", (Call("True"),)),
                Appended("zalando.org/team", "other", (Call("False"),)),
            )
        },
        f"{SHOP}: {SUBTREE} && True() -> {TWO};",
    ),
    "those of hosts inside are others": (
        ingress(path(), host=INSIDE, team="shop"),
        {
            "east_west_range_domains": ("shop.inside",),
            "annotation_filters": (Appended("zalando.org/team", "shop", (Call("out"),)),),
            "east_west_annotation_filters": (Appended("zalando.org/team", "shop", (Call("in"),)),),
            "east_west_annotation_predicates": (
                Appended("zalando.org/team", "shop", (Call("True"),)),
            ),
        },
        f'kube_a__x__www_shop_inside_____shop: {ON_INSIDE} && PathSubtree("/") && True()'
        f" -> in() -> {TWO};",
    ),
}


@pytest.mark.parametrize("case", INGRESSES)
def test_an_ingress_becomes_routes(case: str) -> None:
    obj, options, expected = INGRESSES[case]
    assert same(compiled(obj, **options), expected)


def test_a_route_of_an_annotation_with_two_paths_is_told_and_left_out() -> None:
    made = compiled(ingress(path(), skipper_routes='Path("/a") -> <shunt>; '))
    assert same(made, f"{SHOP}: {SUBTREE} -> {TWO};")
    [problem] = made.problems
    assert problem.message.endswith("route  would have two paths")


def test_a_mode_of_paths_that_is_none_is_told() -> None:
    made = compiled(ingress(path("/a", kind=""), skipper_ingress_path_mode="glob"))
    assert len(made.routes) == 1
    assert [problem.message for problem in made.problems] == [
        "annotation zalando.org/skipper-ingress-path-mode: no mode 'glob'"
    ]


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        ("lost", {}, "service lost does not exist"),
        ("away", {}, "service away: external names are not enabled"),
        (
            "away",
            {"external_names": True, "allowed_external_names": ("^other$",)},
            "service away: external name away.example.com is not allowed",
        ),
    ],
)
def test_a_backend_that_cannot_be_had_is_told(
    to: str, options: dict[str, Any], message: str
) -> None:
    for one in (ingress(path(to=to)), default_of(to)):
        made = compiled(one, **options)
        assert [problem.message for problem in made.problems] == [message]
        assert not made.routes


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("299", 308),
        ("300", 300),
        ("399", 399),
        ("400", 308),
        ("30", 308),
        ("3000", 308),
        ("x", 308),
    ],
)
def test_a_redirect_has_a_code_of_redirects(said: str, code: int) -> None:
    annotations = {"skipper_ingress_redirect": "true", "skipper_ingress_redirect_code": said}
    routes = {route.id: route for route in compiled(ingress(path(), **annotations)).routes}
    assert routes[f"{SHOP}_https_redirect"].filters[0].args[0] == code


def test_filters_that_are_none_are_told_and_left_out() -> None:
    one = ingress(path(), skipper_filter="a()", ratelimit="rate limit(")
    made = compiled(one, default_filters={"shop.a": "cors Origin()"})
    assert same(made, f"{SHOP}: {SUBTREE} -> {TWO};")
    messages = [problem.message for problem in made.problems]
    assert messages[0].startswith("annotation zalando.org/ratelimit: ")
    assert messages[1].startswith("default filters of shop.a: ") and len(messages) == 2

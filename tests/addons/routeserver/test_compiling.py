"""Objects and the routes that they become: one thing about them in each row."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.routeserver.builders import (
    HOST,
    NONE,
    ON_HOST,
    ONE,
    TWO,
    compiled,
    group,
    ingress,
    path,
    pods,
    same,
)
from tiphys.addons.routeserver.compiling.objects import Ingress, Problem, RouteGroup, read_list
from tiphys.addons.routeserver.compiling.options import Appended
from tiphys.addons.routeserver.eskip import Call

SHOP = "kube_a__x__shop_example_org_____shop"
GROUP = "kube_rg__a__x__all__0_0"
SUBTREE = f'{ON_HOST} && PathSubtree("/")'
CATCH_ALL = f"kube_rg____shop_example_org__catchall__0_0: {ON_HOST} -> <shunt>;"
INSIDE = "www.shop.inside"
ON_INSIDE = 'Host("^(www[.]shop[.]inside[.]?(:[0-9]+)?)$")'

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

GROUPS: dict[str, tuple[RouteGroup, dict[str, Any], str]] = {
    "a group without routes takes everything": (
        group(),
        {},
        f"{GROUP}: {ON_HOST} -> {TWO};",
    ),
    "a route, and what it does not take": (
        group({"pathSubtree": "/a", "filters": ["compress()"]}),
        {"catch_all": True},
        f'{GROUP}: {ON_HOST} && PathSubtree("/a") -> compress() -> {TWO}; {CATCH_ALL}',
    ),
    "a method is a route": (
        group({"path": "/a", "methods": ["GET", "PUT", "GET"]}),
        {},
        f'kube_rg__a__x__get__0_0: {ON_HOST} && Path("/a") && Method("GET") -> {TWO};'
        f'kube_rg__a__x__put__0_0: {ON_HOST} && Path("/a") && Method("PUT") -> {TWO};',
    ),
    "backends of a route stand for the default ones": (
        group({"path": "/a", "backends": [{"backendName": "nothing"}]}),
        {},
        f'{GROUP}: {ON_HOST} && Path("/a") -> <shunt>;',
    ),
    "weights": (
        group(
            defaultBackends=[
                {"backendName": "shop", "weight": 1},
                {"backendName": "next", "weight": 1},
            ]
        ),
        {},
        f"{GROUP}: {ON_HOST} && Traffic(0.5) -> {TWO};kube_rg__a__x__all__0_1: {ON_HOST} -> {ONE};",
    ),
    "https alone, where the group wants it": (
        group({"path": "/a"}, annotations={"skipper_ingress_redirect": "true"}),
        {},
        f'{GROUP}: {ON_HOST} && Path("/a") -> {TWO};'
        f'{GROUP}_https_redirect: {ON_HOST} && Path("/a") && Header("X-Forwarded-Proto", "http")'
        ' -> redirectTo(308, "https:") -> <shunt>;',
    ),
    "hosts inside and outside": (
        group(hosts=(HOST, INSIDE)),
        {"east_west_range_domains": ("shop.inside",)},
        f"{GROUP}: {ON_HOST} -> {TWO}; kube_rg__internal_a__x__all__0_0: {ON_INSIDE} -> {TWO};",
    ),
}


@pytest.mark.parametrize("case", [*INGRESSES, *GROUPS])
def test_an_object_becomes_routes(case: str) -> None:
    obj, options, expected = {**INGRESSES, **GROUPS}[case]
    assert same(compiled(obj, **options), expected)


def test_pods_of_a_zone_are_enough_when_they_are_three() -> None:
    far = pods("shop", "10.0.1.1", zone="far")
    near = pods("shop", "10.0.0.1", "10.0.0.2", "10.0.0.3", zone="near")
    [route] = compiled(ingress(path()), slices=[far, near], zone="near").routes
    assert {endpoint.zone for endpoint in route.backend.endpoints} == {"near"}
    [route] = compiled(ingress(path()), slices=[far, near], zone="far").routes
    assert len(route.backend.endpoints) == 4


def test_a_pod_that_ends_gets_no_requests_whatever_another_slice_says() -> None:
    ready = pods("shop", "10.0.0.1", "10.0.0.2", ready=True)
    ending = pods("shop", "10.0.0.1", ready=True, terminating=True)
    [route] = compiled(ingress(path()), slices=[ready, ending]).routes
    assert route.backend.address == "http://10.0.0.2:8080"


# --- what is wrong harms itself alone ---

BROKEN: dict[str, tuple[Ingress | RouteGroup, str]] = {
    "a path to nowhere": (
        ingress({"path": "/a", "pathType": "Exact"}),
        "path /a of shop.example.org has no backend",
    ),
    "a filter that is none": (ingress(path(), skipper_filter='setPath("/a"'), "skipper-filter"),
    "a predicate that is none": (ingress(path(), skipper_predicate="Path("), "skipper-predicate"),
    "a route that is none": (ingress(path(), skipper_routes="* -> <nowhere>"), "skipper-routes"),
    "a balancer that is none": (ingress(path(), skipper_loadbalancer="best"), "'best'"),
    "a filter of a group": (group({"path": "/a", "filters": ["comp ress()"]}), "'comp ress()'"),
    "two filters in one": (group({"filters": ["a() -> b()"]}), "one is expected, not 2"),
    "two paths": (group({"path": "/a", "pathSubtree": "/b"}), "both path and pathSubtree"),
    "a backend that is none": (group({"backends": [{"backendName": "lost"}]}), "'lost'"),
    "a service that is none": (
        group(backends=[{"name": "shop", "serviceName": "lost", "servicePort": 80}]),
        "service lost does not exist",
    ),
    "a port that is none": (
        group(backends=[{"name": "shop", "serviceName": "shop", "servicePort": 81}]),
        "service shop has no port 81",
    ),
    "a port that cannot be": (
        group(backends=[{"name": "shop", "serviceName": "shop", "servicePort": 99999}]),
        "servicePort 99999",
    ),
    "a type that is none": (group(backends=[{"name": "shop", "type": "magic"}]), "'magic'"),
    "an address with a path": (
        group(backends=[{"name": "shop", "type": "network", "address": "http://a/b"}]),
        "scheme://host",
    ),
    "a weight without end": (
        group(defaultBackends=[{"backendName": "shop", "weight": 10**400}]),
        "the weight of shop",
    ),
    "routes without end": (
        ingress(*[path(f"/{n}") for n in range(600)], skipper_filter=" -> ".join(["a()"] * 3000)),
        "longer than",
    ),
    "hosts without end": (
        group(
            *[{"path": f"/{n}"} for n in range(900)], hosts=tuple(f"{n}.org" for n in range(2000))
        ),
        "longer than",
    ),
    "an address that is none": (
        group(backends=[{"name": "shop", "type": "network", "address": "http://[::1"}]),
        "address",
    ),
}


@pytest.mark.parametrize("weights", ["NaN", "Infinity", "-1", '"much"', "1e999", "null", "[]"])
def test_weights_that_are_none_are_passed_over(weights: str) -> None:
    made = compiled(ingress(path(), backend_weights=f'{{"shop": {weights}}}'))
    assert same(made, f"{SHOP}: {SUBTREE} -> {TWO};")
    assert "backend-weights" in made.problems[0].message


@pytest.mark.parametrize("case", BROKEN)
def test_an_object_that_is_wrong_says_so_and_others_stay(case: str) -> None:
    broken, message = BROKEN[case]
    broken.metadata.name = "broken"
    made = compiled(broken, ingress(path()), group())
    assert {route.id for route in made.routes} == {SHOP, GROUP}
    [problem] = made.problems
    assert problem.about is broken and message in problem.message


def test_an_object_that_cannot_be_read_is_left_out_alone() -> None:
    answer = (
        b'{"items":[{"metadata":{"name":"bad","namespace":"a"},"spec":{"rules":7}},'
        b'{"metadata":{"name":"good","namespace":"a"},"spec":{}},7]}'
    )
    problems: list[Problem] = []
    assert [each.metadata.name for each in read_list(answer, Ingress, problems)] == ["good"]
    assert problems[0].about.metadata.name == "bad"

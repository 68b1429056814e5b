"""RouteGroups and the routes that they become: one thing about them in each row. The routes are those
that Skipper makes of the same objects and options."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.routeserver.builders import (
    CATCH_ALL,
    GROUP,
    HOST,
    INSIDE,
    NONE,
    ON_HOST,
    ON_INSIDE,
    ONE,
    TWO,
    compiled,
    group,
    same,
)
from tiphys.addons.routeserver.compiling.objects import RouteGroup
from tiphys.addons.routeserver.eskip import Call

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

ELSEWHERE = 'Host("^(x[.]a[.]ew[.]local[.]?(:[0-9]+)?)$")'
EAST_WEST = {"east_west": True, "east_west_domain": "ew.local"}
TAG = 'tracingTag("skipper.backend_name", "shop")'


def backends(*rows: dict[str, Any], **more: Any) -> RouteGroup:
    """A group whose only default backend is the first of these."""
    named = [{"name": f"b{number}", **row} for number, row in enumerate(rows)]
    return group(backends=named, defaultBackends=[{"backendName": "b0"}], **more)


GROUPS |= {
    "hosts that have a route for every path get no other": (
        group(),
        {"catch_all": True},
        f"{GROUP}: {ON_HOST} -> {TWO};",
    ),
    "a route with a method leaves paths that nothing takes": (
        group({"methods": ["GET"]}),
        {"catch_all": True},
        f'kube_rg__a__x__get__0_0: {ON_HOST} && Method("GET") -> {TWO}; {CATCH_ALL}',
    ),
    "a second route without a path takes what is left": (
        group({"path": "/a"}, {}),
        {"catch_all": True},
        f'{GROUP}: {ON_HOST} && Path("/a") -> {TWO}; kube_rg__a__x__all__1_0: {ON_HOST} -> {TWO};',
    ),
    "a group of every host": (
        group({"path": "/a"}, hosts=()),
        {"catch_all": True},
        f'{GROUP}: Path("/a") -> {TWO};',
    ),
    "an expression beside a path": (
        group({"pathSubtree": "/a", "pathRegexp": "[0-9]$"}),
        {},
        f'{GROUP}: {ON_HOST} && PathSubtree("/a") && PathRegexp("[0-9]$") -> {TWO};',
    ),
    "predicates and filters, each from its own text": (
        group({"predicates": ['Cookie("a", "b")', "True()"], "filters": ["a()", 'b("c")']}),
        {},
        f'{GROUP}: {ON_HOST} && Cookie("a", "b") && True() -> a() -> b("c") -> {TWO};',
    ),
    "a method in small letters is the same": (
        group({"methods": ["get"]}),
        {},
        f'kube_rg__a__x__get__0_0: {ON_HOST} && Method("GET") -> {TWO};',
    ),
    "an address": (
        backends({"type": "network", "address": "https://b.example"}),
        {},
        f'{GROUP}: {ON_HOST} -> "https://b.example";',
    ),
    "several addresses, chosen as the server does by default": (
        backends({"type": "lb", "endpoints": ["http://b", "http://c?zone=z"]}),
        {"load_balancer": "random"},
        f'{GROUP}: {ON_HOST} -> <random, "http://b", "http://c?zone=z">;',
    ),
    "several addresses, chosen as the group says": (
        backends({"type": "lb", "algorithm": "leastRequests", "endpoints": ["http://b"]}),
        {},
        f'{GROUP}: {ON_HOST} -> <leastRequests, "http://b">;',
    ),
    "pods, chosen as the group says": (
        backends({"serviceName": "shop", "servicePort": 80, "algorithm": "random"}),
        {},
        f"{GROUP}: {ON_HOST} -> {TWO.replace('roundRobin', 'random')};",
    ),
    "no pod": (
        backends({"serviceName": "bare", "servicePort": 80}),
        {},
        f"{GROUP}: {ON_HOST} -> {NONE};",
    ),
    "once more through the routes": (
        backends({"type": "loopback"}),
        {},
        f"{GROUP}: {ON_HOST} -> <loopback>;",
    ),
    "where a filter says": (
        backends({"type": "dynamic"}),
        {},
        f"{GROUP}: {ON_HOST} -> <dynamic>;",
    ),
    "to another cluster, which has the filters itself": (
        group(
            {"path": "/a", "filters": ["a()"]},
            backends=[{"name": "shop", "type": "forward"}],
        ),
        {"forward_url": "http://fwd.example"},
        f'{GROUP}: {ON_HOST} && Path("/a") -> "http://fwd.example";',
    ),
    "the name of the backend for tracing": (
        group(),
        {"backend_tracing_tag": True},
        f"{GROUP}: {ON_HOST} -> {TAG} -> {TWO};",
    ),
    "default filters of a service come first": (
        group({"filters": ["compress()"]}),
        {"default_filters": {"shop.a": "corsOrigin()", "next.a": "never()"}},
        f"{GROUP}: {ON_HOST} -> corsOrigin() -> compress() -> {TWO};",
    ),
    "what is no service has none": (
        backends({"type": "shunt", "serviceName": "shop"}),
        {"default_filters": {"shop.a": "corsOrigin()"}},
        f"{GROUP}: {ON_HOST} -> <shunt>;",
    ),
    "a protocol": (
        group(annotations={"skipper_backend_protocol": "fastcgi"}),
        {},
        f"{GROUP}: {ON_HOST} -> {TWO.replace('http:', 'fastcgi:')};",
    ),
    "zones that mean nothing are said to the server": (
        group(annotations={"traffic_zone_aware": "false"}),
        {},
        f'{GROUP}: {ON_HOST} -> annotate("zalando.org/traffic-zone-aware", "false") -> {TWO};',
    ),
    "a name inside beside those outside": (
        group(),
        EAST_WEST,
        f"{GROUP}: {ON_HOST} -> {TWO}; kubeew_rg__a__x__all__0_0: {ELSEWHERE} -> {TWO};",
    ),
    "no name inside where a host is inside already": (
        group(hosts=("shop.ew.local",)),
        EAST_WEST,
        f'{GROUP}: Host("^(shop[.]ew[.]local[.]?(:[0-9]+)?)$") -> {TWO};',
    ),
    "predicates of the hosts inside, and nothing of the others": (
        group(hosts=(INSIDE,), annotations={"skipper_ingress_redirect": "true"}),
        {
            **EAST_WEST,
            "east_west_range_domains": ("shop.inside",),
            "east_west_range_predicates": (Call("ClientIP", ("10.0.0.0/8",)),),
        },
        f'kube_rg__internal_a__x__all__0_0: {ON_INSIDE} && ClientIP("10.0.0.0/8") -> {TWO};',
    ),
    "https alone is not for a route that looks at the protocol": (
        group({"predicates": ['Header("X-Forwarded-Proto", "http")']}),
        {"https_redirect": True},
        f'{GROUP}: {ON_HOST} && Header("X-Forwarded-Proto", "http") -> {TWO};'
        'kube__redirect: Weight(1000) && Header("X-Forwarded-Proto", "http")'
        ' -> redirectTo(308, "https:") -> <shunt>;',
    ),
    "https for all but this group": (
        group(annotations={"skipper_ingress_redirect": "false"}),
        {"https_redirect": True, "https_redirect_code": 301},
        f"{GROUP}: {ON_HOST} -> {TWO};"
        'kube__redirect: Weight(1000) && Header("X-Forwarded-Proto", "http")'
        ' -> redirectTo(301, "https:") -> <shunt>;',
    ),
    "weights as segments": (
        group(
            defaultBackends=[
                {"backendName": "shop", "weight": 3},
                {"backendName": "next", "weight": 1},
            ]
        ),
        {"traffic": "traffic-segment-predicate"},
        f"{GROUP}: {ON_HOST} && TrafficSegment(0, 0.75) -> {TWO};"
        f"kube_rg__a__x__all__0_1: {ON_HOST} && TrafficSegment(0.75, 1) -> {ONE};",
    ),
}


@pytest.mark.parametrize("case", GROUPS)
def test_a_group_becomes_routes(case: str) -> None:
    obj, options, expected = GROUPS[case]
    assert same(compiled(obj, **options), expected)


def test_default_filters_that_are_none_are_told_and_left_out() -> None:
    made = compiled(group(), default_filters={"shop.a": "cors Origin()"})
    assert same(made, f"{GROUP}: {ON_HOST} -> {TWO};")
    [problem] = made.problems
    assert problem.message.startswith("default filters of shop.a: ")


def test_a_route_that_leads_nowhere_leaves_the_others_of_its_group() -> None:
    rows = [
        {"name": "shop", "serviceName": "shop", "servicePort": 80},
        {"name": "gone", "serviceName": "gone", "servicePort": 80},
    ]
    lost = {"path": "/a", "backends": [{"backendName": "gone"}]}
    made = compiled(group(lost, {"path": "/b"}, backends=rows))
    assert [route.id for route in made.routes] == ["kube_rg__a__x__all__1_0"]
    assert [problem.message for problem in made.problems] == [
        "spec.routes[0]: service gone does not exist"
    ]

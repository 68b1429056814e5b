"""Objects and the routes that they become: one thing about them in each row."""

from __future__ import annotations

import pytest

from tests.addons.routeserver.builders import (
    GROUP,
    HOST,
    SHOP,
    SUBTREE,
    TWO,
    compiled,
    group,
    ingress,
    path,
    pods,
    same,
    service,
)
from tiphys.addons.routeserver.compiling.objects import Ingress, Problem, RouteGroup, read_list


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


def zone_of(*zones: str, zone: str = "near", **annotations: str) -> set[str]:
    """The zones of the endpoints that a route has for a router of `zone`."""
    slices = [pods("shop", f"10.0.{n}.1", zone=one) for n, one in enumerate(zones)]
    [route] = compiled(ingress(path(), **annotations), slices=slices, zone=zone).routes
    return {endpoint.zone for endpoint in route.backend.endpoints}


@pytest.mark.parametrize(
    ("zones", "kept"),
    [
        (("near", "near", "far"), {"near", "far"}),
        (("near", "near", "near", "far"), {"near"}),
        (("far", "far"), {"far"}),
    ],
)
def test_fewer_than_three_pods_of_a_zone_are_not_enough(
    zones: tuple[str, ...], kept: set[str]
) -> None:
    assert zone_of(*zones) == kept


def test_an_object_may_say_that_zones_mean_nothing() -> None:
    zones = ("near", "near", "near", "far")
    assert zone_of(*zones, traffic_zone_aware="false") == {"near", "far"}
    assert zone_of(*zones, traffic_zone_aware="true") == {"near"}
    assert zone_of(*zones, zone="") == {"near", "far"}


# --- whose objects, and which ---


@pytest.mark.parametrize(
    ("said", "named", "is_ours"),
    [
        ("", None, True),
        ("skipper", None, True),
        ("", "skipper", True),
        ("nginx", None, False),
        ("", "nginx", False),
        ("skipper", "nginx", False),
        ("nginx", "skipper", False),
    ],
)
def test_an_ingress_of_another_class_is_left_alone(
    said: str, named: str | None, is_ours: bool
) -> None:
    one = ingress(path())
    one.metadata.annotations = {"kubernetes.io/ingress.class": said} if said else None
    assert one.spec is not None
    one.spec.ingress_class_name = named
    assert bool(compiled(one).routes) is is_ours


@pytest.mark.parametrize(("said", "is_ours"), [("", True), ("skipper", True), ("other", False)])
def test_a_group_of_another_class_is_left_alone(said: str, is_ours: bool) -> None:
    annotations = {"routegroup.class": said} if said else {}
    assert bool(compiled(group(annotations=annotations)).routes) is is_ours


@pytest.mark.parametrize(
    ("labels", "wanted", "is_ours"),
    [
        (None, {}, True),
        (None, {"a": ""}, False),
        ({"a": "b"}, {"a": ""}, True),
        ({"a": "b"}, {"a": "b"}, True),
        ({"a": "c"}, {"a": "b"}, False),
        ({"a": "b"}, {"a": "b", "c": ""}, False),
    ],
)
def test_objects_are_chosen_by_labels(
    labels: dict[str, str] | None, wanted: dict[str, str], is_ours: bool
) -> None:
    one = ingress(path())
    one.metadata.labels = labels
    assert bool(compiled(one, ingress_labels=wanted).routes) is is_ours
    shop = service("shop")
    shop.metadata.labels = labels
    made = compiled(ingress(path()), services=[shop], service_labels=wanted)
    assert bool(made.routes) is is_ours


def test_of_two_routes_of_one_id_that_of_the_first_object_stays() -> None:
    first, second = ingress(path()), ingress(path(to="next"))
    first.metadata.name, second.metadata.name = "x.a", "x-a"  # both are x_a in an id
    second.spec.rules[0].http.paths[0].backend.service.name = "shop"  # type: ignore
    first.metadata.annotations = {"zalando.org/skipper-filter": "first()"}
    second.metadata.annotations = {"zalando.org/skipper-filter": "second()"}
    [route] = compiled(first, second).routes
    assert [call.name for call in route.filters] == ["second"], "x-a comes before x.a"


def test_without_a_namespace_an_object_is_of_the_default_one() -> None:
    assert group().metadata.key == ("a", "x")
    bare = group()
    bare.metadata.namespace = ""
    assert bare.metadata.key == ("default", "x")
    assert compiled(bare).problems[0].message.endswith("service shop does not exist")


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
    "the same host twice": (group(hosts=(HOST, HOST)), "spec.hosts: a host is there twice"),
    "no backend at all": (group(backends=[]), "spec.backends: there is none"),
    "a backend twice": (
        group(backends=[{"name": "shop", "type": "shunt"}] * 2),
        "spec.backends[1]: the name shop is there twice",
    ),
    "a backend without a name": (
        group(backends=[{"type": "shunt"}]),
        "spec.backends[0]: it has no name",
    ),
    "a backend without a service": (
        group(backends=[{"name": "shop", "servicePort": 80}]),
        "spec.backends[0]: it has no serviceName",
    ),
    "a port of 0": (
        group(backends=[{"name": "shop", "serviceName": "shop"}]),
        "servicePort 0 is no port",
    ),
    "a port above all": (
        group(backends=[{"name": "shop", "serviceName": "shop", "servicePort": 65536}]),
        "servicePort 65536 is no port",
    ),
    "several addresses of which there is none": (
        group(backends=[{"name": "shop", "type": "lb"}]),
        "it has no endpoints",
    ),
    "a way to choose that is none": (
        group(backends=[{"name": "shop", "type": "lb", "algorithm": "best", "endpoints": ["x"]}]),
        "'best' is no load balancer algorithm",
    ),
    "an address without a scheme": (
        group(backends=[{"name": "shop", "type": "network", "address": "a.example"}]),
        "'a.example' is not scheme://host",
    ),
    "an address with a query": (
        group(backends=[{"name": "shop", "type": "network", "address": "http://a?b"}]),
        "'http://a?b' is not scheme://host",
    ),
    "a service of another type": (
        group(backends=[{"name": "shop", "serviceName": "away", "servicePort": 80}]),
        "service away is of type ExternalName, not ClusterIP",
    ),
    "an address that is not allowed": (
        group(backends=[{"name": "shop", "type": "network", "address": "http://b.example"}]),
        "the address http://b.example is not allowed",
    ),
    "one address of several that is not": (
        group(
            backends=[
                {
                    "name": "shop",
                    "type": "lb",
                    "endpoints": ["http://a.example", "http://b.example"],
                }
            ]
        ),
        "the address http://b.example is not allowed",
    ),
    "a backend twice among the default ones": (
        group(defaultBackends=[{"backendName": "shop"}] * 2),
        "spec.defaultBackends: shop is there twice",
    ),
    "a default backend that is none": (
        group(defaultBackends=[{"backendName": "lost"}]),
        "spec.defaultBackends: 'lost' is no backend of this group",
    ),
    "neither routes nor default backends": (
        group(defaultBackends=[]),
        "spec.defaultBackends: there is none, and no routes",
    ),
    "a route without backends and without default ones": (
        group(
            {"path": "/a", "backends": [{"backendName": "shop"}]},
            {"path": "/b"},
            defaultBackends=[],
        ),
        "spec.routes[1]: it has no backends, and there are no default ones",
    ),
    "an empty method": (
        group({"methods": ["GET", ""]}),
        "spec.routes[0]: a method is empty",
    ),
    "a backend of a route twice": (
        group({"backends": [{"backendName": "shop"}] * 2}),
        "spec.routes[0]: shop is there twice",
    ),
    "a weight below nothing": (
        group(defaultBackends=[{"backendName": "shop", "weight": -1}]),
        "the weight of shop is -1",
    ),
    "a weight that a float cannot hold": (
        group(defaultBackends=[{"backendName": "shop", "weight": 1 << 53}]),
        "the weight of shop is 9007199254740992",
    ),
    "a predicate of a group": (
        group({"predicates": ["Path("]}),
        "spec.routes[0]: 'Path(': ",
    ),
    "two predicates in one": (
        group({"predicates": ["A() && B()"]}),
        "spec.routes[0]: 'A() && B()': one is expected, not 2",
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
    allowed = ("^a[.]example$",)
    made = compiled(broken, ingress(path()), group(), allowed_external_names=allowed)
    assert {route.id for route in made.routes} == {SHOP, GROUP}
    [problem] = made.problems
    assert problem.about is broken and message in problem.message


def test_an_object_without_a_spec_or_a_name_gives_no_routes() -> None:
    bare, nameless, lost, unnamed = ingress(path()), ingress(path()), group(), group()
    bare.spec = lost.spec = None
    nameless.metadata.namespace = ""
    unnamed.metadata.name = ""
    made = compiled(bare, nameless, lost, unnamed)
    assert made.routes == ()
    assert sorted(problem.message for problem in made.problems) == [
        "it has no name",
        "it has no spec",
        "it has no spec, name or namespace",
        "it has no spec, name or namespace",
    ]


def test_an_object_that_cannot_be_read_is_left_out_alone() -> None:
    answer = (
        b'{"items":[{"metadata":{"name":"bad","namespace":"a"},"spec":{"rules":7}},'
        b'{"metadata":{"name":"good","namespace":"a"},"spec":{}},7]}'
    )
    problems: list[Problem] = []
    assert [each.metadata.name for each in read_list(answer, Ingress, problems)] == ["good"]
    assert problems[0].about.metadata.name == "bad"

"""Who may write an Ingress or a RouteGroup wants to stop the routes of everybody else."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.addons.routeserver.builders import compiled, group, ingress, path
from tiphys.addons.routeserver.compiling.objects import Ingress, RouteGroup
from tiphys.addons.routeserver.eskip import read_routes
from tiphys.addons.routeserver.matching import Matcher, Request

MANY_FILTERS = " -> ".join(["setPath(`/a`)"] * 10_000)
ATTACKS: dict[str, Ingress | RouteGroup] = {
    "filters for ten thousand paths": ingress(
        *[path(f"/{n}") for n in range(10_000)], skipper_filter=MANY_FILTERS
    ),
    "routes for ten thousand paths": ingress(
        *[path(f"/{n}") for n in range(10_000)], skipper_routes="a: * -> <shunt>;" * 10_000
    ),
    "hosts for ten thousand routes": group(
        *[{"path": f"/{n}"} for n in range(10_000)], hosts=tuple(f"{n}.org" for n in range(10_000))
    ),
    "brackets without end": ingress(path(), skipper_predicate="A(" * 100_000),
    "an expression without end": ingress(path(), skipper_predicate="PathRegexp(/" + "[a" * 100_000),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_object_that_would_be_too_much_costs_little(attack: str) -> None:
    victim = group()
    ATTACKS[attack].metadata.name = "attack"
    began = time.process_time()
    made = compiled(ATTACKS[attack], victim)
    assert time.process_time() - began < 1.0
    assert [route.id for route in made.routes] == ["kube_rg__a__x__all__0_0"]
    assert [problem.about.metadata.name for problem in made.problems] == ["attack"]


def test_an_expression_cannot_hold_a_router() -> None:
    table: Any = read_routes("a: PathRegexp(/^(a+)+$/) -> <shunt>")
    request = Request("GET", "a", "/" + "a" * 5000 + "!", {})
    began = time.process_time()
    assert Matcher(table).find(request) is None
    assert time.process_time() - began < 0.05

"""NodeOverlays: what machines cost and have then, which one wins, and which is in conflict."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.karpenter.builders import CATALOG, NOW, ON_DEMAND, planned, pod, pool, state
from tiphys.addons.karpenter.offers import offer_of
from tiphys.addons.karpenter.overlays import Overlaid, adjusted, overlaid
from tiphys.addons.karpenter.state import World
from tiphys.addons.karpenter.types import NodeOverlay, NodePool
from tiphys.addons.karpenter.types.parts import LabelRequirement
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta

TYPE = "node.kubernetes.io/instance-type"
C5 = (TYPE, "In", "c5.large")


def overlay(name: str, *requirements: tuple[str, ...], **spec: Any) -> NodeOverlay:
    made = NodeOverlay(metadata=ObjectMeta(name=name))
    made.spec.requirements = [
        LabelRequirement(key=key, operator=operator, values=list(values))
        for key, operator, *values in requirements
    ]
    for key, value in spec.items():
        setattr(made.spec, key, value)
    return made


def over(*overlays: NodeOverlay, pools: tuple[NodePool, ...] = (pool(),)) -> Overlaid:
    return overlaid(overlays, pools, CATALOG)


def price(found: Overlaid, name: str = "c5.large", kind: str = "on-demand") -> float | None:
    return found.catalogs.get("default", CATALOG).price(name, "tiphys-1a", kind)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("0.3", 0.3),
        ("0", 0.0),
        ("+0.5", 2.5),
        ("-0.5", 1.5),
        ("-3", 0.0),
        ("+10%", 2.2),
        ("-15%", 1.7),
        ("-100%", 0.0),
        ("+.5", 2.5),
    ],
)
def test_a_price_is_replaced_or_changed(change: str, expected: float) -> None:
    assert adjusted(2.0, change) == pytest.approx(expected)


def test_only_what_is_meant_costs_something_else() -> None:
    found = over(overlay("a", C5, ("karpenter.sh/capacity-type", "In", "spot"), price="9"))
    assert price(found, kind="spot") == 9.0
    assert price(found) == price(Overlaid())
    assert price(found, "c6.large", "spot") == price(Overlaid(), "c6.large", "spot")


def test_labels_of_the_pool_count() -> None:
    red = pool("red", labels={"team": "red"})
    found = over(overlay("a", ("team", "In", "red"), price="9"), pools=(red, pool()))
    assert list(found.catalogs) == ["red"]
    of_pool = ("karpenter.sh/nodepool", "In", "default")
    assert list(over(overlay("a", of_pool, price="9"), pools=(red, pool())).catalogs) == ["default"]


def test_the_heaviest_wins_for_each_part() -> None:
    heavy = overlay("heavy", C5, price="9", weight=10)
    light = overlay("light", C5, price="1", capacity={"example.com/x": "2"}, weight=5)
    found = over(light, heavy)
    assert price(found) == 9.0 and not found.conflicts
    changed = found.catalogs["default"].by_name["c5.large"]
    assert (changed.capacity["example.com/x"], changed.allocatable["example.com/x"]) == (2, 2)


@pytest.mark.parametrize(
    ("first", "second", "conflicts"),
    [
        ({"price": "1"}, {"price_adjustment": "+1"}, {"a"}),  # b is later in the alphabet
        ({"price": "1"}, {"price": "1", "weight": 2}, set()),
        ({"price": "1"}, {"capacity": {"example.com/x": "1"}}, set()),
        ({"capacity": {"example.com/x": "1"}}, {"capacity": {"example.com/x": "1"}}, {"a"}),
        ({"capacity": {"example.com/x": "1"}}, {"capacity": {"example.com/y": "1"}}, set()),
    ],
)
def test_two_of_a_weight_may_not_say_the_same(
    first: dict[str, Any], second: dict[str, Any], conflicts: set[str]
) -> None:
    found = over(overlay("a", C5, **first), overlay("b", C5, **second))
    assert found.conflicts == conflicts


def test_nothing_of_an_overlay_in_conflict_counts() -> None:
    both = overlay("a", (TYPE, "In", "c5.large", "c6.large"), price="1")
    found = over(both, overlay("b", C5, price="2"))
    assert (price(found), price(found, "c6.large")) == (2.0, price(Overlaid(), "c6.large"))


def world(found: Overlaid, pending: list[core_v1.Pod], nodes: Any = ()) -> World:
    asked = pool("default", ON_DEMAND)
    catalog = found.catalogs.get("default", CATALOG)
    offers = [offer_of(asked, catalog.types, catalog.region, {})]
    pools = {"default": asked}
    return World(NOW, CATALOG, list(nodes), pools, offers, pending, catalogs=found.catalogs)


def test_plans_follow_the_prices_and_find_the_resources() -> None:
    cheap = over(overlay("a", (TYPE, "In", "m7.large"), price="0.001"))
    [node] = planned(world(cheap, [pod("p")])).new
    assert node.options[0][0].name == "m7.large"
    wants = pod("p", requests={"example.com/x": "1"})
    assert not planned(world(Overlaid(), [wants])).new
    extra = over(overlay("a", C5, capacity={"example.com/x": "4"}))
    [node] = planned(world(extra, [wants])).new
    assert {type_.name for type_, _ in node.options} == {"c5.large"}


def test_consolidation_weighs_what_a_node_is_said_to_cost() -> None:
    found = over(overlay("a", C5, price="7"))
    assert world(found, []).price(state("n", "c5.large")) == 7.0

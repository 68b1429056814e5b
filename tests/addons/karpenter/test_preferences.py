"""What pods would like is taken for a must, and given up wish by wish."""

from __future__ import annotations

from typing import Any

from tests.addons.karpenter.builders import pod
from tiphys.addons.karpenter.preferences import variants
from tiphys.api.base import from_builtins
from tiphys.api.core_v1 import Affinity, PodSpec
from tiphys.scheduler.podinfo import PodInfo


def term(zone: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}


def zones(spec: PodSpec) -> list[list[str]]:
    """What is required of nodes: by term, the zones of its expressions."""
    nodes = spec.affinity.node_affinity if spec.affinity is not None else None
    required = nodes.required_during_scheduling_ignored_during_execution if nodes else None
    terms = required.node_selector_terms if required is not None else []
    return [[zone for part in one.match_expressions for zone in part.values] for one in terms]


def wishing(*wishes: tuple[int, str], required: tuple[str, ...] = ()) -> PodInfo:
    """A pod that would like zones, with their weights, and has to be in one of others."""
    preferred = [{"weight": weight, "preference": term(zone)} for weight, zone in wishes]
    nodes: dict[str, Any] = {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
    if required:
        terms = {"nodeSelectorTerms": [term(zone) for zone in required]}
        nodes["requiredDuringSchedulingIgnoredDuringExecution"] = terms
    return PodInfo(pod("p", affinity=from_builtins({"nodeAffinity": nodes}, Affinity)))


def tried(one: PodInfo) -> list[list[list[str]]]:
    return [zones(variant.spec) for variant in variants(one)]


def test_the_heaviest_wish_is_a_must_first_and_is_given_up_first() -> None:
    assert tried(wishing((1, "a"), (9, "b"))) == [[["b"]], [["a"]], []]


def test_a_wish_is_joined_to_every_term_that_is_required() -> None:
    one = wishing((1, "a"), required=("x", "y"))
    assert tried(one) == [[["x", "a"], ["y", "a"]], [["x"], ["y"]]]


def test_a_pod_without_wishes_is_tried_as_it_is() -> None:
    one = wishing(required=("x",))
    assert tried(one) == [[["x"]]]


def test_spreading_is_a_wish_too() -> None:
    one = wishing()
    spread = pod("q", spread="zone").spec.topology_spread_constraints
    spread[0].when_unsatisfiable = "ScheduleAnyway"
    one.spec.topology_spread_constraints = spread
    first, last = [variant.spec.topology_spread_constraints for variant in variants(one)]
    assert [each.when_unsatisfiable for each in first] == ["DoNotSchedule"]
    assert [each.when_unsatisfiable for each in last] == ["ScheduleAnyway"]


def near(kind: str, *weights: int) -> dict[str, Any]:
    """Wishes to be near other pods, or apart, by a label that is named after the weight."""
    terms = [
        {"weight": weight, "podAffinityTerm": {"topologyKey": f"{kind}{weight}"}}
        for weight in weights
    ]
    return {"preferredDuringSchedulingIgnoredDuringExecution": terms}


def test_pods_are_given_up_before_nodes_the_heaviest_of_a_kind_first() -> None:
    """Karpenter's order: affinity to pods, anti-affinity, nodes, topology spread."""
    spec = {
        "podAffinity": near("near", 1, 2),
        "podAntiAffinity": near("apart", 5),
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "preference": term("a")}
            ]
        },
    }
    one = PodInfo(pod("p", affinity=from_builtins(spec, Affinity)))
    spread = pod("q", spread="zone").spec.topology_spread_constraints
    spread[0].when_unsatisfiable = "ScheduleAnyway"
    one.spec.topology_spread_constraints = spread
    rows = []
    for variant in variants(one):
        affinity = variant.spec.affinity
        assert affinity is not None and affinity.pod_affinity and affinity.pod_anti_affinity
        rows.append(
            (
                [
                    each.topology_key
                    for kind in (affinity.pod_affinity, affinity.pod_anti_affinity)
                    for each in kind.required_during_scheduling_ignored_during_execution
                ],
                zones(variant.spec),
                [each.when_unsatisfiable for each in variant.spec.topology_spread_constraints],
            )
        )
    must, wish = ["DoNotSchedule"], ["ScheduleAnyway"]
    assert rows == [
        (["near1", "near2", "apart5"], [["a"]], must),
        (["near1", "apart5"], [["a"]], must),
        (["apart5"], [["a"]], must),
        ([], [["a"]], must),
        ([], [], must),
        ([], [], wish),
    ]


def test_what_must_be_spread_anyway_is_no_wish() -> None:
    one = PodInfo(pod("p", spread="zone"))
    assert len(list(variants(one))) == 1


def test_whoever_has_many_wishes_loses_those_beyond_the_sixteenth_together() -> None:
    wishes = [(weight, str(weight)) for weight in range(1, 20)]
    found = tried(wishing(*wishes))
    assert len(found) == 17
    assert found[15] == [["4"]] and found[16] == []

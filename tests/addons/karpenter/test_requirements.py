"""What is required of labels, as Karpenter's own `scheduling.Requirements` takes it: 20,000 random
pools, pods, claims and overlays were judged by both, and where they differed is here."""

from __future__ import annotations

import pytest

from tests.addons.karpenter.builders import cluster, planned, pod, pool
from tiphys.addons.karpenter.claims import claim_of, drift_of
from tiphys.addons.karpenter.names import CAPACITY_TYPE, ZONE
from tiphys.addons.karpenter.requirements import hold, wanted_by
from tiphys.addons.karpenter.types import NodeClaim, Requirement
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta

ARCH = "kubernetes.io/arch"
FAMILY = "cloud.tiphys.dev/instance-family"


def requirements(text: str) -> list[Requirement]:
    """Of the label `tier`: ``In a b; Gt 5``."""
    words = [one.split() for one in text.split(";")]
    return [Requirement(key="tier", operator=op, values=values) for op, *values in words]


@pytest.mark.parametrize(
    ("required", "fits", "does_not"),
    [
        ("In a b", ["a"], ["c", None]),
        ("NotIn a", ["b", None], ["a"]),
        ("Exists", ["a"], [None]),
        ("DoesNotExist", [None], ["a"]),
        ("Gt 2", ["3", "+3", "03"], ["2", "x", "1_0", "", None]),
        ("Lt 3", ["2"], ["3", "x", None]),
        ("Gte 2", ["2"], ["1", None]),
        ("Lte 2", ["2"], ["3", None]),
        ("Gt 2; Lt 5", ["3", "4"], ["5", None]),
        ("Gt 5; Lt 2", [None], ["1", "3", "6"]),  # nothing can be: as if it must not exist
        ("In a; In b", [None], ["a", "b"]),
        ("Exists; DoesNotExist", [None], ["a"]),
        ("NotIn 7; Gt 5", ["6", None], ["7", "5"]),
        ("NotIn a; Gt 5", ["6"], ["a", None]),  # what is excluded is excluded by the bound as well
    ],
)
def test_requirements_of_one_label_are_taken_together(
    required: str, fits: list[str | None], does_not: list[str | None]
) -> None:
    wanted = wanted_by(requirements(required))
    found = {v: hold(wanted, {} if v is None else {"tier": v}) for v in (*fits, *does_not)}
    assert found == {**dict.fromkeys(fits, True), **dict.fromkeys(does_not, False)}


@pytest.mark.parametrize(
    ("required", "asked", "given"),
    [
        ("Exists", None, "0"),
        ("Gte 4", None, "4"),
        ("Lt 4", None, "3"),
        ("NotIn x", None, None),
        ("NotIn x", ("Exists",), "0"),
        ("NotIn 0 1", ("Exists",), "2"),
        ("NotIn x", ("Gt", "4"), "5"),
        ("Exists", ("DoesNotExist",), "refused"),
        ("Exists", ("In", "blue"), "blue"),
    ],
)
def test_a_label_that_a_pool_leaves_open(
    required: str, asked: tuple[str, ...] | None, given: str | None
) -> None:
    open_ = pool("default")
    open_.spec.template.spec.requirements = list(requirements(required))
    result = planned(cluster([open_], pending=[pod("a", **affinity("tier", asked))]))
    labels = [claim_of(new).metadata.labels for new in result.new]
    assert [each.get("tier") for each in labels] == ([] if given == "refused" else [given])


def affinity(key: str, asked: tuple[str, ...] | None) -> dict[str, core_v1.Affinity]:
    if asked is None:
        return {}
    operator, *values = asked
    term = core_v1.NodeSelectorTerm(
        match_expressions=[
            core_v1.NodeSelectorRequirement(key=key, operator=operator, values=values)
        ]
    )
    required = core_v1.NodeSelector(node_selector_terms=[term])
    node_affinity = core_v1.NodeAffinity(
        required_during_scheduling_ignored_during_execution=required
    )
    return {"affinity": core_v1.Affinity(node_affinity=node_affinity)}


def test_what_pods_leave_open_the_claim_leaves_open() -> None:
    both = affinity(ARCH, ("In", "amd64", "arm64"))
    (new,) = planned(
        cluster([pool()], pending=[pod("a", node_selector={ZONE: "tiphys-1b"}, **both)])
    ).new
    said = {one.key: one.values for one in claim_of(new).spec.requirements}
    assert said[ARCH] == ["amd64", "arm64"] and said[ZONE] == ["tiphys-1b"]
    assert said[CAPACITY_TYPE] == ["on-demand", "spot"]


def test_values_are_counted_over_all_zones() -> None:
    wide = pool("default", (ZONE, "Exists"))
    wide.spec.template.spec.requirements[0].min_values = 2
    assert planned(cluster([wide], pending=[pod("a")])).new
    wide.spec.template.spec.requirements[0].min_values = 4
    assert "minValues" in planned(cluster([wide], pending=[pod("a")])).errors["default/a"]


def test_labels_that_a_pool_gives_choose_its_machines() -> None:
    arm = pool("default", labels={ARCH: "arm64"})
    (new,) = planned(cluster([arm], pending=[pod("a")])).new
    assert {type_.labels[ARCH] for type_, _ in new.options} == {"arm64"}


def test_labels_may_be_asked_for_by_the_names_they_had_before() -> None:
    older = {
        "beta.kubernetes.io/arch": "arm64",
        "failure-domain.beta.kubernetes.io/zone": "tiphys-1b",
    }
    (new,) = planned(cluster([pool()], pending=[pod("a", node_selector=older)])).new
    said = {one.key: one.values for one in claim_of(new).spec.requirements}
    assert (said[ARCH], said[ZONE]) == (["arm64"], ["tiphys-1b"])


@pytest.mark.parametrize(("operator", "drifted"), [("Gte", True), ("Lte", True), ("NotIn", False)])
def test_a_claim_without_a_label_that_its_pool_bounds_has_drifted(
    operator: str, drifted: bool
) -> None:
    bounded = pool("default", ("tier", operator, "4"))
    claim = NodeClaim(metadata=ObjectMeta(name="a", labels={}))
    assert bool(drift_of(claim, bounded, None, "")) is drifted

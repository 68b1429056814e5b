"""What a NodeClaim asks for, which machines do for it, and when it is not what its pool wants."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.karpenter.builders import CATALOG, ON_DEMAND, cluster, planned, pod, pool, state
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.claims import (
    CLASS_LABEL,
    claim_of,
    drift_of,
    is_meant,
    options_for,
    pool_hash,
)
from tiphys.addons.karpenter.types import NodeClaim, NodePool, Requirement, TiphysNodeClass
from tiphys.addons.karpenter.types.parts import Taint

FACTS = ("m7.large", "tiphys-1a", "spot")


@pytest.mark.parametrize(
    ("rule", "meant"),
    [
        ("m7.large/tiphys-1a/spot", True),
        ("*/*/*", True),
        ("m7.large/*/*", True),
        ("*/tiphys-1b/*", False),
        ("m7.large/tiphys-1a/on-demand", False),
        ("m7.*/*/*", False),
        ("*/*", False),
        ("*/*/*/*", False),
        ("", False),
    ],
)
def test_a_rule_means_offerings_by_three_parts(rule: str, meant: bool) -> None:
    assert is_meant(rule, FACTS) is meant


# --- machines ---


def node_class(**spec: Any) -> TiphysNodeClass:
    made = TiphysNodeClass()
    for name, value in spec.items():
        setattr(made.spec, name, value)
    return made


def options(class_: TiphysNodeClass, *requirements: tuple[str, ...], cpu: str = "3") -> list[Any]:
    """Names, zones and ways to pay of what would do."""
    claim = NodeClaim()
    claim.spec.resources.requests = {"cpu": cpu}
    claim.spec.requirements = [
        Requirement(key=key, operator=operator, values=list(values))
        for key, operator, *values in requirements
    ]
    found = options_for(claim, class_, CATALOG)
    return [(type_.name, offer.zone, offer.capacity_type) for type_, offer in found]


def test_the_cheapest_that_does_comes_first() -> None:
    found = options(TiphysNodeClass())
    assert found[0] == ("c7g.xlarge", "tiphys-1c", "spot")
    assert all(not name.endswith(".large") for name, _, _ in found), "too small"
    prices = [CATALOG.price(*one) or 0 for one in found]
    assert prices == sorted(prices)


@pytest.mark.parametrize(
    ("cpu", "sizes"), [("3920m", {"xlarge"}), ("3921m", {"2xlarge"}), ("96", set())]
)
def test_what_the_nodes_agents_take_is_not_to_be_had(cpu: str, sizes: set[str]) -> None:
    found = {name.partition(".")[2] for name, _, _ in options(node_class(), cpu=cpu)[:1]}
    assert found == sizes


@pytest.mark.parametrize(
    ("spec", "requirements", "kept"),
    [
        ({"zones": ["tiphys-1b"]}, (), {("tiphys-1b", "spot"), ("tiphys-1b", "on-demand")}),
        ({"zones": ["tiphys-1b"]}, (ON_DEMAND,), {("tiphys-1b", "on-demand")}),
        ({"unavailable": ["*/*/spot", "*/tiphys-1a/*"]}, ((names.ZONE, "In", "tiphys-1a"),), set()),
        ({"instance_families": ["none"]}, (), set()),
    ],
)
def test_a_class_has_some_zones_and_families(
    spec: dict[str, Any], requirements: Any, kept: set[tuple[str, str]]
) -> None:
    found = options(node_class(**spec), *requirements)
    assert {(zone, way) for _, zone, way in found} == kept
    families = options(node_class(instance_families=["m7"]))
    assert {name.partition(".")[0] for name, _, _ in families} == {"m7"}


# --- claims ---


def test_a_claim_says_what_its_pool_does() -> None:
    wanted = pool("default", ON_DEMAND, ("team", "In", "red"), labels={"own": "label"})
    template = wanted.spec.template
    template.metadata.annotations = {"a": "b"}
    template.spec.taints = [Taint(key="t", effect="NoSchedule")]
    template.spec.startup_taints = [Taint(key="s", effect="NoSchedule")]
    template.spec.expire_after, template.spec.termination_grace_period = "5h", "1h"
    template.spec.node_class_ref.name = "mine"
    one = pod("p", tolerations=[])
    template.spec.taints = []
    (new,) = planned(cluster([wanted], pending=[one])).new
    claim = claim_of(new)
    assert claim.metadata.generate_name == "default-"
    assert claim.metadata.labels["own"] == "label"
    assert claim.metadata.labels[CLASS_LABEL] == "mine"
    assert claim.metadata.annotations == {
        "a": "b",
        names.POOL_HASH: pool_hash(wanted),
        names.POOL_HASH_VERSION: names.HASH_VERSION,
        names.MIN_VALUES_RELAXED: "false",
    }
    (owner,) = claim.metadata.owner_references
    assert (owner.kind, owner.name, owner.controller) == ("NodePool", "default", None)
    assert claim.metadata.finalizers == [names.TERMINATION]
    assert claim.spec.node_class_ref.name == "mine"
    assert [taint.key for taint in claim.spec.startup_taints] == ["s"]
    assert (claim.spec.expire_after, claim.spec.termination_grace_period) == ("5h", "1h")
    said = {one.key: (one.operator, one.values) for one in claim.spec.requirements}
    assert said[names.CAPACITY_TYPE] == ("In", ["on-demand"])
    assert said[names.NODE_POOL] == ("In", ["default"])
    assert said["team"] == ("In", ["red"])
    assert names.ZONE not in said, "found out when it is launched"
    types = said[names.INSTANCE_TYPE][1]
    assert len(types) == len(set(types)) > 10


# --- drift ---


def claimed(of: NodePool, **labels: str) -> NodeClaim:
    made = state("n", "m7.large").claim
    assert made is not None
    made.metadata.annotations = {
        names.POOL_HASH: pool_hash(of),
        names.POOL_HASH_VERSION: names.HASH_VERSION,
    }
    made.metadata.labels.update(labels)
    made.status.image_id = "base@1"
    return made


BOX = {"cloud.tiphys.dev/runtime": "containerd"}


@pytest.mark.parametrize(
    ("spec", "labels", "image", "reason"),
    [
        ({}, {}, "base@1", ""),
        ({}, {}, "", ""),
        ({}, {}, "base@2", "ImageDrifted"),
        ({"runtime": "containerd"}, {}, "base@1", "NodeClassDrifted"),
        ({"runtime": "containerd"}, BOX, "base@1", ""),
        ({}, BOX, "base@1", "NodeClassDrifted"),
        ({"zones": ["tiphys-1a", "tiphys-1b"]}, {}, "base@1", ""),
        ({"zones": ["tiphys-1b"]}, {}, "base@1", "NodeClassDrifted"),
        ({"instance_families": ["m7"]}, {}, "base@1", ""),
        ({"instance_families": ["c7"]}, {}, "base@1", "NodeClassDrifted"),
        ({"unavailable": ["*/*/*"]}, {}, "base@1", ""),
    ],
)
def test_a_node_drifts_from_its_class(
    spec: dict[str, Any], labels: dict[str, str], image: str, reason: str
) -> None:
    of = pool()
    assert drift_of(claimed(of, **labels), of, node_class(**spec), image) == reason


def test_a_node_drifts_from_its_pool() -> None:
    of = pool()
    claim = claimed(of)
    assert drift_of(claim, of, None, "base@2") == "", "its class is another cloud's"
    assert drift_of(claim, pool("default", ON_DEMAND), None, "") == ""
    spot = pool("default", (names.CAPACITY_TYPE, "In", "spot"))
    assert drift_of(claim, spot, None, "") == "RequirementsDrifted"
    labelled = pool(labels={"a": "b"})
    assert drift_of(claim, labelled, None, "") == "NodePoolDrifted"
    claim.metadata.annotations[names.POOL_HASH_VERSION] = "v0"
    assert drift_of(claim, labelled, None, "") == "", "hashes of another version say nothing"


def test_the_hash_is_of_the_template_but_for_requirements() -> None:
    """Upstream's `NodePool.Hash`: lists are taken for sets, and what is empty is not there."""
    one = pool()
    assert pool_hash(pool("other", ON_DEMAND, limits={"cpu": "5"})) == pool_hash(one)
    both = pool(taints=["a", "b"])
    assert pool_hash(both) == pool_hash(pool(taints=["b", "a"])) != pool_hash(one)
    assert pool_hash(pool(labels={"a": "b"})) != pool_hash(one)
    empty = pool(labels={"a": ""})
    assert pool_hash(empty) == pool_hash(one)
    later = pool()
    later.spec.template.spec.expire_after = "1h"
    assert pool_hash(later) != pool_hash(one)
    assert pool_hash(one).isdecimal()

"""Which nodes pods get."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.addons.karpenter.builders import (
    CATALOG,
    ON_DEMAND,
    cluster,
    daemon,
    planned,
    pod,
    pool,
    state,
)
from tiphys.addons.karpenter.claims import claim_of, options_for
from tiphys.addons.karpenter.names import INSTANCE_TYPE, ZONE
from tiphys.addons.karpenter.types import Requirement, TiphysNodeClass
from tiphys.api import core_v1
from tiphys.api.base import canonical_quantity
from tiphys.machinery.footprint import units

FAMILY = "cloud.tiphys.dev/instance-family"


def pods(count: int, cpu: str = "1", **spec: object) -> list[core_v1.Pod]:
    return [pod(f"web-{number}", cpu, **spec) for number in range(count)]


def test_five_pods_share_the_cheapest_node_that_takes_them() -> None:
    (new,) = planned(cluster([pool()], pending=pods(5))).new
    type_, offering = new.options[0]
    assert type_.name == "c7g.2xlarge" and offering.capacity_type == "spot" and len(new.pods) == 5
    assert all(each.allocatable["cpu"] >= 5000 for each, _ in new.options)


def test_the_requirements_of_the_pool_hold() -> None:
    amd = pool(
        "default", ("kubernetes.io/arch", "In", "amd64"), ON_DEMAND, (ZONE, "NotIn", "tiphys-1c")
    )
    (new,) = planned(cluster([amd], pending=pods(5))).new
    assert new.options[0][0].name == "c5.2xlarge"
    assert {o.zone for _, o in new.options} == {"tiphys-1a", "tiphys-1b"}


def test_a_pod_selects_within_what_the_pool_allows() -> None:
    wish = {"kubernetes.io/arch": "arm64", ZONE: "tiphys-1b"}
    (new,) = planned(cluster([pool()], pending=[pod("a", node_selector=wish)])).new
    assert {t.labels["kubernetes.io/arch"] for t, _ in new.options} == {
        "arm64"
    } and new.pinned == wish


def test_labels_of_the_users_own() -> None:
    team = pool("default", ("example.com/team", "In", "red", "blue"))
    (new,) = planned(
        cluster([team], pending=[pod("a", node_selector={"example.com/team": "blue"})])
    ).new
    assert claim_of(new).metadata.labels["example.com/team"] == "blue"
    refused = planned(
        cluster([team], pending=[pod("a", node_selector={"example.com/team": "green"})])
    )
    assert not refused.new and "didn't match Pod's node affinity" in refused.errors["default/a"]


def test_taints_keep_pods_out_that_do_not_tolerate_them() -> None:
    tainted = pool("tainted", taints=["gpu"])
    refused = planned(cluster([tainted], pending=pods(1)))
    assert not refused.new and "untolerated taint" in refused.errors["default/web-0"]
    tolerant = pods(1, tolerations=[core_v1.Toleration(key="gpu", operator="Exists")])
    assert planned(cluster([tainted], pending=tolerant)).new


def test_the_heavier_pool_is_tried_first() -> None:
    pools = [
        pool("light"),
        pool("heavy", weight=10),
        pool("none", ("kubernetes.io/os", "In", "windows"), weight=90),
    ]
    (new,) = planned(cluster(pools, pending=pods(3))).new
    assert new.offer.name == "heavy"


def test_limits_are_not_exceeded_whatever_the_nodes_become() -> None:
    limited = pool("default", ON_DEMAND, limits={"cpu": canonical_quantity("10")})
    result = planned(cluster([limited], pending=pods(12)))
    largest = [max(t.capacity["cpu"] for t, _ in new.options) for new in result.new]
    assert sum(largest) <= 10_000 and result.errors
    assert "exceed limits for nodepool" in next(iter(result.errors.values()))


def test_what_is_there_counts_for_limits() -> None:
    limited = pool("default", limits={"nodes": canonical_quantity("1")})
    world = cluster([limited], [state("n1", "c5.large", [pod("full", "1900m")])], pods(1))
    assert "exceed limits" in planned(world).errors["default/web-0"]


def test_zones_get_like_numbers() -> None:
    result = planned(cluster([pool()], pending=pods(6, spread=ZONE)))
    counts: dict[str, int] = {}
    for new in result.new:
        counts[new.pinned[ZONE]] = counts.get(new.pinned[ZONE], 0) + len(new.pods)
    assert sorted(counts.values()) == [2, 2, 2] and not result.errors


def test_hosts_get_like_numbers() -> None:
    result = planned(cluster([pool()], pending=pods(4, spread="kubernetes.io/hostname")))
    assert [len(new.pods) for new in result.new] == [1, 1, 1, 1]


def test_room_for_daemons_is_kept() -> None:
    world = cluster(
        [pool("default", ON_DEMAND)], pending=pods(1, "1500m"), daemons=[daemon("agent", "500m")]
    )
    (new,) = planned(world).new
    assert (
        new.requests["cpu"] == 2000
        and new.options[0][0].labels["cloud.tiphys.dev/instance-cpu"] == "4"
    )


def test_a_daemon_that_would_not_run_there_takes_no_room() -> None:
    elsewhere = daemon("agent", "500m", node_selector={"kubernetes.io/arch": "s390x"})
    (new,) = planned(cluster([pool()], pending=pods(1, "1500m"), daemons=[elsewhere])).new
    assert new.requests["cpu"] == 1500


def test_nodes_that_are_there_come_first() -> None:
    world = cluster([pool()], [state("n1", "c5.xlarge")], pods(3))
    result = planned(world)
    assert not result.new and len(result.placed["n1"]) == 3


def test_some_values_must_be_left_to_choose_from() -> None:
    made = pool("default", (FAMILY, "Exists"))
    made.spec.template.spec.requirements[0].min_values = 3
    (new,) = planned(cluster([made], pending=pods(1))).new
    assert len({t.labels[FAMILY] for t, _ in new.options}) >= 3
    made.spec.template.spec.requirements = [
        Requirement(key=FAMILY, operator="In", values=["c5", "m5", "x9"], min_values=3)
    ]
    assert "minValues" in planned(cluster([made], pending=pods(1))).errors["default/web-0"]
    (new,) = planned(cluster([made], pending=pods(1), relaxes=True)).new
    assert (new.least, new.is_relaxed) == ({FAMILY: 2}, True)
    claim = claim_of(new)
    (family,) = [one for one in claim.spec.requirements if one.key == FAMILY]
    assert (family.values, family.min_values) == (["c5", "m5", "x9"], 2)
    assert claim.metadata.annotations["karpenter.sh/nodeclaim-min-values-relaxed"] == "true"


def test_a_claim_leaves_open_which_zone_it_is() -> None:
    """Where nobody depends on one, it is found out when the machine is launched."""
    (new,) = planned(cluster([pool()], pending=pods(1))).new
    assert ZONE not in {one.key for one in claim_of(new).spec.requirements}
    made = pool("default", (ZONE, "NotIn", "tiphys-1c"))
    (new,) = planned(cluster([made], pending=pods(1))).new
    (zone,) = [one for one in claim_of(new).spec.requirements if one.key == ZONE]
    assert (zone.operator, zone.values) == ("NotIn", ["tiphys-1c"])
    (new,) = planned(cluster([pool()], pending=pods(1, node_selector={ZONE: "tiphys-1b"}))).new
    (zone,) = [one for one in claim_of(new).spec.requirements if one.key == ZONE]
    assert (zone.operator, zone.values) == ("In", ["tiphys-1b"])


def test_wishes_are_heard_as_long_as_they_can_be() -> None:
    term = core_v1.NodeSelectorTerm(
        match_expressions=[
            core_v1.NodeSelectorRequirement(
                key="kubernetes.io/arch", operator="In", values=["arm64"]
            )
        ]
    )
    wish = core_v1.Affinity(
        node_affinity=core_v1.NodeAffinity(
            preferred_during_scheduling_ignored_during_execution=[
                core_v1.PreferredSchedulingTerm(weight=1, preference=term)
            ]
        )
    )
    (arm,) = planned(cluster([pool()], pending=pods(1, affinity=wish))).new
    assert arm.options[0][0].labels["kubernetes.io/arch"] == "arm64"
    (amd,) = planned(
        cluster(
            [pool("default", ("kubernetes.io/arch", "In", "amd64"))], pending=pods(1, affinity=wish)
        )
    ).new
    assert amd.options[0][0].labels["kubernetes.io/arch"] == "amd64"


def test_a_gpu_is_found() -> None:
    (new,) = planned(
        cluster([pool()], pending=pods(1, requests={"nvidia.com/gpu": canonical_quantity("1")}))
    ).new
    assert new.options[0][0].name == "g6.xlarge"
    refused = planned(
        cluster([pool()], pending=pods(1, requests={"example.com/fpga": canonical_quantity("1")}))
    )
    assert "no instance type has the resources" in refused.errors["default/web-0"]


@pytest.mark.parametrize("operator", ["Gt", "Gte", "Lt", "Lte"])
def test_numbers_are_compared(operator: str) -> None:
    made = pool("default", ("cloud.tiphys.dev/instance-cpu", operator, "8"))
    (new,) = planned(cluster([made], pending=pods(1))).new
    bound = {
        "Gt": lambda n: n > 8,
        "Gte": lambda n: n >= 8,
        "Lt": lambda n: n < 8,
        "Lte": lambda n: n <= 8,
    }[operator]
    assert all(bound(int(t.labels["cloud.tiphys.dev/instance-cpu"])) for t, _ in new.options)


SIZES = st.tuples(
    st.sampled_from(["100m", "500m", "1", "3", "7"]),
    st.sampled_from(["", ZONE, "kubernetes.io/hostname"]),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=25))
def test_every_pod_has_a_place_that_is_large_enough(sizes: list[tuple[str, str]]) -> None:
    pending = [
        pod(f"a{spread[:4].strip('.')}-{n}", cpu, spread=spread)
        for n, (cpu, spread) in enumerate(sizes)
    ]
    result = planned(cluster([pool()], pending=pending))
    assert not result.errors and sum(len(new.pods) for new in result.new) == len(pending)
    for new in result.new:
        needed = sum(units("cpu", p.spec.containers[0].resources.requests["cpu"]) for p in new.pods)
        assert all(t.allocatable["cpu"] >= needed for t, _ in new.options)
        claim = claim_of(new)
        found = options_for(claim, TiphysNodeClass(), CATALOG)
        assert found[0][1].price == new.price and {t.name for t, _ in found} == {
            t.name for t, _ in new.options
        }
        assert next(r for r in claim.spec.requirements if r.key == INSTANCE_TYPE).values

"""Profiles: which plugins a scheduler has and how they score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from tests.builders import node, pod
from tests.scheduler.builders import framework
from tiphys.api import core_v1
from tiphys.machinery.selectors import Requirement, Selector
from tiphys.scheduler.configuration import (
    WEIGHTS,
    ConfigurationError,
    Profile,
    parse_profiles,
)
from tiphys.scheduler.plugins.image_locality import ImageLocality
from tiphys.scheduler.plugins.node_resources_fit import NodeResourcesFit
from tiphys.scheduler.plugins.pod_topology_spread import PodTopologySpread
from tiphys.scheduler.plugins.registry import plugins_of
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


def read(text: str) -> list[Profile]:
    return parse_profiles(yaml.safe_load(HEAD + text))


def asking(name: str = "p", **requests: str) -> PodInfo:
    made = pod(
        name, containers=[{"name": "c", "image": "app", "resources": {"requests": requests}}]
    )
    made.metadata.uid = name
    return PodInfo(made)


def snapshot_of(*nodes: core_v1.Node) -> Snapshot:
    snapshot = Snapshot()
    for made in nodes:
        snapshot.put_node(made)
    return snapshot


def scores(strategy: dict[str, Any], snapshot: Snapshot, info: PodInfo) -> list[int]:
    plugin = NodeResourcesFit(1, {"scoringStrategy": strategy})
    found = plugin.score(snapshot, info, snapshot.alive)
    assert found is not None
    return [int(found[snapshot.row_of[name]]) for name in sorted(snapshot.row_of)]


def test_without_a_word_there_is_the_default_profile() -> None:
    (only,) = read("")
    assert (only.name, only.weights, only.filters) == (
        "default-scheduler",
        dict(WEIGHTS),
        frozenset(WEIGHTS),
    )


def test_plugins_are_disabled_and_weighed() -> None:
    (only,) = read("""
profiles:
- schedulerName: packed
  plugins:
    score:
      disabled: [{name: NodeResourcesBalancedAllocation}]
      enabled: [{name: NodeResourcesFit, weight: 7}]
    filter:
      disabled: [{name: TaintToleration}]
""")
    assert only.name == "packed"
    assert "NodeResourcesBalancedAllocation" not in only.weights
    assert only.weights["NodeResourcesFit"] == 7
    assert only.filters == frozenset(WEIGHTS) - {"TaintToleration"}


def test_all_may_be_disabled_and_some_enabled_again() -> None:
    (only,) = read("""
profiles:
- plugins:
    multiPoint:
      disabled: [{name: "*"}]
      enabled: [{name: NodeName}, {name: ImageLocality, weight: 5}]
""")
    assert only.filters == {"NodeName", "ImageLocality"}
    assert only.weights == {"NodeName": 0, "ImageLocality": 5}
    assert [p.name for p in plugins_of(only)] == ["NodeName", "ImageLocality"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("profiles: [{schedulerName: a}, {schedulerName: a}]", r"profiles\[1\].schedulerName"),
        (
            "profiles: [{plugins: {score: {enabled: [{name: Nothing}]}}}]",
            r"plugins.score\[0\].name",
        ),
        ("profiles: [{plugins: {later: {}}}]", "plugins.later"),
        ("profiles: [{pluginConfig: [{name: Nothing}]}]", r"pluginConfig\[0\].name"),
        ("profiles: [{pluginConfig: [{name: NodeName}, {name: NodeName}]}]", r"pluginConfig\[1\]"),
    ],
)
def test_what_cannot_be_is_told_with_its_field(text: str, field: str) -> None:
    with pytest.raises(ConfigurationError, match=field):
        read(text)


@pytest.mark.parametrize(
    "strategy",
    [
        {"type": "Fullest"},
        {"type": "RequestedToCapacityRatio"},
        {
            "type": "RequestedToCapacityRatio",
            "requestedToCapacityRatio": {"shape": [{"utilization": 0, "score": 11}]},
        },
        {
            "type": "RequestedToCapacityRatio",
            "requestedToCapacityRatio": {
                "shape": [{"utilization": 50, "score": 1}, {"utilization": 50, "score": 2}],
            },
        },
    ],
)
def test_a_strategy_must_make_sense(strategy: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        NodeResourcesFit(1, {"scoringStrategy": strategy})


def test_the_strategies_score_as_upstream_documents() -> None:
    """Numbers worked out by hand from the formulas of the scheduler's configuration reference."""
    snapshot = snapshot_of(node("a", cpu="4", memory="8Gi"), node("b", cpu="4", memory="8Gi"))
    snapshot.put_pod(asking("there", cpu="2", memory="2Gi"), "a")
    info = asking(cpu="1", memory="2Gi")
    # a: 3 of 4 cpu, 4 of 8 GiB; b: 1 of 4 cpu, 2 of 8 GiB
    assert scores({"type": "LeastAllocated"}, snapshot, info) == [(25 + 50) // 2, 75]
    assert scores({"type": "MostAllocated"}, snapshot, info) == [(75 + 50) // 2, 25]
    weighed = [{"name": "cpu", "weight": 3}, {"name": "memory", "weight": 1}]
    assert scores({"type": "MostAllocated", "resources": weighed}, snapshot, info) == [
        (3 * 75 + 50) // 4,
        25,
    ]
    shape = [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]
    ratio = {"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {"shape": shape}}
    assert scores(ratio, snapshot, info) == [round((75 + 50) / 2), 25]
    bent = [{"utilization": 50, "score": 10}, {"utilization": 100, "score": 0}]
    ratio["requestedToCapacityRatio"] = {"shape": bent}
    assert scores(ratio, snapshot, info) == [(50 + 100) // 2, 100]


def test_a_resource_counts_for_pods_that_ask_for_it() -> None:
    equipped = node("a")
    equipped.status.allocatable["example.org/gpu"] = "4"  # type: ignore[assignment]
    snapshot = snapshot_of(equipped, node("b"))
    most = {"type": "MostAllocated", "resources": [{"name": "example.org/gpu", "weight": 1}]}
    assert scores(most, snapshot, asking(**{"example.org/gpu": "1"})) == [25, 0]
    assert scores(most, snapshot, asking(cpu="1")) == [0, 0]


def test_profiles_choose_differently() -> None:
    snapshot = snapshot_of(node("a"), node("b"))
    snapshot.put_pod(asking("there", cpu="1", memory="1Gi"), "a")
    most = {"NodeResourcesFit": {"scoringStrategy": {"type": "MostAllocated"}}}
    packing = Profile("packed", weights={**WEIGHTS, "NodeResourcesFit": 10}, arguments=most)
    info = asking(cpu="1", memory="1Gi")
    assert framework(snapshot, Profile()).place(info).node == "b"
    assert framework(snapshot, packing).place(info).node == "a"


def test_a_filter_that_is_disabled_scores_still() -> None:
    tainted = node("a")
    tainted.spec.taints = [core_v1.Taint(key="k", effect="NoSchedule")]
    snapshot = snapshot_of(tainted)
    assert not framework(snapshot).place(asking()).node
    lenient = Profile(filters=frozenset(WEIGHTS) - {"TaintToleration"})
    assert framework(snapshot, lenient).place(asking()).node == "a"


def test_a_profile_adds_affinity_to_every_pod() -> None:
    terms = [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]
    added = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    snapshot = snapshot_of(node("a"), node("b", disk="ssd"))
    chosen = Profile(arguments={"NodeAffinity": {"addedAffinity": added}})
    assert framework(snapshot, chosen).place(asking()).node == "b"


def test_nodes_with_the_image_are_preferred_by_its_size_and_spread() -> None:
    holder, other = node("a"), node("b")
    holder.status.images = [core_v1.ContainerImage(names=["app:latest"], size_bytes=1000 << 20)]
    snapshot = snapshot_of(holder, other)
    plugin = ImageLocality(1)
    found = plugin.score(snapshot, asking(), snapshot.alive)
    assert found is not None
    assert int(found[snapshot.row_of["a"]]) == int(
        100 * (500 - 23) / (1000 - 23)
    )  # half of the nodes have it
    assert int(found[snapshot.row_of["b"]]) == 0
    bare = node("a")
    snapshot.put_node(bare)
    assert plugin.score(snapshot, asking(), snapshot.alive) is None
    assert not snapshot.images
    assert np.count_nonzero(snapshot.alive) == 2


def spread_over(snapshot: Snapshot, arguments: dict[str, Any] | None = None) -> list[int]:
    """Points of each node, by name, for one more pod of a set."""
    alike = Selector((Requirement("app", "=", ("x",)),))
    plugin = PodTopologySpread(1, arguments, lambda pod: alike)
    one = pod("one")
    one.metadata.uid, one.metadata.labels = "one", {"app": "x"}
    found = plugin.score(snapshot, PodInfo(one), snapshot.alive)
    assert found is not None
    return [int(found[snapshot.row_of[name]]) for name in sorted(snapshot.row_of)]


def test_pods_of_a_set_are_spread_although_they_say_nothing_of_it() -> None:
    snapshot = snapshot_of(node("a"), node("b"))
    there = pod("there")
    there.metadata.uid, there.metadata.labels = "there", {"app": "x"}
    snapshot.put_pod(PodInfo(there), "a")
    first, second = spread_over(snapshot)
    assert first < second
    plugin = PodTopologySpread(1, {"defaultingType": "List"}, lambda pod: Selector())
    assert plugin.score(snapshot, PodInfo(there), snapshot.alive) is None


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"defaultingType": "Other"}, "defaultingType"),
        ({"defaultConstraints": [{"maxSkew": 1}]}, "defaultConstraints"),
        (
            {
                "defaultingType": "List",
                "defaultConstraints": [{"maxSkew": 1, "labelSelector": {"a": 1}}],
            },
            "labelSelector",
        ),
    ],
)
def test_wrong_default_constraints_are_refused(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError, match=field):
        PodTopologySpread(1, arguments)

"""A pod, or a group of them, as a job: complete, too many, finished, and where it is let go to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.kueue.builders import PREFIX, queued_pod
from tiphys.addons.kueue.jobs.parts import Placement
from tiphys.addons.kueue.pods import Pods, is_gated, placement_for, role_of, ungating
from tiphys.addons.kueue.types.workloads import PodSet
from tiphys.api import core_v1

FAST = "pod-group-fast-admission"


def alone(**more: Any) -> Pods:
    return Pods("lab", "", [queued_pod(**more)])


def group(*members: core_v1.Pod) -> Pods:
    return Pods("lab", "g", list(members))


def of(total: Any, *names: str, **more: Any) -> list[core_v1.Pod]:
    return [queued_pod(name, "g", total, **more) for name in names]


def names_of(pods: list[core_v1.Pod]) -> list[str]:
    return [pod.metadata.name for pod in pods]


# --- how many ---


@pytest.mark.parametrize(
    "said, total",
    [
        (["3", "3"], 3),
        (["3", "4"], 0),
        (["3", ""], 0),
        ([""], 0),
        (["0"], 0),
        (["-1"], 0),
        (["x"], 0),
        (["٣"], 0),
        (["999999"], 999_999),
        (["1000000"], 0),
    ],
)
def test_a_group_is_of_as_many_as_all_its_pods_say(said: list[str], total: int) -> None:
    members = [queued_pod(f"p{index}", "g", text) for index, text in enumerate(said)]
    assert group(*members).total == total


def test_a_pod_alone_is_whole() -> None:
    pods = alone()
    assert (pods.total, pods.is_complete(), pods.excess()) == (1, True, [])
    assert (pods.is_serving, pods.is_prepared, pods.reclaimable()) == (False, False, {})


@pytest.mark.parametrize(
    "members, complete",
    [
        (of(2, "a", "b"), True),
        (of(2, "a"), False),
        (of(2, "a", "b", "c"), True),
        ([*of(2, "a"), *of(2, "b", phase="Failed")], False),
        ([*of(2, "a"), *of(2, "b", phase="Succeeded")], True),
        ([*of(2, "a"), *of(2, "b", going=True)], False),
        ([queued_pod("a", "g")], False),
        (of(2, "a", pod_group_fast_admission="true"), True),
        (of(2, "a", pod_group_fast_admission="false"), False),
        (of(2, "a", going=True, pod_group_fast_admission="true"), False),
        (of("x", "a", pod_group_fast_admission="true"), False),
    ],
)
def test_a_group_is_complete_or_begins_before_it_is(
    members: list[core_v1.Pod], complete: bool
) -> None:
    assert group(*members).is_complete() is complete


def test_the_oldest_pod_speaks_for_a_group_the_first_name_of_those_as_old() -> None:
    later = queued_pod("a", "g", 3, queue="late", made="2026-01-02T00:00:00Z")
    pods = group(later, queued_pod("c", "g", 3, queue="c"), queued_pod("b", "g", 3, queue="b"))
    assert (pods.first.metadata.name, pods.queue) == ("b", "b")
    assert group(queued_pod(queue="")).queue == ""


def test_a_workload_has_the_groups_name_or_one_of_its_pod() -> None:
    assert group(*of(1, "a")).workload_name == "g"
    # printf "Pod\n\np\nuid-p" | sha1sum
    assert alone().workload_name == "pod-p-62e8a"


# --- too many ---


@pytest.mark.parametrize(
    "members, beyond",
    [
        (of(2, "a", "b", "c"), ["c"]),
        (of(2, "a", "b"), []),
        ([*of(1, "a"), *of(1, "b", gated=False)], ["a"]),
        ([*of(1, "a", made="2026-01-02T00:00:00Z"), *of(1, "b")], ["a"]),
        ([*of(1, "a", phase="Failed"), *of(1, "b")], []),
        ([*of(1, "a", going=True), *of(1, "b")], []),
        ([*of(1, "a", phase="Succeeded"), *of(1, "b")], ["b"]),
        (of("x", "a", "b"), []),
    ],
)
def test_the_newest_and_those_that_still_wait_are_too_many(
    members: list[core_v1.Pod], beyond: list[str]
) -> None:
    assert names_of(group(*members).excess()) == beyond


def test_a_role_has_as_many_as_its_workload_was_given() -> None:
    members = [*of(9, "a", "b", role="r"), *of(9, "c", "d", role="s")]
    given = [PodSet(name="r", count=1), PodSet(name="s", count=2)]
    assert names_of(group(*members).excess(given)) == ["b"]
    twice = group(*of(1, "a", "b", "c", role="r")).excess([PodSet(name="r", count=1)])
    assert names_of(twice) == ["b", "c"], "each of them once"


# --- what it asks for ---


def test_a_pod_alone_is_one_set() -> None:
    (pod_set,) = alone().pod_sets()
    assert (pod_set.name, pod_set.count, pod_set.topology_request) == ("main", 1, None)
    near = alone(podset_required_topology="rack").pod_sets()[0].topology_request
    assert near is not None and (near.required, near.pod_index_label) == ("rack", None)


def test_a_group_is_a_set_for_each_role_of_those_that_count() -> None:
    members = [
        *of(4, "a", "b", role="s"),
        *of(4, "c", role="r", podset_required_topology="rack"),
        *of(4, "d", role="r", phase="Failed"),
        *of(4, "e", role="r", going=True),
    ]
    sets = group(*members).pod_sets()
    assert [(one.name, one.count) for one in sets] == [("r", 2), ("s", 2)]
    near = sets[0].topology_request
    assert near is not None and near.pod_index_label == f"{PREFIX}/pod-group-pod-index"
    whole = group(*of(2, "a", "b", "c", role="s")).pod_sets()
    assert [one.count for one in whole] == [2], "none that is too many"


def test_a_group_that_begins_early_asks_for_all_that_will_come() -> None:
    sets = group(*of(5, "a", role="r"), *of(5, "b", role="s")).pod_sets()
    assert [(one.name, one.count) for one in sets] == [("r", 4), ("s", 1)]
    assert group(*of(5, "a", going=True)).pod_sets() == []


def test_a_template_has_its_labels_and_no_gate_of_queues() -> None:
    gates = [{"name": f"{PREFIX}/{name}"} for name in ("admission", "topology")]
    spec = {"schedulingGates": [*gates, {"name": "other"}]}
    (pod_set,) = alone(spec=spec, x="y").pod_sets()
    meta = {"labels": {f"{PREFIX}/queue-name": "team"}, "annotations": {f"{PREFIX}/x": "y"}}
    assert pod_set.template["metadata"] == meta
    assert pod_set.template["spec"]["schedulingGates"] == [{"name": "other"}]
    assert alone(queue="").pod_sets()[0].template["metadata"] == {}


@pytest.mark.parametrize(
    "change, alike",
    [
        ({}, True),
        ({"containers": [{"name": "other", "image": "j"}]}, True),
        ({"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}, True),
        ({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}, False),
        ({"initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1"}}}]}, False),
        ({"containers": [{"name": "c"}, {"name": "d"}]}, False),
        ({"nodeSelector": {"a": "b"}}, False),
        ({"priority": 5}, False),
        ({"hostname": "h"}, True),
    ],
)
def test_pods_are_alike_that_are_scheduled_alike(change: dict[str, Any], alike: bool) -> None:
    plain = {"containers": [{"name": "c", "image": "i"}]}
    assert (role_of({**plain, **change}) == role_of(plain)) is alike
    assert len(role_of(plain)) == 8


def test_whoever_has_no_role_is_of_those_like_it() -> None:
    pods = group(*of(2, "a", "b"))
    assert [one.count for one in pods.pod_sets()] == [2]
    other = queued_pod("c", "g", 3, spec={"nodeSelector": {"a": "b"}})
    assert [one.count for one in group(*of(3, "a", "b"), other).pod_sets()] in ([1, 2], [2, 1])


# --- whose it is ---


def test_a_workload_is_its_pods() -> None:
    (own,) = alone().owners()
    assert (own.api_version, own.kind, own.name, own.uid) == ("v1", "Pod", "p", "uid-p")
    assert own.controller is True
    shared = group(*of(2, "a", "b")).owners()
    assert [(one.name, one.controller) for one in shared] == [("a", None), ("b", None)]


def test_a_prepared_group_has_its_owner() -> None:
    pods = group(*of(1, "a", pod_suspending_parent="leaderworkerset"))
    assert pods.is_prepared and pods.owners() == []


# --- how it ends ---


@pytest.mark.parametrize(
    "phase, message, finish",
    [
        ("Running", "", None),
        ("Succeeded", "", (True, "Job finished")),
        ("Failed", "evicted", (False, "evicted")),
    ],
)
def test_a_pod_alone_ends_as_it_ends(phase: str, message: str, finish: Any) -> None:
    assert alone(phase=phase, status={"message": message}).finish() == finish


FINAL = {"retriable_in_group": "false"}


@pytest.mark.parametrize(
    "members, succeeded",
    [
        ([*of(2, "a", "b", phase="Succeeded")], 2),
        ([*of(2, "a", phase="Succeeded"), *of(2, "b")], None),
        ([*of(2, "a", phase="Succeeded"), *of(2, "b", phase="Failed")], None),
        ([*of(2, "a", phase="Succeeded"), *of(2, "b", phase="Failed", **FINAL)], 1),
        ([*of(2, "a", **FINAL), *of(2, "b", phase="Failed")], None),
        ([*of(2, "a", phase="Failed", retriable_in_group="true")], None),
        ([*of(2, "a", "b", "c", phase="Succeeded")], 3),
        ([*of("x", "a", phase="Succeeded", **FINAL)], None),
    ],
)
def test_a_group_has_ended_when_all_succeeded_or_nobody_tries_again(
    members: list[core_v1.Pod], succeeded: int | None
) -> None:
    """Upstream's rule: all have succeeded, or none is active and one is not retriable."""
    finish = group(*members).finish()
    if succeeded is None:
        assert finish is None
    else:
        assert finish == (True, f"Pods succeeded: {succeeded}/2.")


def test_who_succeeded_needs_no_quota_any_more() -> None:
    members = [
        *of(4, "a", "b", role="r", phase="Succeeded"),
        *of(4, "c", role="s", phase="Succeeded"),
        *of(4, "d", role="s", phase="Failed"),
        *of(4, "e", role="s"),
    ]
    assert group(*members).reclaimable() == {"r": 2, "s": 1}
    assert alone(phase="Succeeded").reclaimable() == {}
    serving = of(1, "a", phase="Succeeded", pod_group_serving="true")
    assert group(*serving).reclaimable() == {}
    assert group(*of(1, "a", pod_group_serving="no")).is_serving is False


@pytest.mark.parametrize(
    "second, ready", [({"phase": "Succeeded"}, True), ({"phase": "Running"}, False)]
)
def test_a_group_is_ready_with_all_of_it(second: dict[str, Any], ready: bool) -> None:
    first = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert group(*of(2, "a", status=first), *of(2, "b", **second)).is_ready() is ready


# --- letting it go ---


def placement(name: str, **more: Any) -> Placement:
    whole: dict[str, Any] = {"node_selector": {}, "tolerations": [], "labels": {}}
    return Placement(name, 1, **{**whole, "annotations": {}, **more})


def test_a_pod_goes_where_its_role_goes() -> None:
    pod = queued_pod("a", "g", 1, role="r")
    rows = [placement("r"), placement("s")]
    assert placement_for(pod, rows) is rows[0]
    assert placement_for(pod, rows[1:]) is None
    main = placement("main")
    assert placement_for(pod, [rows[0], main]) is main


def test_a_pod_keeps_what_it_has_when_it_is_let_go() -> None:
    own = {"key": "own", "operator": "Exists"}
    new = {"key": "new", "operator": "Exists"}
    gates = [{"name": f"{PREFIX}/admission"}, {"name": "other"}]
    spec = {"nodeSelector": {"a": "b"}, "tolerations": [own], "schedulingGates": gates}
    pod = queued_pod(spec=spec, x="y")
    pod.metadata.resource_version = "7"
    placed = placement("main", node_selector={"zone": "a"}, tolerations=[own, new])
    placed.labels, placed.annotations = {"l": "1"}, {"n": "2"}
    patch = ungating(pod, placed, "w")
    assert {row["op"] for row in patch} == {"add"}
    assert {row["path"]: row["value"] for row in patch} == {
        "/metadata/resourceVersion": "7",
        "/metadata/labels": {f"{PREFIX}/queue-name": "team", "l": "1"},
        "/metadata/annotations": {f"{PREFIX}/x": "y", "n": "2", f"{PREFIX}/workload": "w"},
        "/spec/nodeSelector": {"a": "b", "zone": "a"},
        "/spec/tolerations": [own, new],
        "/spec/schedulingGates": [{"name": "other"}],
    }
    bare = {row["path"]: row["value"] for row in ungating(queued_pod(queue=""), placed, "w")}
    assert bare["/metadata/labels"] == {"l": "1"}
    assert bare["/spec/nodeSelector"] == {"zone": "a"}


def test_a_pod_waits_behind_the_gate_of_queues_alone() -> None:
    assert is_gated(queued_pod())
    assert not is_gated(queued_pod(gated=False))
    assert not is_gated(queued_pod(spec={"schedulingGates": [{"name": "other"}]}))

"""What a cycle of admission makes of the objects as they are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.kueue.builders import flavor, node, queue, state, topology
from tiphys.addons.kueue.core.building import (
    Objects,
    checks_of,
    inactivity,
    item_of,
    queued_since,
    state_of,
    usage_of,
)
from tiphys.addons.kueue.core.quota import Slot
from tiphys.addons.kueue.core.topology import HOST, Layer
from tiphys.addons.kueue.rules.gowords import WordError, boolean, integer
from tiphys.addons.kueue.types.quotas import ClusterQueue
from tiphys.addons.kueue.types.workloads import Workload
from tiphys.api.base import from_builtins
from tiphys.machinery import timestamps

NOW = 1_800_000_000.0
QUOTAS = {"f": {"cpu": 4}}
CHECKS = {
    "admissionChecks": [
        {"name": "a"},
        {"name": "b", "onFlavors": ["f"]},
        {"name": "c", "onFlavors": ["g"]},
    ]
}


def workload(status: Any = None, labels: Any = None, **of_set: Any) -> Workload:
    """One set of two pods that request a CPU each."""
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
    template = {"spec": {"containers": [container]}}
    pods = {"name": "main", "count": 2, "template": template, **of_set}
    meta = {
        "name": "w",
        "namespace": "lab",
        "uid": "u",
        "labels": labels or {},
        "creationTimestamp": timestamps.rfc3339(NOW),
    }
    made: Workload = from_builtins(
        {"metadata": meta, "spec": {"podSets": [pods]}, "status": status or {}}, Workload
    )
    return made


def admitted(**row: Any) -> dict[str, Any]:
    whole = {
        "name": "main",
        "flavors": {"cpu": "f"},
        "resourceUsage": {"cpu": "2"},
        "count": 2,
        **row,
    }
    return {"admission": {"clusterQueue": "q", "podSetAssignments": [whole]}}


# --- queues ---


def stopped(policy: str) -> ClusterQueue:
    return queue("q", QUOTAS, stopPolicy=policy)


def terminating() -> ClusterQueue:
    made = queue("q", QUOTAS)
    made.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    return made


CHECKED = queue("q", QUOTAS, admissionChecksStrategy=CHECKS)
BEFORE = "Can't admit new workloads"


@pytest.mark.parametrize(
    ("of", "checks", "reason", "message"),
    [
        (queue("q", QUOTAS), {}, "", ""),
        (queue("q", {}), {}, "", ""),
        (terminating(), {}, "Terminating", f"{BEFORE}; clusterQueue is terminating"),
        (stopped("Hold"), {}, "Stopped", f"{BEFORE}: is stopped."),
        (stopped("HoldAndDrain"), {}, "Stopped", f"{BEFORE}: is stopped."),
        (
            queue("q", {"f": {"cpu": 1}, "x": {"cpu": 1}, "y": {"cpu": 1}}),
            {},
            "FlavorNotFound",
            f"{BEFORE}: references missing ResourceFlavor(s): x,y.",
        ),
        (CHECKED, {"a": True, "b": True, "c": True}, "", ""),
        (
            CHECKED,
            {"b": True},
            "AdmissionCheckNotFound",
            f"{BEFORE}: references missing AdmissionCheck(s): a,c.",
        ),
        (
            CHECKED,
            {"a": True, "b": False, "c": False},
            "AdmissionCheckInactive",
            f"{BEFORE}: references inactive AdmissionCheck(s): b,c.",
        ),
        (
            CHECKED,
            {"a": False, "b": True},
            "AdmissionCheckNotFound",
            f"{BEFORE}: references missing AdmissionCheck(s): c, references inactive "
            "AdmissionCheck(s): a.",
        ),
    ],
)
def test_a_queue_that_admits_nothing_says_why(
    of: ClusterQueue, checks: dict[str, bool], reason: str, message: str
) -> None:
    flavors = state([queue("other", QUOTAS)]).flavors
    assert inactivity(of, flavors, checks) == (reason, message)


def test_a_flavor_without_its_topology_keeps_a_queue_from_admitting() -> None:
    flavors = state([], [flavor("f", topologyName="racks", nodeLabels={"a": "b"})]).flavors
    text = f'{BEFORE}: there is no Topology "racks" for TAS flavor "f".'
    assert inactivity(queue("q", QUOTAS), flavors, {}) == ("TopologyNotFound", text)


@pytest.mark.parametrize(
    ("flavors", "checks"),
    [(None, ("a", "b", "c")), (["f"], ("a", "b")), (["g"], ("a", "c")), ([], ("a",))],
)
def test_checks_are_those_of_the_flavors_that_are_assigned(
    flavors: list[str] | None, checks: tuple[str, ...]
) -> None:
    assert checks_of(CHECKED.spec, flavors) == checks
    assert checks_of(queue("q", QUOTAS).spec, flavors) == ()


def test_a_queue_is_of_what_objects_say() -> None:
    made = state_of(Objects([flavor("f")], [stopped("Hold"), queue("open", QUOTAS)]))
    assert (made.queues["q"].inactive, made.queues["open"].inactive) == ("Stopped", "")


# --- workloads ---


@pytest.mark.parametrize(
    ("status", "usage"),
    [
        ({}, {}),
        (admitted(), {Slot("f", "cpu"): 2000}),
        (admitted(count=None), {Slot("f", "cpu"): 2000}),
        (admitted(count=0), {Slot("f", "cpu"): 2000}),
        (admitted(resourceUsage={}), {Slot("f", "cpu"): 0}),
        (
            {**admitted(), "reclaimablePods": [{"name": "main", "count": 1}]},
            {Slot("f", "cpu"): 1000},
        ),
        ({**admitted(), "reclaimablePods": [{"name": "main", "count": 5}]}, {Slot("f", "cpu"): 0}),
        ({**admitted(), "reclaimablePods": [{"name": "x", "count": 1}]}, {Slot("f", "cpu"): 2000}),
    ],
)
def test_a_workload_holds_what_it_was_given_less_what_it_will_not_need(
    status: Any, usage: dict[Slot, int]
) -> None:
    assert usage_of(workload(status)) == usage
    assert item_of(workload(status), "q").usage == usage


def evicted(reason: str, status: str = "True") -> dict[str, Any]:
    at = timestamps.rfc3339(NOW + 60)
    row = {"type": "Evicted", "status": status, "reason": reason, "lastTransitionTime": at}
    return {"conditions": [row]}


@pytest.mark.parametrize(
    ("status", "later"),
    [
        ({}, 0),
        (evicted("PodsReadyTimeout"), 60),
        (evicted("AdmissionCheck"), 60),
        (evicted("Preempted"), 0),
        (evicted("PodsReadyTimeout", "False"), 0),
    ],
)
def test_who_was_sent_away_for_its_own_sake_queues_anew(status: Any, later: float) -> None:
    """Upstream's queue order timestamp."""
    assert queued_since(workload(status)) == NOW + later


@pytest.mark.parametrize(
    ("status", "since"),
    [
        ({}, float("inf")),
        ({"type": "QuotaReserved", "status": "True"}, NOW + 5),
        ({"type": "QuotaReserved", "status": "False"}, float("inf")),
    ],
)
def test_who_holds_quota_has_held_it_since(status: Any, since: float) -> None:
    row = {**status, "reason": "R", "lastTransitionTime": timestamps.rfc3339(NOW + 5)}
    conditions = {"conditions": [row]} if status else {}
    assert item_of(workload(conditions), "q").reserved == since


def test_a_workload_asks_for_its_pods() -> None:
    made = item_of(workload(labels={"kueue.x-k8s.io/job-uid": "j"}), "q")
    assert (made.key, made.uid, made.queue, made.job_uid) == ("lab/w", "u", "q", "j")
    (pods,) = made.pod_sets
    assert (pods.name, pods.count, pods.per_pod["cpu"]) == ("main", 2, 1000)
    assert not made.evicted and item_of(workload(evicted("Preempted")), "q").evicted
    fewer = workload({"reclaimablePods": [{"name": "main", "count": 3}]})
    assert item_of(fewer, "q").pod_sets[0].count == 0


def test_what_is_limited_and_not_requested_is_requested() -> None:
    resources = {"limits": {"cpu": "2", "memory": "1Ki"}, "requests": {"cpu": "1"}}
    spec = {"containers": [{"name": "c", "image": "i", "resources": resources}]}
    (pods,) = item_of(workload(template={"spec": spec}), "q").pod_sets
    assert (pods.per_pod["cpu"], pods.per_pod["memory"]) == (1000, 1024)


def test_workloads_are_alike_by_what_decides_of_them() -> None:
    first = item_of(workload(), "q").shape
    assert first == item_of(workload(labels={"a": "b"}), "q").shape
    assert first != item_of(workload(count=3), "q").shape
    assert first != item_of(workload(minCount=1), "q").shape
    assert first != item_of(workload(topologyRequest={"required": "rack"}), "q").shape
    assert (
        first != item_of(workload({"reclaimablePods": [{"name": "main", "count": 1}]}), "q").shape
    )


SLICES = {"podSetSliceRequiredTopology": "rack", "podSetSliceSize": 2}
LAYERS = {
    "podsetSliceRequiredTopologyConstraints": [
        {"topology": "block", "size": 4},
        {"topology": "rack", "size": 2},
    ]
}


@pytest.mark.parametrize(
    ("request_", "required", "preferred", "anywhere", "layers"),
    [
        (None, "", "", False, ()),
        ({"required": "rack"}, "rack", "", False, ()),
        ({"preferred": "rack"}, "", "rack", False, ()),
        ({"unconstrained": True}, "", "", True, ()),
        ({"unconstrained": False}, "", "", False, ()),
        (SLICES, "", "", False, (Layer("rack", 2),)),
        ({"podSetSliceRequiredTopology": "rack"}, "", "", False, ()),
        (LAYERS, "", "", False, (Layer("block", 4), Layer("rack", 2))),
    ],
)
def test_a_set_says_how_near_its_pods_are_to_be(
    request_: Any, required: str, preferred: str, anywhere: bool, layers: Any
) -> None:
    (pods,) = item_of(workload(topologyRequest=request_), "q").pod_sets
    near = pods.nearness
    found = (near.required, near.preferred, near.unconstrained, near.layers)
    assert found == (required, preferred, anywhere, layers)


def test_an_admitted_workload_has_its_places() -> None:
    places = {
        "levels": [HOST],
        "slices": [
            {
                "domainCount": 1,
                "valuesPerLevel": [{"universal": "n1"}],
                "podCounts": {"universal": 2},
            }
        ],
    }
    made = item_of(workload(admitted(topologyAssignment=places)), "q")
    (holding,) = made.holdings
    assert holding.flavors == {"f"} and holding.per_pod["cpu"] == 1000
    assert [(one.values, one.pods) for one in holding.places] == [(("n1",), 2)]
    assert item_of(workload(admitted(name="gone", topologyAssignment=places)), "q").holdings == ()
    assert item_of(workload(admitted()), "q").holdings == ()


def test_pods_of_others_take_room_of_a_topologys_hosts() -> None:
    objects = Objects(
        [flavor("f", topologyName="hosts", nodeLabels={"a": "b"})],
        [queue("q", QUOTAS)],
        topologies=[topology("hosts", HOST)],
        nodes=[node("n", {"a": "b"})],
        others={"n": {"cpu": 1500, "pods": 2}},
    )
    tree = state_of(objects).flavors["f"].topology
    assert tree is not None
    (leaf,) = tree.leaves.values()
    assert (leaf.free["cpu"], leaf.free["pods"]) == (2500, 8)


# --- words as Go reads them ---


@pytest.mark.parametrize(
    ("text", "bits", "value"),
    [
        ("7", 64, 7),
        ("+7", 64, 7),
        ("-7", 64, -7),
        ("2147483647", 32, 2**31 - 1),
        ("2147483648", 32, "value out of range"),
        ("-2147483648", 32, -(2**31)),
        ("-2147483649", 32, "value out of range"),
        ("9" * 30, 64, "value out of range"),
        ("7 ", 64, "invalid syntax"),
        ("", 64, "invalid syntax"),
        ("٣", 64, "invalid syntax"),
        ("1_0", 64, "invalid syntax"),
    ],
)
def test_a_number_is_one_of_gos(text: str, bits: int, value: int | str) -> None:
    try:
        assert integer(text, bits) == value
    except WordError as error:
        assert str(error) == f'strconv.Atoi: parsing "{text}": {value}'


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_so_is_a_boolean(text: str) -> None:
    no = {"1": "0", "t": "f", "T": "F", "TRUE": "FALSE", "true": "false", "True": "False"}
    assert boolean(text) is True and boolean(no[text]) is False
    with pytest.raises(WordError, match=r'strconv\.ParseBool: parsing "tRUE": invalid syntax'):
        boolean("tRUE")

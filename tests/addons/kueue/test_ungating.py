"""Which pods of a set go to which of its places: by their index, or by what is left."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.kueue.builders import PREFIX
from tiphys.addons.kueue.types.workloads import PodSetTopologyRequest
from tiphys.addons.kueue.ungating import is_gated, letting
from tiphys.api import core_v1
from tiphys.api.base import from_builtins

HOST = "kubernetes.io/hostname"
INDEX, JOB = "index", "job"
FLAT = PodSetTopologyRequest(pod_index_label=INDEX)
TWO_JOBS = PodSetTopologyRequest(
    pod_index_label=INDEX, sub_group_index_label=JOB, sub_group_count=2
)


def places(**pods: int) -> dict[str, Any]:
    """So many pods on each host."""
    return {
        "levels": [HOST],
        "slices": [
            {
                "domainCount": len(pods),
                "valuesPerLevel": [{"individual": {"roots": list(pods)}}],
                "podCounts": {"individual": list(pods.values())},
            }
        ],
    }


def pod(name: str, index: str = "", job: str = "", on: str = "", offset: str = "") -> core_v1.Pod:
    """One that waits, or is `on` a host."""
    labels = {key: value for key, value in ((INDEX, index), (JOB, job)) if value}
    annotations = {f"{PREFIX}/pod-index-offset": offset} if offset else {}
    gates = [] if on else [{"name": f"{PREFIX}/topology"}, {"name": "other"}]
    made: core_v1.Pod = from_builtins(
        {
            "metadata": {"name": name, "labels": labels, "annotations": annotations},
            "spec": {"schedulingGates": gates, "nodeSelector": {HOST: on} if on else {}},
        },
        core_v1.Pod,
    )
    return made


def let_go(
    of: Any, *pods: core_v1.Pod, request: PodSetTopologyRequest | None = None
) -> dict[str, str]:
    """Hosts by pod."""
    return {one.pod.metadata.name: one.labels[HOST] for one in letting(of, pods, request)}


def test_a_pod_waits_behind_the_gate_of_topologies_alone() -> None:
    assert is_gated(pod("a")) and not is_gated(pod("a", on="x"))
    one = pod("a")
    one.spec.scheduling_gates = one.spec.scheduling_gates[1:]
    assert not is_gated(one)


@pytest.mark.parametrize(
    ("of", "pods", "hosts"),
    [
        (places(x=2), [pod("a"), pod("b")], {"a": "x", "b": "x"}),
        (places(x=1, y=1), [pod("a"), pod("b")], {"a": "x", "b": "y"}),
        (places(x=1, y=1), [pod("a", on="x"), pod("b")], {"b": "y"}),
        (places(x=2, y=1), [pod("a", on="x"), pod("b"), pod("c")], {"b": "x", "c": "y"}),
        (places(x=1), [pod("a"), pod("b")], {"a": "x"}),
        (places(x=1), [pod("a", on="x"), pod("b", on="x"), pod("c")], {}),
        (places(x=1), [], {}),
        (None, [pod("a")], {}),
    ],
)
def test_who_has_no_index_gets_what_is_left(of: Any, pods: Any, hosts: dict[str, str]) -> None:
    assert let_go(of, *pods) == hosts


@pytest.mark.parametrize(
    ("pods", "hosts"),
    [
        ([pod("a", "1"), pod("b", "0")], {"b": "x", "a": "y"}),
        ([pod("a", "1")], {"a": "y"}),
        ([pod("a", "0", on="x"), pod("b", "1")], {"b": "y"}),
        # One without an index, with another's, beyond the last, or at another's place: none counts.
        ([pod("a", "1"), pod("b")], {"a": "x", "b": "y"}),
        ([pod("a", "1"), pod("b", "1")], {"a": "x", "b": "y"}),
        ([pod("a", "2"), pod("b", "1")], {"a": "x", "b": "y"}),
        ([pod("a", "x"), pod("b", "1")], {"a": "x", "b": "y"}),
        ([pod("a", "1", on="x"), pod("b", "0")], {"b": "y"}),
        ([pod("a", "2", offset="1"), pod("b", "1", offset="1")], {"b": "x", "a": "y"}),
        ([pod("a", "0", offset="1"), pod("b", "1", offset="1")], {"a": "x", "b": "y"}),
        ([pod("a", "1", offset="x")], {"a": "y"}),
    ],
)
def test_who_has_an_index_gets_the_place_of_that_rank(pods: Any, hosts: dict[str, str]) -> None:
    assert let_go(places(x=1, y=1), *pods, request=FLAT) == hosts


@pytest.mark.parametrize(
    ("pods", "hosts"),
    [
        ([pod("a", "0", "1"), pod("b", "1", "0")], {"b": "x", "a": "y"}),
        ([pod("a", "1", "1")], {"a": "y"}),
        ([pod("a", "0", "0")], {"a": "x"}),
        ([pod("a", "1", "2")], {"a": "x"}),
        ([pod("a", "2", "0")], {"a": "x"}),
        ([pod("a", "1")], {"a": "x"}),
    ],
)
def test_those_of_several_jobs_come_after_those_of_the_jobs_before(
    pods: Any, hosts: dict[str, str]
) -> None:
    assert let_go(places(x=2, y=2), *pods, request=TWO_JOBS) == hosts


def test_jobs_of_which_nobody_knows_how_many_have_no_ranks() -> None:
    request = PodSetTopologyRequest(pod_index_label=INDEX, sub_group_index_label=JOB)
    assert let_go(places(x=1, y=1), pod("a", "1", "0"), request=request) == {"a": "x"}

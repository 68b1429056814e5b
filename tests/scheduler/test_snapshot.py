"""What the scheduler keeps up to date as pods and nodes come and go is what it would find if it
looked anew."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import node, pod
from tests.scheduler.builders import framework
from tiphys.api import core_v1
from tiphys.scheduler.columns import Columns
from tiphys.scheduler.framework import Framework
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

HOST, ZONE = "kubernetes.io/hostname", "zone"
APPS = ("x", "y")


def of(app: str) -> dict[str, Any]:
    return {"labelSelector": {"matchLabels": {"app": app}}}


def spread(key: str, skew: int = 1, when: str = "DoNotSchedule", **more: Any) -> dict[str, Any]:
    return {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": when, **of("x"), **more}


def near(sign: str, how: str, key: str, app: str) -> dict[str, Any]:
    term = {"topologyKey": key, **of(app)}
    if how == "required":
        return {"affinity": {sign: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}
    wish = {"weight": 10, "podAffinityTerm": term}
    return {"affinity": {sign: {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}}


KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"topologySpreadConstraints": [spread(ZONE)]},
    {"topologySpreadConstraints": [spread(ZONE, 2), spread(HOST, nodeTaintsPolicy="Honor")]},
    {
        "topologySpreadConstraints": [spread(ZONE, when="ScheduleAnyway")],
        "nodeSelector": {ZONE: "a"},
    },
    {"topologySpreadConstraints": [spread(ZONE, minDomains=3)], "nodeSelector": {"big": "yes"}},
    near("podAntiAffinity", "required", HOST, "x"),
    near("podAffinity", "required", ZONE, "y"),
    near("podAntiAffinity", "preferred", ZONE, "x"),
    {
        "containers": [
            {
                "name": "c",
                "image": "i",
                "resources": {"requests": {"cpu": "700m", "example.com/gpu": "1"}},
            }
        ]
    },
)

_NODES = st.tuples(
    st.just("node"), st.integers(0, 5), st.sampled_from(["a", "b", "c", ""]), st.integers(0, 4)
)
_PODS = st.tuples(
    st.just("pod"), st.integers(0, 9), st.integers(0, 5), st.integers(0, len(KINDS) - 1)
)
_GONE = st.tuples(st.sampled_from(["no node", "no pod"]), st.integers(0, 9), st.just(0), st.just(0))


def made_node(number: int, zone: str, size: int) -> core_v1.Node:
    made = node(
        f"n{number}",
        str(size),
        **({ZONE: zone} if zone else {}),
        **({"big": "yes"} if size > 2 else {}),
    )
    made.status.allocatable["example.com/gpu"] = str(size)  # type: ignore[assignment]
    if size == 3:
        made.spec.taints = [core_v1.Taint(key="k", effect="NoSchedule")]
    return made


def made_pod(number: int, kind: int) -> PodInfo:
    made = pod(f"p{number}", labels={"app": APPS[number % 2]}, **KINDS[kind])
    made.metadata.uid = f"u{number}"
    return PodInfo(made)


def verdicts(snapshot: Snapshot, scheduling: Framework) -> list[Any]:
    """For a pod of each kind: which nodes fit with how many points, or why none does."""
    found = []
    for kind in range(len(KINDS)):
        for number in (100, 101):
            placement, feasible, scores = scheduling.evaluate(made_pod(number, kind))
            points = (
                {}
                if scores is None
                else {n: float(scores[at]) for n, at in snapshot.row_of.items() if feasible[at]}
            )
            assert scores is None or not placement.reasons
            found.append((points, placement.message if scores is None else ""))
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(_NODES, _PODS, _PODS, _GONE), max_size=25))
def test_nothing_is_missed(events: list[tuple[str, int, Any, int]]) -> None:
    snapshot = Snapshot()
    scheduling = framework(snapshot)
    nodes: dict[str, core_v1.Node] = {}
    pods: dict[str, tuple[PodInfo, str]] = {}
    for kind, number, where, what in events:
        if kind == "node":
            nodes[f"n{number}"] = one = made_node(number, where, what)
            snapshot.put_node(one)
        elif kind == "no node" and nodes.pop(f"n{number}", None):
            snapshot.remove_node(f"n{number}")
        elif kind == "pod":
            pods[f"u{number}"] = info, place = made_pod(number, what), f"n{where}"
            snapshot.remove_pod(info.uid)
            snapshot.put_pod(info, place)
        elif kind == "no pod" and pods.pop(f"u{number}", None):
            snapshot.remove_pod(f"u{number}")
        verdicts(snapshot, scheduling)  # so that something is kept
    anew = Snapshot()
    for one in nodes.values():
        anew.put_node(one)
    for info, place in pods.values():
        anew.put_pod(made_pod(int(info.uid[1:]), _kind(info)), place)
    assert verdicts(snapshot, scheduling) == verdicts(anew, framework(anew))


def _kind(info: PodInfo) -> int:
    return next(
        k for k in range(len(KINDS)) if made_pod(int(info.uid[1:]), k).pod.spec == info.pod.spec
    )


def test_pods_on_nodes_that_do_not_count_are_not_counted_later_either() -> None:
    snapshot = Snapshot()
    for number, size in ((0, 4), (1, 1), (2, 4)):
        snapshot.put_node(made_node(number, "ab"[number // 2], size))
    scheduling, wanted = (
        framework(snapshot),
        made_pod(100, 4),
    )  # for large nodes alone, spread over zones
    for name in ("n1", "n0"):
        assert {snapshot.names[at] for at in np.flatnonzero(scheduling.evaluate(wanted)[1])} == {
            "n0",
            "n2",
        }
        snapshot.put_pod(made_pod(int(name[1:]) * 2, 0), name)
    assert {snapshot.names[at] for at in np.flatnonzero(scheduling.evaluate(wanted)[1])} == {"n2"}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.one_of(st.integers(0, 7).map(lambda at: [at]), st.just([-1]), st.just([5] * 600)),
        max_size=12,
    )
)
def test_a_column_is_as_if_worked_out_anew(touches: list[list[int]]) -> None:
    """-1 asks for the column; more rows may have been touched between than are remembered."""
    numbers, columns = np.arange(8), Columns()
    for at in [*itertools.chain(*touches), -1]:
        if at >= 0:
            numbers[at] += 1
            columns.touch(at)
        else:
            assert (columns.get("k", 8, lambda rows: numbers[rows] * 2) == numbers * 2).all()

"""LimitRanger: what a namespace's LimitRanges fill in, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.apiserver.admission.limits import (
    ANNOTATION,
    claim_problems,
    fill_in,
    pod_problems,
)


def limit(kind: str, **bounds: Any) -> core_v1.LimitRangeItem:
    return from_builtins({"type": kind, **bounds}, core_v1.LimitRangeItem)


def container(name: str = "c", requests: str = "", limits: str = "") -> dict[str, Any]:
    """Amounts of cpu."""
    resources = {}
    if requests:
        resources["requests"] = {"cpu": requests}
    if limits:
        resources["limits"] = {"cpu": limits}
    return {"name": name, "image": "i", "resources": resources}


def with_cpu(requests: str = "", limits: str = "") -> core_v1.Pod:
    return pod(containers=[container("c", requests, limits)])


MIN = limit("Container", min={"cpu": "100m"})
MAX = limit("Container", max={"cpu": "1"})
RATIO = limit("Container", maxLimitRequestRatio={"cpu": "2"})


@pytest.mark.parametrize(
    ("item", "requests", "limits", "problem"),
    [
        (MIN, "100m", "", ""),
        (MIN, "100m", "100m", ""),
        (MIN, "99m", "", "minimum cpu usage per Container is 100m, but request is 99m"),
        (MIN, "", "", "minimum cpu usage per Container is 100m.  No request is specified"),
        (MIN, "", "1", "minimum cpu usage per Container is 100m.  No request is specified"),
        (MIN, "100m", "99m", "minimum cpu usage per Container is 100m, but limit is 99m"),
        (MAX, "", "1", ""),
        (MAX, "1", "1000m", ""),
        (MAX, "", "1001m", "maximum cpu usage per Container is 1, but limit is 1001m"),
        (MAX, "2", "1", "maximum cpu usage per Container is 1, but request is 2"),
        (MAX, "1", "", "maximum cpu usage per Container is 1.  No limit is specified"),
        (RATIO, "1", "2", ""),
        (RATIO, "1", "1", ""),
        (
            RATIO,
            "1",
            "2500m",
            "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000",
        ),
        (
            RATIO,
            "0",
            "1",
            "cpu max limit to request ratio per Container is 2, "
            "but no request is specified or request is 0",
        ),
        (
            RATIO,
            "1",
            "",
            "cpu max limit to request ratio per Container is 2, "
            "but no limit is specified or limit is 0",
        ),
        (limit("PersistentVolumeClaim", max={"cpu": "1"}), "9", "9", ""),
    ],
)
def test_what_a_container_breaks(
    item: core_v1.LimitRangeItem, requests: str, limits: str, problem: str
) -> None:
    assert pod_problems(item, with_cpu(requests, limits)) == ([problem] if problem else [])


def test_init_containers_are_held_to_limits_too() -> None:
    both = pod(containers=[container("c", "1", "2")], initContainers=[container("i", "1", "3")])
    assert pod_problems(MAX, both) == [
        "maximum cpu usage per Container is 1, but limit is 2",
        "maximum cpu usage per Container is 1, but limit is 3",
    ]


def test_a_pod_is_the_sum_of_its_containers() -> None:
    two = pod(containers=[container("a", "400m", "600m"), container("b", "400m", "600m")])
    assert pod_problems(limit("Pod", max={"cpu": "1"}), two) == [
        "maximum cpu usage per Pod is 1, but limit is 1200m"
    ]
    assert pod_problems(limit("Pod", max={"cpu": "1200m"}, min={"cpu": "800m"}), two) == []
    assert pod_problems(limit("Container", max={"cpu": "1"}), two) == []


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        ("1Gi", ""),
        ("2Gi", ""),
        ("1023Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1023Mi"),
        ("3Gi", "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"),
    ],
)
def test_what_a_claim_breaks(size: str, problem: str) -> None:
    claim = core_v1.PersistentVolumeClaim()
    claim.spec.resources.requests = from_builtins({"storage": size}, dict[str, Any])
    bounds = {"min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}
    item = limit("PersistentVolumeClaim", **bounds)
    assert claim_problems(item, claim) == ([problem] if problem else [])
    assert claim_problems(limit("Pod", **bounds), claim) == []


def test_containers_get_the_defaults_they_lack() -> None:
    ranges = core_v1.LimitRange()
    ranges.spec.limits = [
        limit("Container", default={"cpu": "1", "memory": "1Gi"}, defaultRequest={"cpu": "500m"}),
        limit("Pod", default={"cpu": "9"}),
    ]
    given = pod(containers=[container("a", limits="2"), container("b", "2", "3")])
    given.spec.init_containers = [core_v1.Container(name="i")]
    fill_in(given, ranges)
    first, second = (one.resources for one in given.spec.containers)
    assert (first.requests, first.limits) == ({"cpu": "500m"}, {"cpu": "2", "memory": "1Gi"})
    assert (second.requests, second.limits) == ({"cpu": "2"}, {"cpu": "3", "memory": "1Gi"})
    init = given.spec.init_containers[0].resources
    assert (init.requests, init.limits) == ({"cpu": "500m"}, {"cpu": "1", "memory": "1Gi"})
    assert given.metadata.annotations[ANNOTATION] == (
        "LimitRanger plugin set: cpu request for container a; memory limit for container a; "
        "memory limit for container b; cpu request for init container i; "
        "cpu, memory limit for init container i"
    )


def test_a_pod_that_lacks_nothing_is_not_annotated() -> None:
    ranges = core_v1.LimitRange()
    ranges.spec.limits = [limit("Container", default={"cpu": "1"})]
    complete = with_cpu(limits="2")
    fill_in(complete, ranges)
    assert ANNOTATION not in complete.metadata.annotations

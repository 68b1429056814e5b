"""Thresholds, conditions, and which pod goes first."""

from __future__ import annotations

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.resources.pressure import (
    HOLD,
    Consumer,
    Observed,
    Pressures,
    message,
    parse_thresholds,
    ranked,
    refused_under_pressure,
)

GIB, MIB = 1 << 30, 1 << 20


def test_thresholds_are_amounts_or_shares() -> None:
    parsed = parse_thresholds("memory.available<100Mi, nodefs.available<10%,nodefs.inodesFree<0%")
    assert [(one.signal, one.amount(1000)) for one in parsed] == [
        ("memory.available", 100 * MIB),
        ("nodefs.available", 100),
    ]
    assert parse_thresholds("") == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("memory<1", "'memory<1' is no threshold SIGNAL<AMOUNT of one of memory.available, "),
        ("memory.available", "is no threshold"),
        ("memory.available<x", "'x' is no amount"),
        ("memory.available<-1", "'-1' is no amount"),
        ("memory.available<100%", "'100%' is no share between 0% and 100%"),
        ("memory.available<x%", "'x%' is no share"),
    ],
)
def test_what_is_no_threshold_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace(".", r"\.")):
        parse_thresholds(text)


def test_a_condition_holds_for_a_while_after_its_reason_is_over() -> None:
    pressures = Pressures()
    low = parse_thresholds("memory.available<1,imagefs.inodesFree<1")
    shown = []
    for now, found in ((0.0, low), (100.0, low[:1]), (HOLD, []), (HOLD + 99, []), (HOLD + 100, [])):
        pressures.observe(found, now)
        shown.append(pressures.conditions)
    both, memory = ("DiskPressure", "MemoryPressure"), ("MemoryPressure",)
    assert shown == [both, both, memory, memory, ()]


def of_class(qos: str, **spec: object) -> core_v1.Pod:
    one = pod(**spec)
    one.status.qos_class = qos
    return one


TOLERANT = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}
MEMORY, DISK = ("MemoryPressure",), ("DiskPressure",)


@pytest.mark.parametrize(
    ("one", "conditions", "refused"),
    [
        (of_class("BestEffort"), (), False),
        (of_class("BestEffort"), MEMORY, True),
        (of_class("BestEffort", tolerations=[TOLERANT]), MEMORY, False),
        (of_class("Burstable"), MEMORY, False),
        (of_class("Guaranteed"), DISK, True),
        (of_class("Burstable"), ("DiskPressure", "MemoryPressure"), True),
        (of_class("BestEffort", priority=2_000_000_000), DISK, False),
        (of_class("BestEffort", priority=1_999_999_999), DISK, True),
    ],
)
def test_a_node_that_is_short_of_something_refuses_pods(
    one: core_v1.Pod, conditions: tuple[str, ...], refused: bool
) -> None:
    rejection = refused_under_pressure(one, conditions)
    assert (rejection is not None) == refused
    if rejection is not None:
        assert rejection.reason == "Evicted"
        assert rejection.message == f"The node had condition: [{' '.join(conditions)}]. "


def consumer(name: str, used: int, requested: str = "0", priority: int = 0) -> Consumer:
    container = {"name": "c", "image": "i", "resources": {"requests": {"memory": requested}}}
    one = pod(containers=[container], priority=priority)
    one.metadata.name = name
    return Consumer(one, {"memory": used, "pids": used}, {"c": {"memory": used}})


def names(consumers: list[Consumer], resource: str = "memory") -> list[str]:
    return [one.pod.metadata.name for one in ranked(consumers, resource)]


def test_who_uses_more_than_it_asked_for_goes_first_then_the_less_important() -> None:
    consumers = [
        consumer("within", 90, "100"),
        consumer("over-important", 300, "100", priority=5),
        consumer("over-little", 150, "100"),
        consumer("over-much", 200, "100"),
        consumer("just-within", 100, "100"),
        consumer("critical", 900, priority=2_000_000_000),
    ]
    expected = ["over-much", "over-little", "over-important", "just-within", "within"]
    assert names(consumers) == expected


def test_processes_are_taken_from_the_least_important() -> None:
    consumers = [consumer("many", 50, priority=1), consumer("few", 3), consumer("more", 9)]
    assert names(consumers, "pids") == ["more", "few", "many"]


def test_the_message_says_what_was_left_and_who_used_it() -> None:
    [threshold] = parse_thresholds("memory.available<2Gi")
    text = message(threshold, Observed(1536 * MIB, 8 * GIB), consumer("p", 700 * MIB, "100Mi"))
    assert text == (
        "The node was low on resource: memory. Threshold quantity: 2Gi, available: 1536Mi. "
        "Container c was using 700Mi, request is 100Mi, has larger consumption of memory. "
    )
    modest = message(threshold, Observed(5, 8 * GIB), consumer("p", 10, "100Mi"))
    assert modest.endswith("available: 5. ")

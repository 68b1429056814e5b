"""How much swap a container may use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.builders import pod
from tiphys.node.resources.swap import (
    LIMITED_SWAP,
    NO_SWAP,
    MachineMemory,
    machine_memory,
    parse_behavior,
    swap_limit,
)

MACHINE = MachineMemory(memory=1 << 30, swap=1 << 29)


def asking(**resources: Any) -> Any:
    made = pod(containers=[{"name": "c", "image": "i", "resources": resources}])
    made.status.qos_class = "Burstable"
    return made


def limit(one: Any, behavior: str = LIMITED_SWAP, machine: MachineMemory = MACHINE) -> int:
    return swap_limit(behavior, one, one.spec.containers[0], machine)


def test_a_container_has_the_share_of_the_swap_that_it_asks_for_of_the_memory() -> None:
    assert limit(asking(requests={"memory": "256Mi"})) == 128 << 20
    assert limit(asking(requests={"memory": "256Mi"}, limits={"memory": "512Mi"})) == 128 << 20
    assert limit(asking(requests={"memory": "2Gi"})) == MACHINE.swap


@pytest.mark.parametrize(
    "resources",
    [
        {},
        {"requests": {"cpu": "1"}},
        {"limits": {"memory": "1Mi"}, "requests": {"memory": "1Mi"}},
        {"limits": {"memory": "1Mi"}},
    ],
)
def test_one_that_asks_for_nothing_or_all_it_may_have_gets_none(resources: Any) -> None:
    assert limit(asking(**resources)) == 0


def test_nor_do_other_pods_other_behaviors_and_unknown_machines_give_any() -> None:
    one = asking(requests={"memory": "256Mi"})
    assert limit(one, NO_SWAP) == 0
    assert limit(one, machine=MachineMemory(0, 0)) == 0
    one.spec.priority = 2_000_000_000
    assert limit(one) == 0
    one.spec.priority = 0
    one.status.qos_class = "Guaranteed"
    assert limit(one) == 0


@pytest.mark.parametrize(
    ("value", "behavior"),
    [
        ({}, NO_SWAP),
        ({"swapBehavior": ""}, NO_SWAP),
        ({"swapBehavior": "NoSwap"}, NO_SWAP),
        ({"swapBehavior": "LimitedSwap"}, LIMITED_SWAP),
    ],
)
def test_a_behavior_is_read(value: Any, behavior: str) -> None:
    assert parse_behavior(value) == behavior


@pytest.mark.parametrize("value", [None, [], {"swapBehavior": "Unlimited"}, {"other": 1}])
def test_others_are_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        parse_behavior(value)


def test_the_kernel_says_what_there_is(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 2 kB\nMemFree: 1 kB\nSwapTotal:  3 kB\n")
    assert machine_memory(meminfo) == (2048, 3072)
    meminfo.write_text("MemTotal: ?")
    assert machine_memory(meminfo) == (0, 0)
    assert machine_memory(tmp_path / "none") == (0, 0)

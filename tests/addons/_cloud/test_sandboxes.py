"""Which types a machine can pretend to be, and how it is ordered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.addons._cloud.builders import TYPE
from tiphys.addons._cloud.sandboxes import fits, order, room
from tiphys.api import core_v1

AMOUNTS = {"cpu": TYPE.capacity["cpu"], "memory": TYPE.capacity["memory"]}
GPU = "nvidia.com/gpu"


@pytest.mark.parametrize(
    "architecture, amounts, more, can",
    [
        ("amd64", AMOUNTS, {}, True),
        ("arm64", AMOUNTS, {}, False),
        ("amd64", {**AMOUNTS, "cpu": AMOUNTS["cpu"] - 1}, {}, False),
        ("amd64", {**AMOUNTS, "memory": AMOUNTS["memory"] - 1}, {}, False),
        ("amd64", {**AMOUNTS, "memory": AMOUNTS["memory"] + 1}, {}, True),
        ("amd64", AMOUNTS, {GPU: 1}, False),
    ],
)
def test_a_machine_can_be_one_that_is_no_larger(
    architecture: str, amounts: dict[str, int], more: dict[str, int], can: bool
) -> None:
    type_ = replace(TYPE, capacity={**TYPE.capacity, **more})
    assert fits(type_, architecture, amounts) is can


def test_an_order_has_quantities_of_what_it_is_to_have() -> None:
    taints = [core_v1.Taint(key="k", effect="NoSchedule")]
    made = order(TYPE, "n", "id", {"a": "b"}, taints)
    assert (made.name, made.provider_id, made.labels) == ("n", "id", {"a": "b"})
    assert made.taints == taints and made.reserved == dict(TYPE.reserved)
    assert made.capacity["cpu"] == "2" and made.capacity["memory"] == "8Gi"


@pytest.mark.parametrize(
    "machine, architecture, cpus",
    [("x86_64", "amd64", 4), ("aarch64", "arm64", 1), ("riscv64", "riscv64", None)],
)
def test_the_room_is_that_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, machine: str, architecture: str, cpus: int | None
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("os.cpu_count", lambda: cpus)
    sizes: dict[str, Any] = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)
    made = room.__wrapped__()
    assert made == (architecture, {"cpu": (cpus or 1) * 1000, "memory": 4_096_000})

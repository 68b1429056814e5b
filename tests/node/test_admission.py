"""What a node refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.node.admission import Footprint, insufficient_room

ROOM = {"cpu": "2", "memory": "1Gi", "ephemeral-storage": "10Gi", "pods": "3"}


def footprint(
    port: int = 0, address: str = "", protocol: str = "TCP", **requests: str
) -> Footprint:
    container: dict[str, Any] = {"name": "c", "image": "i", "resources": {"requests": requests}}
    if port:
        container["ports"] = [
            {"containerPort": 80, "hostPort": port, "hostIP": address, "protocol": protocol}
        ]
    return Footprint(pod(containers=[container]).spec)


@pytest.mark.parametrize(
    ("new", "others", "reason"),
    [
        (footprint(cpu="1"), [footprint(cpu="1")], None),
        (footprint(cpu="1"), [footprint(cpu="1001m")], "OutOfcpu"),
        (footprint(memory="1Gi"), [footprint(memory="1")], "OutOfmemory"),
        (footprint(), [footprint()] * 2, None),
        (footprint(), [footprint()] * 3, "OutOfpods"),
        (footprint(), [footprint(cpu="9")], None),
        (footprint(80), [footprint(80)], "NodePorts"),
        (footprint(80), [footprint(80, "127.0.0.1")], "NodePorts"),
        (footprint(80, "127.0.0.2"), [footprint(80, "127.0.0.1")], None),
        (footprint(80), [footprint(80, protocol="UDP")], None),
        (footprint(80), [footprint(81)], None),
    ],
)
def test_a_pod_needs_room_on_its_node(
    new: Footprint, others: list[Footprint], reason: str | None
) -> None:
    found = insufficient_room(new, others, ROOM)
    assert (found[0] if found else None) == reason


def test_the_reason_is_told_in_numbers() -> None:
    found = insufficient_room(footprint(cpu="1500m"), [footprint(cpu="1")], ROOM)
    assert found is not None
    assert (
        found[1]
        == "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"
    )

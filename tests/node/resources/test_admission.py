"""What a node refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.abilities import RuntimeAbilities
from tiphys.node.resources.admission import Footprint, insufficient_room, unfit
from tiphys.node.resources.sysctls import SysctlAllowlist

ROOM = {
    "cpu": "2",
    "memory": "1Gi",
    "ephemeral-storage": "10Gi",
    "pods": "3",
    "hugepages-2Mi": "8Mi",
}
PAGES = "OutOfhugepages-2Mi"


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
        (footprint(**{"hugepages-2Mi": "4Mi"}), [footprint(**{"hugepages-2Mi": "4Mi"})], None),
        (footprint(**{"hugepages-2Mi": "6Mi"}), [footprint(**{"hugepages-2Mi": "4Mi"})], PAGES),
        (footprint(**{"hugepages-1Gi": "1Gi"}), [], "OutOfhugepages-1Gi"),
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


ABLE = RuntimeAbilities(strict_groups=True, app_armor=True)
ARMOURED = {"appArmorProfile": {"type": "RuntimeDefault"}}
UNCONFINED = {"appArmorProfile": {"type": "Unconfined"}}
NO_ARMOUR = "Cannot enforce AppArmor: AppArmor is not enabled on the host"


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        (pod().spec, "", ""),
        (pod(os={"name": "linux"}).spec, "", ""),
        (pod(os={"name": "windows"}).spec, "PodOSNotSupported", ""),
        (pod(securityContext={"supplementalGroupsPolicy": "Merge"}).spec, "", ""),
        (
            pod(securityContext={"supplementalGroupsPolicy": "Strict"}).spec,
            "SupplementalGroupsPolicyNotSupported",
            "",
        ),
        (pod(securityContext=ARMOURED).spec, "AppArmor", NO_ARMOUR),
        (pod(securityContext=UNCONFINED).spec, "", ""),
        (
            pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}).spec,
            "SysctlForbidden",
            'forbidden sysctl: "kernel.msgmax" not allowlisted',
        ),
    ],
)
def test_what_a_node_refuses(spec: core_v1.PodSpec, reason: str, message: str) -> None:
    rejection = unfit(spec, RuntimeAbilities(), SysctlAllowlist())
    assert (rejection.reason if rejection else "") == reason
    if message:
        assert rejection is not None and rejection.message == message
    if reason in ("AppArmor", "SupplementalGroupsPolicyNotSupported"):
        assert unfit(spec, ABLE, SysctlAllowlist()) is None


def test_pods_take_room_of_each_other_but_not_of_what_they_do_not_ask_for() -> None:
    others = [footprint(cpu="1"), footprint(memory="1Gi")]
    assert insufficient_room(footprint(cpu="1"), others, ROOM) is None
    rejection = insufficient_room(footprint(cpu="1001m"), others, ROOM)
    assert rejection is not None and rejection.reason == "OutOfcpu"

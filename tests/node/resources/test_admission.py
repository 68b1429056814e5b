"""What a node refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.resources.admission import Footprint, insufficient_room, sysctl_name, unfit

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


def sysctl(name: str, **spec: Any) -> core_v1.PodSpec:
    return pod(securityContext={"sysctls": [{"name": name, "value": "1"}]}, **spec).spec


NOT_LISTED = 'forbidden sysctl: "kernel.msgmax" not allowlisted'
HOST_NET = 'forbidden sysctl: "net.ipv4.tcp_rmem" not allowed with host Net enabled'
HOST_IPC = 'forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host IPC enabled'


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
        (sysctl("kernel.msgmax"), "SysctlForbidden", NOT_LISTED),
        (sysctl("net.ipv4.tcp_rmem"), "", ""),
        (sysctl("net/ipv4/tcp_rmem"), "", ""),
        (sysctl("net.ipv4.tcp_rmem", hostNetwork=True), "SysctlForbidden", HOST_NET),
        (sysctl("net.ipv4.tcp_rmem", hostIPC=True), "", ""),
        (sysctl("kernel.shm_rmid_forced"), "", ""),
        (sysctl("kernel.shm_rmid_forced", hostIPC=True), "SysctlForbidden", HOST_IPC),
        (sysctl("kernel.shm_rmid_forced", hostNetwork=True), "", ""),
    ],
)
def test_what_no_node_takes(spec: core_v1.PodSpec, reason: str, message: str) -> None:
    rejection = unfit(spec)
    assert (rejection.reason if rejection else "") == reason
    if message:
        assert rejection is not None and rejection.message == message


@pytest.mark.parametrize(
    ("name", "with_dots"),
    [
        ("net.ipv4.conf.eth0/1.x", "net.ipv4.conf.eth0/1.x"),
        ("net/ipv4/conf/eth0.1/x", "net.ipv4.conf.eth0/1.x"),
        ("plain", "plain"),
    ],
)
def test_names_of_sysctls(name: str, with_dots: str) -> None:
    assert sysctl_name(name) == with_dots


def test_pods_take_room_of_each_other_but_not_of_what_they_do_not_ask_for() -> None:
    others = [footprint(cpu="1"), footprint(memory="1Gi")]
    assert insufficient_room(footprint(cpu="1"), others, ROOM) is None
    rejection = insufficient_room(footprint(cpu="1001m"), others, ROOM)
    assert rejection is not None and rejection.reason == "OutOfcpu"

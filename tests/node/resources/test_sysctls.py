"""Settings of the kernel: which a pod may have."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.resources.sysctls import SysctlAllowlist, sysctl_name


def sysctl(name: str, **spec: Any) -> core_v1.PodSpec:
    return pod(securityContext={"sysctls": [{"name": name, "value": "1"}]}, **spec).spec


NOT_LISTED = 'forbidden sysctl: "kernel.msgmax" not allowlisted'
HOST_NET = 'forbidden sysctl: "net.ipv4.tcp_rmem" not allowed with host Net enabled'
HOST_IPC = 'forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host IPC enabled'


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (sysctl("kernel.msgmax"), NOT_LISTED),
        (sysctl("net.ipv4.tcp_rmem"), ""),
        (sysctl("net/ipv4/tcp_rmem"), ""),
        (sysctl("net.ipv4.tcp_rmem", hostNetwork=True), HOST_NET),
        (sysctl("net.ipv4.tcp_rmem", hostIPC=True), ""),
        (sysctl("kernel.shm_rmid_forced"), ""),
        (sysctl("kernel.shm_rmid_forced", hostIPC=True), HOST_IPC),
        (sysctl("kernel.shm_rmid_forced", hostNetwork=True), ""),
        (pod().spec, ""),
    ],
)
def test_safe_ones_are_allowed(spec: core_v1.PodSpec, problem: str) -> None:
    assert SysctlAllowlist().problem(spec) == problem


@pytest.mark.parametrize(
    ("allowed", "name", "expected"),
    [
        ("kernel.msgmax", "kernel.msgmax", True),
        ("kernel/msgmax", "kernel.msgmax", True),
        ("kernel.msg*", "kernel.msgmnb", True),
        ("net.core.*", "net.core.somaxconn", True),
        ("net.core.*", "net.ipv6.mld_qrv", False),
        ("kernel.sem", "kernel.sem", True),
        ("fs.mqueue.*", "fs.mqueue.msg_max", True),
    ],
)
def test_an_administrator_may_allow_more(allowed: str, name: str, expected: bool) -> None:
    assert (SysctlAllowlist([allowed]).problem(sysctl(name)) == "") is expected


def test_what_is_allowed_is_not_when_the_pod_shares_the_namespace() -> None:
    allowlist = SysctlAllowlist(["net.core.*"])
    assert allowlist.problem(sysctl("net.core.somaxconn", hostNetwork=True))


@pytest.mark.parametrize("wrong", ["vm.swappiness", "kernel.*", "*", "Kernel.msgmax", "a..b", ""])
def test_what_is_the_machines_cannot_be_allowed(wrong: str) -> None:
    with pytest.raises(ValueError, match="sysctl"):
        SysctlAllowlist([wrong])


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

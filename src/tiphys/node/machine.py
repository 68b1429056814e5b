"""What a node says about the machine it runs on."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

from tiphys.api import core_v1
from tiphys.node.resources.swap import machine_memory

VERSION = "v1.36.0+tiphys"  # of the kubelet, as its node's status shows it
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # Go's names of what uname(1) prints


def architecture() -> str:
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def system_info(runtime: str) -> core_v1.NodeSystemInfo:
    """`runtime` is the name and version of the container runtime: ``containerd://1.6.20``."""
    machine_id = _read("/etc/machine-id")
    swap = machine_memory().swap
    return core_v1.NodeSystemInfo(
        machine_id=machine_id,
        system_uuid=machine_id,
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        kernel_version=platform.release(),
        os_image=_os_image(_read("/etc/os-release")),
        container_runtime_version=runtime,
        kubelet_version=VERSION,
        kube_proxy_version="",
        operating_system="linux",
        architecture=architecture(),
        swap=core_v1.NodeSwapStatus(capacity=swap) if swap else None,
    )


def _os_image(os_release: str) -> str:
    """The PRETTY_NAME of os-release(5)."""
    for line in os_release.splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


@functools.cache  # thousands of hollow nodes ask
def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""

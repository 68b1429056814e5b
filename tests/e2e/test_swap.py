"""Swap, read back from the kernel: on control groups of version 2 (`make test-vm`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import configured
from tests.e2e.controlgroups import control_groups
from tests.e2e.machine import Machine, run_pod, running
from tiphys.node.resources.cgroups import SWAP_FILE, is_unified
from tiphys.node.resources.swap import machine_memory

CONFIGURATION = """
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
memorySwap: {swapBehavior: LimitedSwap}
"""


@pytest.fixture
def swapping(tmp_path: Path) -> Iterator[Machine]:
    if not is_unified():
        pytest.skip("needs control groups of version 2")
    with configured(tmp_path, "swapping", CONFIGURATION) as machine:
        yield machine


def swap_of(machine: Machine, pod: str) -> str:
    """What the pod's container may use."""
    status = machine.get(f"pod/{pod}")["status"]["containerStatuses"][0]
    id = status["containerID"].removeprefix("containerd://")
    [group] = control_groups(id)
    return (group / SWAP_FILE).read_text().strip()


@pytest.mark.slow
def test_a_burstable_pod_may_use_its_share_of_the_swap(swapping: Machine) -> None:
    total = machine_memory()
    resources = {"requests": {"memory": "64Mi"}, "limits": {"memory": "128Mi"}}
    run_pod(swapping, "shares", "exec sleep 3600", container={"resources": resources})
    run_pod(swapping, "none", "exec sleep 3600")
    running(swapping, "shares")
    running(swapping, "none")
    share = int((64 << 20) / total.memory * total.swap)
    assert swap_of(swapping, "shares") == str(share - share % 4096)
    assert swap_of(swapping, "none") == "0"
    info = swapping.get("nodes")["items"][0]["status"]["nodeInfo"]
    assert info.get("swap", {}).get("capacity", 0) == total.swap

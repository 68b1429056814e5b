"""A node of containers whose cores are given away. A cluster of its own: core 0 is reserved."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import configured
from tests.e2e.controlgroups import control_groups
from tests.e2e.machine import Machine, gone, restart_node, run_pod, running
from tiphys.node.managers.cpusets import parse, written

CONFIGURATION = """\
cpuManagerPolicy: static
cpuManagerReconcilePeriod: 1s
reservedSystemCPUs: "0"
memoryManagerPolicy: Static
systemReserved: {memory: 100Mi}
evictionHard: {memory.available: 50Mi}
reservedMemory: [{numaNode: 0, limits: {memory: 150Mi}}]
topologyManagerPolicy: single-numa-node
podPidsLimit: 64
"""
ALONE = {"cpu": "1", "memory": "32Mi"}
SLEEP = "exec sleep 3600"
ALL = written(os.sched_getaffinity(0))


@pytest.fixture
def pinned(tmp_path: Path) -> Iterator[Machine]:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    with configured(tmp_path, "cores", CONFIGURATION) as machine:
        yield machine


def cpus(machine: Machine, pod: str) -> str:
    """Where the kernel lets the pod's container run."""
    status = machine.kubectl("exec", pod, "--", "cat", "/proc/1/status")
    [line] = [each for each in status.splitlines() if each.startswith("Cpus_allowed_list")]
    return line.split()[1]


@pytest.mark.slow
def test_a_guaranteed_pod_has_a_core_and_the_others_share_the_rest(pinned: Machine) -> None:
    run_pod(pinned, "shares", SLEEP)
    running(pinned, "shares")
    assert cpus(pinned, "shares") == ALL
    run_pod(pinned, "alone", SLEEP, container={"resources": {"limits": ALONE}})
    running(pinned, "alone")
    assert pids_limit(pinned, "alone") == "64"
    own = cpus(pinned, "alone")
    rest = written(parse(ALL) - parse(own))
    assert own == "1"
    pinned.eventually(lambda: cpus(pinned, "shares") == rest)

    restart_node(pinned)
    assert (cpus(pinned, "alone"), cpus(pinned, "shares")) == (own, rest)

    node = pinned.get("nodes")["items"][0]
    wanted = {"limits": ALONE}
    run_pod(
        pinned, "late", SLEEP, container={"resources": wanted}, nodeName=node["metadata"]["name"]
    )
    if len(parse(ALL)) == 2:
        pinned.eventually(lambda: status(pinned, "late")["phase"] == "Failed")
        assert status(pinned, "late")["reason"] == "TopologyAffinityError"
    gone(pinned, "late", "alone")
    pinned.eventually(lambda: cpus(pinned, "shares") == ALL)
    allocatable = int(node["status"]["allocatable"]["cpu"])
    assert allocatable == int(node["status"]["capacity"]["cpu"]) - 1


def pids_limit(machine: Machine, pod: str) -> str:
    """How many processes the kernel lets the pod have."""
    uid = machine.get(f"pod/{pod}")["metadata"]["uid"]
    [file] = {
        folder / "pids.max"
        for folder in control_groups(f"pod{uid}")
        if (folder / "pids.max").exists()
    }
    return file.read_text().strip()


def status(machine: Machine, pod: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(machine.kubectl("get", "pod", pod, "-o", "json"))["status"]
    return found

"""Huge pages, given to pods that ask for them and mounted as their volumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import configured
from tests.e2e.controlgroups import control_groups
from tests.e2e.machine import Machine, run_pod, running
from tiphys.machinery import quantity
from tiphys.node.resources.cgroups import ROOT, is_unified

PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
COUNT = 8
MIB = 1 << 20
_TAKES = "fallocate -l 2097152 /huge/page && grep ' /huge ' /proc/mounts; exec sleep 3600"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Whose kernel has set pages aside before the node started."""
    try:
        before = int(PAGES.read_text())
        PAGES.write_text(str(before + COUNT))
    except OSError:
        pytest.skip("needs huge pages")
    try:
        if int(PAGES.read_text()) != before + COUNT:
            pytest.skip("needs memory in one piece")
        with configured(tmp_path, "huge", "") as made:
            yield made
    finally:
        PAGES.write_text(str(before))


def has_controller() -> bool:
    """Whether the kernel limits huge pages."""
    if is_unified():
        return "hugetlb" in (ROOT / "cgroup.controllers").read_text().split()
    return (ROOT / "hugetlb").exists()


def bytes_of(node: dict[str, dict[str, str]], resource: str) -> int:
    return quantity.ceil_units(node["capacity"][resource]) - quantity.ceil_units(
        node["allocatable"][resource]
    )


def test_a_pod_gets_the_huge_pages_that_it_asks_for(machine: Machine) -> None:
    node = machine.get("nodes")["items"][0]["status"]
    total = int(PAGES.read_text()) * 2 * MIB
    assert quantity.ceil_units(node["allocatable"]["hugepages-2Mi"]) == total
    assert bytes_of(node, "memory") >= total
    resources = {"limits": {"hugepages-2Mi": "4Mi", "memory": "32Mi", "cpu": "100m"}}
    volumes = [{"name": "huge", "emptyDir": {"medium": "HugePages"}}]
    mounts = [{"name": "huge", "mountPath": "/huge"}]
    run_pod(
        machine,
        "large",
        _TAKES,
        container={"resources": resources, "volumeMounts": mounts},
        volumes=volumes,
    )
    running(machine, "large")
    mounted = machine.eventually(lambda: machine.kubectl("logs", "large"))
    assert mounted.startswith("nodev /huge hugetlbfs rw") and "pagesize=2M" in mounted
    status = machine.get("pod/large")["status"]["containerStatuses"][0]
    groups = control_groups(status["containerID"].removeprefix("containerd://"))
    name = "hugetlb.2MB.max" if is_unified() else "hugetlb.2MB.limit_in_bytes"
    limits = [int(file.read_text()) for group in groups if (file := group / name).exists()]
    assert limits == ([4 * MIB] if has_controller() else [])


def test_a_volume_of_pages_that_a_pod_does_not_ask_for_is_refused(machine: Machine) -> None:
    run_pod(
        machine,
        "modest",
        "exec sleep 3600",
        container={"volumeMounts": [{"name": "huge", "mountPath": "/huge"}]},
        volumes=[{"name": "huge", "emptyDir": {"medium": "HugePages-2Mi"}}],
    )
    told = machine.eventually(
        lambda: machine.kubectl("get", "events", "--field-selector=reason=FailedMount")
    )
    assert "does not ask for huge pages of this size" in told

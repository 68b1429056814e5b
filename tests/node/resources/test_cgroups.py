"""What pods get of a busy machine, in the files of both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiphys.api import core_v1
from tiphys.node.resources.cgroups import (
    BEST_EFFORT,
    BURSTABLE,
    GUARANTEED,
    ControlGroups,
    GroupLimits,
    group_limits,
    huge_page_limits,
    quota,
    shares,
    weight,
)

Limits = dict[str, str]


def container(requests: Limits, limits: Limits, **fields: str) -> core_v1.Container:
    resources = core_v1.ResourceRequirements(requests=requests, limits=limits)
    return core_v1.Container(name="c", resources=resources, **fields)


def spec(*containers: core_v1.Container, **fields: object) -> core_v1.PodSpec:
    return core_v1.PodSpec(containers=list(containers), **fields)  # type: ignore[arg-type]


HALF = container({"cpu": "500m", "memory": "64Mi"}, {"cpu": "1", "memory": "128Mi"})
UNLIMITED = container({"cpu": "250m"}, {})
MIB = 1 << 20

POD_LIMITS = [
    (spec(HALF), BURSTABLE, GroupLimits(512, 1000, 128 * MIB)),
    (spec(HALF, HALF), BURSTABLE, GroupLimits(1024, 2000, 256 * MIB)),
    (spec(HALF, UNLIMITED), BURSTABLE, GroupLimits(768)),
    (spec(HALF, container({}, {"memory": "1Mi"})), BURSTABLE, GroupLimits(512, None, 129 * MIB)),
    (spec(HALF, init_containers=[UNLIMITED]), BURSTABLE, GroupLimits(512)),
    (
        spec(HALF, init_containers=[container({}, {"cpu": "3", "memory": "1Mi"})]),
        BURSTABLE,
        GroupLimits(512, 3000, 128 * MIB),
    ),
    (spec(container({"cpu": "1"}, {"cpu": "1"})), GUARANTEED, GroupLimits(1024, 1000)),
    (spec(container({}, {})), BEST_EFFORT, GroupLimits(2)),
    (
        spec(
            UNLIMITED,
            resources=core_v1.ResourceRequirements(
                requests={"cpu": "1"}, limits={"cpu": "2", "memory": "8Mi"}
            ),
        ),
        BURSTABLE,
        GroupLimits(1024, 2000, 8 * MIB),
    ),
    (
        spec(HALF, overhead={"cpu": "100m", "memory": "1Mi"}),
        BURSTABLE,
        GroupLimits(614, 1100, 129 * MIB),
    ),
]


@pytest.mark.parametrize(("pod", "qos", "expected"), POD_LIMITS)
def test_a_pods_group_has_the_sum_of_its_containers(
    pod: core_v1.PodSpec, qos: str, expected: GroupLimits
) -> None:
    assert group_limits(pod, qos) == expected


def test_numbers_stay_within_what_the_kernel_takes() -> None:
    assert [shares(milli) for milli in (0, 1, 2, 1000, 10**9)] == [2, 2, 2, 1024, 262_144]
    assert [quota(milli) for milli in (1, 10, 500)] == [1000, 1000, 50_000]
    assert [weight(each) for each in (2, 1024, 262_144)] == [1, 39, 10_000]


class Machine:
    """A folder that looks like the root of control groups."""

    def __init__(self, root: Path, version: int) -> None:
        self.root, self.version = root, version
        for controller in ("cpu", "memory", "pids") if version == 1 else ():
            (root / controller).mkdir()
        if version == 2:
            (root / "cgroup.controllers").write_text("cpu memory pids")
        self.groups = ControlGroups("/node", 2000, root)

    def read(self, path: str) -> tuple[str, str, str]:
        """(shares or weight, limit of processor time, limit of memory) of a group"""
        if self.version == 2:
            folder = self.root / path
            files = [folder / name for name in ("cpu.weight", "cpu.max", "memory.max")]
        else:
            cpu, memory = self.root / "cpu" / path, self.root / "memory" / path
            files = [cpu / "cpu.shares", cpu / "cpu.cfs_quota_us", memory / "memory.limit_in_bytes"]
        first, second, third = (file.read_text() for file in files)
        return first, second, third


@pytest.fixture(params=[1, 2])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


def either(machine: Machine, first: object, second: object) -> object:
    return first if machine.version == 1 else second


def test_pods_stand_below_the_group_of_their_class(machine: Machine) -> None:
    paths = [machine.groups.path("u", qos) for qos in (GUARANTEED, BURSTABLE, BEST_EFFORT)]
    assert paths == ["/node/podu", "/node/burstable/podu", "/node/besteffort/podu"]


def test_a_pods_limits_are_written(machine: Machine) -> None:
    machine.groups.hold("u", BURSTABLE, GroupLimits(512, 1500, 64 * MIB))
    expected = either(
        machine, ("512", "150000", str(64 * MIB)), ("20", "150000 100000", str(64 * MIB))
    )
    assert machine.read("node/burstable/podu") == expected
    machine.groups.hold("v", BEST_EFFORT, GroupLimits(2))
    unlimited = either(machine, ("2", "-1", "-1"), ("1", "max 100000", "max"))
    assert machine.read("node/besteffort/podv") == unlimited
    assert machine.read("node/besteffort") == unlimited
    assert machine.read("node")[0] == either(machine, "2048", "79")


def test_a_pods_processes_are_limited_where_that_is_said(machine: Machine) -> None:
    groups = ControlGroups("/node", 2000, machine.root, pids=64)
    groups.hold("u", GUARANTEED, GroupLimits(512))
    folder = machine.root / str(either(machine, "pids/node/podu", "node/podu"))
    assert (folder / "pids.max").read_text() == "64"
    machine.groups.hold("v", GUARANTEED, GroupLimits(512))
    assert not (folder.parent / "podv/pids.max").exists()


def test_a_pod_has_no_huge_pages_that_it_does_not_ask_for(machine: Machine) -> None:
    asks = container({"cpu": "1", "hugepages-2Mi": "4Mi"}, {})
    pages = huge_page_limits(spec(asks, asks), ("hugepages-2Mi", "hugepages-1Gi"))
    assert pages == (("2MB", 8 * MIB), ("1GB", 0))
    folder = machine.root / str(either(machine, "hugetlb/node/podu", "node/podu"))
    folder.mkdir(parents=True)
    name = str(either(machine, "hugetlb.{}.limit_in_bytes", "hugetlb.{}.max"))
    for size in ("1GB", "2MB"):
        (folder / name.format(size)).touch()  # as the kernel does where it has the controller
    for uid in ("u", "v"):
        machine.groups.hold(uid, GUARANTEED, GroupLimits(512, huge_pages=pages))
    written = [(folder / name.format(size)).read_text() for size in ("2MB", "1GB")]
    assert written == [str(8 * MIB), "0"]
    assert not list((folder.parent / "podv").glob("hugetlb*"))


def test_burstable_pods_together_weigh_what_they_ask_for(machine: Machine) -> None:
    together = []
    for uid, weight_of_pod in (("a", 512), ("b", 256), ("b", 1024)):
        machine.groups.hold(uid, BURSTABLE, GroupLimits(weight_of_pod))
        together.append(machine.read("node/burstable")[0])
    machine.groups.hold("c", GUARANTEED, GroupLimits(4096))
    machine.groups.remove("a")
    together.append(machine.read("node/burstable")[0])
    machine.groups.remove("b")
    together.append(machine.read("node/burstable")[0])
    expected = [512, 768, 1536, 1024, 2]
    assert together == [str(either(machine, each, weight(each))) for each in expected]


def test_a_pod_that_is_resized_has_the_larger_limits_meanwhile(machine: Machine) -> None:
    groups, path = machine.groups, "node/burstable/podu"
    groups.hold("u", BURSTABLE, GroupLimits(512, 1000, 64 * MIB))
    groups.hold("u", BURSTABLE, GroupLimits(256, 2000, 32 * MIB), growing=True)
    assert machine.read(path)[2] == str(64 * MIB) and "200000" in machine.read(path)[1]
    groups.hold("u", BURSTABLE, GroupLimits(256, None, 32 * MIB), growing=True)
    assert machine.read(path)[1] in ("-1", "max 100000")
    groups.hold("u", BURSTABLE, GroupLimits(256, 2000, 32 * MIB))
    assert machine.read(path)[2] == str(32 * MIB)


def test_a_pod_that_an_older_release_started_stays_where_it_is(machine: Machine) -> None:
    top = machine.root / "cpu" if machine.version == 1 else machine.root
    (top / "node" / "podold").mkdir(parents=True)
    assert machine.groups.path("old", BURSTABLE) == "/node/podold"


def test_a_machine_whose_groups_are_not_ours_still_runs_pods(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = machine.root / "cpu" / "node" if machine.version == 1 else machine.root / "node"
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("")
    machine.groups.hold("u", BURSTABLE, GroupLimits(512))
    assert "The control group of pod u is not set up" in caplog.text
    machine.groups.remove("u")

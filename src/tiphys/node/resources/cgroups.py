"""The control groups of pods: what part of a busy machine each gets, and what it may have at most.

Below the node's own group stand those of its guaranteed pods, and one each for all burstable and
all best-effort pods, as with upstream's kubelet (`pkg/kubelet/cm`). A pod's group has the sum of
what its containers ask for. So processor time is shared by requests between pods as well as within
them, and a pod without requests gets what the others leave. Volumes in memory count to their pod.

Both versions of control groups: of 1 each controller has a tree of its own.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from tiphys.api import core_v1
from tiphys.machinery.footprint import requests_of
from tiphys.node import hugepages

log = logging.getLogger(__name__)

ROOT = Path("/sys/fs/cgroup")
SWAP_FILE = "memory.swap.max"  # of version 2
CPU_PERIOD = 100_000  # microseconds, the kernel's default
LEAST_QUOTA = 1000  # microseconds: the kernel accepts no less
LEAST_SHARES, _MOST_SHARES = 2, 262_144  # the kernel's bounds
SHARES_PER_CPU = 1024

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"
_FOLDERS = {GUARANTEED: "", BURSTABLE: "burstable", BEST_EFFORT: "besteffort"}


class GroupLimits(NamedTuple):
    """What a group gets of a busy machine (`shares`, 1024 for a CPU), and what it has at most:
    thousandths of a CPU, bytes of memory, processes; None for as much as there is. Bytes of huge
    pages by the kernel's name of their size; of others as much as there is."""

    shares: int
    milli_cpu: int | None = None
    memory: int | None = None
    pids: int | None = None
    huge_pages: tuple[tuple[str, int], ...] = ()

    def raised_by(self, other: GroupLimits) -> GroupLimits:
        """The larger of both everywhere: what holds while containers change one by one."""
        return GroupLimits(
            max(self.shares, other.shares),
            _larger(self.milli_cpu, other.milli_cpu),
            _larger(self.memory, other.memory),
            _larger(self.pids, other.pids),
            self.huge_pages,  # which no resize changes
        )


def _larger(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


# --- what a pod's group gets (pure) ---


def shares(milli_cpu: int) -> int:
    return min(max(LEAST_SHARES, milli_cpu * SHARES_PER_CPU // 1000), _MOST_SHARES)


def quota(milli_cpu: int) -> int:
    """Microseconds of each period."""
    return max(LEAST_QUOTA, milli_cpu * CPU_PERIOD // 1000)


def weight(of_shares: int) -> int:
    """What version 2 has in place of shares: 1 to 10,000, as kubelet converts them."""
    return 1 + (of_shares - LEAST_SHARES) * 9999 // (_MOST_SHARES - LEAST_SHARES)


def group_limits(spec: core_v1.PodSpec, qos: str) -> GroupLimits:
    """Of a pod's group. A burstable pod is limited where every container of it is, or where the pod
    says so itself."""
    if qos == BEST_EFFORT:
        return GroupLimits(LEAST_SHARES)
    limits = limits_of(spec)
    milli_cpu = limits.get("cpu", 0) if is_limited(spec, "cpu") else None
    memory = limits.get("memory", 0) if is_limited(spec, "memory") else None
    return GroupLimits(shares(requests_of(spec).get("cpu", 0)), milli_cpu, memory)


def huge_page_limits(spec: core_v1.PodSpec, sizes: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Of a pod's group, for the machine's `sizes`: none of those that it does not ask for."""
    requests = requests_of(spec)
    return tuple((hugepages.kernel_name(size), requests.get(size, 0)) for size in sizes)


def is_limited(spec: core_v1.PodSpec, resource: str) -> bool:
    """Whether the pod's group is: where every container is, or the pod says so itself."""
    if spec.resources is not None and resource in spec.resources.limits:
        return True
    containers = (*spec.containers, *spec.init_containers)
    return all(resource in container.resources.limits for container in containers)


def limits_of(spec: core_v1.PodSpec) -> dict[str, int]:
    """The limits of the pod at its neediest moment: `requests_of` with them in place of
    requests."""
    limited = copy.copy(spec)
    limited.containers = [_with_limits(container) for container in spec.containers]
    limited.init_containers = [_with_limits(container) for container in spec.init_containers]
    if spec.resources is not None:
        limited.resources = core_v1.ResourceRequirements(requests=spec.resources.limits)
    return requests_of(limited)


def _with_limits(container: core_v1.Container) -> core_v1.Container:
    limited = copy.copy(container)
    limited.resources = core_v1.ResourceRequirements(requests=container.resources.limits)
    return limited


# --- the kernel's files ---


class _Tree(Protocol):
    """Groups by their paths below the root of control groups. Methods raise OSError."""

    def make(self, path: Path) -> None: ...

    def limit(self, path: Path, limits: GroupLimits) -> None: ...

    def has(self, path: Path) -> bool: ...

    def pids(self, path: Path) -> Path:
        """The file that says how many processes are in a group and below it."""
        ...

    def remove(self, path: Path) -> None:
        """One that is not there, or not empty, is left."""
        ...


class _Separate:
    """Version 1: one tree for each controller."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def make(self, path: Path) -> None:
        for controller in ("cpu", "memory", "pids", "hugetlb"):
            if (self._root / controller).exists():
                (self._root / controller / path).mkdir(parents=True, exist_ok=True)

    def limit(self, path: Path, limits: GroupLimits) -> None:
        cpu = self._root / "cpu" / path
        memory = self._root / "memory" / path
        (cpu / "cpu.shares").write_text(str(limits.shares))
        most = -1 if limits.milli_cpu is None else quota(limits.milli_cpu)
        (cpu / "cpu.cfs_quota_us").write_text(str(most))
        bytes_ = -1 if limits.memory is None else limits.memory
        (memory / "memory.limit_in_bytes").write_text(str(bytes_))
        if limits.pids is not None:
            (self._root / "pids" / path / "pids.max").write_text(str(limits.pids))
        for size, pages in limits.huge_pages:
            file = self._root / "hugetlb" / path / f"hugetlb.{size}.limit_in_bytes"
            if file.exists():  # not every kernel has the controller, nor every machine its tree
                file.write_text(str(pages))

    def has(self, path: Path) -> bool:
        return (self._root / "cpu" / path).exists()

    def pids(self, path: Path) -> Path:
        return self._root / "pids" / path / "pids.current"

    def remove(self, path: Path) -> None:
        for tree in self._root.iterdir():
            with contextlib.suppress(OSError):
                (tree / path).rmdir()


class _Unified:
    """Version 2: one tree, whose groups hand controllers on to those below them."""

    _CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "hugetlb")

    def __init__(self, root: Path) -> None:
        self._root = root

    def make(self, path: Path) -> None:
        folder = self._root
        for part in path.parts:
            self._hand_on(folder)
            folder = folder / part
            folder.mkdir(exist_ok=True)
        self._hand_on(folder)

    def _hand_on(self, folder: Path) -> None:
        """One by one: a controller that is not there does not keep the others back."""
        for controller in self._CONTROLLERS:
            with contextlib.suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"+{controller}")

    def limit(self, path: Path, limits: GroupLimits) -> None:
        folder = self._root / path
        (folder / "cpu.weight").write_text(str(weight(limits.shares)))
        most = "max" if limits.milli_cpu is None else str(quota(limits.milli_cpu))
        (folder / "cpu.max").write_text(f"{most} {CPU_PERIOD}")
        (folder / "memory.max").write_text("max" if limits.memory is None else str(limits.memory))
        if limits.pids is not None:
            (folder / "pids.max").write_text(str(limits.pids))
        for size, pages in limits.huge_pages:
            file = folder / f"hugetlb.{size}.max"
            if file.exists():  # not every kernel has the controller
                file.write_text(str(pages))

    def has(self, path: Path) -> bool:
        return (self._root / path).exists()

    def pids(self, path: Path) -> Path:
        return self._root / path / "pids.current"

    def remove(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            (self._root / path).rmdir()


def is_unified(root: Path = ROOT) -> bool:
    """Whether the machine has version 2."""
    return (root / "cgroup.controllers").exists()


# --- all pods of a node ---


class _Held(NamedTuple):
    qos: str
    limits: GroupLimits


class ControlGroups:
    """The groups of one node's pods, below `parent` ("/tiphys"). `milli_cpu` is what the node has
    for all of them, `pids` how many processes a pod may have.

    What the kernel does not take is logged, and the pod runs without it: a machine whose groups are
    not ours to change still runs pods.
    """

    def __init__(
        self, parent: str, milli_cpu: int, root: Path = ROOT, pids: int | None = None
    ) -> None:
        self._root = root
        self._parent = Path(parent.strip("/"))
        self._node = GroupLimits(shares(milli_cpu))
        self._pids = pids
        self._tree: _Tree = _Unified(root) if is_unified(root) else _Separate(root)
        self._held: dict[str, _Held] = {}  # by pod uid
        self._is_ready = False

    def path(self, uid: str, qos: str) -> str:
        """Of a pod's group, for CRI. One that stands elsewhere, as an older release made it, stays
        there."""
        flat = self._parent / f"pod{uid}"
        if qos != GUARANTEED and self._tree.has(flat):
            return f"/{flat}"
        return f"/{self._parent / _FOLDERS.get(qos, '') / f'pod{uid}'}"

    def hold(self, uid: str, qos: str, limits: GroupLimits, growing: bool = False) -> None:
        """Makes a pod's group, or gives it other limits. `growing`: none is lowered, for its
        containers still have what they had."""
        limits = limits._replace(pids=self._pids)
        before = self._held.get(uid)
        if growing and before is not None:
            limits = limits.raised_by(before.limits)
        held = _Held(qos, limits)
        if held == before:
            return
        self._held[uid] = held
        try:
            self._prepare()
            path = Path(self.path(uid, qos).lstrip("/"))
            self._tree.make(path)
            self._tree.limit(path, limits)
            self._share_among(qos)
        except OSError as error:
            log.warning("The control group of pod %s is not set up: %s", uid, error)

    def limits_swap(self) -> bool:
        """Whether what a group may use of it is set by a file of its own: on version 2. On version
        1 the runtime gives containers with a limit of memory none beyond it."""
        return (self._root / self._parent / SWAP_FILE).exists()

    def processes(self, uid: str, qos: str) -> int:
        """How many a pod has; 0 where the kernel does not count them."""
        try:
            return int(self._tree.pids(Path(self.path(uid, qos).lstrip("/"))).read_text())
        except (OSError, ValueError):
            return 0

    def remove(self, uid: str) -> None:
        """Of a pod that is gone."""
        held = self._held.pop(uid, None)
        for folder in _FOLDERS.values():
            self._tree.remove(self._parent / folder / f"pod{uid}")
        if held is not None:
            with contextlib.suppress(OSError):
                self._share_among(held.qos)

    def _prepare(self) -> None:
        if self._is_ready:
            return
        for folder in _FOLDERS.values():
            self._tree.make(self._parent / folder)
        self._tree.limit(self._parent, self._node)
        self._tree.limit(self._parent / _FOLDERS[BEST_EFFORT], GroupLimits(LEAST_SHARES))
        self._is_ready = True

    def _share_among(self, qos: str) -> None:
        """All burstable pods together weigh what they ask for."""
        if qos == BURSTABLE:
            together = min(sum(self._shares_of_burstable()), _MOST_SHARES)
            limits = GroupLimits(max(together, LEAST_SHARES))
            self._tree.limit(self._parent / _FOLDERS[BURSTABLE], limits)

    def _shares_of_burstable(self) -> Iterator[int]:
        return (held.limits.shares for held in list(self._held.values()) if held.qos == BURSTABLE)

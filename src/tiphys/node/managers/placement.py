"""Which cores and NUMA nodes each container of a node may use: what the agent sees of the
managers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.node.devices.devicemanager import DeviceManager
from tiphys.node.managers import cpustate, memorystate, options
from tiphys.node.managers.alignment import AllocationError, HintProvider, TopologyManager
from tiphys.node.managers.cpus import CPUManager, reserve
from tiphys.node.managers.cpusets import written
from tiphys.node.managers.cpustate import CPUState
from tiphys.node.managers.devicehints import DeviceHints
from tiphys.node.managers.memory import MEMORY, MemoryManager, reserved_memory
from tiphys.node.managers.memorystate import MemoryState
from tiphys.node.managers.settings import Settings
from tiphys.node.managers.topology import Topology
from tiphys.node.resources.admission import Rejection

log = logging.getLogger(__name__)


class MemoryBlock(NamedTuple):
    """Bytes of a type, as ``memory``, on some NUMA nodes."""

    type: str
    size: int
    nodes: tuple[int, ...]


class Placement:
    """Of one node. A manager that is None leaves containers where they are.

    `providers` are others that have something near a NUMA node, asked before the managers: devices
    are scarcer than cores.

    admitted: called when a pod was given its part or could not be: the seconds, whether it failed
    """

    def __init__(
        self,
        topology: TopologyManager | None = None,
        cpus: CPUManager | None = None,
        memory: MemoryManager | None = None,
        providers: Collection[HintProvider] = (),
    ) -> None:
        self.admitted: Callable[[float, bool], None] = lambda seconds, failed: None
        self._topology = topology
        self._cpus = cpus
        self._memory = memory
        self._managers = [manager for manager in (cpus, memory) if manager is not None]
        self._applied: dict[str, str] = {}  # CPUs that containers run on, by container id
        if topology is not None:
            topology.providers = [*providers, *self._managers]

    # --- pods come and go ---

    def admit(self, pod: core_v1.Pod) -> Rejection | None:
        """Gives the containers of a pod their cores and memory; None if there are some. One that
        has them already keeps them."""
        if self._topology is None:
            return None
        began = time.monotonic()
        try:
            self._topology.allocate(pod)
        except AllocationError as error:
            self.admitted(time.monotonic() - began, True)
            self.release(pod.metadata.uid)
            return Rejection(error.reason, str(error))
        self.admitted(time.monotonic() - began, False)
        self._save()
        return None

    def release(self, uid: str) -> None:
        """A pod has ended: others may have what it had."""
        if not any(uid in manager.holders() for manager in self._managers):
            return
        for manager in self._managers:
            manager.release(uid)
        self._save()

    def keep(self, uids: Collection[str]) -> None:
        """Releases what pods had that are not among these."""
        for manager in self._managers:
            for uid in manager.holders() - set(uids):
                self.release(uid)

    def _save(self) -> None:
        for manager in self._managers:
            try:
                manager.save()
            except OSError as error:
                log.error("The state of a resource manager is not saved: %s", error)

    # --- where containers run ---

    @property
    def gives(self) -> bool:
        """Whether any manager allocates anything."""
        return self._topology is not None and bool(self._topology.providers)

    @property
    def pins(self) -> bool:
        """Whether containers have CPUs that may change while they run."""
        return self._cpus is not None

    def cpus(self, uid: str, container: str) -> str:
        """Those that a container may run on, as ``0-3``; "" if on all."""
        return written(self._cpus.cpus(uid, container)) if self._cpus is not None else ""

    def has_own_cpus(self, uid: str, container: str) -> bool:
        """Whether the container has its CPUs exclusively."""
        return self._cpus is not None and self._cpus.has_own(uid, container)

    def memory_nodes(self, uid: str, container: str) -> str:
        """The NUMA nodes that a container has its memory from, as ``0-1``; "" if from all."""
        return written(self._memory.nodes(uid, container)) if self._memory is not None else ""

    def own_cpus(self, uid: str, container: str) -> list[int]:
        """By number: the exclusive ones."""
        if self._cpus is None or not self._cpus.has_own(uid, container):
            return []
        return sorted(self._cpus.cpus(uid, container))

    def count_shared_cpus(self) -> int:
        """Those that no container has for itself."""
        return len(self._cpus.shared) if self._cpus is not None else 0

    def count_exclusive_cpus(self) -> int:
        """Those that containers have for themselves."""
        return self._cpus.count_assigned() if self._cpus is not None else 0

    def allocatable_cpus(self) -> list[int]:
        """By number: those that containers may get for themselves."""
        return sorted(self._cpus.allocatable) if self._cpus is not None else []

    def memory_blocks(self, uid: str, container: str) -> list[MemoryBlock]:
        """The memory that a container was promised."""
        blocks = self._memory.blocks(uid, container) if self._memory is not None else []
        return [MemoryBlock(block.type, block.size, tuple(block.numa_affinity)) for block in blocks]

    def allocatable_memory(self) -> list[MemoryBlock]:
        """What containers can be promised."""
        if self._memory is None:
            return []
        return [MemoryBlock(kind, size, (node,)) for node, kind, size in self._memory.allocatable()]

    def note_applied(self, id: str, cpus: str) -> None:
        """The container `id` runs on these CPUs now."""
        self._applied[id] = cpus

    def is_applied(self, id: str, cpus: str) -> bool:
        return self._applied.get(id) == cpus

    def forget_containers(self, ids: Collection[str]) -> None:
        """Those that are not among `ids` are gone."""
        self._applied = {id: cpus for id, cpus in self._applied.items() if id in ids}

    def resize_problem(self, pod: core_v1.Pod) -> Rejection | None:
        """Why a pod cannot be resized in place: what it was given stays as it is (upstream's gates
        InPlacePodVerticalScalingExclusiveCPUs and -Memory are off)."""
        if pod.status.qos_class != "Guaranteed":
            return None
        whose = "Resize is infeasible for Guaranteed Pods alongside"
        if self._cpus is not None:
            return Rejection("Infeasible", f'{whose} CPU Manager policy "static"')
        if self._memory is not None:
            return Rejection("Infeasible", f'{whose} Memory Manager policy "Static"')
        return None


def place(
    settings: Settings,
    topology: Topology,
    kept_back: Mapping[str, int],
    folder: Path,
    devices: DeviceManager | None = None,
) -> Placement:
    """The managers of a node whose state is kept in `folder`. `kept_back` is what pods do not get
    of the machine, with what eviction keeps free: units of `footprint`, by resource. `devices` are
    those of the node's plugins.

    Raises ValueError: the settings do not fit the machine; CheckpointError: the state is of other
    settings or another machine.
    """
    manager = TopologyManager(
        topology, settings.topology_policy, settings.topology_scope, settings.topology_options
    )
    cpus = _cpu_manager(settings, topology, kept_back, folder)
    memory = _memory_manager(settings, topology, kept_back, folder)
    hints = []
    if devices is not None and settings.topology_policy != options.NONE:
        hints.append(DeviceHints(devices, topology.nodes))
    return Placement(manager, cpus, memory, hints)


def _cpu_manager(
    settings: Settings, topology: Topology, kept_back: Mapping[str, int], folder: Path
) -> CPUManager | None:
    if settings.reserved_cpus - topology.cpus:
        raise ValueError(
            f"reserved-cpus: {written(settings.reserved_cpus)} is not a subset of online-cpus: "
            f"{written(topology.cpus)}"
        )
    state = CPUState(folder / cpustate.FILE, settings.cpu_policy)
    manager = None
    if settings.cpu_policy == options.STATIC:
        own = settings.cpu_options
        if own.by_socket:
            _check_sockets(topology, settings.topology_policy)
        reserved = reserve(topology, own, settings.reserved_cpus, kept_back.get("cpu", 0))
        manager = CPUManager(topology, state, own, reserved)
    state.save()
    return manager


def _check_sockets(topology: Topology, policy: str) -> None:
    """Raises ValueError where CPUs cannot be aligned by sockets."""
    if policy == options.SINGLE_NODE:
        raise ValueError(
            f"Topolgy manager {options.SINGLE_NODE} policy is incompatible with CPUManager "
            "align-by-socket policy option"
        )
    if topology.sockets > topology.numa_nodes:
        raise ValueError(
            "align by socket is not compatible with hardware where number of sockets are more than "
            "number of NUMA"
        )


def _memory_manager(
    settings: Settings, topology: Topology, kept_back: Mapping[str, int], folder: Path
) -> MemoryManager | None:
    manager = None
    state = MemoryState.load(folder / memorystate.FILE, settings.memory_policy)
    if settings.memory_policy == options.MEMORY_STATIC:
        total = {MEMORY: kept_back.get(MEMORY, 0)}
        reserved = reserved_memory(topology, settings.reserved_memory, total)
        manager = MemoryManager(topology, state, reserved)
    state.save()
    return manager

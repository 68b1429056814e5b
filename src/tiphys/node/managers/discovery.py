"""How this machine is built, from /sys. What it does not report is taken as on a machine of one
socket, one NUMA node and no threads."""

from __future__ import annotations

import os
from pathlib import Path

from tiphys.node.hugepages import set_aside
from tiphys.node.managers.cpusets import CPUSet, parse
from tiphys.node.managers.topology import CPU, Layout, NUMANode, Topology

SYSTEM = Path("/sys/devices/system")
_UNCORE_LEVEL = 3  # caches from here on are shared by cores


def discover(system: Path = SYSTEM) -> Topology:
    """Raises OSError, ValueError for files that are not as the kernel writes them."""
    online = parse(_text(system / "cpu" / "online") or f"0-{(os.cpu_count() or 1) - 1}")
    nodes = {
        int(folder.name.removeprefix("node")): folder
        for folder in (system / "node").glob("node[0-9]*")
    }
    numa_of = {
        cpu: number
        for number, folder in nodes.items()
        for cpu in parse(_text(folder / "cpulist")) & online
    }
    layout = {
        cpu: _cpu(system / "cpu" / f"cpu{cpu}", cpu, numa_of.get(cpu, 0), online)
        for cpu in sorted(online)
    }
    memory = {number: _node(folder) for number, folder in sorted(nodes.items())}
    return Topology(Layout(layout), memory or {0: _whole_machine()})


def _cpu(folder: Path, cpu: int, numa: int, online: CPUSet) -> CPU:
    threads = parse(_text(folder / "topology" / "thread_siblings_list")) & online
    socket = max(0, int(_text(folder / "topology" / "physical_package_id") or 0))
    return CPU(min(threads, default=cpu), socket, numa, _cache(folder, online, socket))


def _cache(folder: Path, online: CPUSet, socket: int) -> int:
    """The number of the last-level cache. One that all CPUs share groups nothing: sockets stand in,
    as upstream has it."""
    for index in sorted((folder / "cache").glob("index*")):
        if int(_text(index / "level") or 0) < _UNCORE_LEVEL:
            continue
        shared = parse(_text(index / "shared_cpu_list")) & online
        if shared and shared != online:
            return int(_text(index / "id") or min(shared))
    return socket


def _node(folder: Path) -> NUMANode:
    memory = 0
    for line in _text(folder / "meminfo").splitlines():
        words = line.split()  # Node 0 MemTotal:  8127708 kB
        if len(words) >= 4 and words[2] == "MemTotal:":
            memory = int(words[3]) * 1024
    distances = tuple(int(distance) for distance in _text(folder / "distance").split())
    huge = {name: size for name, size in set_aside(folder / "hugepages").items() if size}
    return NUMANode(memory, distances, huge)


def _whole_machine() -> NUMANode:
    return NUMANode(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), (10,))


def _text(path: Path) -> str:
    """ "" of a file that is not there."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""

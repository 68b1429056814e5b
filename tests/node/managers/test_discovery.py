"""How a machine is built, from files as the kernel shows them."""

from __future__ import annotations

import os
from pathlib import Path

from tiphys.node.managers.cpusets import parse, written
from tiphys.node.managers.discovery import discover
from tiphys.node.managers.topology import CPU, NUMANode, Topology, regular


def shown(folder: Path, machine: Topology, hugepages: int = 0) -> Path:
    """The files of /sys/devices/system of a machine."""
    _write(folder / "cpu/online", written(machine.cpus))
    for cpu, where in machine.layout.items():
        own = folder / f"cpu/cpu{cpu}"
        siblings = machine.layout.within("core", where.core)
        _write(own / "topology/thread_siblings_list", written(siblings))
        _write(own / "topology/physical_package_id", str(where.socket))
        _write(own / "topology/core_id", str(where.core % 2))  # unique in a socket only
        for index, level, cpus in (
            (0, 1, siblings),
            (3, 3, machine.layout.within("cache", where.cache)),
        ):
            cache = own / f"cache/index{index}"
            _write(cache / "level", str(level))
            _write(cache / "id", str(where.cache))
            _write(cache / "shared_cpu_list", written(cpus))
    for number, node in machine.nodes.items():
        own = folder / f"node/node{number}"
        _write(own / "cpulist", written(machine.layout.within("numa", number)))
        _write(own / "meminfo", f"Node {number} MemTotal:  {node.memory // 1024} kB\n")
        _write(own / "distance", " ".join(map(str, node.distances)))
        _write(own / "hugepages/hugepages-2048kB/nr_hugepages", str(hugepages))
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_sockets_nodes_threads_and_caches(tmp_path: Path) -> None:
    machines = [
        regular(sockets=2, cores=4, threads=2, memory=1 << 30),
        regular(sockets=2, numa_per_socket=2, cores=4, memory=1 << 30),
        regular(cores=8, threads=2, cores_per_cache=4, memory=1 << 30),
    ]
    for number, machine in enumerate(machines):
        found = discover(shown(tmp_path / str(number), machine))
        assert dict(found.layout) == dict(machine.layout)
        assert found.nodes == machine.nodes
        assert found.cpus_per_core == machine.cpus_per_core


def test_pages_that_are_set_aside(tmp_path: Path) -> None:
    machine = regular(cores=2, memory=1 << 30)
    found = discover(shown(tmp_path, machine, hugepages=3))
    assert found.nodes[0].hugepages == {"hugepages-2Mi": 3 * (2 << 20)}


def test_cpus_that_are_offline_do_not_count(tmp_path: Path) -> None:
    folder = shown(tmp_path, regular(cores=2, threads=2))
    (folder / "cpu/online").write_text("1-2\n")
    found = discover(folder)
    assert dict(found.layout) == {1: CPU(1, 0, 0, 0), 2: CPU(2, 0, 0, 0)}


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    found = discover(tmp_path)
    assert len(found.cpus) == os.cpu_count()
    [node] = found.nodes.values()
    assert node.memory == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert node == NUMANode(node.memory, (10,))


def test_this_machine() -> None:
    found = discover()
    assert os.sched_getaffinity(0) <= found.cpus
    assert sum(node.memory for node in found.nodes.values()) > 0


def test_sets_are_read_and_written_as_the_kernel_does() -> None:
    for text in ("", "0", "0-3", "0,2-4,9"):
        assert written(parse(text)) == text

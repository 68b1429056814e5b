"""Which CPUs are taken of those that are free."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.node.managers.assignment import NotEnoughCPUs, take
from tiphys.node.managers.cpusets import parse
from tiphys.node.managers.distribution import distribute
from tiphys.node.managers.topology import CPU, Layout, Topology, regular

ONE_SOCKET = regular(cores=4, threads=2)  # 0-7, CPU 4 is the other thread of core 0
TWO_SOCKETS = Topology(  # even CPUs on socket 0, as some firmware numbers them
    Layout({cpu: CPU(cpu % 6, cpu % 2, cpu % 2, 0) for cpu in range(12)})
)
FOUR_NODES = regular(sockets=2, numa_per_socket=2, cores=10, threads=2)  # 0-79
CACHES = regular(cores=16, cores_per_cache=4)
TWO_SOCKETS_OF_CACHES = regular(sockets=2, cores=8, cores_per_cache=4)
NODES_OF_CACHES = regular(numa_per_socket=2, cores=8, cores_per_cache=4)
THREADS_OF_CACHES = regular(cores=8, threads=2, cores_per_cache=4)


@pytest.mark.parametrize(
    ("machine", "free", "count", "taken"),
    [
        (ONE_SOCKET, "0-7", 1, "0"),
        (ONE_SOCKET, "0-4,6,7", 1, "1"),  # its other thread is taken
        (ONE_SOCKET, "0-7", 2, "0,4"),
        (ONE_SOCKET, "0-7", 8, "0-7"),
        (ONE_SOCKET, "0-3,6", 2, "2,6"),
        (TWO_SOCKETS, "0-11", 6, "0,2,4,6,8,10"),
        (TWO_SOCKETS, "1-5,7-11", 1, "2"),
        (TWO_SOCKETS, "0-11", 8, "0,2,4,6,8,10,1,7"),
        (FOUR_NODES, "0-79", 40, "0-19,40-59"),
        (FOUR_NODES, "0-79", 20, "0-9,40-49"),
        (FOUR_NODES, "10-39,50-79", 20, "10-19,50-59"),
        (FOUR_NODES, "0-79", 60, "0-29,40-69"),
        (FOUR_NODES, "1-39,41-79", 60, "10-39,50-79"),
        (FOUR_NODES, "0-79", 64, "0-29,40-69,30,31,70,71"),
    ],
)
def test_as_few_sockets_nodes_and_cores_as_can_be(
    machine: Topology, free: str, count: int, taken: str
) -> None:
    assert take(machine, parse(free), count) == parse(taken)


@pytest.mark.parametrize(
    ("machine", "free", "count", "taken"),
    [
        (CACHES, "1-15", 10, "1,2,4-11"),
        (TWO_SOCKETS_OF_CACHES, "0-15", 4, "0-3"),
        (TWO_SOCKETS_OF_CACHES, "2-15", 6, "2-7"),
        (TWO_SOCKETS_OF_CACHES, "8-15", 4, "8-11"),
        (NODES_OF_CACHES, "3,4-8,12", 2, "4,5"),
        (THREADS_OF_CACHES, "2-3,10-11,4-7,12-15", 6, "4-6,12-14"),
        (THREADS_OF_CACHES, "1-7,9-15", 10, "4-7,12-15,1,9"),
    ],
)
def test_as_few_caches_as_can_be(machine: Topology, free: str, count: int, taken: str) -> None:
    assert take(machine, parse(free), count, by_cache=True) == parse(taken)


LARGE = regular(sockets=2, numa_per_socket=4, cores=16, threads=2)  # 0-255, 16 cores a node


@pytest.mark.parametrize(
    ("machine", "free", "count", "group", "taken"),
    [
        (TWO_SOCKETS, "0-11", 8, 1, "0,6,2,8,1,7,3,9"),
        (TWO_SOCKETS, "1-5,7-11", 1, 1, "1"),
        (TWO_SOCKETS, "1-5,7-11", 1, 2, "2"),  # no whole group: packed
        (FOUR_NODES, "0-79", 64, 1, "0-7,10-17,20-27,30-37,40-47,50-57,60-67,70-77"),
        (FOUR_NODES, "0-79", 48, 1, "0-7,10-17,20-27,40-47,50-57,60-67"),
        (FOUR_NODES, "1-29,32-39,41-69,72-79", 48, 1, "1-8,10-17,20-27,41-48,50-57,60-67"),
        (FOUR_NODES, "2-29,31-39,42-69,71-79", 48, 1, "10-17,20-27,31-38,50-57,60-67,71-78"),
        (FOUR_NODES, "0-79", 26, 1, "0-6,10-16,40-45,50-55"),
        (FOUR_NODES, "0-79", 26, 2, "0-6,10-15,40-46,50-55"),
        (FOUR_NODES, "0-79", 62, 1, "0-7,10-17,20-27,30-37,40-47,50-57,60-66,70-76"),
        (FOUR_NODES, "0-79", 62, 2, "0-7,10-17,20-27,30-36,40-47,50-57,60-67,70-76"),
        (
            FOUR_NODES,
            "0-8,10-18,20-39,40-48,50-58,60-79",
            62,
            1,
            "0-7,10-17,20-27,30-37,40-46,50-56,60-67,70-77",
        ),
        (
            FOUR_NODES,
            "0-8,10-18,20-39,40-48,50-58,60-79",
            62,
            2,
            "0-7,10-16,20-27,30-37,40-47,50-56,60-67,70-77",
        ),
        (
            FOUR_NODES,
            "0-3,10-13,20-23,30-36,40-43,50-53,60-63,70-76",
            34,
            1,
            "0-3,10-13,20-23,30-34,40-43,50-53,60-63,70-74",
        ),
        (
            LARGE,
            "0,128,30,31,158,159,43-47,171-175,62,63,190,191,75-79,203-207,94,96,222,223,"
            "101-111,229-239,126,127,254,255",
            28,
            1,
            "43-47,75-79,96,101-105,171-174,203-206,229-232",
        ),
    ],
)
def test_evenly_over_nodes(
    machine: Topology, free: str, count: int, group: int, taken: str
) -> None:
    assert distribute(machine, parse(free), count, group) == parse(taken)


MACHINES = [ONE_SOCKET, TWO_SOCKETS, FOUR_NODES, CACHES, TWO_SOCKETS_OF_CACHES, THREADS_OF_CACHES]


@given(st.sampled_from(MACHINES), st.data())
def test_as_many_as_asked_for_all_of_them_free(machine: Topology, data: st.DataObject) -> None:
    free = data.draw(st.frozensets(st.sampled_from(sorted(machine.cpus))))
    count = data.draw(st.integers(0, len(free)))
    group = data.draw(st.sampled_from([1, 2]))
    for taken in (
        take(machine, free, count),
        take(machine, free, count, by_cache=True),
        distribute(machine, free, count, group),
    ):
        assert len(taken) == count
        assert taken <= free


def test_too_many_are_refused() -> None:
    for choose in (take, distribute):
        with pytest.raises(NotEnoughCPUs) as refusal:
            choose(ONE_SOCKET, parse("1-3"), 4)
        problem = "not enough cpus available to satisfy request: requested=4, available=3"
        assert str(refusal.value) == problem


TWO_SOCKETS_OF_THREADS = regular(sockets=2, cores=4, threads=2)  # 0-3 and 8-11 on the first


@pytest.mark.parametrize(
    ("machine", "free", "count", "taken"),
    [
        (ONE_SOCKET, "0-7", 2, "0-1"),
        (ONE_SOCKET, "0-7", 5, "0-4"),
        (ONE_SOCKET, "0,2-7", 4, "0,2-4"),
        (ONE_SOCKET, "0-7", 8, "0-7"),
        (TWO_SOCKETS_OF_THREADS, "0-15", 5, "0-3,8"),
        (TWO_SOCKETS_OF_THREADS, "0-15", 10, "0-5,8-11"),
        (TWO_SOCKETS_OF_THREADS, "0-13,15", 3, "4-6"),  # the socket first that has fewer
    ],
)
def test_cpus_are_of_as_many_cores_as_there_are_where_that_is_wanted(
    machine: Topology, free: str, count: int, taken: str
) -> None:
    assert take(machine, parse(free), count, across_cores=True) == parse(taken)

"""Machines that add-ons have made: who gets a place, what runs there, and who is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tiphys.addons.machines import Machine
from tiphys.cluster import machinerecords, plan, sandboxes
from tiphys.cluster.machinerecords import BOOTING, ENDING, RUNNING
from tiphys.cluster.machines import reserve
from tiphys.cluster.state import Cluster, ClusterError


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster("c", str(tmp_path), nodes=2)


def test_a_machine_runs_what_its_state_says(cluster: Cluster) -> None:
    record = reserve(cluster, Machine("n"))
    assert record is not None
    own = [process.name for process in plan.processes(cluster)]
    assert not [name for name in own if name.endswith("-16")]
    machinerecords.write(cluster, replace(record, state=BOOTING))
    booting = [process.name for process in plan.processes(cluster)]
    assert set(booting) - set(own) == {"containerd-16"}
    machinerecords.write(cluster, replace(record, state=RUNNING))
    running = {process.name: process for process in plan.processes(cluster)}
    assert set(running) - set(booting) == {"node-16"}
    assert "--machine" in running["node-16"].command
    machinerecords.write(cluster, replace(record, state=ENDING))
    assert [process.name for process in plan.processes(cluster)] == own


def test_places_are_given_from_the_top_and_once(cluster: Cluster) -> None:
    first = reserve(cluster, Machine("a"))
    second = reserve(cluster, Machine("b"))
    assert first and second and (first.index, second.index) == (15, 14)
    assert reserve(cluster, Machine("a")) is None
    assert [place.name for place in sandboxes.places(cluster)][2:] == ["b", "a"]


def test_a_machine_has_as_many_nodes_as_addresses_go_round(cluster: Cluster) -> None:
    for number in range(14):
        assert reserve(cluster, Machine(f"n{number}"))
    with pytest.raises(ClusterError, match="at most 16 nodes"):
        reserve(cluster, Machine("one-more"))


@pytest.mark.parametrize(
    ("changes", "name", "why"),
    [
        ({"runtime": "hollow"}, "n", "runs no containers"),
        ({"machine_address": "192.0.2.1"}, "n", "on other machines"),
        ({}, "../n", "no name of a machine"),
        ({}, "", "no name of a machine"),
        ({}, "-n", "no name of a machine"),
    ],
)
def test_what_cannot_be_made_is_refused_in_words(
    cluster: Cluster, changes: dict[str, str], name: str, why: str
) -> None:
    with pytest.raises(ClusterError, match=why):
        reserve(replace(cluster, **changes), Machine(name))


def test_nodes_know_the_networks_of_those_that_come_later(cluster: Cluster) -> None:
    known = sandboxes.pod_networks(cluster)
    reserve(cluster, Machine("n"))
    of_it = sandboxes.places(cluster)[-1].pod_cidrs[0]
    assert of_it == "10.239.0.0/24" and of_it in known

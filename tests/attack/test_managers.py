"""Pods made to keep a node busy while it looks for cores and memory."""

from __future__ import annotations

import time
from pathlib import Path

from tests.node.managers.builders import GIB, container, guaranteed
from tiphys.node.managers.placement import place
from tiphys.node.managers.settings import Settings
from tiphys.node.managers.topology import regular

MANY = 1000  # take 0.3 s of processor time; before their init containers were looked up, 1.2 s


def test_a_pod_of_thousands_of_containers_is_decided_on_soon(tmp_path: Path) -> None:
    machine = regular(cores=32, threads=2, memory=1024 * GIB)
    settings = Settings(
        cpu_policy="static",
        memory_policy="Static",
        reserved_memory=((0, {"memory": GIB}),),
        topology_policy="restricted",
    )
    placement = place(settings, machine, {"cpu": 1000, "memory": GIB}, tmp_path)
    inits = [container(f"i{number}", "1", "1Mi") for number in range(MANY)]
    pod = guaranteed("a", *["500m"] * MANY, memory="1Mi", initContainers=inits)
    began = time.thread_time()
    assert placement.admit(pod) is None
    assert time.thread_time() - began < 2.0
    assert placement.cpus("a", "i0") == placement.cpus("a", "i999")


def test_numbers_beyond_any_machine_are_refused(tmp_path: Path) -> None:
    machine = regular(cores=2, memory=GIB)
    settings = Settings(cpu_policy="static", topology_policy="best-effort")
    placement = place(settings, machine, {"cpu": 1000}, tmp_path)
    rejection = placement.admit(guaranteed("a", "1E", memory="1E"))
    assert rejection is not None
    assert "not enough cpus available to satisfy request" in rejection.message

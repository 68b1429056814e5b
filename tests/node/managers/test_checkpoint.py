"""What was given survives in files that upstream's kubelet reads and writes as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tiphys.node.managers.checkpoint import CheckpointError
from tiphys.node.managers.cpusets import parse
from tiphys.node.managers.cpustate import CPUState
from tiphys.node.managers.memorystate import Block, MemoryState, NodeMemory, Table

ENTRIES = {"pod": {"container1": "4-6", "container2": "1-3"}}
MEMORY = {
    "policyName": "static",
    "machineState": {
        "0": {
            "numberOfAssignments": 0,
            "memoryMap": {
                "memory": {
                    "total": 2048,
                    "systemReserved": 512,
                    "allocatable": 1536,
                    "reserved": 512,
                    "free": 1024,
                }
            },
            "cells": [],
        }
    },
    "entries": {"pod": {"container1": [{"numaAffinity": [0], "type": "memory", "size": 512}]}},
    "checksum": 4215593881,
}


def stored(folder: Path, **document: Any) -> Path:
    path = folder / "state"
    path.write_text(json.dumps(document))
    return path


def test_a_file_of_upstream_is_read(tmp_path: Path) -> None:
    path = stored(
        tmp_path, policyName="none", defaultCPUSet="1-3", entries=ENTRIES, checksum=3610638499
    )
    state = CPUState(path, "none")
    assert state.shared == parse("1-3")
    assert state.assigned["pod"]["container1"] == parse("4-6")


def test_the_checksum_is_upstreams(tmp_path: Path) -> None:
    state = CPUState(tmp_path / "state", "none")
    state.shared = parse("1-3")
    state.assigned = {"pod": {"container2": parse("1-3"), "container1": parse("4-6")}}
    state.save()
    written = json.loads((tmp_path / "state").read_text())
    assert written["checksum"] == 3610638499
    assert CPUState(tmp_path / "state", "none").assigned == state.assigned


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (
            {"policyName": "other", "defaultCpuSet": "1-3", "checksum": 1394507217},
            'configured policy "none" differs from state checkpoint policy "other"',
        ),
        ({"policyName": "none", "defaultCpuSet": "4-6", "checksum": 1337}, "is corrupted"),
        ({"policyName": "none", "defaultCpuSet": "1.3"}, 'could not parse default cpu set "1.3"'),
        (
            {"policyName": "none", "defaultCpuSet": "1", "entries": {"p": {"c": "asd"}}},
            'could not parse cpuset "asd" for container "c" in pod "p"',
        ),
        ({"policyName": "none", "entries": {"p": 3}}, "could not restore state"),
        ({"policyName": "none", "defaultCpuSet": 3}, "could not restore state"),
    ],
)
def test_what_cannot_be_used_says_what_to_do(
    tmp_path: Path, document: dict[str, Any], problem: str
) -> None:
    path = stored(tmp_path, **document)
    with pytest.raises(CheckpointError) as refusal:
        CPUState(path, "none")
    assert problem in str(refusal.value)
    advice = f'please drain this node and delete the CPU manager checkpoint file "{path}"'
    assert advice in str(refusal.value)


def test_memory_of_upstream_is_read_and_written_alike(tmp_path: Path) -> None:
    path = stored(tmp_path, **MEMORY)
    state = MemoryState.load(path, "static")
    assert state.machine == {0: NodeMemory(0, {"memory": Table(2048, 512, 1536, 512, 1024)}, [])}
    assert state.assigned == {"pod": {"container1": [Block([0], "memory", 512)]}}
    state.save()
    assert json.loads(path.read_text()) == MEMORY


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"checksum": 1}, "checkpoint is corrupted"),
        ({"machineState": {"x": {}}}, "could not restore state"),
        ({"entries": {"pod": {"c": [{}]}}}, "could not restore state"),
    ],
)
def test_memory_that_cannot_be_used(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    path = stored(tmp_path, **{**MEMORY, **change})
    with pytest.raises(CheckpointError, match=problem):
        MemoryState.load(path, "static")
    other = stored(tmp_path, **MEMORY)
    with pytest.raises(CheckpointError, match="differs from state checkpoint policy"):
        MemoryState.load(other, "None")

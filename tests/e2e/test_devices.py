"""Devices of drivers, in real containers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import Machine, gone, run_pod, running
from tests.e2e.readmes import ROOT, run_commands
from tests.e2e.readmes import path as path

RESOURCE = "example.com/it"
PROGRAM = Path(__file__).parents[1] / "node" / "devices" / "deviceplugin.py"


@pytest.fixture
def plugin(machine: Machine) -> Iterator[subprocess.Popen[bytes]]:
    """A device plugin of the first node, with two devices."""
    folder = machine.root / "data" / "node" / "kubelet" / "device-plugins"
    command = [sys.executable, str(PROGRAM), str(folder), RESOURCE, "d0", "d1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def first_node(machine: Machine) -> Any:
    nodes = machine.get("nodes")["items"]
    return min(nodes, key=lambda node: len(node["metadata"]["name"]))


def has(machine: Machine, capacity: str, allocatable: str) -> bool:
    status = first_node(machine)["status"]
    shown = status["capacity"].get(RESOURCE), status["allocatable"].get(RESOURCE)
    return shown == (capacity, allocatable)


def test_a_pod_gets_the_devices_of_a_plugin(
    machine: Machine, plugin: subprocess.Popen[bytes]
) -> None:
    machine.eventually(lambda: has(machine, "2", "2"))
    container = {"resources": {"limits": {RESOURCE: "2"}}}
    run_pod(machine, "user", "exec sleep 3600", container=container)
    running(machine, "user")
    script = "echo $DEVICES; ls /share; echo x > /dev/it && echo written"
    said = machine.kubectl("exec", "user", "--", "sh", "-c", script)
    assert said.split() == ["d0,d1", "it.sock", "kubelet.sock", "written"]
    name = first_node(machine)["metadata"]["name"]
    run_pod(machine, "late", "true", container=container, nodeName=name, restartPolicy="Never")
    refused = machine.eventually(
        lambda: (
            machine.get("pod/late")["status"].get("reason") and machine.get("pod/late")["status"]
        )
    )
    assert refused["reason"] == "UnexpectedAdmissionError"
    text = f"requested number of devices unavailable for {RESOURCE}. Requested: 2, Available: 0"
    assert refused["message"].endswith(f"Allocate failed due to {text}, which is unexpected")
    assert plugin.stdin is not None
    plugin.stdin.write(b"d0 d1=Unhealthy\n")
    plugin.stdin.flush()
    machine.eventually(
        lambda: has(machine, "2", "1") and health(machine) == "d0 Healthy d1 Unhealthy"
    )
    plugin.kill()
    machine.eventually(lambda: has(machine, "2", "0"))
    gone(machine, "user", "late")


def health(machine: Machine) -> str:
    status = machine.get("pod/user")["status"]["containerStatuses"][0]
    shown = status["allocatedResourcesStatus"]
    assert [one["name"] for one in shown] == [RESOURCE], json.dumps(shown)
    return " ".join(f"{one['resourceID']} {one['health']}" for one in shown[0]["resources"])


@pytest.mark.slow  # its image has Debian's Python and what Tiphys needs
def test_the_example_of_a_driver(machine: Machine, path: str) -> None:
    said = run_commands(machine, path, ROOT / "examples" / "dra" / "README.md")
    assert "painting in green" in said or "painting in blue" in said
    assert "doodling in " in said
    assert "colors.example.com" in said

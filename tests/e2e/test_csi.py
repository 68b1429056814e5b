"""Volumes of drivers, and devices, in real containers."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import Machine, gone, run_pod
from tests.e2e.readmes import ROOT, path, run_commands

__all__ = ["path"]  # a fixture


@pytest.mark.slow  # its image has Debian's Python and grpcio
def test_the_example_of_a_driver_of_storage(machine: Machine, path: str) -> None:
    output = run_commands(machine, path, ROOT / "examples/csi/README.md")
    assert "remember the milk reader" in output
    folders = list((machine.root / "data").glob("node*/kubelet/pods/*/volumes/kubernetes.io~csi"))
    assert folders == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A device of one mebibyte."""
    file = tmp_path / "disk"
    file.write_bytes(b"hello".ljust(1 << 20, b"."))
    if shutil.which("losetup") is None:
        pytest.skip("needs losetup")
    made = subprocess.run(
        ["losetup", "--find", "--show", file], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"needs a loop device: {made.stderr}")
    yield made.stdout.strip()
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def test_a_block_volume_is_a_device_of_the_container(machine: Machine, disk: str) -> None:
    shared = {"storageClassName": "disks", "volumeMode": "Block", "accessModes": ["ReadWriteOnce"]}
    node = machine.get("nodes")["items"][0]["metadata"]["name"]
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    volume = {"capacity": {"storage": "1Mi"}, "local": {"path": disk}, "nodeAffinity": affinity}
    claim = {"resources": {"requests": {"storage": "1Mi"}}}
    for kind, spec in (("PersistentVolume", volume), ("PersistentVolumeClaim", claim)):
        head = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "disk"}}
        machine.kubectl("apply", "-f", "-", stdin=json.dumps({**head, "spec": {**spec, **shared}}))
    run_pod(
        machine,
        "disk",
        "head -c 5 /dev/mine && printf HELLO > /dev/mine",
        container={"volumeDevices": [{"name": "v", "devicePath": "/dev/mine"}]},
        volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "disk"}}],
        restartPolicy="Never",
    )
    machine.kubectl("wait", "pod/disk", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=40s")
    assert machine.kubectl("logs", "disk") == "hello"
    with Path(disk).open("rb") as device:
        assert device.read(5) == b"HELLO"
    gone(machine, "disk")
    machine.kubectl("delete", "pvc/disk", "pv/disk", "--timeout=40s")

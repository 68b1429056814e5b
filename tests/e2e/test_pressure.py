"""A node of containers whose disk is short. A cluster of its own, whose threshold is a little below
what is free on this machine."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import EXAMPLE, Machine, run_pod, running
from tiphys.cluster import containerd
from tiphys.testing.cluster import free_port

MIB = 1 << 20
WRITTEN = 1500  # MiB that a pod writes
MARGIN = 700 * MIB  # below what is free: room for what else goes on here

CONFIGURATION = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard:
  nodefs.available: "{least}"
evictionPressureTransitionPeriod: 5s
"""


@pytest.fixture
def short(tmp_path: Path) -> Iterator[Machine]:
    if os.geteuid() != 0 or containerd.missing() or shutil.which("kubectl") is None:
        pytest.skip("needs root, containerd and kubectl")
    sys.path.insert(0, str(EXAMPLE))
    from image import build  # type: ignore[import-not-found]

    one = Machine(tmp_path, f"short-{os.getpid()}")
    config = tmp_path / "kubelet.yaml"
    config.write_text(CONFIGURATION.format(least=shutil.disk_usage(tmp_path).free - MARGIN))
    cluster = ["--name", one.name, "--data-dir", str(tmp_path / "data"), "--port", str(free_port())]
    one.tiphys("up", *cluster, "--runtime", "containerd", "--kubelet-config", str(config), "--wait")
    try:
        one.tiphys("image", "load", "--name", one.name, str(build(tmp_path / "hello.tar")))
        yield one
    finally:
        one.tiphys("down", "--name", one.name, "--purge", check=False)


@pytest.mark.slow
def test_the_pod_that_fills_the_disk_is_evicted_and_its_neighbour_stays(short: Machine) -> None:
    run_pod(short, "modest", "exec sleep 3600")
    running(short, "modest")
    script = f"dd if=/dev/zero of=/data/x bs=1M count={WRITTEN}; exec sleep 3600"
    mounts = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
    run_pod(short, "greedy", script, volumes=[{"name": "d", "emptyDir": {}}], container=mounts)
    short.eventually(lambda: status(short)["phase"] == "Failed", seconds=60)
    evicted = status(short)
    assert evicted["reason"] == "Evicted"
    assert "The node was low on resource: ephemeral-storage." in evicted["message"]
    short.eventually(lambda: not under_pressure(short), seconds=60)
    assert short.get("pod/modest")["status"]["phase"] == "Running"


def status(machine: Machine) -> dict[str, str]:
    return dict(machine.get("pod/greedy")["status"])


def under_pressure(machine: Machine) -> bool:
    conditions = machine.get("nodes")["items"][0]["status"]["conditions"]
    return any(one["type"] == "DiskPressure" and one["status"] == "True" for one in conditions)

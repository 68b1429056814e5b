"""A node of containers whose disk is short. A cluster of its own, whose threshold is a little below
what is free on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import configured
from tests.e2e.machine import Machine, run_pod, running

MIB = 1 << 20
WRITTEN = 1500  # MiB that a pod writes
MARGIN = 700 * MIB  # below what is free: room for what else goes on here

CONFIGURATION = """\
evictionHard:
  nodefs.available: "{least}"
evictionPressureTransitionPeriod: 5s
"""


@pytest.fixture
def short(tmp_path: Path) -> Iterator[Machine]:
    least = shutil.disk_usage(tmp_path).free - MARGIN
    with configured(tmp_path, "short", CONFIGURATION.format(least=least)) as machine:
        yield machine


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

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


SOFT = """\
evictionSoft: {memory.available: 1000Gi}
evictionSoftGracePeriod: {memory.available: 12s}
evictionMaxPodGracePeriod: 20
"""


@pytest.mark.slow
def test_a_soft_threshold_waits_and_leaves_the_pod_time_to_end(tmp_path: Path) -> None:
    """No machine has a thousand gibibytes: it is crossed from the start."""
    wanted = {"resources": {"requests": {"memory": "1Mi"}}}
    script = "trap 'sleep 2; exit 7' TERM; sleep 3600 & wait"
    with configured(tmp_path, "soft", SOFT) as machine:
        run_pod(machine, "greedy", script, container=wanted, terminationGracePeriodSeconds=30)
        running(machine, "greedy")
        machine.eventually(lambda: status(machine)["phase"] == "Failed", seconds=90)
        evicted = machine.get("pod/greedy")["status"]
        assert evicted["reason"] == "Evicted"
        assert "low on resource: memory. Threshold quantity: 1000Gi" in evicted["message"]
        ended = evicted["containerStatuses"][0]["state"]["terminated"]
        assert ended["exitCode"] == 7, "it had more than two seconds"
        kinds = {one["type"]: one for one in evicted["conditions"]}
        assert kinds["DisruptionTarget"]["reason"] == "TerminationByKubelet"
        events = machine.kubectl(
            "get", "events", "--field-selector=reason=EvictionThresholdMet", "-A"
        )
        assert "Attempting to reclaim memory" in events

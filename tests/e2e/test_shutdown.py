"""A node of containers whose machine shuts down, and critical pods on it. A cluster of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import configured
from tests.e2e.machine import Machine, gone, node_process, run_pod, running

CONFIGURATION = """\
shutdownGracePeriod: 12s
shutdownGracePeriodCriticalPods: 6s
enableSystemLogQuery: true
"""
SLOW = "trap 'sleep 2; exit 0' TERM; sleep 3600 & wait"
CRITICAL = {"priorityClassName": "system-node-critical"}


@pytest.fixture(scope="module")
def closing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    root: Path = tmp_path_factory.mktemp("closing")
    with configured(root, "closing", CONFIGURATION) as machine:
        yield machine


def pod(machine: Machine, name: str) -> Any:
    return machine.get(f"pod/{name}")


def condition(of: Any, kind: str) -> Any:
    return next((one for one in of["status"]["conditions"] if one["type"] == kind), {})


@pytest.mark.slow
def test_others_make_room_for_a_critical_pod(closing: Machine) -> None:
    node = closing.get("nodes")["items"][0]
    cpu = f"{int(node['status']['allocatable']['cpu']) * 1000 - 200}m"
    wanted = {"resources": {"requests": {"cpu": cpu}}}
    run_pod(closing, "usual", "exec sleep 3600", container=wanted)
    running(closing, "usual")
    name = node["metadata"]["name"]
    run_pod(closing, "needed", "exec sleep 3600", container=wanted, nodeName=name, **CRITICAL)
    running(closing, "needed")
    usual = pod(closing, "usual")
    assert usual["status"]["phase"] == "Failed"
    assert usual["status"]["reason"] == "Preempting"
    assert usual["status"]["message"] == "Preempted in order to admit critical pod"
    assert condition(usual, "DisruptionTarget")["reason"] == "TerminationByKubelet"
    gone(closing, "usual", "needed")


@pytest.mark.slow
def test_logs_of_a_service_are_found_by_its_name(closing: Machine) -> None:
    log = Path("/var/log/tiphys-e2e-query.log")
    log.write_text("it runs\n")
    try:
        node = closing.get("nodes")["items"][0]["metadata"]["name"]
        base = f"/api/v1/nodes/{node}/proxy/logs/?query="
        assert closing.kubectl("get", "--raw", f"{base}tiphys-e2e-query") == "it runs\n"
        refused = closing.kubectl("get", "--raw", f"{base}a%3Bb", check=False)
        assert "input contains unsupported characters" in refused
    finally:
        log.unlink()


@pytest.mark.slow
def test_pods_end_by_priority_when_the_machine_shuts_down(closing: Machine) -> None:
    for name, spec in (("usual", {}), ("needed", CRITICAL)):
        run_pod(closing, name, SLOW, **{"terminationGracePeriodSeconds": 5, **spec})
        running(closing, name)
    os.kill(node_process(closing), signal.SIGTERM)
    closing.eventually(lambda: readiness(closing)["message"] == "node is shutting down")
    closing.eventually(lambda: pod(closing, "usual")["status"]["phase"] == "Failed")
    assert pod(closing, "needed")["status"]["phase"] == "Running"
    closing.eventually(lambda: pod(closing, "needed")["status"]["phase"] == "Failed")
    for name in ("usual", "needed"):
        ended = pod(closing, name)
        assert ended["status"]["reason"] == "Terminated"
        assert condition(ended, "DisruptionTarget")["status"] == "True"
    closing.eventually(lambda: readiness(closing)["status"] == "True")
    gone(closing, "usual", "needed")


def readiness(machine: Machine) -> Any:
    return condition(machine.get("nodes")["items"][0], "Ready")

"""What is left of a cluster that was taken down."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.machine import (
    Machine,
    command_line,
)
from tiphys.testing.cluster import free_port


def test_down_leaves_no_trace(tmp_path: Path) -> None:
    """A second cluster beside the first: its own names and ports, and nothing left of it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    beside = Machine(tmp_path, f"beside-{os.getpid()}")
    port, data = str(free_port()), str(tmp_path / "data")
    cluster = ["--name", beside.name, "--data-dir", data, "--port", port]
    beside.tiphys("up", *cluster, "--runtime", "hollow", "--nodes", "3", "--wait")
    assert beside.status()["nodesReady"] == 3
    beside.kubectl("create", "deployment", "web", "--image=x", "--replicas=3")
    beside.kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    pids = [c["pid"] for c in beside.status()["components"]]
    beside.tiphys("down", "--name", beside.name, "--purge")
    assert (
        not (tmp_path / "data").exists()
        and beside.name not in (tmp_path / "kubeconfig").read_text()
    )
    assert not [pid for pid in pids if command_line(pid)]

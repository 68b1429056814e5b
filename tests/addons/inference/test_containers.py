"""Model servers in containers, with weights from an S3 in the cluster: the README from its first
command to its last."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.addons.mesh.world import missing
from tests.e2e.machine import Machine
from tests.e2e.readmes import path, run_addon_readme  # noqa: F401
from tiphys.testing.cluster import free_port

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]
FOLDER = Path(__file__).parents[3] / "src/tiphys/addons/inference"


def test_the_commands_of_the_readme_work(path: str, tmp_path: Path) -> None:  # noqa: F811
    machine = Machine(tmp_path, f"inference-{os.getpid()}")
    where = ("--name", machine.name, "--data-dir", str(tmp_path / "data"))
    port = ("--port", str(free_port()))
    machine.tiphys("up", *where, *port, "--runtime", "containerd", "--nodes", "1", "--wait")
    try:
        printed = run_addon_readme(machine, path, FOLDER, tmp_path / "work")
        line = next(one for one in printed.splitlines() if '"sha256"' in one)
        said = json.loads(line)
        assert said["bytes"] == 50_000_000 and said["files"] == {"weights.bin": 50_000_000}
        assert said["pod"].startswith("deepseek-") and said["path"] == "/invocations"
    finally:
        machine.tiphys("down", "--name", machine.name, "--purge", check=False)

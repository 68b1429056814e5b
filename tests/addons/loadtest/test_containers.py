"""A load test in containers: the README from its first command to its last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.addons.mesh.world import missing
from tests.e2e.machine import Machine
from tests.e2e.readmes import path, run_addon_readme  # noqa: F401
from tiphys.testing.cluster import free_port

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]
FOLDER = Path(__file__).parents[3] / "src/tiphys/addons/loadtest"


def test_the_commands_of_the_readme_work(path: str, tmp_path: Path) -> None:  # noqa: F811
    machine = Machine(tmp_path, f"loadtest-{os.getpid()}")
    where = ("--name", machine.name, "--data-dir", str(tmp_path / "data"))
    port = ("--port", str(free_port()))
    machine.tiphys("up", *where, *port, "--runtime", "containerd", "--nodes", "1", "--wait")
    try:
        printed = run_addon_readme(machine, path, FOLDER, tmp_path / "work")
        assert " users: 1" in printed  # more than a thousand orders a minute were measured
        [same] = [one for one in printed.splitlines() if '"targetOrdersPerMinute"' in one]
        assert same.split()[0] == "2", "the schedule's object is the one that kubectl made"
        assert not machine.get("configmaps", "-A", "-l", "addons.tiphys.dev/name=loadtest")["items"]
    finally:
        machine.tiphys("down", "--name", machine.name, "--purge", check=False)

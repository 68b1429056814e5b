"""Which processes count as running, and which are nobody's to kill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiphys.cluster import components, containerd


def test_a_process_that_has_ended_is_not_alive_though_nobody_waits_for_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not components.is_alive(process.pid)
    finally:
        process.wait()


def test_a_process_that_runs_is_alive() -> None:
    assert components.is_alive(os.getpid())


def test_processes_of_other_pid_namespaces_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They show as 0, and `kill` takes 0 for the group of whoever asks."""
    (tmp_path / "cgroup.procs").write_text("0\n7\n0\n")
    monkeypatch.setattr(containerd, "_cgroup_folders", lambda *_: [tmp_path / "cgroup.procs"])
    assert containerd._inside("/any") == {7}

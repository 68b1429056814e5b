"""`make test` fails when any of its gates does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GATES = ("ruff", "lint-imports", "mypy", "python")


def make_test(venv: Path, failing: str) -> int:
    """The exit code of `make test` where the program `failing` fails and all others do nothing."""
    (venv / "bin").mkdir()
    for name in GATES:
        program = venv / "bin" / name
        program.write_text(
            f'#!/bin/sh\ncase "$*" in *pip*) exit 0;; esac\nexit {int(name == failing)}\n'
        )
        program.chmod(0o755)
    command = ["make", "-s", "test", f"VENV={venv}", "PACKAGES="]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120).returncode


@pytest.mark.parametrize("failing", GATES)
def test_a_gate_that_fails_fails_the_whole(tmp_path: Path, failing: str) -> None:
    assert make_test(tmp_path, failing) != 0


def test_all_gates_that_pass_pass(tmp_path: Path) -> None:
    assert make_test(tmp_path, "") == 0

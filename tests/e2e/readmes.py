"""The commands of a README, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.machine import Machine

ROOT = Path(__file__).parents[2]


def commands(readme: Path) -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL))


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which `tiphys` is this one, and `python` the one that runs it."""
    for name, arguments in (("tiphys", "-m tiphys.cli.main"), ("python", "")):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        program.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def run_commands(machine: Machine, path: str, readme: Path) -> str:
    """What the commands of a README print, in which nothing fails."""
    script = commands(readme)
    assert "kubectl" in script
    return run_script(machine, path, script, ROOT, 300)


def run_addon_readme(machine: Machine, path: str, folder: Path, work: Path) -> str:
    """The same of an add-on's README, whose commands load images into this machine's cluster, and
    write into `work`."""
    work.mkdir(exist_ok=True)
    (work / "src").symlink_to(ROOT / "src")
    script = commands(folder / "README.md").replace("--load tiphys", f"--load {machine.name}")
    return run_script(machine, path, script, work, 2400)


def run_script(machine: Machine, path: str, script: str, folder: Path, seconds: float) -> str:
    done = subprocess.run(
        ["sh", "-exc", script],
        cwd=folder,
        env={**machine.env, "PATH": path},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

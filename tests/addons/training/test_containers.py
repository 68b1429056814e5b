"""The README in containers, on nodes of this machine: torch and the real agent in each pod."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.addons.training import trainers
from tests.addons.training.realagent import EXAMPLE
from tests.addons.training.trainers import job, why_not
from tests.e2e.machine import Machine
from tests.e2e.readmes import commands, path, run_script  # noqa: F401
from tiphys.testing.cluster import free_port

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with trainers.trainers(tmp_path, "training", nodes=3) as made:
        yield made


def test_the_commands_of_the_readme_work(machine: Machine, path: str, tmp_path: Path) -> None:  # noqa: F811
    machine.tiphys("addon", "disable", "training", "--purge", "--context", machine.name)
    machine.kubectl("delete", "configmap", "averages-code")
    example = tmp_path / "job.yaml"
    example.write_text(yaml.safe_dump(job(machine, "averages", replicas=2)))
    script = commands(EXAMPLE.parent / "README.md")
    for old, new in (
        ("--load tiphys", f"--load {machine.name}"),
        ("addon enable training", f"addon enable training --set metricsPort={free_port()}"),
        ("src/tiphys/addons/training/example/job.yaml", str(example)),
        ("-o trainer.tar", f"-o {tmp_path / 'trainer.tar'}"),
    ):
        assert old in script
        script = script.replace(old, new)
    printed = run_script(machine, path, script, ROOT, 600)
    assert '"restartType":"PLR"' in printed

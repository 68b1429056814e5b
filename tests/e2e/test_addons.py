"""What the READMEs of add-ons say, done on a real cluster from the first command to the last."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Machine
from tiphys.addons import ADDONS

ROOT = Path(__file__).parents[2]


def commands(readme: Path) -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("addon", [addon.name for addon in ADDONS])
def test_the_commands_of_a_readme_work(machine: Machine, addon: str) -> None:
    script = commands(ROOT / "src/tiphys/addons" / addon / "README.md")
    assert "kubectl" in script
    done = subprocess.run(
        ["sh", "-exc", script],
        cwd=ROOT,
        env=machine.env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr

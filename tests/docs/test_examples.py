"""Every system has an example, the list of examples leads to it, and README says what of it is
real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tiphys.addons import ADDONS, OPTIONAL

ROOT = Path(__file__).parents[2]
LIST = ROOT / "examples" / "README.md"
FOLDERS = [addon.name.replace("-", "_") for addon in (*ADDONS, *OPTIONAL.values())]


def links() -> list[Path]:
    targets = re.findall(r"\]\(([^)]+)\)", LIST.read_text())
    return [(LIST.parent / target).resolve() for target in targets]


def test_the_list_of_examples_leads_somewhere() -> None:
    assert [one for one in links() if not one.exists()] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_add_on_has_an_example_that_is_listed(folder: str) -> None:
    home = ROOT / "src" / "tiphys" / "addons" / folder
    manifests = list((home / "example").glob("*.yaml"))
    assert manifests and all(list(yaml.safe_load_all(one.read_text())) for one in manifests)
    assert any(one.is_relative_to(home) for one in links())


@pytest.mark.parametrize("name", OPTIONAL)
def test_readme_says_what_of_an_add_on_is_real(name: str) -> None:
    row = re.search(rf"^\| `{name}` \|.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert row is not None
    what, reality = row[0].strip("| ").split(" | ")[1:]
    assert what and re.search(r"\breal\b|stand-in|stands in", reality)

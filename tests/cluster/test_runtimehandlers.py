"""Which runtimes a machine offers, by the programs on its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiphys.cluster.runtimehandlers import Handler, default, installed

RUNC = Handler("runc", "io.containerd.runc.v2")


def program(folder: Path, name: str, mode: int = 0o755) -> str:
    file = folder / name
    file.write_text("")
    file.chmod(mode)
    return str(file)


def test_runc_is_always_there(tmp_path: Path) -> None:
    handlers = installed(str(tmp_path))
    assert handlers == [RUNC] and default(handlers, True, tmp_path) == "runc"


@pytest.mark.parametrize(
    ("version_2", "controllers", "raises_limits", "chosen"),
    [
        ("", "", False, "crun"),  # version 1 alone
        ("unified", "\n", False, "crun"),  # both, with systemd's own groups in version 2
        ("unified", "hugetlb\n", True, "runc"),
        (".", "cpu io memory\n", True, "crun"),  # version 2 alone
        (".", "cpu io memory\n", False, "runc"),
    ],
)
def test_crun_runs_pods_where_it_is_installed_and_works(
    tmp_path: Path, version_2: str, controllers: str, raises_limits: bool, chosen: str
) -> None:
    for name in ("crun", "youki", "containerd-shim-kata-v2"):
        program(tmp_path, name)
    if version_2:
        folder = tmp_path / version_2
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text(controllers)
    assert default(installed(str(tmp_path)), raises_limits, tmp_path) == chosen


def test_a_program_like_runc_stands_in_for_it(tmp_path: Path) -> None:
    crun = program(tmp_path, "crun")
    program(tmp_path, "youki", mode=0o644)
    assert installed(str(tmp_path)) == [RUNC, Handler("crun", "io.containerd.runc.v2", crun)]


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("containerd-shim-kata-v2", Handler("kata", "io.containerd.kata.v2")),
        ("containerd-shim-runsc-v1", Handler("runsc", "io.containerd.runsc.v1")),
        ("containerd-shim-kata-qemu-v2", Handler("kata-qemu", "io.containerd.kata-qemu.v2")),
    ],
)
def test_a_shim_is_a_handler_of_its_name(tmp_path: Path, name: str, handler: Handler) -> None:
    program(tmp_path, name)
    assert installed(f"{tmp_path}:{tmp_path}/none:") == [RUNC, handler]


@pytest.mark.parametrize(
    "name", ["containerd-shim-runc-v2", "containerd-shim", "containerd-shim-a.b-v1", "kata-v2"]
)
def test_other_programs_are_none(tmp_path: Path, name: str) -> None:
    program(tmp_path, name)
    assert installed(str(tmp_path)) == [RUNC]

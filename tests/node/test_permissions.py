"""Who may read what the node writes: folders and files by their modes."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import pod
from tiphys.node import certificates
from tiphys.node.cri import rotation
from tiphys.node.cri.logfiles import CRILogs, LogLimits
from tiphys.node.devices.checkpoint import Checkpoint
from tiphys.node.images import pullrecords
from tiphys.node.images.collection import PulledImages
from tiphys.node.states import PodIdentity
from tiphys.node.volumes import podvolumes
from tiphys.node.volumes.kubeletfolder import KubeletFolder
from tiphys.node.volumes.podfiles import make_termination_log, write_hosts
from tiphys.node.volumes.projection import File, write_files


@pytest.fixture(autouse=True)
def ordinary() -> Iterator[None]:
    """What the process takes from modes, as the system does."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def _logs(folder: Path) -> None:
    nobody: Any = None
    CRILogs(nobody, folder, LogLimits(1, 1)).make_log_folder(PodIdentity("ns", "p", "u"), "c")


def _rotated(folder: Path) -> None:
    (folder / "0.log.1").write_text("x")
    handle = os.open(folder, os.O_RDONLY)
    rotation._compress(handle, "0.log.1")
    os.close(handle)


def _checkpoint(folder: Path) -> None:
    asyncio.run(Checkpoint(folder / "a" / "c.json", dict[str, str]).write({}))


def _opened(folder: Path) -> None:
    with KubeletFolder(folder / "kubelet").folder("plugins"):
        pass


def _places(folder: Path) -> None:
    (folder / "v").mkdir()
    podvolumes._make_places(folder / "v", ["a/b"])


def _files(folder: Path) -> None:
    (folder / "v").mkdir()
    write_files(folder / "v", {"a/k": File(b"x", 0o640)}, None)


Written = Callable[[Path], Any]


@pytest.mark.parametrize(
    ("write", "modes"),
    [
        (lambda folder: make_termination_log(folder / "p", "c", 0), {"p/containers": 0o755, "p/containers/c": 0o755, "p/containers/c/0": 0o666}),
        (lambda folder: write_hosts(folder / "p", pod(), [], "h", ""), {"p/etc-hosts": 0o644}),
        (_logs, {"ns_p_u": 0o755, "ns_p_u/c": 0o755}),
        (_rotated, {"0.log.1.gz": 0o640}),
        (_checkpoint, {"a": 0o700}),
        (lambda folder: PulledImages(folder / "a" / "i.json").add("i"), {"a": 0o700}),
        (lambda folder: pullrecords._write(folder / "a", "i", {}), {"a": 0o700}),
        (lambda folder: certificates.write(folder / "a" / "c.pem", b"x"), {"a": 0o700, "a/c.pem": 0o600}),
        (_opened, {"kubelet": 0o750, "kubelet/plugins": 0o750}),
        (_places, {"v/a": 0o755, "v/a/b": 0o755}),
        (_files, {"v/..data/": 0o755, "v/a/": 0o755, "v/a/k": 0o640}),
    ],
)  # fmt: skip
def test_only_those_who_should_may_read(
    tmp_path: Path, write: Written, modes: dict[str, int]
) -> None:
    write(tmp_path)
    found = {name: oct(stat.S_IMODE((tmp_path / name).stat().st_mode)) for name in modes}
    assert found == {name: oct(mode) for name, mode in modes.items()}

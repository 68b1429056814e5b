"""What pods call /var/lib/kubelet is the node's own, and no link leads out of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tiphys.node.volumes.kubeletfolder import KubeletFolder


@pytest.fixture
def folder(tmp_path: Path) -> KubeletFolder:
    (tmp_path / "outside").mkdir()
    made = KubeletFolder(tmp_path / "kubelet")
    made.root.mkdir()
    return made


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/var/lib/kubelet", ""),
        ("/var/lib/kubelet/plugins/a", "plugins/a"),
        ("/var//lib/./kubelet/plugins/", "plugins"),
        ("/var/lib/kubelet/../kubelet/plugins", "plugins"),
    ],
)
def test_paths_of_pods_lie_in_the_folder(folder: KubeletFolder, path: str, place: str) -> None:
    assert Path(folder.place(path, make=True)) == folder.root / place
    assert (folder.root / place).is_dir()


@pytest.mark.parametrize("path", ["/var/lib/kubelet2", "/var/lib", "/etc", "/var/lib/kubelet/.."])
def test_other_paths_are_the_machines(folder: KubeletFolder, path: str) -> None:
    assert folder.place(path, make=True) == path


@pytest.mark.parametrize("target", ["/etc", "../outside", "/var/lib", "/var/lib/kubelet/../../lib"])
def test_no_link_leads_out(folder: KubeletFolder, target: str) -> None:
    (folder.root / "link").symlink_to(target)
    for path in ("/var/lib/kubelet/link", "/var/lib/kubelet/link/x"):
        for make in (True, False):
            with pytest.raises(OSError, match="leads outside"):
                folder.place(path, make=make)


def test_links_within_it_are_followed_as_drivers_see_them(folder: KubeletFolder) -> None:
    (folder.root / "plugins").mkdir()
    (folder.root / "link").symlink_to("/var/lib/kubelet/plugins")
    assert folder.place("/var/lib/kubelet/link", make=True) == str(folder.root / "plugins")


def test_a_socket_is_opened_for_what_it_is(folder: KubeletFolder, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder.root / "s"))
        handle = folder.open_socket("/var/lib/kubelet/s")
        os.close(handle)
        (folder.root / "link").symlink_to("s")
        (folder.root / "file").touch()
        for path in ("link", "file", "missing", "../outside/s"):
            with pytest.raises(OSError):
                folder.open_socket(f"/var/lib/kubelet/{path}")
    with pytest.raises(OSError, match="is not below"):
        folder.open_socket(str(tmp_path / "s"))

"""Container logs that have become long."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tiphys.node.cri import rotation


def test_full_logs_are_set_aside_compressed_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "ns_p_u" / "c"
    folder.mkdir(parents=True)
    for number in range(6):
        (folder / "0.log").write_bytes(bytes([number]) * 100)
        assert rotation.is_full(tmp_path, "ns_p_u/c", "0.log", largest=99)
        aside = rotation.rotate(tmp_path, "ns_p_u/c", "0.log")
        os.rename(folder / aside, folder / f"0.log.2026010{number}")
    names = sorted(os.listdir(folder))
    assert names == [
        "0.log.20260102.gz",
        "0.log.20260103.gz",
        "0.log.20260104.gz",
        "0.log.20260105",
    ]
    assert gzip.decompress((folder / names[0]).read_bytes()) == b"\2" * 100
    rotation.remove(tmp_path, "ns_p_u/c", "0.log")
    assert os.listdir(folder) == [] and rotation.folders_by_uid(tmp_path) == {"u": "ns_p_u"}
    rotation.remove_folder(tmp_path, "ns_p_u")
    assert not rotation.folders_by_uid(tmp_path)


def test_links_among_logs_are_not_followed(tmp_path: Path) -> None:
    folder, precious = tmp_path / "ns_p_u" / "c", tmp_path / "precious"
    folder.mkdir(parents=True)
    precious.write_bytes(bytes(200))
    (folder / "0.log").write_bytes(bytes(200))
    (folder / "0.log.2026").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic"):
        rotation.rotate(tmp_path, "ns_p_u/c", "0.log")
    assert precious.stat().st_size == 200

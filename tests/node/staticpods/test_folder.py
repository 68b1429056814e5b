"""Files of static pods, on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.staticpods.folder import ManifestFolder
from tiphys.node.staticpods.manifests import ManifestError


def read(text: bytes, source: str) -> core_v1.Pod:
    if text == b"bad":
        raise ManifestError("bad")
    return pod(text.decode())


def names(pods: list[core_v1.Pod] | None) -> list[str] | None:
    return None if pods is None else [one.metadata.name for one in pods]


@pytest.fixture
def folder(tmp_path: Path) -> ManifestFolder:
    return ManifestFolder(tmp_path, read)


def test_pods_are_told_when_a_file_changes(folder: ManifestFolder, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("two")
    (tmp_path / "a").write_text("one")
    assert names(folder.look()) == ["one", "two"]
    assert folder.look() is None
    (tmp_path / "a").unlink()
    assert names(folder.look()) == ["two"]


def test_a_file_that_says_the_same_is_the_same_pod(folder: ManifestFolder, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    before = folder.look()
    os.utime(tmp_path / "a", (1, 1))
    now = folder.look()
    assert before is not None and now is not None
    assert now[0] is before[0]


def test_a_file_that_cannot_be_read_any_more_keeps_its_pod(
    folder: ManifestFolder, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("one")
    folder.look()
    (tmp_path / "a").write_text("bad")
    assert names(folder.look()) == ["one"]


def test_what_is_no_manifest_is_left_alone(folder: ManifestFolder, tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("one")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a").write_text("two")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x").write_text("bad")
    assert names(folder.look()) == []


def test_a_folder_that_is_not_there_has_no_pods(tmp_path: Path) -> None:
    folder = ManifestFolder(tmp_path / "none", read)
    assert names(folder.look()) == []
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a").write_text("one")
    assert names(folder.look()) == ["one"]


def test_a_path_may_be_one_file(tmp_path: Path) -> None:
    (tmp_path / ".own").write_text("one")
    assert names(ManifestFolder(tmp_path / ".own", read).look()) == ["one"]

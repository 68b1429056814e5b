"""Folders that somebody else may write to: what is removed, and what is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiphys.machinery import handles


@pytest.fixture
def at(tmp_path: Path) -> Iterator[int]:
    """An open folder."""
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield handle
    os.close(handle)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_what_is_no_name_is_not_removed(at: int, name: str) -> None:
    with pytest.raises(OSError, match="not a name"):
        handles.remove_tree(at, name)


def test_what_is_not_there_is_gone_already(at: int) -> None:
    handles.remove_tree(at, "nothing")


def test_a_file_and_a_link_go_and_what_the_link_leads_to_stays(at: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    handles.remove_tree(at, "file")
    handles.remove_tree(at, "link")
    assert os.listdir(tmp_path) == ["kept"]


def test_a_tree_goes_with_all_below_it(at: int, tmp_path: Path) -> None:
    deep = tmp_path / "tree" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    (tmp_path / "tree" / "out").symlink_to("/etc")
    (tmp_path / "beside").mkdir()
    handles.remove_tree(at, "tree")
    assert os.listdir(tmp_path) == ["beside"]


def test_a_file_is_read_up_to_the_limit_and_not_through_a_link(at: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert handles.read_file(at, "file", 5) == b"12345"
    assert handles.read_file(at, "file", 3) == b"123"
    with pytest.raises(OSError):
        handles.read_file(at, "link", 5)


@pytest.mark.parametrize("path", ["..", "a/../..", "a//b/.."])
def test_a_path_upward_is_none(path: str) -> None:
    with pytest.raises(OSError):
        handles.parts_of(path)

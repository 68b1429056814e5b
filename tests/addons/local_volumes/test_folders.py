"""Removing what a volume held."""

from __future__ import annotations

from pathlib import Path

from tiphys.addons.local_volumes.folders import remove_folder


def test_a_folder_goes_with_what_is_in_it_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    folder = tmp_path / "pvc-1"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "link").symlink_to(outside)
    remove_folder(str(folder))
    assert not folder.exists() and (outside / "kept").exists()


def test_a_folder_that_no_pod_ever_used_is_none_to_remove(tmp_path: Path) -> None:
    remove_folder(str(tmp_path / "none" / "pvc-1"))

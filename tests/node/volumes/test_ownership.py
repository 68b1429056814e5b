"""Volumes that are given to the group of a pod."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiphys.node.volumes import ownership
from tiphys.node.volumes.ownership import give_to_group


@pytest.mark.root
def test_a_volume_is_given_to_a_group_but_not_what_its_links_lead_to(tmp_path: Path) -> None:
    volume, outside = tmp_path / "v", tmp_path / "outside"
    (volume / "a").mkdir(parents=True)
    (volume / "a" / "file").touch(0o600)
    outside.touch(0o600)
    (volume / "link").symlink_to(outside)
    give_to_group(str(volume), 4321, None)
    facts = [
        (os.stat(p).st_gid, os.stat(p).st_mode & 0o7777)
        for p in (volume, volume / "a", volume / "a" / "file", outside)
    ]
    assert facts == [(4321, 0o2775), (4321, 0o2775), (4321, 0o660), (outside.stat().st_uid, 0o600)]
    os.chown(volume / "a", -1, 0)
    give_to_group(str(volume), 4321, "OnRootMismatch")
    assert (volume / "a").stat().st_gid == 0, "the folder itself fits"
    give_to_group(str(volume), 4321, "Always")
    assert (volume / "a").stat().st_gid == 4321


def modes(volume: Path, *parts: str) -> list[str]:
    return [oct((volume / part).stat().st_mode & 0o7777) for part in parts]


def given(tmp_path: Path) -> Path:
    volume = tmp_path / "v"
    (volume / "a" / "b").mkdir(parents=True)
    for folder in (volume, volume / "a", volume / "a" / "b"):
        folder.chmod(0o700)
    (volume / "a" / "file").touch(0o600)
    return volume


def test_the_group_may_read_and_write_everything(tmp_path: Path) -> None:
    volume = given(tmp_path)
    (volume / "fifo").parent.mkdir(exist_ok=True)
    os.mkfifo(volume / "fifo", 0o600)
    give_to_group(str(volume), os.getegid(), None)
    assert modes(volume, ".", "a", "a/b", "a/file", "fifo") == [
        "0o2770",
        "0o2770",
        "0o2770",
        "0o660",
        "0o600",
    ]


@pytest.mark.parametrize(
    ("policy", "top", "again"),
    [
        ("OnRootMismatch", 0o2770, False),
        ("OnRootMismatch", 0o770, True),
        ("OnRootMismatch", 0o2750, True),
        ("Always", 0o2770, True),
        (None, 0o2770, True),
    ],
)
def test_a_folder_that_fits_is_looked_into_unless_the_policy_says_no(
    tmp_path: Path, policy: str | None, top: int, again: bool
) -> None:
    volume = given(tmp_path)
    volume.chmod(top)
    give_to_group(str(volume), os.getegid(), policy)
    assert (modes(volume, "a") == ["0o2770"]) is again


def test_only_so_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = given(tmp_path)
    monkeypatch.setattr(ownership, "_MOST_DEPTH", 1)
    give_to_group(str(volume), os.getegid(), None)
    assert modes(volume, "a", "a/b") == ["0o2770", "0o700"]


def test_what_another_pod_removes_meanwhile_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = given(tmp_path)

    def gone(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(ownership, "_give_entry", gone)
    give_to_group(str(volume), os.getegid(), None)
    assert modes(volume, ".") == ["0o2770"]

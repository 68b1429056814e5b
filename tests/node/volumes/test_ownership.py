"""Volumes that are given to the group of a pod."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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

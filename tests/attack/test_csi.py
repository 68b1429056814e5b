"""Attacks by drivers of storage that hang, and by links in the folders that they share with the
node."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import grpc
import pytest

from tests.node.csi.builders import SOURCE, Node, a_pod, node
from tests.node.csi.driverprogram import NAME
from tiphys.node.csi.records import Published, Records
from tiphys.node.csi.source import VolumeSource
from tiphys.node.volumes.volumefiles import VolumeError

__all__ = ["node"]  # a fixture


async def test_a_driver_that_hangs_holds_the_volume_it_hangs_on_alone(node: Node) -> None:
    node.program.hangs = "disk-1"
    hanging = asyncio.gather(node.mounter.mount(a_pod("a"), SOURCE))
    await node.program.hung.wait()
    other = VolumeSource(name="other", driver=NAME, handle="disk-2")
    assert (await node.mounter.mount(a_pod("b"), other)).endswith("/other/mount")
    await node.mounter.release("b")
    assert not hanging.done()
    hanging.cancel()


async def test_a_folder_that_became_a_link_is_not_removed_through(
    node: Node, tmp_path: Path
) -> None:
    await node.mounter.mount(a_pod("a"), SOURCE)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "vol_data.json").write_text("mine")
    place = node.folder.root / "pods/a/volumes/kubernetes.io~csi/pv"
    os.rename(place, tmp_path / "moved")
    place.symlink_to(outside)
    with pytest.raises(VolumeError):
        await node.mounter.release("a")
    assert (outside / "vol_data.json").read_text() == "mine"


async def test_what_is_not_empty_stays(node: Node) -> None:
    path = Path(await node.mounter.mount(a_pod("a"), SOURCE))
    (path / "data").write_text("dear")
    node.program.refuses["NodeUnpublishVolume"] = grpc.StatusCode.INTERNAL, "busy"
    for refusal in ("busy", "not empty"):
        with pytest.raises(VolumeError, match=refusal):
            await node.mounter.release("a")
        node.program.forgets = True  # it says that it has taken the volume back, and has not
        node.program.refuses.clear()
    assert (path / "data").read_text() == "dear"
    assert node.mounter.holdings.pod_uids() == {"a"}


@pytest.mark.parametrize("name", ["../../../../outside", "..", "a/../../b"])
async def test_names_that_lead_out_of_the_folder(node: Node, name: str) -> None:
    records = Records(node.folder, "n")
    bad = Published(uid=name, name="pv", driver=NAME, handle="h", lifecycle="Persistent")
    with pytest.raises(OSError, match="leads outside"):
        records.keep_published(bad)

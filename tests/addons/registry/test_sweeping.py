"""What nobody names goes, and nothing else."""

from __future__ import annotations

import time
from pathlib import Path

from tests.addons.registry.world import CONFIG, LAYER, registry
from tiphys.addons.registry.sweeping import GRACE, UNTAGGED, sweep

SOON = GRACE - 60
LATER = GRACE + 60
NEXT_DAY = UNTAGGED + 60
OTHER = b"another layer" * 100


async def test_a_blob_waits_an_hour_for_its_manifest(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        await raw.push_blob("a", LAYER)
        assert sweep(raw.storage, time.time() + SOON).blobs == 0
        swept = sweep(raw.storage, time.time() + LATER)
        assert (swept.blobs, swept.size, raw.storage.used) == (1, len(LAYER), 0)
        assert raw.storage.all_repositories() == []


async def test_a_deleted_image_goes_but_for_what_others_share(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        await raw.push("a", "v1", LAYER)
        digest = await raw.push("b", "v1", LAYER, OTHER)
        await raw.ask("DELETE", f"/v2/b/manifests/{digest}")
        assert sweep(raw.storage, time.time() + LATER).blobs == 2  # its manifest, and one layer
        left = await raw.ask("GET", "/v2/a/manifests/v1")
        assert left.status == 200 and raw.storage.all_repositories() == ["a"]


async def test_an_image_whose_tag_was_given_to_another_goes_after_a_day(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        first = await raw.push("a", "latest", LAYER)
        second = await raw.push("a", "latest", OTHER)
        assert sweep(raw.storage, time.time() + LATER).blobs == 0
        assert sweep(raw.storage, time.time() + NEXT_DAY).blobs == 2
        assert (await raw.ask("GET", f"/v2/a/manifests/{first}")).status == 404
        assert (await raw.ask("GET", f"/v2/a/manifests/{second}")).status == 200


async def test_what_was_asked_for_just_now_stays_for_the_push_under_way(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        await raw.push_blob("a", CONFIG)
        (link,) = (raw.storage.repositories / "a" / "_layers").iterdir()
        before = link.stat().st_mtime_ns
        await raw.ask("HEAD", f"/v2/a/blobs/sha256:{link.name}")
        assert link.stat().st_mtime_ns > before

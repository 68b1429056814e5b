"""What nobody names goes, and nothing else."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from tests.addons.registry.world import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    digest_of,
    manifest,
    registry,
)
from tiphys.addons.registry.storage import BLOCK
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


async def test_what_is_left_counts_as_it_does_after_a_restart(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        await raw.push("a", "v1", LAYER)
        await raw.push_blob("a", OTHER)
        swept = sweep(raw.storage, time.time() + LATER)
        assert (swept.blobs, swept.size) == (1, len(OTHER))
        left = raw.storage.used
        raw.storage.open()
        assert raw.storage.used == left == len(LAYER) + 2 * BLOCK  # with config and manifest


async def test_an_hour_is_an_hour_of_the_blob_and_of_its_link(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        await raw.push_blob("a", LAYER)
        (blob,) = raw.storage.all_blobs()
        (link,) = (raw.storage.repositories / "a" / "_layers").iterdir()
        os.utime(blob, (1000, 1000))
        os.utime(link, (2000, 2000))
        assert sweep(raw.storage, 2000 + GRACE).blobs == 0
        assert link.exists()
        os.utime(blob, (3000, 3000))
        assert sweep(raw.storage, 2001 + GRACE).blobs == 0, "the file is younger than its link"
        assert not link.exists()
        assert sweep(raw.storage, 3000 + GRACE).blobs == 0
        assert sweep(raw.storage, 3001 + GRACE).blobs == 1


async def test_what_an_index_names_stays_without_a_tag(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        first = await raw.push("a", "latest", LAYER)
        row = {"mediaType": MANIFEST, "digest": first, "size": 1}
        index = json.dumps({"schemaVersion": 2, "manifests": [row]}).encode()
        await raw.ask("PUT", "/v2/a/manifests/all", index, Content_Type=INDEX)
        lost = await raw.push("a", "latest", OTHER)
        await raw.push("a", "latest")
        sweep(raw.storage, time.time() + NEXT_DAY)
        assert (await raw.ask("GET", f"/v2/a/manifests/{first}")).status == 200
        assert (await raw.ask("GET", f"/v2/a/blobs/{digest_of(LAYER)}")).status == 200
        assert (await raw.ask("GET", f"/v2/a/manifests/{lost}")).status == 404


async def test_a_manifest_that_no_tag_ever_had_stays(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        await raw.push_blob("a", CONFIG)
        path = f"/v2/a/manifests/{digest_of(manifest())}"
        await raw.ask("PUT", path, manifest(), Content_Type=MANIFEST)
        sweep(raw.storage, time.time() + 10 * NEXT_DAY)
        assert (await raw.ask("GET", path)).status == 200


async def test_a_manifest_whose_file_is_lost_is_no_reason_to_stop(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        digest = await raw.push("a", "latest", LAYER)
        second = await raw.push("a", "latest", OTHER)
        raw.storage.blob(second.removeprefix("sha256:")).unlink()
        sweep(raw.storage, time.time() + NEXT_DAY)
        assert (await raw.ask("GET", f"/v2/a/manifests/{digest}")).status == 404
        assert raw.storage.all_repositories() == ["a"]


async def test_an_empty_repository_goes_and_not_those_beside_and_within_it(tmp_path: Path) -> None:
    async with registry(tmp_path) as raw:
        for name in ("a", "a/b", "a/b/c", "d/e"):
            await raw.push_blob(name, LAYER)
        await raw.push("a/b", "v1", LAYER)
        sweep(raw.storage, time.time() + LATER)
        assert raw.storage.all_repositories() == ["a/b"]
        assert [one.name for one in raw.storage.repositories.iterdir()] == ["a"]
        assert [one.name for one in (raw.storage.repositories / "a").iterdir()] == ["b"]

"""What the disk holds: blobs counted once, links of repositories, and room for more."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.addons.registry.world import CONFIG, LAYER, manifest
from tiphys.addons.registry.faults import Fault
from tiphys.addons.registry.manifests import read
from tiphys.addons.registry.storage import BLOCK, Storage

ABSENT = "0" * 64


def hexdigest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    made = Storage(tmp_path, 1 << 30)
    made.open()
    return made


def keep(storage: Storage, repository: str, *blobs: bytes) -> None:
    for blob in blobs:
        upload = storage.uploads / "upload"
        upload.write_bytes(blob)
        storage.keep_upload(upload, repository, hexdigest(blob))
        assert not upload.exists()


def push(storage: Storage, repository: str, tag: str, *layers: bytes, **more: Any) -> str:
    """An image; returns its digest in hexadecimal."""
    keep(storage, repository, CONFIG, *layers)
    data = manifest(*layers, **more)
    return storage.put_manifest(repository, data, read(data, ""), tag, "")


def untagged(storage: Storage, repository: str) -> list[str]:
    folder = storage.repositories / repository / "_untagged"
    return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


def code(work: Any, *given: Any) -> tuple[int, str]:
    with pytest.raises(Fault) as refused:
        work(*given)
    return refused.value.status, refused.value.code


def test_a_blob_takes_its_room_once_and_a_block_at_least(storage: Storage) -> None:
    keep(storage, "a", LAYER, b"tiny")
    keep(storage, "b", LAYER)
    assert storage.used == len(LAYER) + BLOCK
    again = Storage(storage.repositories.parent, 1)
    (storage.uploads / "of-a-former-process").touch()
    again.open()
    assert again.used == storage.used
    assert list(again.uploads.iterdir()) == []


def test_there_is_room_up_to_the_capacity(storage: Storage) -> None:
    storage.used = storage.capacity - 10
    storage.make_room(10)
    assert code(storage.make_room, 11) == (507, "DENIED")


def test_a_gibibyte_of_the_disk_is_left_to_others(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(free=(1 << 30) + 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    storage.make_room(10)
    assert code(storage.make_room, 11) == (507, "DENIED")


def test_a_repository_has_what_it_was_given(storage: Storage) -> None:
    keep(storage, "a", LAYER)
    digest = hexdigest(LAYER)
    assert (storage.has("a", digest), storage.has("b", digest)) == (True, False)
    assert storage.size(digest) == len(LAYER)
    assert storage.size(ABSENT) == -1
    assert storage.mount("b", ABSENT, "a") is False
    assert storage.mount("b", digest, "c") is False and not storage.has("b", digest)
    assert storage.mount("b", digest, "a") is True and storage.has("b", digest)
    storage.unlink_blob("a", digest)
    assert (storage.has("a", digest), storage.has("b", digest)) == (False, True)
    assert code(storage.unlink_blob, "a", digest) == (404, "BLOB_UNKNOWN")
    storage.blob(digest).unlink()
    assert not storage.has("b", digest), "a link to a file that is lost"


def test_a_manifest_has_the_digest_that_its_client_says(storage: Storage) -> None:
    keep(storage, "a", CONFIG)
    data = manifest()
    refused = code(storage.put_manifest, "a", data, read(data, ""), "", ABSENT)
    assert refused == (400, "DIGEST_INVALID")
    assert storage.manifests_of("a") == []
    made = storage.put_manifest("a", data, read(data, ""), "", hexdigest(data))
    assert made == hexdigest(data) and storage.manifests_of("a") == [made]
    assert storage.tags("a") == [], "nobody has named a tag"


def test_a_manifest_needs_room(storage: Storage) -> None:
    keep(storage, "a", CONFIG)
    storage.capacity = storage.used
    data = manifest()
    assert code(storage.put_manifest, "a", data, read(data, ""), "v1", "") == (507, "DENIED")


def test_an_index_names_manifests_of_its_own_repository(storage: Storage) -> None:
    part = push(storage, "b", "v1")
    row = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1}
    index = {"schemaVersion": 2, "manifests": [{**row, "digest": f"sha256:{part}"}]}
    data = json.dumps(index).encode()
    refused = code(storage.put_manifest, "a", data, read(data, ""), "all", "")
    assert refused == (404, "MANIFEST_UNKNOWN")
    assert storage.put_manifest("b", data, read(data, ""), "all", "") == hexdigest(data)


def test_a_manifest_has_lost_its_last_tag_or_not(storage: Storage) -> None:
    first = push(storage, "a", "v1", LAYER)
    push(storage, "a", "latest", LAYER)
    assert untagged(storage, "a") == []
    second = push(storage, "a", "latest")
    assert storage.tagged("a", "latest") == second
    assert untagged(storage, "a") == [], "v1 stands for the first one still"
    storage.delete_tag("a", "v1")
    assert untagged(storage, "a") == [first]
    push(storage, "a", "latest")
    assert untagged(storage, "a") == [first], "a tag that stays where it is loses nobody"
    push(storage, "a", "v2", LAYER)
    assert untagged(storage, "a") == []
    assert storage.tagged_manifests("a") == {first, second}


def test_an_image_goes_with_its_own_tags(storage: Storage) -> None:
    first = push(storage, "a", "v1", LAYER)
    push(storage, "a", "v1-again", LAYER)
    push(storage, "a", "v2")
    storage.delete_manifest("a", first)
    assert storage.tags("a") == ["v2"]
    assert code(storage.manifest, "a", first) == (404, "MANIFEST_UNKNOWN")
    assert code(storage.delete_manifest, "a", first) == (404, "MANIFEST_UNKNOWN")
    assert code(storage.delete_tag, "a", "v1") == (404, "MANIFEST_UNKNOWN")


def test_an_image_that_goes_is_no_longer_untagged(storage: Storage) -> None:
    first = push(storage, "a", "latest", LAYER)
    push(storage, "a", "latest")
    storage.delete_manifest("a", first)
    assert untagged(storage, "a") == []


def test_what_is_about_an_image_is_listed_while_it_is_there(storage: Storage) -> None:
    image = push(storage, "a", "v1", LAYER)
    row = {"mediaType": "m", "digest": f"sha256:{image}", "size": 1}
    about = push(storage, "a", "", subject=row)
    push(storage, "a", "v2", LAYER, LAYER[:5])
    assert [one["digest"] for one in storage.referrers("a", image)] == [f"sha256:{about}"]
    assert storage.referrers("b", image) == []
    storage.delete_manifest("a", about)
    assert storage.referrers("a", image) == []


def test_repositories_that_have_images_are_listed_also_within_each_other(storage: Storage) -> None:
    push(storage, "b/c", "v1")
    push(storage, "b", "v1")
    keep(storage, "a", LAYER)
    assert storage.catalog() == ["b", "b/c"]
    assert sorted(storage.all_repositories()) == ["a", "b", "b/c"]
    assert storage.tags("b") == ["v1"]
    assert code(storage.tags, "a") == (404, "NAME_UNKNOWN")


def test_what_is_half_written_is_no_tag(storage: Storage) -> None:
    digest = push(storage, "a", "v1")
    (storage.repositories / "a" / "_tags" / "-1-2").write_bytes(b"")
    assert storage.tags("a") == ["v1"]
    assert storage.tagged_manifests("a") == {digest}

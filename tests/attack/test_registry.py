"""The registry, attacked by who may write to it, and by who may not."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.addons.registry.world import CONFIG, LAYER, MANIFEST, Raw, descriptor, manifest, registry
from tiphys.addons.registry import manifests, uploads
from tiphys.addons.registry.faults import Fault

_LONGEST_TURN = 0.05  # seconds of processor time


@pytest.fixture
async def raw(tmp_path: Path) -> AsyncIterator[Raw]:
    (tmp_path / "outside").write_text("nobody's business")
    async with registry(tmp_path / "registry") as made:
        yield made


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../../outside/blobs/uploads/",
        "/v2/..%2f..%2foutside/tags/list",
        "/v2/a/manifests/..%2f..%2f..%2foutside",
        "/v2/a/manifests/%2e%2e",
        "/v2/a/blobs/sha256:..%2f..%2foutside",
        "/v2/a/blobs/uploads/..%2f..%2foutside",
        "/v2/a/_tags/../../manifests/v1",
        "/v2/_uploads/x/manifests/v1",
        "/v2/a%00/tags/list",
        "/v2/" + "a/" * 200 + "tags/list",
    ],
)
async def test_no_path_leads_out_of_the_registry(raw: Raw, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "POST"):
        answer = await raw.ask(method, path, b"x")
        assert answer.status in (400, 404, 405), (method, answer.status)
        assert b"business" not in answer.body
    assert {one.name for one in raw.storage.repositories.iterdir()} == set()


async def test_uploads_that_nobody_ends_are_few(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST", 3)
    sessions = [await raw.ask("POST", "/v2/a/blobs/uploads/") for _ in range(4)]
    assert [one.status for one in sessions] == [202, 202, 202, 429]
    assert sessions[3].headers["Retry-After"]
    await raw.ask("DELETE", sessions[0].location)
    assert (await raw.ask("POST", "/v2/a/blobs/uploads/")).status == 202


async def test_a_blob_of_another_repository_is_not_read(raw: Raw) -> None:
    await raw.push_blob("secret", LAYER)
    digest = descriptor(LAYER)["digest"]
    assert (await raw.ask("GET", f"/v2/open/blobs/{digest}")).status == 404
    await raw.push_blob("open", CONFIG)
    stolen = await raw.ask("PUT", "/v2/open/manifests/v1", manifest(LAYER), Content_Type=MANIFEST)
    assert stolen.code == "MANIFEST_BLOB_UNKNOWN"


def annotated() -> bytes:
    words = ",".join(f'"{number:x}":"1"' for number in range(250_000))
    return manifest()[:-1] + b',"annotations":{' + words.encode() + b"}}"


def nested() -> bytes:
    return b'{"schemaVersion":2,"x":' + b"[" * (2 << 20)


def numbers() -> bytes:
    return b'{"schemaVersion":2,"x":[' + b"1," * (2 << 20) + b"1]}"


@pytest.mark.parametrize("document", [annotated, nested, numbers])
def test_a_manifest_is_read_in_a_short_turn(document: Callable[[], bytes]) -> None:
    data = document()

    def turn() -> float:
        started = time.thread_time()
        try:
            manifests.read(data, MANIFEST)
        except Fault:
            pass
        return time.thread_time() - started

    assert min(turn() for _ in range(3)) < _LONGEST_TURN


async def test_annotations_that_are_shown_are_bounded(raw: Raw) -> None:
    image = await raw.push("a", "v1", LAYER)
    about = {"mediaType": MANIFEST, "digest": image, "size": 1}
    large = manifest(subject=about, annotations={"a": "b" * (64 << 10)})
    put = await raw.ask("PUT", "/v2/a/manifests/v2", large, Content_Type=MANIFEST)
    assert (put.status, put.code) == (400, "MANIFEST_INVALID")
    listed = await raw.ask("GET", f"/v2/a/referrers/{image}")
    assert json.loads(listed.body)["manifests"] == []

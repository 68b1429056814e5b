"""The OCI distribution specification, in the order in which its conformance tests go: pull, push,
discover, manage. By a client that speaks HTTP and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from yarl import URL

from tests.addons.registry.world import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    Raw,
    descriptor,
    digest_of,
    manifest,
    registry,
)
from tiphys.addons.registry import serving


@pytest.fixture
async def raw(tmp_path: Path) -> AsyncIterator[Raw]:
    async with registry(tmp_path) as made:
        yield made


# --- pull ---


async def test_an_image_is_pulled_as_it_was_pushed(raw: Raw) -> None:
    digest = await raw.push("team/app", "v1", LAYER)
    by_tag = await raw.ask("GET", "/v2/team/app/manifests/v1")
    assert (by_tag.status, by_tag.headers["Content-Type"]) == (200, MANIFEST)
    assert by_tag.headers["Docker-Content-Digest"] == digest == digest_of(by_tag.body)
    by_digest = await raw.ask("GET", f"/v2/team/app/manifests/{digest}")
    assert by_digest.body == by_tag.body
    layer = await raw.ask("GET", f"/v2/team/app/blobs/{digest_of(LAYER)}")
    assert layer.body == LAYER
    head = await raw.ask("HEAD", f"/v2/team/app/blobs/{digest_of(LAYER)}")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(LAYER)))
    part = await raw.ask("GET", f"/v2/team/app/blobs/{digest_of(LAYER)}", Range="bytes=5-9")
    assert (part.status, part.body) == (206, LAYER[5:10])


async def test_docker_hubs_own_images_are_found_by_the_names_that_docker_pushes(raw: Raw) -> None:
    path = "/v2/library/redis/manifests/7?ns=docker.io"
    short = await raw.push("redis", "7", LAYER)
    assert digest_of((await raw.ask("GET", path)).body) == short
    blob = f"/v2/library/redis/blobs/{digest_of(LAYER)}"
    assert (await raw.ask("GET", f"{blob}?ns=docker.io")).body == LAYER
    assert (await raw.ask("GET", f"{blob}?ns=quay.io")).status == 404
    whole = await raw.push("library/redis", "7")
    assert digest_of((await raw.ask("GET", path)).body) == whole


@pytest.mark.parametrize(
    "path,status,code",
    [
        (f"/v2/a/blobs/sha256:{'0' * 64}", 404, "BLOB_UNKNOWN"),
        ("/v2/a/blobs/sha256:0", 400, "DIGEST_INVALID"),
        (f"/v2/a/manifests/sha256:{'0' * 64}", 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/.INVALID_MANIFEST_NAME", 400, "TAG_INVALID"),
        ("/v2/a/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/A/tags/list", 400, "NAME_INVALID"),
        ("/v2/a/what/else", 404, "UNSUPPORTED"),
        ("/v1/search", 404, "UNSUPPORTED"),
    ],
)
async def test_what_is_not_there_is_answered_as_specified(
    raw: Raw, path: str, status: int, code: str
) -> None:
    answer = await raw.ask("GET", path)
    assert (answer.status, answer.code) == (status, code)


# --- push ---


async def test_a_blob_is_pushed_by_post_then_put(raw: Raw) -> None:
    begun = await raw.ask("POST", "/v2/a/blobs/uploads/")
    assert begun.status == 202
    ended = await raw.ask("PUT", f"{begun.location}?digest={digest_of(LAYER)}", LAYER)
    assert (ended.status, ended.location) == (201, f"/v2/a/blobs/{digest_of(LAYER)}")
    assert (await raw.ask("GET", ended.location)).body == LAYER


async def test_a_blob_is_pushed_in_chunks_in_their_order_alone(raw: Raw) -> None:
    first, second = LAYER[:5000], LAYER[5000:]
    session = (await raw.ask("POST", "/v2/a/blobs/uploads/", Content_Length="0")).location
    early = await raw.ask("PATCH", session, second, Content_Range=f"5000-{len(LAYER) - 1}")
    assert (early.status, early.headers["Range"]) == (416, "0-0")
    patched = await raw.ask("PATCH", session, first, Content_Range="0-4999")
    assert (patched.status, patched.headers["Range"]) == (202, "0-4999")
    again = await raw.ask("PATCH", session, first, Content_Range="0-4999")
    assert again.status == 416
    state = await raw.ask("GET", patched.location)
    assert (state.status, state.headers["Range"]) == (204, "0-4999")
    last = f"5000-{len(LAYER) - 1}"
    assert (await raw.ask("PATCH", session, second, Content_Range=last)).status == 202
    ended = await raw.ask("PUT", f"{session}?digest={digest_of(LAYER)}")
    assert (await raw.ask("GET", ended.location)).body == LAYER


async def test_an_upload_goes_on_where_its_connection_broke(raw: Raw) -> None:
    session = (await raw.ask("POST", "/v2/a/blobs/uploads/")).location
    _, connection = await asyncio.open_connection("127.0.0.1", URL(raw.url).port)
    head = f"PATCH {session} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(LAYER)}\r\n\r\n"
    connection.write(head.encode() + LAYER[:6000])
    await connection.drain()
    connection.close()
    # Until the registry has heard that its client is gone.
    while (await raw.ask("GET", session)).headers["Range"] != "0-5999":
        pass
    rest = await raw.ask("PATCH", session, LAYER[6000:], Content_Range=f"6000-{len(LAYER) - 1}")
    assert rest.status == 202
    ended = await raw.ask("PUT", f"{session}?digest={digest_of(LAYER)}")
    assert (await raw.ask("GET", ended.location)).body == LAYER


async def test_content_that_is_not_what_its_digest_says_is_refused(raw: Raw) -> None:
    whole = await raw.ask("POST", f"/v2/a/blobs/uploads/?digest={digest_of(LAYER)}", LAYER + b"!")
    assert (whole.status, whole.code) == (400, "DIGEST_INVALID")
    session = (await raw.ask("POST", "/v2/a/blobs/uploads/")).location
    ended = await raw.ask("PUT", f"{session}?digest={digest_of(LAYER)}", b"other")
    assert (ended.status, ended.code) == (400, "DIGEST_INVALID")
    body = manifest()
    await raw.push_blob("a", CONFIG)
    path = f"/v2/a/manifests/{digest_of(LAYER)}"
    named = await raw.ask("PUT", path, body, Content_Type=MANIFEST)
    assert (named.status, named.code) == (400, "DIGEST_INVALID")
    assert (await raw.ask("HEAD", f"/v2/a/blobs/{digest_of(LAYER)}")).status == 404
    assert list(raw.storage.uploads.iterdir()) == []


async def test_a_blob_is_mounted_from_another_repository(raw: Raw) -> None:
    await raw.push_blob("a", LAYER)
    path = f"/v2/b/blobs/uploads/?mount={digest_of(LAYER)}"
    mounted = await raw.ask("POST", f"{path}&from=a")
    assert (mounted.status, mounted.location) == (201, f"/v2/b/blobs/{digest_of(LAYER)}")
    assert (await raw.ask("GET", mounted.location)).body == LAYER
    # What the other one does not have is uploaded as usual, and so is what no other one is named
    # for.
    assert (await raw.ask("POST", f"{path.replace('/b/', '/c/')}&from=none")).status == 202
    assert (await raw.ask("POST", path.replace("/b/", "/c/"))).status == 202


async def test_a_manifest_names_only_what_is_there(raw: Raw) -> None:
    await raw.push_blob("a", CONFIG)
    put = await raw.ask("PUT", "/v2/a/manifests/v1", manifest(LAYER), Content_Type=MANIFEST)
    assert (put.status, put.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    index = json.dumps({"schemaVersion": 2, "manifests": [descriptor(b"x", MANIFEST)]}).encode()
    put = await raw.ask("PUT", "/v2/a/manifests/all", index, Content_Type=INDEX)
    assert (put.status, put.code) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize(
    "body,kind",
    [
        (b"{", MANIFEST),
        (b"[" * 100_000, MANIFEST),
        (b'{"schemaVersion": 1}', MANIFEST),
        (manifest(), INDEX),
        (manifest(), "text/plain"),
        (b'{"schemaVersion": 2, "manifests": 5}', INDEX),
    ],
)
async def test_what_is_no_manifest_is_refused(raw: Raw, body: bytes, kind: str) -> None:
    await raw.push_blob("a", CONFIG)
    put = await raw.ask("PUT", "/v2/a/manifests/v1", body, Content_Type=kind)
    assert (put.status, put.code) == (400, "MANIFEST_INVALID")


async def test_a_manifest_is_at_most_four_mebibytes(raw: Raw) -> None:
    put = await raw.ask("PUT", "/v2/a/manifests/v1", b" " * (4 << 20) + manifest())
    assert (put.status, put.code) == (413, "SIZE_INVALID")


# --- discovery ---


async def test_tags_and_repositories_are_listed_in_pages(raw: Raw) -> None:
    for tag in ("v3", "v1", "v2"):
        await raw.push("a/b", tag, LAYER)
    await raw.push("a", "v1", LAYER)
    first = await raw.ask("GET", "/v2/a/b/tags/list?n=2")
    assert json.loads(first.body) == {"name": "a/b", "tags": ["v1", "v2"]}
    following = first.headers["Link"].partition(">")[0][1:]
    assert json.loads((await raw.ask("GET", following)).body)["tags"] == ["v3"]
    assert json.loads((await raw.ask("GET", "/v2/a/b/tags/list?n=0")).body)["tags"] == []
    assert json.loads((await raw.ask("GET", "/v2/_catalog")).body)["repositories"] == ["a", "a/b"]
    wrong = await raw.ask("GET", "/v2/a/b/tags/list?n=-1")
    assert (wrong.status, wrong.code) == (400, "PAGINATION_NUMBER_INVALID")


async def test_what_is_about_an_image_is_found_by_it(raw: Raw) -> None:
    image = await raw.push("a", "v1", LAYER)
    about = {"mediaType": MANIFEST, "digest": image, "size": 1}
    signature = manifest(LAYER, subject=about, artifactType="example/signature")
    path = f"/v2/a/manifests/{digest_of(signature)}"
    put = await raw.ask("PUT", path, signature, Content_Type=MANIFEST)
    assert put.headers["OCI-Subject"] == image
    listed = await raw.ask("GET", f"/v2/a/referrers/{image}?artifactType=example/signature")
    assert listed.headers["OCI-Filters-Applied"] == "artifactType"
    (row,) = json.loads(listed.body)["manifests"]
    assert (row["digest"], row["artifactType"]) == (digest_of(signature), "example/signature")
    others = await raw.ask("GET", f"/v2/a/referrers/{image}?artifactType=other")
    assert json.loads(others.body)["manifests"] == []
    await raw.ask("DELETE", path)
    left = await raw.ask("GET", f"/v2/a/referrers/{image}")
    assert json.loads(left.body)["manifests"] == []


# --- management ---


async def test_a_tag_goes_without_its_image_and_an_image_with_its_tags(raw: Raw) -> None:
    digest = await raw.push("a", "v1", LAYER)
    await raw.push("a", "v2", LAYER)
    assert (await raw.ask("DELETE", "/v2/a/manifests/v1")).status == 202
    assert (await raw.ask("GET", "/v2/a/manifests/v1")).status == 404
    assert (await raw.ask("GET", f"/v2/a/manifests/{digest}")).status == 200
    assert (await raw.ask("DELETE", f"/v2/a/manifests/{digest}")).status == 202
    assert (await raw.ask("GET", "/v2/a/manifests/v2")).status == 404
    assert json.loads((await raw.ask("GET", "/v2/a/tags/list")).body)["tags"] == []
    layer = f"/v2/a/blobs/{digest_of(LAYER)}"
    assert (await raw.ask("DELETE", layer)).status == 202
    assert (await raw.ask("DELETE", layer)).status == 404


async def test_an_upload_is_given_up(raw: Raw) -> None:
    session = (await raw.ask("POST", "/v2/a/blobs/uploads/")).location
    assert (await raw.ask("DELETE", session)).status == 204
    assert (await raw.ask("PATCH", session, b"x")).status == 404


# --- what is refused, and what the disk says ---


@pytest.mark.parametrize(
    "method,path,allowed",
    [
        ("POST", "/v2/", "GET"),
        ("DELETE", "/v2/_catalog", "GET"),
        ("PUT", "/v2/a/tags/list", "GET"),
        ("PUT", f"/v2/a/referrers/{digest_of(LAYER)}", "GET"),
        ("PUT", f"/v2/a/blobs/{digest_of(LAYER)}", "GET, DELETE"),
        ("PATCH", "/v2/a/manifests/v1", "GET, PUT, DELETE"),
        ("GET", "/v2/a/blobs/uploads/", "POST"),
        ("HEAD", "/v2/a/blobs/uploads/", "POST"),
        ("POST", "/v2/a/blobs/uploads/x", "GET, PATCH, PUT, DELETE"),
    ],
)
async def test_what_cannot_be_done_says_what_can(
    raw: Raw, method: str, path: str, allowed: str
) -> None:
    answer = await raw.ask(method, path)
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)
    assert method == "HEAD" or answer.code == "UNSUPPORTED"


@pytest.mark.parametrize(
    "said,status,code",
    [
        ("0-4", 202, ""),
        ("bytes 0-4", 202, ""),
        ("bytes 0-4/10", 202, ""),
        (f"0-4/{'0' * 60}", 202, ""),
        (f"0-4/{'0' * 61}", 400, "BLOB_UPLOAD_INVALID"),
        ("5", 400, "BLOB_UPLOAD_INVALID"),
        ("-4", 400, "BLOB_UPLOAD_INVALID"),
        ("0-", 400, "BLOB_UPLOAD_INVALID"),
        ("a-b", 400, "BLOB_UPLOAD_INVALID"),
        ("0-b", 400, "BLOB_UPLOAD_INVALID"),
        ("1-5", 416, "BLOB_UPLOAD_INVALID"),
        ("0-3", 400, "SIZE_INVALID"),
        ("0-5", 400, "SIZE_INVALID"),
    ],
)
async def test_a_piece_says_where_it_belongs(raw: Raw, said: str, status: int, code: str) -> None:
    session = (await raw.ask("POST", "/v2/a/blobs/uploads/")).location
    answer = await raw.ask("PATCH", session, b"01234", Content_Range=said)
    assert (answer.status, answer.code if code else "") == (status, code)
    state = await raw.ask("GET", session)
    assert state.headers["Range"] == ("0-4" if status == 202 else "0-0")


async def test_a_range_ends_no_earlier_than_it_begins(raw: Raw) -> None:
    session = (await raw.ask("POST", "/v2/a/blobs/uploads/")).location
    await raw.ask("PATCH", session, b"01234")
    for said, status in (("5-4", 416), ("5-5", 202), ("6-9", 202)):

        async def chunked(said: str = said) -> AsyncIterator[bytes]:
            yield said.encode()[:1] if said == "5-5" else b"6789"

        answer = await raw.ask("PATCH", session, chunked(), Content_Range=said)
        assert answer.status == status, said
    assert answer.headers["Range"] == "0-9"
    assert answer.headers["Docker-Upload-UUID"] == session.rpartition("/")[2]


async def test_docker_hubs_names_have_one_part_behind_library(raw: Raw) -> None:
    for name in ("redis", "a/b"):
        await raw.push(name, "1")
    for path, status in (
        ("library/redis", 200),
        ("library/a/b", 404),
        ("other/redis", 404),
        ("redis", 200),
    ):
        answer = await raw.ask("GET", f"/v2/{path}/manifests/1?ns=docker.io")
        assert answer.status == status, path


async def test_a_disk_that_fails_is_a_fault_of_the_registry(raw: Raw) -> None:
    await raw.push_blob("a", CONFIG)
    raw.storage.uploads.rmdir()
    put = await raw.ask("PUT", "/v2/a/manifests/v1", manifest(), Content_Type=MANIFEST)
    assert (put.status, put.code) == (500, "UNKNOWN")


async def test_a_body_that_does_not_come_ends_and_its_session_does_not(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = (await raw.ask("POST", "/v2/a/blobs/uploads/")).location

    async def endless() -> AsyncIterator[bytes]:
        yield b"012"
        await asyncio.Event().wait()

    monkeypatch.setattr(serving, "_PATIENCE", 0.02)
    late = await raw.ask("PATCH", session, endless())
    assert (late.status, late.code) == (408, "BLOB_UPLOAD_INVALID")
    monkeypatch.setattr(serving, "_PATIENCE", 60.0)
    monkeypatch.setattr(serving, "_LONGEST", 0.02)
    late = await raw.ask("PATCH", session, endless())
    assert (late.status, late.code) == (408, "UNSUPPORTED")
    monkeypatch.setattr(serving, "_LONGEST", 60.0)
    assert (await raw.ask("GET", session)).headers["Range"] == "0-5"


async def test_what_was_uploaded_at_once_leaves_no_session(raw: Raw) -> None:
    await raw.push_blob("a", LAYER)
    assert list(raw.storage.uploads.iterdir()) == []
    for digest in ("", "sha256:0"):
        begun = await raw.ask("POST", f"/v2/a/blobs/uploads/?digest={digest}", b"x")
        assert (begun.status, begun.code) == (400, "DIGEST_INVALID")
        session = (await raw.ask("POST", "/v2/a/blobs/uploads/")).location
        ended = await raw.ask("PUT", f"{session}?digest={digest}", b"x")
        assert (ended.status, ended.code) == (400, "DIGEST_INVALID")
        assert (await raw.ask("DELETE", session)).status == 204, "it may be ended rightly still"
    assert list(raw.storage.uploads.iterdir()) == []


async def test_a_manifest_of_just_four_mebibytes_is_read(raw: Raw) -> None:
    await raw.push_blob("a", CONFIG)
    body = manifest()
    largest = b" " * ((4 << 20) - len(body)) + body
    put = await raw.ask("PUT", "/v2/a/manifests/v1", largest, Content_Type=MANIFEST)
    assert (put.status, put.headers["Docker-Content-Digest"]) == (201, digest_of(largest))
    assert "OCI-Subject" not in put.headers
    got = await raw.ask("GET", "/v2/a/manifests/v1")
    assert got.headers["ETag"] == f'"{digest_of(largest)}"'

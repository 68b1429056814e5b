"""What paths of the distribution API are about."""

from __future__ import annotations

import pytest

from tiphys.addons.registry.faults import Fault
from tiphys.addons.registry.naming import Target, digest, is_digest, tag, target_of


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v2", Target("api")),
        ("/v2/", Target("api")),
        ("/v2/_catalog", Target("catalog")),
        ("/v2/a/b/manifests/latest", Target("manifests", "a/b", "latest")),
        ("/v2/a/blobs/uploads", Target("uploads", "a")),
        ("/v2/a/blobs/uploads/", Target("uploads", "a")),
        ("/v2/a/blobs/uploads/session", Target("uploads", "a", "session")),
        ("/v2/a/tags/list", Target("tags", "a", "list")),
    ],
)
def test_a_path_has_a_target(path: str, target: Target) -> None:
    assert target_of(path) == target


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/a/tags/list", 404),
        ("/v2/tags/list", 404),
        ("/v2/a/tags/all", 404),
        ("/v2/a/layers/x", 404),
        ("/v2/A/manifests/latest", 400),
        (f"/v2/{'a' * 256}/manifests/latest", 400),
    ],
)
def test_or_none(path: str, status: int) -> None:
    with pytest.raises(Fault) as refused:
        target_of(path)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (f"/v2/{'a' * 255}/tags/list", Target("tags", "a" * 255, "list")),
        ("/v2/a/blobs/sha256:0", Target("blobs", "a", "sha256:0")),
        ("/v2/a/referrers/x", Target("referrers", "a", "x")),
        ("/v2/blobs/uploads/blobs/uploads", Target("uploads", "blobs/uploads")),
        ("/v2/tags/tags/list", Target("tags", "tags", "list")),
        ("/v2/a/manifests/list", Target("manifests", "a", "list")),
    ],
)
def test_names_may_be_long_and_look_like_kinds(path: str, target: Target) -> None:
    assert target_of(path) == target


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/a/blobs/uploads/x/y", 404, "UNSUPPORTED"),
        ("/v2/blobs/uploads/", 404, "UNSUPPORTED"),
        ("/v2//blobs/uploads/", 400, "NAME_INVALID"),
        ("/v2/A/blobs/uploads", 400, "NAME_INVALID"),
        ("/v2x", 404, "UNSUPPORTED"),
        ("/v2/_catalog/", 404, "UNSUPPORTED"),
    ],
)
def test_a_path_that_is_nearly_one_is_none(path: str, status: int, code: str) -> None:
    with pytest.raises(Fault) as refused:
        target_of(path)
    assert (refused.value.status, refused.value.code) == (status, code)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("v1", True),
        ("_v", True),
        ("V1.0-rc_2", True),
        ("t" * 128, True),
        ("t" * 129, False),
        ("", False),
        (".v", False),
        ("-v", False),
        ("a/b", False),
    ],
)
def test_a_tag_has_128_characters_at_most(text: str, is_one: bool) -> None:
    if is_one:
        assert tag(text) == text
        return
    with pytest.raises(Fault) as refused:
        tag(text)
    assert refused.value.detail == {"tag": text[:128]}
    assert (refused.value.status, refused.value.code) == (400, "TAG_INVALID")


@pytest.mark.parametrize("text", ["0" * 64, f"sha256:{'0' * 63}", f"sha256:{'A' * 64}", "sha512:0"])
def test_digests_are_of_one_kind(text: str) -> None:
    with pytest.raises(Fault) as refused:
        digest(text)
    assert (refused.value.status, refused.value.code) == (400, "DIGEST_INVALID")
    assert digest(f"sha256:{'a0' * 32}") == "a0" * 32
    assert (is_digest(text), is_digest("v1")) == (":" in text, False)

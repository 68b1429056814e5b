"""What is an image, what is an index, and what is neither (OCI image specification 1.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.addons.registry.world import CONFIG, INDEX, LAYER, MANIFEST, descriptor, digest_of
from tiphys.addons.registry.faults import Fault
from tiphys.addons.registry.manifests import read, referrer

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIGURED = {"config": descriptor(CONFIG, "example/config")}
LARGEST = (64 << 10) - len('{"k":""}')
"""Characters of the one annotation that just fits."""


def document(**more: Any) -> bytes:
    """With whatever it is made of; None leaves a field out."""
    whole = {"schemaVersion": 2, **more}
    kept = {name: value for name, value in whole.items() if value is not None}
    return json.dumps(kept, separators=(",", ":")).encode()


def fault(data: bytes, media_type: str = "") -> str:
    with pytest.raises(Fault) as refused:
        read(data, media_type)
    assert (refused.value.status, refused.value.code) == (400, "MANIFEST_INVALID")
    return str(refused.value)


@pytest.mark.parametrize(
    "asked, said, has_config, kind",
    [
        (MANIFEST, "", True, MANIFEST),
        (f"{MANIFEST}; charset=utf-8", "", True, MANIFEST),
        (MANIFEST, MANIFEST, True, MANIFEST),
        ("", DOCKER, True, DOCKER),
        ("", "", True, MANIFEST),
        ("", "", False, INDEX),
        (DOCKER_LIST, "", False, DOCKER_LIST),
        ("", DOCKER_LIST, False, DOCKER_LIST),
    ],
)
def test_the_request_says_the_kind_or_the_manifest_or_what_it_has(
    asked: str, said: str, has_config: bool, kind: str
) -> None:
    made = document(mediaType=said or None, **(CONFIGURED if has_config else {}))
    assert read(made, asked).media_type == kind


@pytest.mark.parametrize(
    "made, asked, text",
    [
        (document(schemaVersion=1), "", "is not a kind of manifest that is kept here"),
        (document(schemaVersion=3, **CONFIGURED), MANIFEST, "is not a kind"),
        (document(**CONFIGURED), "text/plain", "text/plain is not a kind"),
        (document(mediaType=DOCKER, **CONFIGURED), MANIFEST, f"the request says {MANIFEST}"),
        (document(), MANIFEST, "an image has a config, an index has none"),
        (document(), DOCKER, "an image has a config, an index has none"),
        (document(**CONFIGURED), INDEX, "an image has a config, an index has none"),
        (document(**CONFIGURED), DOCKER_LIST, "an image has a config, an index has none"),
        (document(config={**descriptor(CONFIG), "size": -1}), "", "size"),
        (b"[]", "", "object"),
    ],
)
def test_what_is_neither_image_nor_index_says_why(made: bytes, asked: str, text: str) -> None:
    assert text in fault(made, asked)


def test_an_image_needs_its_blobs_once_each_but_for_those_that_nobody_hosts() -> None:
    foreign = [
        descriptor(b"1", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        descriptor(b"2", "application/vnd.oci.image.layer.nondistributable.v1.tar"),
    ]
    layers = [descriptor(LAYER), *foreign, descriptor(LAYER)]
    found = read(document(layers=layers, **CONFIGURED), "")
    wanted = [digest_of(CONFIG), digest_of(LAYER)]
    assert [f"sha256:{one}" for one in found.blobs] == wanted
    assert (found.manifests, found.subject) == ([], "")


def test_an_index_needs_its_manifests() -> None:
    rows = [descriptor(b"1", MANIFEST), descriptor(b"2", MANIFEST), descriptor(b"1", MANIFEST)]
    found = read(document(manifests=rows), INDEX)
    assert [f"sha256:{one}" for one in found.manifests] == [digest_of(b"1"), digest_of(b"2")]
    assert found.blobs == []


@pytest.mark.parametrize(
    "said, config, shown",
    [
        ("example/sbom", "example/config", "example/sbom"),
        (None, "example/config", "example/config"),
        ("example/sbom", None, "example/sbom"),
        (None, None, None),
    ],
)
def test_a_referrer_is_of_its_artifacts_type_or_its_configs(
    said: str | None, config: str | None, shown: str | None
) -> None:
    """The specification: where `artifactType` is empty, the media type of the config."""
    made = document(
        artifactType=said,
        config=descriptor(CONFIG, config) if config else None,
        subject=descriptor(LAYER, MANIFEST),
        annotations={"by": "me"},
    )
    row = referrer(made, "0" * 64, read(made, ""))
    assert row.get("artifactType") == shown
    assert row["annotations"] == {"by": "me"}
    assert (row["digest"], row["size"]) == (f"sha256:{'0' * 64}", len(made))


def test_what_it_is_not_about_anything_shows_no_annotations() -> None:
    found = read(document(annotations={"by": "me"}, **CONFIGURED), "")
    assert (found.subject, found.annotations) == ("", {})
    odd = document(annotations={"by": 5}, **CONFIGURED)
    assert read(odd, "").annotations == {}, "nobody reads them"
    bare = document(subject=descriptor(LAYER, MANIFEST), **CONFIGURED)
    assert "annotations" not in referrer(bare, "0" * 64, read(bare, ""))


def test_annotations_that_are_shown_are_short_texts() -> None:
    def about(value: Any) -> bytes:
        subject = descriptor(LAYER, MANIFEST)
        return document(subject=subject, annotations={"k": value}, **CONFIGURED)

    assert read(about("x" * LARGEST), "").annotations == {"k": "x" * LARGEST}
    assert fault(about("x" * (LARGEST + 1))) == "annotations have at most 65536 bytes here"
    assert fault(about(5)).startswith("annotations: ")

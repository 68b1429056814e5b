"""What an image consists of: its manifest, or an index of several. Pure."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tiphys.addons.registry import naming
from tiphys.addons.registry.faults import Fault

MOST = 4 << 20  # bytes, as other registries have it
INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_TYPES = (INDEX, _MANIFEST, _DOCKER, _DOCKER_LIST)
_MOST_ANNOTATIONS = 64 << 10  # bytes, of a manifest that the referrers API shows
_ELSEWHERE = ("nondistributable", "foreign")  # in the types of layers that no registry holds


class Descriptor(msgspec.Struct, rename="camel"):
    """What points to a blob or a manifest."""

    media_type: str
    digest: str
    size: Annotated[int, Meta(ge=0)]
    artifact_type: str = ""


class _Document(msgspec.Struct, rename="camel"):
    schema_version: int
    media_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] = []
    manifests: list[Descriptor] = []
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: msgspec.Raw = msgspec.Raw()  # read only where they are shown


class Manifest(msgspec.Struct):
    """`blobs` and `manifests`: hexadecimal digests that must be in the repository; `subject`: of
    the manifest that it is about, "" for none; `artifact_type`: what the referrers API shows."""

    media_type: str
    blobs: list[str] = []
    manifests: list[str] = []
    subject: str = ""
    artifact_type: str = ""
    annotations: dict[str, str] = {}


def read(data: bytes, media_type: str) -> Manifest:
    """`media_type` is that of the request, "" where it has none. Raises Fault."""
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _invalid(str(error)) from None
    media_type = media_type.partition(";")[0].strip() or document.media_type
    if not media_type:
        media_type = _MANIFEST if document.config is not None else INDEX
    if document.schema_version != 2 or media_type not in _TYPES:
        raise _invalid(f"{media_type or 'schema 1'} is not a kind of manifest that is kept here")
    if document.media_type not in ("", media_type):
        raise _invalid(f"the request says {media_type}, the manifest {document.media_type}")
    is_index = media_type in (INDEX, _DOCKER_LIST)
    if is_index == (document.config is not None):
        raise _invalid("an image has a config, an index has none")
    return _manifest(document, media_type)


def _manifest(document: _Document, media_type: str) -> Manifest:
    config = document.config
    descriptors = ([config] if config is not None else []) + document.layers
    kept = (one for one in descriptors if not any(word in one.media_type for word in _ELSEWHERE))
    return Manifest(
        media_type,
        list(dict.fromkeys(naming.digest(one.digest) for one in kept)),
        list(dict.fromkeys(naming.digest(one.digest) for one in document.manifests)),
        naming.digest(document.subject.digest) if document.subject is not None else "",
        document.artifact_type or (config.media_type if config is not None else ""),
        _annotations(document),
    )


def _annotations(document: _Document) -> dict[str, str]:
    """Those that the referrers API shows. Raises Fault."""
    if document.subject is None or not document.annotations:
        return {}
    if len(document.annotations) > _MOST_ANNOTATIONS:
        raise _invalid(f"annotations have at most {_MOST_ANNOTATIONS} bytes here")
    try:
        return msgspec.json.decode(document.annotations, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise _invalid(f"annotations: {error}") from None


def referrer(data: bytes, hexdigest: str, manifest: Manifest) -> dict[str, Any]:
    """The descriptor by which the referrers API shows a manifest."""
    shown: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": f"sha256:{hexdigest}",
        "size": len(data),
    }
    if manifest.artifact_type:
        shown["artifactType"] = manifest.artifact_type
    if manifest.annotations:
        shown["annotations"] = manifest.annotations
    return shown


def _invalid(message: str) -> Fault:
    return Fault(400, "MANIFEST_INVALID", message)

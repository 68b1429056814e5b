"""Lists in every shape and form, and the tokens that their pages go on with."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from aiohttp import web

from tiphys.api.base import decode, from_builtins
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import ListMeta, PartialObjectMetadata
from tiphys.apiserver import tables
from tiphys.apiserver.options import check_included
from tiphys.apiserver.request import Call
from tiphys.apiserver.respond import Accepted, answer, formed
from tiphys.machinery import errors, protobuf
from tiphys.store.cache import Entry


def listed(
    call: Call, resource: Resource, want: Accepted, meta: dict[str, Any], entries: list[Entry], objects: list[bytes]
) -> web.Response:
    """A list in the shape and form that the client wants. `objects`: the entries as the version shows them."""
    if want.shape == "PartialObjectMetadata":
        raise errors.not_acceptable(
            f"you requested PartialObjectMetadata, but the requested object is a list ({resource.list_kind})"
        )
    if want.form == "protobuf":
        body = _protobuf_list(resource, want.shape, meta, entries, objects)
        return answer(body, 200, call.warnings, protobuf.MEDIA_TYPE)
    if want.shape == "Table":
        include = call.query.get("includeObject", "")
        check_included(include)
        body = tables.table(resource, objects, meta, include or "Metadata", version=want.version)
    elif want.shape:
        partials = [tables.partial(data, want.version) for data in objects]
        body = _list(b"PartialObjectMetadataList", want.version, meta, partials)
    else:
        body = _list(resource.list_kind.encode(), resource.api_version.encode(), meta, objects)
    return formed(call, body, want)


def list_head(kind: bytes, version: bytes, meta: dict[str, Any]) -> bytes:
    return b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (kind, version, msgspec.json.encode(meta))


def _list(kind: bytes, version: bytes, meta: dict[str, Any], objects: list[bytes]) -> bytes:
    return b"".join((list_head(kind, version, meta), b",".join(objects), b"]}"))


def _protobuf_list(
    resource: Resource, shape: str, meta: dict[str, Any], entries: list[Entry], objects: list[bytes]
) -> bytes:
    """A list in protobuf. Each object is coded once and kept beside its JSON."""
    kind = PartialObjectMetadata if shape else resource.type
    items = []
    for entry, data in zip(entries, objects, strict=True):
        made = entry.shown.get((kind, resource.api_version)) if entry.shown else None
        if made is None:
            made = protobuf.encode(decode(tables.partial(data) if shape else data, kind))
            entry.shown = {**(entry.shown or {}), (kind, resource.api_version): made}
        items.append(protobuf.frame(2, made))
    head = protobuf.frame(1, protobuf.encode(from_builtins(meta, ListMeta)))
    version, name = (
        ("meta.k8s.io/v1", "PartialObjectMetadataList") if shape else (resource.api_version, resource.list_kind)
    )
    return protobuf.envelope(version, name, head + b"".join(items))


def write_token(revision: int, start: str) -> str:
    raw = msgspec.json.encode({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_token(token: str) -> tuple[int, str]:
    try:
        raw = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return max(int(raw["rv"]), 0), str(raw["start"])
    except (ValueError, KeyError, TypeError, msgspec.DecodeError):
        raise errors.bad_request("invalid continue token: continue key is not valid: malformed value") from None

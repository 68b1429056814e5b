"""Bytes and objects to HTTP answers, in the representation the client accepts."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from aiohttp import web

from tiphys.api.base import decode, encode
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import PartialObjectMetadata
from tiphys.apiserver.documents import tables
from tiphys.apiserver.http.options import check_included
from tiphys.apiserver.http.request import Call
from tiphys.machinery import errors, protobuf
from tiphys.machinery.errors import StatusError
from tiphys.machinery.remembered import remembered

JSON = "application/json"
HEADERS = {"Content-Type": JSON, "Cache-Control": "no-cache, private"}


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the client wants. shape: "", "Table", "PartialObjectMetadata" or
    "PartialObjectMetadataList"; form: "json", "pretty" (JSON for people), "yaml" or "protobuf";
    version: the shape's.
    """

    shape: str = ""
    form: str = "json"
    version: bytes = tables.META


# Custom resources are not to be had in protobuf, but upstream's message names it for them, too.
OFFERED = f"application/json, application/yaml, {protobuf.MEDIA_TYPE}"
_ONLY = "only the following media types are accepted: "
PLAIN = Accepted()
_known: dict[tuple[str, bool, bool], Accepted] = {}


def accepted(header: str, declared: bool = False, shapes: bool = True) -> Accepted:
    """The first alternative of an Accept header that can be served; `declared`: protobuf can be,
    too (the answer is of a built-in type); `shapes`: a Table or the metadata alone can be (the
    answer is a resource's; else it comes as it is, as a Status does upstream). Raises 406.
    """
    if header in ("", "*/*", JSON):
        return PLAIN
    alternative = _known.get((header, declared, shapes))
    if alternative is None:
        alternative = _parse(header, declared, shapes)
        if len(_known) < 1000 and len(header) < 1000:
            _known[header, declared, shapes] = alternative
    return alternative


_PEOPLE = (
    "curl",
    "Wget",
    "Mozilla/5.0",
)  # prefixes of the User-Agents that upstream takes for people
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))


def is_read_by_people(call: Call) -> bool:
    """Whether JSON is to be indented: as the query says, or because a browser or a command line
    tool asks.
    """
    pretty = call.query.get("pretty", "")
    return (
        pretty in _TRUE if pretty else call.http.headers.get("User-Agent", "").startswith(_PEOPLE)
    )


def wanted(call: Call, resource: Resource) -> Accepted:
    """What the client wants of a resource's list. Raises 406."""
    want = accepted(call.http.headers.get("Accept", ""), resource.built_in)
    return replace(want, form="pretty") if want.form == "json" and is_read_by_people(call) else want


_STREAMS = f"{JSON};stream=watch, {protobuf.MEDIA_TYPE};stream=watch"


def check_accepted(call: Call, resource: Resource, has_columns: bool = True) -> None:
    """Raises 406 before anything is done for who would not take the answer: a review has no columns
    for a table. Upstream's router looks
    first, which knows whole media types alone; custom resources have no part in it."""
    header = call.http.headers.get("Accept", "")
    if header in ("", "*/*", JSON):
        return
    if resource.built_in and not _names_one(header):
        offered = f"{OFFERED}, {_STREAMS}" if call.info.verb in ("list", "watch") else OFFERED
        raise errors.not_routed(
            406, "NotAcceptable", f"406: Not Acceptable\n\nAvailable representations: {offered}"
        )
    if not has_columns:
        others = [part for part in header.split(",") if "as=Table" not in part]
        if not others:
            raise errors.not_acceptable(_ONLY + OFFERED)
        header = ",".join(others)
    accepted(header, resource.built_in)


@remembered(1000)
def _names_one(header: str) -> bool:
    """Whether an Accept header names a type that objects come in, or any."""
    names = (part.partition(";")[0].strip() for part in header[:_LONGEST_ACCEPT].split(","))
    return any(name in _PRODUCED for name in names)


_PRODUCED = frozenset(("*/*", JSON, "application/yaml", protobuf.MEDIA_TYPE))
_LONGEST_ACCEPT = 8 << 10  # characters: a browser's has 200


def _alternatives(header: str) -> list[tuple[str, dict[str, str]]]:
    """(media type, parameters) of an Accept header, the one that the client likes best first. What
    stands behind the first 8 KiB is not read."""
    alternatives = []
    for alternative in header[:_LONGEST_ACCEPT].split(","):
        media, *parameters = [part.strip() for part in alternative.split(";")]
        options = dict(p.split("=", 1) for p in parameters if "=" in p)
        try:
            quality = float(options.get("q", "1"))
        except ValueError:
            quality = 1.0
        alternatives.append((-quality, media, options))
    return [(media, options) for _, media, options in sorted(alternatives, key=lambda row: row[0])]


def _parse(header: str, declared: bool, shapes: bool) -> Accepted:
    for media, options in _alternatives(header):
        shape = options.get("as", "") if shapes else ""
        if shape and (
            options.get("g") != "meta.k8s.io" or options.get("v") not in ("v1", "v1beta1")
        ):
            continue
        if shape not in ("", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"):
            continue
        version = b"meta.k8s.io/" + options.get("v", "v1").encode() if shape else tables.META
        if media in (JSON, "*/*", "application/*"):
            return Accepted(shape, "json", version)
        if media == "application/yaml":
            return Accepted(shape, "yaml", version)
        if media == protobuf.MEDIA_TYPE and shape != "Table" and (declared or shape):
            return Accepted(shape, "protobuf", version)
    raise errors.not_acceptable(_ONLY + OFFERED)


def answer(
    body: bytes, code: int = 200, warnings: list[str] | None = None, content_type: str = JSON
) -> web.Response:
    response = web.Response(body=body, status=code, headers=HEADERS)
    if content_type != JSON:
        response.headers["Content-Type"] = content_type
    if warnings:
        warn_of(response, warnings)
    return response


class Unwritten(web.Response):
    """An answer in another form.

    Its body is JSON until `server` has it converted, outside of the event loop when that is
    long.
    """

    def __init__(self, body: bytes, code: int, warnings: list[str], form: str) -> None:
        media = "application/yaml" if form == "yaml" else JSON
        super().__init__(body=body, status=code, headers={**HEADERS, "Content-Type": media})
        self.form = form
        warn_of(self, warnings)


def warn_of(response: web.StreamResponse, warnings: list[str]) -> None:
    for warning in shortened(warnings):
        text = _UNPRINTABLE.sub(" ", warning).replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{text}"')


_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # what no header may have
_MOST_WARNED, _LONGEST_WARNING = (
    4096,
    256,
)  # characters of all warnings; of each one once all are more


def shortened(warnings: list[str]) -> list[str]:
    """The warnings that are sent: all of them, or when that is too much a piece of each until it
    is, as upstream cuts them.
    """
    texts = [text for text in dict.fromkeys(warnings) if text]
    if sum(map(len, texts)) <= _MOST_WARNED:
        return texts
    shown: list[str] = []
    written = 0
    for text in texts:
        if written >= _MOST_WARNED:
            break
        shown.append(text[:_LONGEST_WARNING])
        written += len(shown[-1])
    return shown


_STATUS = b'{"apiVersion":"v1","kind":"Status",'


def failure(error: StatusError, call: Call | None = None) -> web.Response:
    """The Status of a failed request, in the form that the client accepts; `call` is there once it
    could be read."""
    response = _failure(error, call)
    details = error.status.details
    if details is not None and details.retry_after_seconds:
        response.headers["Retry-After"] = str(details.retry_after_seconds)
    return response


def _failure(error: StatusError, call: Call | None) -> web.Response:
    body = _as_written(error)
    if call is None:
        return answer(body, error.code)
    form = _form(call.http.headers.get("Accept", ""))
    if form == "protobuf":
        media = protobuf.MEDIA_TYPE
        return answer(protobuf.wrap(error.status), error.code, call.warnings, media)
    if form == "yaml":
        return Unwritten(body, error.code, call.warnings, form)
    if is_read_by_people(call):
        body = msgspec.json.format(body.rstrip())
    return answer(body, error.code, call.warnings)


def _form(header: str) -> str:
    """That of a Status: JSON for who accepts none that there is."""
    try:
        return accepted(header, declared=True, shapes=False).form
    except StatusError:
        return "json"


def _as_written(error: StatusError) -> bytes:
    """With the kind first and a line's end last, as upstream writes it: clients' messages, which
    scripts and tests compare, hold this text as it came.
    """
    return (
        b'{"kind":"Status","apiVersion":"v1",' + encode(error.status).removeprefix(_STATUS) + b"\n"
    )


def object_answer(call: Call, resource: Resource, data: bytes, code: int = 200) -> web.Response:
    """A single object in the shape the client asked for. `data` is as the version shows it."""
    want = accepted(call.http.headers.get("Accept", ""), resource.built_in)
    if want.shape == "Table":
        include = call.query.get("includeObject", "")
        check_included(include)
        data = tables.table(
            resource, [data], _revision_of(data), include or "Metadata", version=want.version
        )
    elif want.shape == "PartialObjectMetadataList":
        raise errors.not_acceptable(
            "you requested PartialObjectMetadataList, but the requested object is not a list"
        )
    elif want.shape:
        data = tables.partial(data, want.version)
    if want.form == "protobuf":
        if call.record is not None:
            call.record.answers(data)
        kind = PartialObjectMetadata if want.shape else resource.type
        return answer(protobuf.wrap(decode(data, kind)), code, call.warnings, protobuf.MEDIA_TYPE)
    return formed(call, data, want, code)


def formed(call: Call, data: bytes, want: Accepted, code: int = 200) -> web.Response:
    """JSON bytes as JSON or YAML."""
    if want.form == "yaml":
        return Unwritten(data, code, call.warnings, "yaml")
    if is_read_by_people(call):
        return Unwritten(data, code, call.warnings, "pretty")
    return answer(data, code, call.warnings)


def _revision_of(data: bytes) -> dict[str, Any]:
    version = msgspec.json.decode(data)["metadata"].get("resourceVersion")
    return {"resourceVersion": version} if version else {}


def status(call: Call, obj: Any, code: int = 200) -> web.Response:
    """Any API struct, in the form the client asked for."""
    want = accepted(call.http.headers.get("Accept", ""), declared=True, shapes=False)
    if want.form == "protobuf":
        if call.record is not None:
            call.record.answers(encode(obj))
        return answer(protobuf.wrap(obj), code, call.warnings, protobuf.MEDIA_TYPE)
    return formed(call, encode(obj), want, code)

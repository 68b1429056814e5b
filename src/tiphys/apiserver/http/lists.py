"""Lists in every shape and form, and the tokens that their pages go on with."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from tiphys.api.base import decode, from_builtins
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import ListMeta, PartialObjectMetadata
from tiphys.apiserver.documents import tables
from tiphys.apiserver.eventloop.aside import LARGE, aside, weigh_object
from tiphys.apiserver.eventloop.turns import Pace
from tiphys.apiserver.http.bulk import Body
from tiphys.apiserver.http.options import check_included
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.http.respond import JSON, Accepted
from tiphys.apiserver.registry.objects import Objects
from tiphys.machinery import errors, protobuf
from tiphys.store.cache import Entry

_CONVERTED = 40  # objects that are converted in one step, of about a millisecond


class Listing:
    """A list in the shape and form that the client wants, made in short steps."""

    def __init__(
        self,
        call: Call,
        resource: Resource,
        want: Accepted,
        objects: Objects,
    ) -> None:
        """Raises 406 for what a list cannot be."""
        if want.shape == "PartialObjectMetadata":
            raise errors.not_acceptable(
                f"you requested PartialObjectMetadata, but the requested object is a list "
                f"({_in_go(resource)})"
            )
        self._include = call.query.get("includeObject", "") if want.shape == "Table" else ""
        check_included(self._include)
        self._user = call.user.name
        self.shaped = bool(want.shape)
        self._resource = resource
        self._want = want
        self._turns = objects.turns
        self._coded_items = objects.coded_items
        self._converter = objects.converter
        self._to_yaml = objects.workers.to_yaml
        self._indent = objects.workers.indented

    async def body(self, meta: dict[str, Any], entries: list[Entry]) -> Body:
        objects = await self._objects(entries)
        resource = self._resource
        want = self._want
        if want.form == "protobuf":
            return await self._protobuf(meta, entries, objects)
        if want.shape == "Table":
            return await self._table(meta, objects)
        kind = resource.list_kind.encode()
        version = resource.api_version.encode()
        if want.shape:
            kind = b"PartialObjectMetadataList"
            version = want.version
            objects = await self._converted(
                objects, lambda data: tables.partial(data, want.version)
            )
        typed = 0 if want.shape else self._typed(objects)
        if want.form in ("yaml", "pretty"):
            objects = [b"{" + data[typed:] for data in objects] if typed else objects
            if want.form == "yaml":
                return await self._yaml(kind, version, meta, objects)
            return await self._pretty(list_head(kind, version, meta), objects)
        return _joined(list_head(kind, version, meta), objects, typed)

    def _typed(self, objects: list[bytes]) -> int:
        """How many bytes name the type of each object: those of a built-in kind leave it to the
        list, as upstream's do. 0 when that shall be said, or is not said in the same way by all
        (what others wrote into the store)."""
        if not self._resource.built_in:
            return 0
        opening = _opening(self._resource)
        return len(opening) if all(data.startswith(opening) for data in objects) else 0

    async def _objects(self, entries: list[Entry]) -> list[bytes]:
        """As the version shows them. A webhook that converts is asked once for all."""
        resource = self._resource
        if resource.built_in and resource.is_storage_version:
            return [entry.data for entry in entries]
        if resource.webhook is not None:
            return await self._converter.present(resource, entries)
        shown: list[bytes] = []
        async for some in self._turns.sliced(self._user, entries, _CONVERTED):
            shown += await self._converter.present(resource, some)
        return shown

    async def _converted(
        self, objects: Iterable[bytes], make: Callable[[bytes], bytes]
    ) -> list[bytes]:
        """Each in another form, in steps of a millisecond; large objects on the thread for them."""
        converted: list[bytes] = []
        pace = Pace(self._turns, self._user)
        for data in objects:
            converted.append(make(data) if len(data) <= LARGE else await _made_aside(make, data))
            await pace.next()
        return converted

    async def _table(self, meta: dict[str, Any], objects: list[bytes]) -> Body:
        table = tables.Printer(self._resource, self._include or "Metadata", self._want.version)
        rows = await self._converted(objects, table.row)
        head = table.head(meta)
        if self._want.form == "pretty":
            return await self._pretty(head, rows)
        if self._want.form != "yaml":
            return Body(head, rows, tail=b"]}")
        if not rows:
            return Body(b"", [await self._to_yaml(head + b"]}")])
        first = await self._to_yaml(head.removesuffix(b',"rows":[') + b"}")
        return Body(first + b"rows:\n", await self._documents(rows), b"")

    async def _pretty(self, head: bytes, items: list[bytes]) -> Body:
        """Indented; `head` ends where the items start."""
        shown = msgspec.json.format(head + b"]}")
        if not items:
            return Body(b"", [shown])
        parts: list[bytes] = []
        pace = Pace(self._turns, self._user)
        for data in items:
            indented = await self._indent(data)
            parts.append(b"\n    " + indented.replace(b"\n", b"\n    "))
            await pace.next()
        return Body(shown.removesuffix(b"]\n}"), parts, tail=b"\n  ]\n}")

    async def _yaml(
        self, kind: bytes, version: bytes, meta: dict[str, Any], objects: list[bytes]
    ) -> Body:
        """Items are between `apiVersion` and `kind`: keys are in order."""
        if not objects:
            return Body(b"", [await self._to_yaml(list_head(kind, version, meta) + b"]}")])
        items = await self._documents(objects)
        head = b"apiVersion: %b\nitems:\n" % version
        rest = {"kind": kind.decode(), "metadata": meta}
        return Body(head, items, b"", await self._to_yaml(msgspec.json.encode(rest)))

    async def _documents(self, objects: list[bytes]) -> list[bytes]:
        """Each as an item of a list in YAML. Large ones are written by another process."""
        documents: list[bytes] = []
        async for [data] in self._turns.sliced(self._user, objects, 1):
            documents.append(await self._to_yaml(b"[%b]" % data))
        return documents

    async def _protobuf(
        self, meta: dict[str, Any], entries: list[Entry], objects: list[bytes]
    ) -> Body:
        """Each object is coded once while such lists are asked for, and no list copies it."""
        resource = self._resource
        shape = self._want.shape
        kind = PartialObjectMetadata if shape else resource.type
        items: list[bytes] = []
        pace = Pace(self._turns, self._user)
        self._coded_items.use()
        for entry, data in zip(entries, objects, strict=True):
            items.append(await self._coded(entry, data, kind))
            await pace.next()
        head = protobuf.frame(1, protobuf.encode(from_builtins(meta, ListMeta)))
        version = resource.api_version
        name = resource.list_kind
        if shape:
            version = "meta.k8s.io/v1"
            name = "PartialObjectMetadataList"
        return Body(
            protobuf.envelope_head(version, name, len(head) + sum(map(len, items))) + head,
            items,
            b"",
            protobuf.ENVELOPE_TAIL,
        )

    async def _coded(self, entry: Entry, data: bytes, kind: type) -> bytes:
        key = (kind, self._resource.api_version)
        item = self._coded_items.get(entry, key)
        if item is None:
            if self._want.shape:
                data = tables.partial(data)

            def code(data: bytes) -> bytes:
                return protobuf.frame(2, protobuf.encode(decode(data, kind)))

            item = code(data) if len(data) <= LARGE else await _made_aside(code, data)
            self._coded_items.keep(entry, key, item)
        return item


async def _made_aside(make: Callable[[bytes], bytes], data: bytes) -> bytes:
    weigh_object(len(data))
    return await aside(make, data)


def _in_go(resource: Resource) -> str:
    """The type of a list in upstream's own code, which it names."""
    if not resource.built_in:
        return "*unstructured.UnstructuredList"
    package = resource.group.partition(".")[0]
    return f"*{'core' if package in ('', 'events') else package}.{resource.list_kind}"


def list_meta(resource: Resource, revision: int, shaped: bool) -> dict[str, Any]:
    """The metadata of a list. Upstream's lists of plain custom objects always have `continue`."""
    meta: dict[str, Any] = {"resourceVersion": str(revision)}
    if not resource.built_in and not shaped:
        meta["continue"] = ""
    return meta


def media_of(want: Accepted) -> str:
    return {"protobuf": protobuf.MEDIA_TYPE, "yaml": "application/yaml"}.get(want.form, JSON)


def short_list(resource: Resource, objects: list[bytes]) -> bytes:
    """A list of a built-in kind that is not stored; every object starts with its type."""
    head = list_head(resource.list_kind.encode(), resource.api_version.encode(), {})
    return _joined(head, objects, len(_opening(resource))).joined()


def _opening(resource: Resource) -> bytes:
    version = resource.api_version.encode()
    kind = resource.kind.encode()
    return b'{"apiVersion":"%b","kind":"%b",' % (version, kind)


def _joined(head: bytes, objects: list[bytes], typed: int) -> Body:
    if typed and objects:
        return Body(head + b"{", objects, b",{", b"]}", typed)
    return Body(head, objects, tail=b"]}")


def list_head(kind: bytes, version: bytes, meta: dict[str, Any]) -> bytes:
    return b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (
        kind,
        version,
        msgspec.json.encode(meta),
    )


def write_token(revision: int, start: str) -> str:
    raw = msgspec.json.encode({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_token(token: str) -> tuple[int, str]:
    try:
        raw = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        revision = raw["rv"]
        start = raw["start"]
        if type(revision) is not int or not isinstance(start, str) or not -1 <= revision < 1 << 63:
            raise ValueError("other types than the server writes")
        return max(revision, 0), start
    except (ValueError, KeyError, TypeError, msgspec.DecodeError):
        raise errors.bad_request(
            "invalid continue token: continue key is not valid: malformed value"
        ) from None

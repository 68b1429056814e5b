"""Tables, as `kubectl get` prints them: which columns each kind has, and how its cells are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tiphys.api import apiextensions_v1 as v1
from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import PartialObjectMetadata
from tiphys.apiserver.resources import facts_of
from tiphys.apiserver.resources.columns import NAME, Column, since
from tiphys.machinery.jsonpath import compile_path

META = b"meta.k8s.io/v1"


def columns_of(resource: Resource) -> Sequence[Column]:
    declared = resource.declared_columns
    if declared is None:
        return facts_of(resource).columns
    return [NAME, *map(_custom_column, declared)]


def _custom_column(column: v1.CustomResourceColumnDefinition) -> Column:
    """A column that a definition asks for. Values that are not there are null, as upstream prints
    them."""
    find = compile_path(column.json_path)
    about = (
        column.description
        or f"Custom resource definition column (in JSONPath format): {column.json_path}"
    )

    def cell(obj: Any) -> Any:
        document = obj.content if not column.json_path.startswith(".metadata") else to_builtins(obj)
        values = find(document)
        return _shown(values[0], column.type) if values else None

    return Column(column.name, cell, column.type, column.format, column.priority, about)


def _shown(value: Any, kind: str) -> Any:
    if kind == "date":
        return since(value) if isinstance(value, str) else "<unknown>"
    if kind == "string":
        if isinstance(value, str):
            return value
        return encode(value).decode() if isinstance(value, dict | list | bool) else str(value)
    if kind == "integer":
        return (
            int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        )
    if kind == "number":
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    return value if isinstance(value, bool) else None


class Printer:
    """Makes Tables of one resource. `include` is Metadata, Object or None: what accompanies each
    row."""

    def __init__(self, resource: Resource, include: str, version: bytes = META) -> None:
        self._columns = columns_of(resource)
        brief = resource.built_in and facts_of(resource).table_of_metadata
        self._type = PartialObjectMetadata if brief else resource.type
        self._include = include
        self._version = version

    def head(self, meta: dict[str, Any], header: bool = True) -> bytes:
        """Everything before the first row. Without a header the columns are null, not none, as Go
        writes it."""
        definitions = [column.definition() for column in self._columns] if header else None
        version = self._version.decode()
        head = {
            "kind": "Table",
            "apiVersion": version,
            "metadata": meta,
            "columnDefinitions": definitions,
        }
        return msgspec.json.encode(head)[:-1] + b',"rows":['

    def row(self, data: bytes) -> bytes:
        obj = decode(data, self._type)
        cells = encode([column.cell(obj) for column in self._columns])
        if self._include == "None":
            beside = b',"object":null'
        elif self._include == "Object":
            beside = b',"object":' + data
        else:
            beside = b',"object":' + partial(data, self._version)
        return b'{"cells":' + cells + beside + b"}"


def table(
    resource: Resource,
    objects: list[bytes],
    meta: dict[str, Any],
    include: str,
    header: bool = True,
    version: bytes = META,
) -> bytes:
    """A Table of the objects."""
    printer = Printer(resource, include, version)
    return printer.head(meta, header) + b",".join(map(printer.row, objects)) + b"]}"


class _MetadataOnly(msgspec.Struct):
    metadata: msgspec.Raw


_metadata = msgspec.json.Decoder(_MetadataOnly)


def partial(data: bytes, version: bytes = META) -> bytes:
    """PartialObjectMetadata of an object's bytes."""
    meta = bytes(_metadata.decode(data).metadata)
    return b'{"kind":"PartialObjectMetadata","apiVersion":"%b","metadata":%b}' % (version, meta)

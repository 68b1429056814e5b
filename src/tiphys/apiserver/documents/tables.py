"""Tables, as `kubectl get` prints them: which columns each kind has, and how its cells are made."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from tiphys.api import apiextensions_v1 as v1
from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import PartialObjectMetadata
from tiphys.apiserver.custom.resource import CustomResource
from tiphys.apiserver.resources import printers
from tiphys.machinery import timestamps
from tiphys.machinery.jsonpath import compile_path
from tiphys.machinery.timestamps import human_duration

META = b"meta.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    cell: Callable[[Any], Any]
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or f"{self.name} of the object.",
            "priority": self.priority,
        }


def age(text: str | None) -> str:
    return human_duration(time.time() - timestamps.parse(text)) if text else "<unknown>"


NAME = Column(
    "Name",
    lambda obj: obj.metadata.name,
    format="name",
    description="Name must be unique within a namespace.",
)
AGE = Column(
    "Age",
    lambda obj: age(obj.metadata.creation_timestamp),
    description="Time since the object was made.",
)
_AGE_OF_CUSTOM = v1.CustomResourceColumnDefinition(
    name="Age",
    type="date",
    json_path=".metadata.creationTimestamp",
    description="Time since the object was made.",
)
CREATED = Column("Created At", lambda obj: obj.metadata.creation_timestamp, format="date")


def columns_of(resource: Resource) -> list[Column]:
    if isinstance(resource, CustomResource):
        asked = resource.columns or (_AGE_OF_CUSTOM,)
        return [NAME, *map(_custom_column, asked)]
    rows = printers.COLUMNS.get(resource.kind)
    if rows is None:
        return [NAME, CREATED]
    # An event's name says nothing: it stands last, and only with -o wide.
    columns = [] if resource.kind == "Event" else [NAME]
    for row in rows:
        if row == "AGE":
            columns.append(AGE)
        else:
            columns.append(Column(*row))
    return columns


def _custom_column(column: v1.CustomResourceColumnDefinition) -> Column:
    """A column that a definition asks for. Values that are not there are null, as upstream prints them."""
    find = compile_path(column.json_path)
    about = (
        column.description
        or f"Custom resource definition column (in JSONPath format): {column.json_path}"
    )

    def cell(obj: Any) -> Any:
        document = obj.content if not column.json_path.startswith(".metadata") else to_builtins(obj)
        found = find(document)
        return _shown(found[0], column.type) if found else None

    return Column(column.name, cell, column.type, column.format, column.priority, about)


def _shown(value: Any, kind: str) -> Any:
    if kind == "date":
        return age(value) if isinstance(value, str) else "<unknown>"
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
    """Makes Tables of one resource. `include` is Metadata, Object or None: what stands beside each row."""

    def __init__(self, resource: Resource, include: str, version: bytes = META) -> None:
        self._columns = columns_of(resource)
        # The table of definitions asks for their metadata alone, and their schemas take long to read.
        brief = resource.kind == "CustomResourceDefinition"
        self._type = PartialObjectMetadata if brief else resource.type
        self._include, self._version = include, version

    def head(self, meta: dict[str, Any], header: bool = True) -> bytes:
        """Everything before the first row. Without a header the columns are null, not none, as Go writes it."""
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

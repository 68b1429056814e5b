"""Our declarations of etcd's messages against those that etcd publishes (etcd_fields.csv)."""

from __future__ import annotations

import csv
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import pytest

from tiphys.api.base import F, Int32, Int64, Struct
from tiphys.store import etcd, etcdpb, etcdwrites


class Published(NamedTuple):
    number: int
    type: str


def published() -> dict[tuple[str, str], Published]:
    lines = Path(__file__).with_name("etcd_fields.csv").read_text().splitlines()
    rows = csv.reader((line for line in lines if line[:1] != "#"), skipinitialspace=True)
    return {(message, field): Published(int(number), kind) for message, field, number, kind in rows}


PUBLISHED = published()
MESSAGES = [
    kind
    for kind in vars(etcdpb).values()
    if isinstance(kind, type) and issubclass(kind, Struct) and kind is not Struct
]
FIELDS = [
    (message.__name__, name, annotation)
    for message in MESSAGES
    for name, annotation in get_type_hints(message, include_extras=True).items()
]
NAMES = {
    "ttl": "TTL",
    "id": "ID",
    "peer_urls": "peerURLs",
    "client_urls": "clientURLs",
    "is_learner": "isLearner",
}
ENUMS = ("EventType", "CompareResult", "CompareTarget")


def fact_of(annotation: Any) -> F:
    return next(fact for fact in annotation.__metadata__ if isinstance(fact, F))


SCALARS = {Int32: "int32", Int64: "int64", bytes: "bytes", bool: "bool", str: "string"}


def wire_type(annotation: Any) -> str:
    """The type as a .proto file writes it."""
    if get_origin(annotation) is Annotated:
        limits = [fact for fact in annotation.__metadata__ if not isinstance(fact, F)]
        kind = annotation.__origin__
        return SCALARS[Annotated[kind, limits[0]]] if limits else wire_type(kind)
    if get_origin(annotation) is list:
        return f"repeated {wire_type(get_args(annotation)[0])}"
    if get_origin(annotation) in (UnionType, Union):
        return wire_type(next(kind for kind in get_args(annotation) if kind is not NoneType))
    return SCALARS.get(annotation) or annotation.__name__


@pytest.mark.parametrize(("message", "name", "annotation"), FIELDS)
def test_a_field_has_the_number_and_type_that_etcd_publishes(
    message: str, name: str, annotation: Any
) -> None:
    field = PUBLISHED[message, NAMES.get(name, name)]
    kind = "int32" if field.type in ENUMS else field.type
    if kind == "uint64":  # the same on the wire: numbers of members, which nobody compares
        kind = "int64"
    assert (fact_of(annotation).tag, wire_type(annotation)) == (field.number, kind)


@pytest.mark.parametrize(
    ("enum", "value", "number"),
    [
        ("Compare.CompareTarget", "MOD", etcdwrites._TARGET_MOD),
        ("Compare.CompareResult", "EQUAL", etcdpb.Compare().result),
        ("Compare.CompareResult", "GREATER", etcdwrites._GREATER),
        ("Event.EventType", "DELETE", etcd._DELETE),
    ],
)
def test_numbers_of_enums_are_those_that_etcd_publishes(enum: str, value: str, number: int) -> None:
    assert PUBLISHED[enum, value].number == number

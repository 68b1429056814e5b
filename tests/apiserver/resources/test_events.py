"""Events in both forms: upstream's core and events validation, and what tables show of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import SERVED
from tests.apiserver.rules import STRATEGIES, fields, wrong_with, wrong_with_change
from tests.apiserver.tables import each_row
from tiphys.api import core_v1, events_v1
from tiphys.api.base import from_builtins
from tiphys.apiserver.resources.events import EventStrategy

OLDER = "events"
EVENT = "events.events.k8s.io"
TIME = "2026-01-01T00:00:00.000000Z"
NEWER = {"eventTime": TIME, "reportingComponent": "x", "reportingInstance": "x", "action": "x", "reason": "x"}  # fmt: skip


def about(namespace: str, where: str = "default", **more: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": where}, "involvedObject": {"namespace": namespace}, **more}


@each_row(
    [
        (about("default"), []),
        (about("n", "n"), []),
        (about("n"), ["involvedObject.namespace"]),
        (about(""), []),
        (about("", "kube-system"), ["involvedObject.namespace"]),
        # Those with a time of their own.
        (about("default", **NEWER), []),
        (about("", "kube-system", **NEWER), []),
        (about("", "n", **NEWER), ["involvedObject.namespace"]),
        (about("other", "n", **NEWER), []),
        (about("default", **{**NEWER, "action": ""}), ["action"]),
        (about("default", **{**NEWER, "reportingComponent": "a b"}), ["reportingComponent"]),
        (about("default", **{**NEWER, "reason": "x" * 128}), []),
        (about("default", **{**NEWER, "reason": "x" * 129}), ["reason"]),
        (about("default", **NEWER, message="x" * 1024), []),
        (about("default", **NEWER, message="x" * 1025), ["message"]),
        (about("default", message="x" * 1025), []),
    ],
)
def test_events_of_the_older_form(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(OLDER, parts)) == wrong


def series(count: int, last: str | None = TIME) -> dict[str, Any]:
    return {"series": {"count": count, **({"lastObservedTime": last} if last else {})}}


@each_row(
    [
        (series(2), []),
        (series(1), ["series.count"]),
        (series(2, None), ["series.lastObservedTime"]),
        ({"type": "Warning"}, []),
        ({"type": "Error"}, ["type"]),
        ({"reportingController": ""}, ["reportingController"] * 3),
        ({"deprecatedCount": 1}, ["count"]),
        ({"deprecatedFirstTimestamp": "2026-01-01T00:00:00Z"}, ["firstTimestamp"]),
        ({"deprecatedLastTimestamp": "2026-01-01T00:00:00Z"}, ["lastTimestamp"]),
        ({"deprecatedSource": {"component": "c"}}, ["source"]),
        ({"deprecatedSource": {"host": "h"}}, ["source"]),
    ],
)
def test_events_of_the_newer_form(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(EVENT, parts)) == wrong


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        ({}, series(2), []),
        ({}, series(1), ["series.count"]),
        (series(2), {"series": None}, []),
        ({}, {"message": "x" * 1025}, ["message"]),
    ],
)
def test_what_of_an_event_changes(before: Any, after: Any, wrong: list[str]) -> None:
    assert fields(wrong_with_change(EVENT, before, after)) == wrong


def shown(body: dict[str, Any], kind: type[Any] = core_v1.Event) -> dict[str, Any]:
    made = from_builtins(body, kind)
    return {column.name: column.cell(made) for column in EventStrategy.columns}


@pytest.mark.parametrize(
    ("body", "kind", "cells"),
    [
        ({"involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "f"}}, core_v1.Event, {"Object": "pod/p", "Subobject": "f", "Count": 1, "Source": ""}),
        ({"involvedObject": {"kind": "Pod"}}, core_v1.Event, {"Object": "pod"}),
        ({"source": {"component": "c", "host": "h"}, "count": 3}, core_v1.Event, {"Source": "c, h", "Count": 3}),
        ({"source": {"component": "c"}, "message": " m "}, core_v1.Event, {"Source": "c", "Message": "m"}),
        ({"reportingComponent": "r"}, core_v1.Event, {"Source": "r"}),
        ({"count": 3, "series": {"count": 7}}, core_v1.Event, {"Count": 7}),
        ({"regarding": {"kind": "Node", "name": "n"}, "reportingController": "r", "note": "t"}, events_v1.Event, {"Object": "node/n", "Source": "r", "Message": "t", "Count": 1}),
    ],
)  # fmt: skip
def test_how_an_event_is_shown(body: dict[str, Any], kind: type[Any], cells: Any) -> None:
    table = shown(body, kind)
    assert {name: table[name] for name in cells} == cells


OLD, NEW = "2020-01-01T00:00:00Z", "2024-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("body", "first", "last"),
    [
        ({}, "<unknown>", "<unknown>"),
        ({"firstTimestamp": OLD, "lastTimestamp": NEW}, OLD, NEW),
        ({"eventTime": OLD}, OLD, OLD),
        ({"eventTime": OLD, "series": {"count": 2, "lastObservedTime": NEW}}, OLD, NEW),
        ({"eventTime": OLD, "firstTimestamp": NEW}, NEW, OLD),
    ],
)
def test_since_when_an_event_is(body: dict[str, Any], first: str, last: str) -> None:
    table = shown(body)
    ages = {shown({"firstTimestamp": when, "lastTimestamp": when})["Last Seen"]: when for when in (OLD, NEW)}  # fmt: skip
    assert len(ages) == 2
    assert ages.get(table["First Seen"], table["First Seen"]) == first
    assert ages.get(table["Last Seen"], table["Last Seen"]) == last


def test_a_newer_event_from_before_has_its_old_times() -> None:
    body = {"deprecatedFirstTimestamp": OLD, "deprecatedLastTimestamp": NEW, "eventTime": NEW}
    table, whole = (
        shown(body, events_v1.Event),
        shown({"firstTimestamp": OLD, "lastTimestamp": NEW}),
    )
    assert (table["First Seen"], table["Last Seen"]) == (whole["First Seen"], whole["Last Seen"])


# --- what is served by others, and requests for certificates ---


def cells(kind: str, body: dict[str, Any], *names: str) -> list[Any]:
    made = from_builtins(body, SERVED[kind].type)
    columns = {column.name: column for column in STRATEGIES.of(SERVED[kind]).columns}
    return [columns[name].cell(made) for name in names]


SERVICES = "apiservices.apiregistration.k8s.io"
REQUEST = "certificatesigningrequests.certificates.k8s.io"


def available(status: str) -> dict[str, Any]:
    row = {"type": "Available", "status": status, "reason": "Why"}
    return {"status": {"conditions": [row]}}


def decided(*types: str, **status: Any) -> dict[str, Any]:
    rows = [{"type": kind, "status": "True"} for kind in types]
    return {"status": {"conditions": rows, **status}}


@each_row(
    [
        (SERVICES, {}, ("Service", "Available"), ["Local", "Unknown"]),
        (SERVICES, available("True"), ("Available",), ["True"]),
        (SERVICES, available("False"), ("Available",), ["False (Why)"]),
        (SERVICES, {"spec": {"service": {"namespace": "n", "name": "s"}}}, ("Service",), ["n/s"]),
        (REQUEST, {}, ("RequestedDuration", "Condition"), ["<none>", "Pending"]),
        (REQUEST, {"spec": {"expirationSeconds": 600}}, ("RequestedDuration",), ["10m"]),
        (REQUEST, decided("Approved"), ("Condition",), ["Approved"]),
        (REQUEST, decided("Other"), ("Condition",), ["Pending"]),
        (REQUEST, decided("Failed", "Approved", certificate="eA=="), ("Condition",), ["Approved,Failed,Issued"]),
    ],
)  # fmt: skip
def test_columns(kind: str, body: Any, names: tuple[str, ...], values: list[str]) -> None:
    assert cells(kind, body, *names) == values

"""Messages of declared types, byte by byte where clients may tell the difference."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.api import apiextensions_v1, core_v1, events_v1, meta_v1
from tiphys.machinery import protobuf

Props = apiextensions_v1.JSONSchemaProps
Status = apiextensions_v1.CustomResourceSubresourceStatus


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        # A time says its nanoseconds, even none; a field of a list entry that is empty is there all
        # the same.
        (meta_v1.ObjectMeta(creation_timestamp="1970-01-01T00:00:05Z"), "42 04 0805 1000"),
        (meta_v1.ManagedFieldsEntry(manager="m", fields_v1={}), "0a 01 6d 3a 04 0a 02 7b7d"),
        # A port may be a name or a number: of which kind it is counts even when it is nothing.
        (core_v1.TCPSocketAction(port=""), "0a 06 0801 1000 1a00"),
        (core_v1.TCPSocketAction(port=80), "0a 06 0800 1050 1a00"),
        # Unions are messages of their own: a schema or several, a schema or whether anything goes,
        # a schema or names.
        (Props(items=Props(type="a")), "c201 05 0a 03 2a0161"),
        (Props(items=[Props(type="a"), Props(type="b")]), "c201 0a 12 03 2a0161 12 03 2a0162"),
        (Props(additional_properties=False), "f201 02 0800"),
        (Props(additional_properties=Props(type="a")), "f201 07 0801 12 03 2a0161"),
        (Props(dependencies={"k": ["a", "b"]}), "8202 0b 0a 01 6b 12 06 12 01 61 12 01 62"),
        (Props(default=1, maximum=5), "42 03 0a 01 31 49 0000000000001440"),
        (apiextensions_v1.CustomResourceSubresources(status=Status()), "0a 00"),
        (core_v1.ResourceRequirements(limits={"cpu": "1"}), "0a 0a 0a 03 637075 12 03 0a 01 31"),
    ],
)
def test_bytes_of_a_message(message: Any, wire: str) -> None:
    data = bytes.fromhex(wire)
    assert protobuf.encode(message) == data
    assert protobuf.decode(data, type(message)) == message


def test_a_microsecond_in_a_thousand_years_is_kept() -> None:
    event = events_v1.Event(event_time="2902-01-23T04:42:00.476660Z")
    assert protobuf.decode(protobuf.encode(event), events_v1.Event).event_time == event.event_time


@given(
    st.datetimes(min_value=datetime.datetime(1, 1, 1), max_value=datetime.datetime(9999, 12, 31))
)
def test_times_of_all_years_are_kept(moment: datetime.datetime) -> None:
    event = events_v1.Event(event_time=moment.isoformat(timespec="microseconds") + "Z")
    event.metadata.creation_timestamp = moment.isoformat(timespec="seconds") + "Z"
    assert protobuf.decode(protobuf.encode(event), events_v1.Event) == event


def test_a_time_that_cannot_be_is_an_error_of_the_wire() -> None:
    late = protobuf.frame(
        8, protobuf.varint(1 << 3) + protobuf.varint(1 << 60)
    )  # creationTimestamp
    with pytest.raises(protobuf.WireError):
        protobuf.decode(late, meta_v1.ObjectMeta)


@pytest.mark.parametrize(
    ("envelope", "why"),
    [
        ("0805", "wrong wireType = 0 for field TypeMeta"),
        ("0a02 0805", "wrong wireType = 0 for field APIVersion"),
        ("0a02 1005", "wrong wireType = 0 for field Kind"),
        ("0a03 0a01ff", "invalid UTF-8"),
        ("1005", "wrong wireType = 0 for field Raw"),
    ],
)
def test_an_envelope_that_is_none_says_why(envelope: str, why: str) -> None:
    with pytest.raises(protobuf.WireError, match=why):
        protobuf.unwrap(b"k8s\x00" + bytes.fromhex(envelope))


def test_an_envelope_says_what_is_in_it() -> None:
    made = core_v1.ConfigMap(api_version="v1", kind="ConfigMap", data={"a": "b"})
    api_version, kind, message = protobuf.unwrap(protobuf.wrap(made))
    assert (api_version, kind) == ("v1", "ConfigMap")
    assert protobuf.decode(message, core_v1.ConfigMap).data == {"a": "b"}
    wrapped = protobuf.envelope("v1", "Pod", b"x")
    assert wrapped.startswith(b"k8s\x00") and protobuf.unwrap(wrapped) == ("v1", "Pod", b"x")
    for data in (b"", b"k8s", b"k8s\x01", b"{}"):
        with pytest.raises(protobuf.WireError, match="does not appear to be a protobuf message"):
            protobuf.unwrap(data)


@given(st.binary(max_size=60))
def test_no_envelope_does_worse_than_being_none(data: bytes) -> None:
    try:
        _, _, message = protobuf.unwrap(b"k8s\x00" + data)
        assert isinstance(protobuf.decode(message, core_v1.Pod), core_v1.Pod)
    except protobuf.WireError:
        pass


@pytest.mark.parametrize(
    ("kind", "wire", "field", "value"),
    [
        # A part of a map's entry that is left out is zero.
        (core_v1.ConfigMap, "12 02 1200", "data", {"": ""}),
        (core_v1.ConfigMap, "12 03 0a0161", "data", {"a": ""}),
        (core_v1.ConfigMap, "12 06 0a0161 120162", "data", {"a": "b"}),
        (core_v1.ConfigMap, "1a 03 0a0161", "binary_data", {"a": b""}),
        (meta_v1.LabelSelector, "0a 03 0a0161", "match_labels", {"a": ""}),
        (core_v1.ConfigMap, "20 01", "immutable", True),
        (core_v1.ConfigMap, "20 00", "immutable", False),
        (core_v1.PodSpec, "28 05", "active_deadline_seconds", 5),
        (core_v1.PodSpec, "28 ffffffffffffffffff01", "active_deadline_seconds", -1),
        (meta_v1.ObjectMeta, "72 0161 72 0162", "finalizers", ["a", "b"]),
        (meta_v1.ObjectMeta, "42 00", "creation_timestamp", None),  # an empty time is no time
        # A number may be one of a list, or several that are packed together.
        (core_v1.PodSecurityContext, "20 05 20 06", "supplemental_groups", [5, 6]),
        (core_v1.PodSecurityContext, "22 02 0506", "supplemental_groups", [5, 6]),
        (core_v1.PodSecurityContext, "22 00", "supplemental_groups", []),
        (Props, "49 0000000000001440", "maximum", 5),
        (Props, "49 000000000000f83f", "maximum", 1.5),
        (Props, "49 0000000000000080", "maximum", -0.0),
        (Props, "49 ea8ca039593e2946", "maximum", 1e30),
    ],
)
def test_a_field_of_a_message(kind: Any, wire: str, field: str, value: Any) -> None:
    read_value = getattr(protobuf.decode(bytes.fromhex(wire), kind), field)
    assert read_value == value and type(read_value) is type(value)


@pytest.mark.parametrize(
    ("kind", "wire"),
    [
        (core_v1.ConfigMap, "f801 05"),  # a field of a later release
        (core_v1.ConfigMap, "fa01 02 0000"),
    ],
)
def test_fields_that_the_type_does_not_know_are_skipped(kind: Any, wire: str) -> None:
    assert protobuf.decode(bytes.fromhex(wire), kind) == kind()


@pytest.mark.parametrize(
    ("kind", "wire", "why"),
    [
        (core_v1.ConfigMap, "10 05", "wrong wireType = 0 for field data"),
        (core_v1.ConfigMap, "22 00", "wrong wireType = 2 for field immutable"),
        (meta_v1.ObjectMeta, "72 01ff", "invalid UTF-8"),
        (Props, "4a 00", "wrong wireType = 2 for field maximum"),
        (core_v1.ConfigMap, "12 05 0a", "message ends within a field"),
        (core_v1.ResourceRequirements, "0a 07 0a0161 12 02 0a 05", "message ends within a field"),
    ],
)
def test_a_message_that_is_none_says_why(kind: Any, wire: str, why: str) -> None:
    with pytest.raises(protobuf.WireError, match=why):
        protobuf.decode(bytes.fromhex(wire), kind)


def test_a_list_has_so_many_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiphys.machinery.protobuf.decoding._MOST_ITEMS", 2)
    assert protobuf.decode(bytes.fromhex("72 00 72 00"), meta_v1.ObjectMeta).finalizers == ["", ""]
    with pytest.raises(protobuf.WireError, match="more than 2 items in a list"):
        protobuf.decode(bytes.fromhex("72 00 72 00 72 00"), meta_v1.ObjectMeta)

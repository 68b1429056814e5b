"""One object's bytes, and what selectors read from them."""

from __future__ import annotations

import pytest

from tests.store.builders import SELECTABLE, key, value
from tiphys.store.entries import Entry, Selectable, with_revision, without_revision


def entry(data: bytes, *selectable: Selectable) -> Entry:
    return Entry(key("x"), 7, data, selectable)


def test_the_revision_is_the_first_field_of_the_metadata_and_can_be_taken_out_again() -> None:
    shown = with_revision(b'{"kind":"Pod","metadata":{"name":"x"},"spec":{}}', 7)
    assert shown == b'{"kind":"Pod","metadata":{"resourceVersion":"7","name":"x"},"spec":{}}'
    assert without_revision(shown) == b'{"kind":"Pod","metadata":{"name":"x"},"spec":{}}'


def test_labels_are_read_from_the_bytes_and_none_are_an_empty_dictionary() -> None:
    assert entry(value("a")).labels == {"l": "a"}
    assert entry(b'{"metadata":{"name":"x"}}').labels == {}
    assert entry(b'{"metadata":{"labels":null}}').labels == {}


@pytest.mark.parametrize(
    ("spec", "selectable", "read"),
    [
        ('{"a":"x"}', Selectable("spec.a"), "x"),
        ('{"a":3}', Selectable("spec.a"), "3"),
        ('{"a":true}', Selectable("spec.a"), "true"),
        ('{"a":false}', Selectable("spec.a", "absent"), "false"),
        ("{}", Selectable("spec.a"), ""),
        ("{}", Selectable("spec.a", "absent"), "absent"),
        ("null", Selectable("spec.a", "absent"), "absent"),
        ('{"b":{"c":"x"}}', Selectable("spec.a", path="spec.b.c"), "x"),
        ('{"b":"y","c":"z"}', Selectable("spec.a", path="spec.b|spec.c"), "y"),
        ('{"b":"","c":"z"}', Selectable("spec.a", path="spec.b|spec.c"), "z"),
        ('{"b":""}', Selectable("spec.a", "absent", "spec.b|spec.c"), "absent"),
    ],
)
def test_a_selectable_field(spec: str, selectable: Selectable, read: str) -> None:
    made = entry(b'{"metadata":{"name":"x"},"spec":%b}' % spec.encode(), selectable)
    assert made.fields == {"spec.a": read}


def test_what_was_derived_can_be_read_again_after_it_was_dropped() -> None:
    made = entry(value("a", "n1"), *SELECTABLE)
    before = (made.labels, made.fields)
    made.shown = {"table": b"row"}
    made.forget_derived()
    assert made.shown is None and (made.labels, made.fields) == before
    made.select_by((Selectable("metadata.name"),))
    assert made.fields == {"metadata.name": "x"}

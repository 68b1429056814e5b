"""Indexes answer for selectors, are few, and are built only when asked to be."""

from __future__ import annotations

import pytest

from tests.store.builders import PREFIX, cache, key, names, put
from tiphys.machinery.selectors import parse_fields, parse_labels
from tiphys.store.filters import Filter
from tiphys.store.indexes import MOST, Indexes

ENTRIES = list(cache(put(1, "a", "x", "n1"), put(2, "b", "y", "n1"), put(3, "c", "x", "n2")))


def labels(text: str) -> Filter:
    return Filter(PREFIX, labels=parse_labels(text))


def fields(text: str) -> Filter:
    return Filter(PREFIX, fields=parse_fields(text))


@pytest.mark.parametrize(
    ("view", "candidates"),
    [
        (labels("l=x"), "ac"),
        (labels("l in (x, y)"), "abc"),
        (labels("l=z"), ""),
        (labels("other,l=x"), "ac"),  # the first requirement that is of use
        (fields("spec.nodeName=n1"), "ab"),
        (fields("metadata.name=a,spec.nodeName=n1"), "ab"),  # names are part of the key
        (labels("l!=x"), None),
        (labels("l notin (x)"), None),
        (labels("l"), None),
        (fields("metadata.namespace=ns"), None),
        (Filter(PREFIX), None),
    ],
)
def test_candidates_of_a_view(view: Filter, candidates: str | None) -> None:
    keys = Indexes().keys(view, ENTRIES)
    assert keys == (None if candidates is None else {key(name) for name in candidates})


def test_an_index_follows_every_change() -> None:
    made = cache(put(1, "a", "x"), put(2, "b", "x"))
    view = labels("l=x")
    assert names(made.candidates(view)) == ["a", "b"]
    made.apply(put(3, "a", "y"))
    assert names(made.candidates(view)) == ["b"]
    made.apply(put(4, "b", "y"))
    made.apply(put(5, "c", "x"))
    assert names(made.candidates(view)) == ["c"]


def test_a_snapshot_builds_no_index_and_uses_one_that_is_there() -> None:
    made = cache(put(1, "a", "x"), put(2, "b", "y"))
    assert names(made.snapshot(labels("l=x"))) == ["a", "b"]
    made.select(labels("l=x"))
    assert names(made.snapshot(labels("l=x"))) == ["a"]


def test_clients_cannot_have_any_number_of_indexes_built() -> None:
    indexes = Indexes()
    for number in range(MOST):
        assert not indexes.ready_for(labels(f"l{number}=x"))
        assert indexes.keys(labels(f"l{number}=x"), ENTRIES) == set()
    assert indexes.keys(labels("l=x"), ENTRIES) is None and indexes.ready_for(labels("l=x"))
    assert indexes.keys(labels("l=x,l0=x"), ENTRIES) == set(), "one that is there is still used"

"""Sets of indexes as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.controllers.builders import worker
from tiphys.controllers.jobindexes import INDEX, format_indexes, index_of, parse_indexes


@given(st.sets(st.integers(0, 60)))
def test_indexes_are_written_and_read_back(indexes: set[int]) -> None:
    assert parse_indexes(format_indexes(indexes)) == indexes


def test_indexes_are_written_as_runs() -> None:
    assert format_indexes({1, 3, 4, 5, 7, 8}) == "1,3-5,7,8"
    assert format_indexes(set()) == ""


@pytest.mark.parametrize(("text", "index"), [("3", 3), ("", None), ("-1", None), ("٣", None)])
def test_a_pod_has_its_index_in_an_annotation(text: str, index: int | None) -> None:
    pod = worker("a")
    pod.metadata.annotations[INDEX] = text
    assert index_of(pod) == index

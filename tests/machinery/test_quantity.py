from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.api.base import canonical_quantity, parse_quantity
from tiphys.machinery import quantity


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("100k", "100k"),
        ("1e3", "1e3"),
        ("0", "0"),
        ("2", "2"),
        ("-1", "-1"),
        ("0.1", "100m"),
        ("1536", "1536"),
        ("128974848", "128974848"),
        ("129M", "129M"),
        ("1E", "1E"),
    ],
)
def test_canonical_spelling(given: str, canonical: str) -> None:
    assert canonical_quantity(given) == canonical


@pytest.mark.parametrize("bad", ["", "abc", "1.5.1", "1KiB", "--1", "1 Gi", "Mi"])
def test_what_is_no_quantity_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        canonical_quantity(bad)


@given(st.integers(-(10**15), 10**15), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi"]))
def test_canonical_form_keeps_the_value_and_is_stable(number: int, suffix: str) -> None:
    made = canonical_quantity(f"{number}{suffix}")
    assert parse_quantity(made)[0] == parse_quantity(f"{number}{suffix}")[0]
    assert canonical_quantity(made) == made


def test_sums_keep_the_left_format() -> None:
    assert quantity.add("1Gi", "512Mi") == "1536Mi"
    assert quantity.subtract("1", "250m") == "750m"
    assert quantity.milli("0.0001") == 1

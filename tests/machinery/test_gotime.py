"""Times are read, kept and refused as Go's package `time` has it."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery.gotime import canonical_micro_time, canonical_time

LAYOUT = "2006-01-02T15:04:05Z07:00"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.999Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05,5Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05+02:30", "2026-01-02T00:34:05Z"),
        ("2026-01-01T00:00:00+01:00", "2025-12-31T23:00:00Z"),
        ("2026-01-02T23:04:05-01:00", "2026-01-03T00:04:05Z"),
        ("2026-01-02T3:04:05Z", "2026-01-02T03:04:05Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_kept_in_utc_and_whole_seconds(text: str, canonical: str) -> None:
    assert canonical_time(text) == canonical


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kube-system", f'"kube-system" as "{LAYOUT}": cannot parse "kube-system" as "2006"'),
        ("2026", f'"2026" as "{LAYOUT}": cannot parse "" as "-"'),
        ("2026-1-02T03:04:05Z", 'cannot parse "1-02T03:04:05Z" as "01"'),
        ("2026-01-02 03:04:05Z", 'cannot parse " 03:04:05Z" as "T"'),
        ("2026-01-02T03:04:05", 'cannot parse "" as "Z07:00"'),
        ("2026-01-02T03:04:05z", 'cannot parse "z" as "Z07:00"'),
        ("2026-01-02T03:04:05.Z", 'cannot parse ".Z" as "Z07:00"'),
        ("2026-01-02T03:04:05+0100", 'cannot parse "+0100" as "Z07:00"'),
        ("2026-13-02T03:04:05Z", '"2026-13-02T03:04:05Z": month out of range'),
        ("2026-02-29T03:04:05Z", '"2026-02-29T03:04:05Z": day out of range'),
        ("2026-01-02T24:04:05Z", '"2026-01-02T24:04:05Z": hour out of range'),
        ("2026-01-02T03:60:05Z", '"2026-01-02T03:60:05Z": minute out of range'),
        ("2026-01-02T03:04:60Z", '"2026-01-02T03:04:60Z": second out of range'),
        ("2026-01-02T03:04:05+25:00", '"2026-01-02T03:04:05+25:00": time zone offset hour'),
        ("0000-01-02T03:04:05Z", '"0000-01-02T03:04:05Z": year out of range'),
        ("0001-01-01T00:00:00+10:00", '"0001-01-01T00:00:00+10:00": year out of range'),
        ("9999-12-31T23:59:59-23:00", '"9999-12-31T23:59:59-23:00": year out of range'),
        ("2026-01-02T03:04:05Zx", '"2026-01-02T03:04:05Zx": extra text: "x"'),
    ],
)
def test_what_is_no_time_is_refused_with_its_first_fault(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="parsing time") as refused:
        canonical_time(text)
    assert why in str(refused.value)


def test_a_time_in_microseconds_has_six_digits_of_them() -> None:
    assert canonical_micro_time("2026-01-02T03:04:05.000006Z") == "2026-01-02T03:04:05.000006Z"
    assert canonical_micro_time("2026-01-02T03:04:05.5+00:00".replace("5+", "500000+")) == (
        "2026-01-02T03:04:05.500000Z"
    )
    for text in ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.1Z"):
        with pytest.raises(ValueError, match=r'as "\.000000"'):
            canonical_micro_time(text)


moments = st.datetimes(
    datetime.datetime(2, 1, 1), datetime.datetime(9998, 12, 31), allow_imaginary=False
)


@given(moments, st.integers(-1439, 1439))
def test_a_moment_is_the_same_whatever_zone_it_is_told_in(
    moment: datetime.datetime, minutes: int
) -> None:
    zone = datetime.timezone(datetime.timedelta(minutes=minutes))
    told = moment.replace(microsecond=0, tzinfo=datetime.UTC).astimezone(zone).isoformat()
    assert canonical_time(told) == moment.isoformat(timespec="seconds") + "Z"


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    for read in (canonical_time, canonical_micro_time):
        try:
            assert read(read(text)) == read(text)
        except ValueError as error:
            assert str(error).startswith("parsing time ")

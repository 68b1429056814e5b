"""Durations in Go's syntax."""

from __future__ import annotations

import pytest

from tiphys.machinery.durations import DurationError, go_text, human, seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("-1.5s", -1.5),
        ("+.5m", 30.0),
        ("3.s", 3.0),
        ("10us5µs5μs", 2e-5),
        ("2562047h", 9223369200.0),
    ],
)
def test_durations_are_read(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("s", 'time: invalid duration "s"'),
        ("+-5s", 'time: invalid duration "+-5s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1h5", 'time: missing unit in duration "1h5"'),
        ("5d", 'time: unknown unit "d" in duration "5d"'),
        ("1h 5m", 'time: unknown unit "h " in duration "1h 5m"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
        ("٣s", 'time: invalid duration "٣s"'),
    ],
)
def test_others_are_refused_as_go_refuses_them(text: str, message: str) -> None:
    with pytest.raises(DurationError) as refused:
        seconds(text)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (-2, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (1, "1s"),
        (599, "9m59s"),
        (10_799, "179m"),
        (28_799, "7h59m"),
        (2 * 86_400 - 1, "47h"),
        (8 * 86_400 - 1, "7d23h"),
        (2 * 365 * 86_400 - 1, "729d"),
        (8 * 365 * 86_400 - 1, "7y364d"),
        (119, "119s"),
        (120, "2m"),
        (185, "3m5s"),
        (600, "10m"),
        (10_800, "3h"),
        (11_700, "3h15m"),
        (28_800, "8h"),
        (2 * 86_400, "2d"),
        (2 * 86_400 + 3600, "2d1h"),
        (8 * 86_400 + 3600, "8d"),
        (2 * 365 * 86_400, "2y"),
        (3 * 365 * 86_400 + 86_400, "3y1d"),
        (9 * 365 * 86_400 + 86_400, "9y"),
    ],
)
def test_ages_are_shown_as_kubectl_shows_them(age: float, shown: str) -> None:
    assert human(age) == shown


@pytest.mark.parametrize(
    ("span", "text"),
    [(0, "0s"), (10.9, "10s"), (59, "59s"), (60, "1m0s"), (160, "2m40s"), (3610, "1h0m10s")],
)
def test_whole_seconds_are_written_as_go_writes_them(span: float, text: str) -> None:
    assert go_text(span) == text

"""beanstalkd: what a tube's statistics say, and what else a server may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.addons.keda.tables import fails, made, problem
from tiphys.addons.keda.scaler import Measured, ScalerError
from tiphys.addons.keda.triggers import beanstalkd

TUBE = {"server": "h:1", "tube": "a/b", "value": "5"}
STATS = b"---\ncurrent-jobs-ready: 3\ncurrent-jobs-reserved: 2\ncurrent-jobs-delayed: 4\nodd\n"


def answer(body: bytes) -> bytes:
    return b"OK %d\r\n%b\r\n" % (len(body), body)


class Server:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: bytes | None) -> None:
        self.answers = answers
        self.sent = b""
        self.dialed: tuple[str, int] | None = None
        self.closed = 0
        self.fails: Exception | None = None
        monkeypatch.setattr(beanstalkd, "dial", self._dial)

    async def _dial(self, config: Any, host: str, port: int) -> Any:
        self.dialed = (host, port)
        if self.fails is not None:
            raise self.fails
        reader = asyncio.StreamReader()
        if self.answers is not None:
            reader.feed_data(self.answers)
            reader.feed_eof()
        return reader, self

    def write(self, data: bytes) -> None:
        self.sent += data

    async def drain(self) -> None: ...

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("parts", "answers", "value"),
    [
        ({}, answer(STATS), 5),
        ({"includeDelayed": "true"}, answer(STATS), 9),
        ({}, b"NOT_FOUND\r\n", 0),
        ({}, answer(b"other: 3\n"), 0),
    ],
)
async def test_jobs_that_wait_or_are_worked_on_are_counted(
    monkeypatch: pytest.MonkeyPatch, parts: dict[str, str], answers: bytes, value: float
) -> None:
    server = Server(monkeypatch, answers)
    scaler = made("beanstalkd", {**TUBE, **parts, "activationValue": "4"})
    assert await scaler.look("") == Measured(value, value > 4)
    assert (server.dialed, server.sent, server.closed) == (("h", 1), b"stats-tube a/b\r\n", 1)


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (b"OUT_OF_MEMORY\r\n", "OUT_OF_MEMORY"),
        (b"OK\r\n", "OK"),
        (b"OK x\r\n", "invalid literal"),
        (b"OK 0\r\n", "OK 0"),
        (b"OK 65536\r\n" + b"x" * 65538, "OK 65536"),
        (b"OK 9\r\nab", "2 bytes read on a total of 9"),
        (b"", "0 bytes read"),
        (answer(b"current-jobs-ready: x\n"), "invalid literal"),
    ],
)
async def test_a_server_that_says_something_else_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, answers: bytes, text: str
) -> None:
    server = Server(monkeypatch, answers)
    found = await fails(made("beanstalkd", TUBE).measure())
    assert found.startswith("error interacting with beanstalkd: ") and text in found
    assert server.closed == 1


async def test_who_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, None)
    scaler = made("beanstalkd", {**TUBE, "server": "h"})
    object.__setattr__(scaler.config.surroundings, "timeout", 0.01)
    assert await fails(scaler.measure()) == "error interacting with beanstalkd: i/o timeout"
    assert (server.dialed, server.closed) == (("h", 11300), 1)
    server.fails = ScalerError("dial tcp h:11300: refused")
    text = "error interacting with beanstalkd: dial tcp h:11300: refused"
    assert await fails(scaler.measure()) == text


async def test_a_tube_has_no_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, answer(STATS))
    scaler = made("beanstalkd", {**TUBE, "tube": "a\r\ndelete 1"})
    assert await fails(scaler.measure()) == (
        "error interacting with beanstalkd: a tube has no spaces"
    )
    assert server.dialed is None


def test_what_a_tube_is_called() -> None:
    scaler = made("beanstalkd", TUBE)
    assert (scaler.name(), scaler.target(), scaler.activation()) == ("beanstalkd-a%2Fb", 5, 0)


# --- cron ---

CRON = {"start": "0 8 * * *", "end": "0 17 * * *", "timezone": "UTC", "desiredReplicas": "3"}


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, ""),
        ({"start": "x"}, "error parsing start schedule"),
        ({"end": "@daily"}, "error parsing end schedule: expected exactly 5 fields, found 1"),
        ({"end": "0 8 * * *"}, "start and end can not have exactly same time input"),
        ({"desiredReplicas": "0"}, "no desiredReplicas specified"),
        ({"desiredReplicas": "1"}, ""),
    ],
)
def test_a_window_begins_and_ends(parts: dict[str, str], text: str) -> None:
    found = problem("cron", {**CRON, **parts})
    assert text in found if text else not found


@pytest.mark.parametrize(
    ("hour", "zone", "end", "inside"),
    [
        (7.99, "UTC", "0 17 * * *", False),
        (8, "UTC", "0 17 * * *", True),
        (16.99, "UTC", "0 17 * * *", True),
        (17, "UTC", "0 17 * * *", False),
        (7, "Europe/Berlin", "0 17 * * *", True),
        (16, "Europe/Berlin", "0 17 * * *", False),
        (12, "UTC", "0 0 30 2 *", False),
    ],
)
async def test_a_window_is_open_while_its_end_comes_before_its_start(
    hour: float, zone: str, end: str, inside: bool
) -> None:
    midnight = 1_800_000_000 - 1_800_000_000 % 86_400  # of a day in January
    scaler = made("cron", {**CRON, "timezone": zone, "end": end})
    object.__setattr__(scaler.config.surroundings, "now", lambda: midnight + hour * 3600)
    assert await scaler.look("") == Measured(3.0 if inside else 0.0, inside)


async def test_a_zone_is_one_that_there_is() -> None:
    found = await fails(made("cron", {**CRON, "timezone": "Mars/Base"}).look(""))
    assert found.startswith("unable to load timezone: ")


def test_signs_of_schedules_have_words_in_names() -> None:
    scaler = made("cron", {**CRON, "start": "*/5 1,2 * * *"})
    assert scaler.name() == "cron-UTC-xSl51Cm2xxx-017xxx" and scaler.target() == 1

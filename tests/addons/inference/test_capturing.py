"""What is recorded of requests and answers, and what becomes of records that S3 does not take."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import pytest

from tiphys.addons.inference import capturing
from tiphys.addons.inference.capturing import Body, Capture, Recorder, encoding_of, record_of
from tiphys.addons.inference.loading import LoadError

CAPTURE = Capture("b", "p", batch=3)
CSV = Body(b"1,2", "text/csv")
HOUR = 1_767_229_201.0  # 2026-01-01T01:00:01Z


class Bucket:
    """Keeps what it is given, unless it fails."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, bytes]] = []
        self.fails = False

    def put(self, key: str, body: bytes) -> None:
        if self.fails:
            raise LoadError("503 Slow Down")
        self.stored.append((key, body))

    def counts(self) -> list[int]:
        """Records of each object."""
        return [body.count(b"\n") for _, body in self.stored]


def recorder(capture: Capture = CAPTURE) -> tuple[Recorder, Any]:
    bucket: Any = Bucket()
    return Recorder(capture, bucket, "pod-1", lambda: HOUR), bucket


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("text/csv", "CSV"),
        ("Text/CSV ; header=present", "CSV"),
        ("application/json", "JSON"),
        ("application/jsonlines", "BASE64"),
        ("", "BASE64"),
        ("text/csvx", "BASE64"),
    ],
)
def test_text_is_written_as_text_where_its_type_is_named(content_type: str, encoding: str) -> None:
    assert encoding_of(CAPTURE, content_type) == encoding


@pytest.mark.parametrize(
    ("content", "largest", "data", "encoding"),
    [
        (b"abc", 0, "abc", "CSV"),
        (b"abc", 3, "abc", "CSV"),
        (b"abc", 2, "ab", "CSV"),
        ("aé".encode(), 2, "YcM=", "BASE64"),  # cut within a character
        (b"\xff", 0, "/w==", "BASE64"),
        (b"", 0, "", "CSV"),
    ],
)
def test_a_body_is_cut_and_text_that_is_none_is_base64(
    content: bytes, largest: int, data: str, encoding: str
) -> None:
    capture = dataclasses.replace(CAPTURE, largest=largest, modes=("Input",))
    record = record_of(capture, Body(content, "text/csv"), CSV, 0)
    assert list(record["captureData"]) == ["endpointInput"]
    found = record["captureData"]["endpointInput"]
    assert (found["data"], found["encoding"]) == (data, encoding)
    assert record["eventVersion"] == "0"


async def test_records_are_written_together_below_the_hour() -> None:
    made, bucket = recorder()
    await made.flush()
    assert bucket.stored == [], "there is nothing to write"
    for _ in range(2):
        made.record(CSV, CSV)
    await made.flush()
    [(key, body)] = bucket.stored
    assert key.startswith("p/2026/01/01/01/00-01-pod-1-") and key.endswith(".jsonl")
    assert [list(json.loads(line)) for line in body.splitlines()] == [
        ["captureData", "eventMetadata", "eventVersion"]
    ] * 2
    await made.flush()
    assert bucket.counts() == [2]
    bare, other = recorder(dataclasses.replace(CAPTURE, prefix=""))
    bare.record(CSV, CSV)
    await bare.flush()
    assert other.stored[0][0].startswith("2026/01/01/01/")


async def test_when_there_are_enough_they_are_written_at_once() -> None:
    made, bucket = recorder()
    writing = asyncio.ensure_future(made.run())
    for _ in range(3):
        made.record(CSV, CSV)
    async with asyncio.timeout(5):
        while not bucket.stored:  # noqa: ASYNC110 (a bucket sets no event)
            await asyncio.sleep(0.001)
    made.record(CSV, CSV)
    made.end()
    await writing
    assert bucket.counts() == [3, 1]


async def test_when_it_is_time_they_are_written_however_few() -> None:
    made, bucket = recorder(dataclasses.replace(CAPTURE, seconds=0.01))
    writing = asyncio.ensure_future(made.run())
    made.record(CSV, CSV)
    async with asyncio.timeout(5):
        while not bucket.stored:  # noqa: ASYNC110 (a bucket sets no event)
            await asyncio.sleep(0.001)
    made.end()
    await writing
    assert bucket.counts() == [1]


async def test_what_s3_does_not_take_is_kept_in_its_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, bucket = recorder()
    bucket.fails = True
    made.record(Body(b"first", "text/csv"), CSV)
    await made.flush()
    assert capsys.readouterr().err == "1 records wait, 0 are lost: 503 Slow Down\n"
    made.record(Body(b"second", "text/csv"), CSV)
    bucket.fails = False
    await made.flush()
    [(_, body)] = bucket.stored
    assert body.index(b"first") < body.index(b"second")


async def test_what_is_too_much_to_keep_is_lost_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, bucket = recorder()
    made.record(CSV, CSV)
    monkeypatch.setattr(capturing, "_MOST_KEPT", 2 * made._size)
    bucket.fails = True
    await made.flush()
    for _ in range(3):
        made.record(CSV, CSV)
    await made.flush()
    assert capsys.readouterr().err.splitlines()[-1] == "2 records wait, 2 are lost: 503 Slow Down"
    bucket.fails = False
    await made.flush()
    made.record(CSV, CSV)
    await made.flush()
    assert bucket.counts() == [2, 1], "there is room again"


@pytest.mark.parametrize(
    ("drawn", "percentage", "wants"),
    [(0.0, 0, False), (0.0, 1, True), (0.499, 50, True), (0.5, 50, False), (0.999, 100, True)],
)
def test_a_part_of_the_requests_is_recorded(
    drawn: float, percentage: int, wants: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = recorder(dataclasses.replace(CAPTURE, percentage=percentage))
    monkeypatch.setattr(capturing.random, "random", lambda: drawn)
    assert made.wants() is wants


@pytest.mark.parametrize(("largest", "most"), [(0, 16 << 20), (5, 5)])
def test_no_more_of_a_body_is_kept_than_is_recorded(largest: int, most: int) -> None:
    made, _ = recorder(dataclasses.replace(CAPTURE, largest=largest))
    assert made.most == most

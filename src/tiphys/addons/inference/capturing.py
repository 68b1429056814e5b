"""What went into a model and came out of it, to S3: lines of JSON as SageMaker's data capture
writes them. With the standard library alone, since it runs in pods.

Records are gathered and written in one object: when there are enough, or when it is time. What an
S3 does not take is kept up to a limit, and tried again.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import json
import random
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tiphys.addons.inference.loading import Bucket, LoadError

_MOST_KEPT = 64 << 20  # bytes of records that wait for S3
_LARGEST_BODY = 16 << 20  # bytes: the router takes no larger request


@dataclass(frozen=True)
class Capture:
    """What is written, and where: below ``prefix/YYYY/MM/DD/HH``. `percentage` of the requests are;
    of each body the first `largest` bytes, 0 for all. Content types are written as text where they
    are named, else as base64."""

    bucket: str
    prefix: str
    modes: tuple[str, ...] = ("Input", "Output")
    percentage: int = 100
    batch: int = 10
    seconds: float = 60
    largest: int = 0
    csv_types: tuple[str, ...] = ("text/csv",)
    json_types: tuple[str, ...] = ("application/json",)


@dataclass(frozen=True)
class Body:
    content: bytes
    content_type: str


def encoding_of(capture: Capture, content_type: str) -> str:
    plain = content_type.partition(";")[0].strip().lower()
    if plain in capture.csv_types:
        return "CSV"
    return "JSON" if plain in capture.json_types else "BASE64"


def record_of(capture: Capture, request: Body, answer: Body, now: float) -> dict[str, Any]:
    """One line. Text that was cut within a character, or is no UTF-8, is written as base64."""
    data = {}
    for mode, body in (("Input", request), ("Output", answer)):
        if mode not in capture.modes:
            continue
        content = body.content[: capture.largest or None]
        encoding = encoding_of(capture, body.content_type)
        try:
            text = content.decode() if encoding != "BASE64" else ""
        except UnicodeDecodeError:
            encoding = "BASE64"
        if encoding == "BASE64":
            text = base64.b64encode(content).decode()
        data[f"endpoint{mode}"] = {
            "observedContentType": body.content_type,
            "mode": mode.upper(),
            "data": text,
            "encoding": encoding,
        }
    when = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {"eventId": str(uuid.uuid4()), "inferenceTime": when}
    return {"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}


class Recorder:
    """`run` writes until `end` is called, and then what is left."""

    def __init__(
        self, capture: Capture, bucket: Bucket, name: str, now: Callable[[], float]
    ) -> None:
        self._capture = capture
        self._bucket = bucket
        self._name = name
        self._now = now
        self._lines: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self._is_enough = asyncio.Event()
        self._has_ended = False

    @property
    def most(self) -> int:
        """How many bytes of a body are recorded at most."""
        return self._capture.largest or _LARGEST_BODY

    def wants(self) -> bool:
        """Whether the next request is one that is recorded."""
        return random.random() * 100 < self._capture.percentage

    def record(self, request: Body, answer: Body) -> None:
        entry = record_of(self._capture, request, answer, self._now())
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        if self._size + len(line) > _MOST_KEPT:
            self._dropped += 1
            return
        self._lines.append(line)
        self._size += len(line)
        if len(self._lines) >= self._capture.batch:
            self._is_enough.set()

    def end(self) -> None:
        self._has_ended = True
        self._is_enough.set()

    async def run(self) -> None:
        while not self._has_ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._capture.seconds):
                    await self._is_enough.wait()
            await self.flush()
        await self.flush()  # what came while the last object was written

    async def flush(self) -> None:
        self._is_enough.clear()
        lines = self._lines
        self._lines = []
        self._size = 0
        if not lines:
            return
        when = datetime.datetime.fromtimestamp(self._now(), datetime.UTC)
        name = f"{when:%Y/%m/%d/%H}/{when:%M-%S}-{self._name}-{uuid.uuid4()}.jsonl"
        key = "/".join(part for part in (self._capture.prefix, name) if part)
        try:
            await asyncio.to_thread(self._bucket.put, key, b"".join(lines))
        except LoadError as error:
            self._lines = [*lines, *self._lines]
            self._size = sum(map(len, self._lines))
            print(
                f"{len(self._lines)} records wait, {self._dropped} are lost: {error}",
                file=sys.stderr,
                flush=True,
            )

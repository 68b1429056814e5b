"""What a burst of requests took goes back to the system once the server is calm."""

from __future__ import annotations

import gc
import weakref

import pytest

from tiphys.apiserver.eventloop import memory
from tiphys.apiserver.eventloop.memory import MemoryTrimmer

MIB = 1 << 20


class Process:
    """A process whose memory is what the test says. Trimming leaves `kept`."""

    def __init__(self, memory: int, kept: int = 70, requests: int = 0) -> None:
        self.memory = memory
        self.kept = kept
        self.compressed = 0
        self.requests = 0
        self.trimmed = 0
        self.trimmer = MemoryTrimmer(
            self._compress, lambda: self.requests, lambda: self.memory * MIB, self._trim
        )
        self.requests = requests

    async def _compress(self) -> None:
        assert self.trimmed == self.compressed, "history is compressed before memory is trimmed"
        self.compressed += 1

    def _trim(self) -> None:
        self.trimmed += 1
        self.memory = min(self.memory, self.kept)

    async def looks(self, *sizes: int) -> list[int]:
        """How often it was trimmed after each look, at which it had so many MiB."""
        trimmed = []
        for self.memory in sizes:
            await self.trimmer.check()
            trimmed.append(self.trimmed)
        return trimmed


@pytest.mark.parametrize(
    ("memory", "trimmed"),
    [
        ([100, 130, 140], [0, 0, 0]),  # it grows
        ([100, 130, 131], [0, 0, 1]),  # it has stopped growing
        ([100, 130, 132], [0, 0, 0]),  # by 2 MiB is growth
        ([86, 86, 86], [0, 0, 0]),  # 16 MiB more are not worth it
        ([87, 87], [0, 1]),
    ],
)
async def test_memory_is_trimmed_when_it_has_grown_and_stopped(
    memory: list[int], trimmed: list[int]
) -> None:
    assert await Process(70).looks(*memory) == trimmed


async def test_growth_is_counted_from_the_last_trimming() -> None:
    process = Process(70)
    assert await process.looks(100, 100, 80, 80, 101, 101) == [0, 1, 1, 1, 1, 2]


async def test_a_large_process_is_trimmed_now_and_then_and_a_small_one_is_not() -> None:
    large = Process(90, kept=90)
    assert await large.looks(*[90] * 20) == [0] * 9 + [1] * 10 + [2]
    small = Process(80, kept=80)
    assert await small.looks(*[80] * 20) == [0] * 20


class Cycle:
    """What nothing but a collection frees."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize(
    ("waited", "frozen", "requests", "collected"),
    [
        (1799, 3000, 0, False),
        (1801, 3000, 5, True),
        (1801, 3000, 6, False),  # requests come
        (1801, 0, 0, False),  # nothing can have piled up
        (21_601, 0, 1000, True),  # they come all the time
        (601, 40_000, 5, True),  # much was frozen
        (599, 40_000, 5, False),
        (601, 40_000, 6, False),
    ],
)
async def test_everything_is_collected_in_a_calm_moment(
    monkeypatch: pytest.MonkeyPatch, waited: float, frozen: int, requests: int, collected: bool
) -> None:
    process = Process(70, requests=requests)
    begun = memory.time.monotonic()
    monkeypatch.setattr(memory.time, "monotonic", lambda: begun + waited)
    gone = weakref.ref(cycle := Cycle())
    gc.freeze()
    process.trimmer._frozen = gc.get_freeze_count() - frozen
    del cycle
    await process.looks(70)
    assert (gone() is None) == collected
    gc.unfreeze()


async def test_what_is_frozen_is_counted_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(70)
    begun = memory.time.monotonic()
    counts = []
    monkeypatch.setattr(memory.gc, "get_freeze_count", lambda: counts.append(1) or 0)
    for waited in (599, 603, 606, 660, 664):
        monkeypatch.setattr(memory.time, "monotonic", lambda waited=waited: begun + waited)
        await process.looks(70)
    assert len(counts) == 2

"""What a burst of requests took goes back to the system once the server is calm."""

from __future__ import annotations

import gc

import pytest

from tiphys.apiserver.eventloop.memory import MemoryTrimmer

MIB = 1 << 20


class Process:
    """A process whose memory is what the test says. Trimming leaves `kept`."""

    def __init__(self, memory: int, kept: int = 70) -> None:
        self.memory = memory
        self.kept = kept
        self.compressed = 0
        self.trimmed = 0
        self.trimmer = MemoryTrimmer(self._compress, lambda: self.memory * MIB, self._trim)

    async def _compress(self) -> None:
        assert self.trimmed == self.compressed, "history is compressed before memory is trimmed"
        self.compressed += 1

    def _trim(self) -> None:
        self.trimmed += 1
        self.memory = min(self.memory, self.kept)

    async def looks(self, *memory: int) -> list[int]:
        """How often it was trimmed after each look, at which it had so many MiB."""
        trimmed = []
        for self.memory in memory:
            await self.trimmer.look()
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


async def test_full_collections_wait_for_a_calm_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[str] = []
    monkeypatch.setattr(gc, "get_count", lambda: (0, 0, 3))
    monkeypatch.setattr(gc, "collect", lambda: collected.append("collected"))
    monkeypatch.setattr(gc, "freeze", lambda: collected.append("frozen"))
    process = Process(70, kept=200)
    await process.looks(80, 90, 100)
    assert collected == []
    await process.looks(100)
    assert collected == ["collected", "frozen"]


async def test_full_collections_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[str] = []
    monkeypatch.setattr(gc, "get_count", lambda: (0, 0, 3))
    monkeypatch.setattr(gc, "collect", lambda: collected.append("collected"))
    monkeypatch.setattr(gc, "freeze", lambda: None)
    process = Process(70)
    await process.looks(*range(80, 80 + 19 * 5, 5))
    assert collected == []
    await process.looks(500)
    assert collected == ["collected"]


async def test_what_is_not_due_is_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "get_count", lambda: (0, 0, 2))
    monkeypatch.setattr(gc, "collect", lambda: pytest.fail("collected"))
    await Process(70).looks(70, 70, 70)

"""What add-ons ask the supervisor of machines, and what they are told when it fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tiphys.addons.machines import Machine, MachineError, Machines


@asynccontextmanager
async def supervisor(folder: Path, answer: bytes) -> AsyncIterator[tuple[Machines, list[bytes]]]:
    """One that says the same to everybody, and what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(answer)
        writer.close()

    path = folder / "s"
    async with await asyncio.start_unix_server(serve, path):
        yield Machines(path), asked


async def test_a_request_is_a_line_and_so_is_its_answer(tmp_path: Path) -> None:
    async with supervisor(tmp_path, b'{"names":["a","b"]}\n') as (machines, asked):
        assert await machines.names() == ["a", "b"]
        await machines.make(Machine("c", capacity={"cpu": "2"}))
        await machines.end("c")
    verbs = [json.loads(line)["verb"] for line in asked]
    names = [json.loads(line)["machine"]["name"] for line in asked]
    assert (verbs, names) == (["list", "make", "end"], ["", "c", "c"])
    assert json.loads(asked[1])["machine"]["capacity"] == {"cpu": "2"}


async def test_what_the_supervisor_says_against_it_is_told(tmp_path: Path) -> None:
    async with supervisor(tmp_path, b'{"problem":"at most 16 nodes"}\n') as (machines, _):
        with pytest.raises(MachineError, match=r"^at most 16 nodes$"):
            await machines.make(Machine("c"))


@pytest.mark.parametrize("answer", [b"", b"what?\n", b"[]\n", b'{"names":7}\n'])
async def test_an_answer_that_is_none_is_an_error(tmp_path: Path, answer: bytes) -> None:
    async with supervisor(tmp_path, answer) as (machines, _):
        with pytest.raises(MachineError, match="the supervisor did not answer"):
            await machines.names()


async def test_a_supervisor_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="the supervisor did not answer: FileNotFoundError"):
        await Machines(tmp_path / "none").names()

"""Processes that containerd's events tell of: killed if they are the container's own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.node.cri.containerd import happened
from tiphys.node.cri.processes import Processes

ID = "c0ffee"


@pytest.fixture
async def process() -> AsyncIterator[asyncio.subprocess.Process]:
    made = await asyncio.create_subprocess_exec("sleep", "600")
    yield made
    with contextlib.suppress(ProcessLookupError):
        made.kill()
    await made.wait()


@pytest.fixture
def proc(tmp_path: Path, process: asyncio.subprocess.Process) -> Path:
    """A /proc in which the process is in the container's control group."""
    folder = tmp_path / str(process.pid)
    folder.mkdir()
    (folder / "cgroup").write_text(f"1:memory:/tiphys/poduid/{ID}\n")
    return tmp_path


@pytest.fixture
def watched(proc: Path, process: asyncio.subprocess.Process) -> Processes:
    """It is trusted, and its start was seen."""
    processes = Processes(proc)
    processes.trust(ID)
    processes.observe(happened("start", ID, process.pid))
    return processes


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_process_whose_start_was_seen_is_killed(
    proc: Path, process: asyncio.subprocess.Process
) -> None:
    before = handles()
    processes = Processes(proc)
    processes.trust(ID)
    assert not processes.knows(ID) and not processes.send(ID, signal.SIGKILL)
    assert not processes.observe(happened("start", ID, process.pid))
    assert processes.knows(ID) and processes.send(ID, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    assert processes.send(ID, signal.SIGKILL)  # once more does nothing
    assert processes.observe(happened("exit", ID, process.pid))
    assert not processes.observe(happened("delete", ID, process.pid))
    assert not processes.knows(ID) and not processes.trusts(ID) and handles() == before


async def test_what_is_not_trusted_or_not_the_containers_is_not_killed(
    proc: Path, process: asyncio.subprocess.Process
) -> None:
    before = handles()
    processes = Processes(proc)
    processes.observe(happened("start", ID, process.pid))
    assert not processes.send(ID, signal.SIGKILL)
    processes.trust("another")
    processes.observe(happened("start", "another", process.pid))
    processes.observe(happened("start", "another", 1 << 22))  # no process has this number
    assert not processes.send("another", signal.SIGKILL)
    assert process.returncode is None and handles() == before + 1
    processes.close()
    assert handles() == before


async def test_a_command_that_was_deleted_is_not_the_container(
    watched: Processes, process: asyncio.subprocess.Process
) -> None:
    watched.observe(happened("delete", ID, process.pid, command="exec-1"))
    assert watched.knows(ID)
    watched.close()


async def test_the_end_waits_for_the_task_to_be_deleted(
    watched: Processes, process: asyncio.subprocess.Process
) -> None:
    ending = asyncio.create_task(watched.end(ID, signal.SIGKILL, 60))
    await process.wait()
    assert not ending.done()
    watched.observe(happened("delete", ID, process.pid))
    await asyncio.wait_for(ending, 5)


async def test_the_end_does_not_wait_for_ever_nor_for_the_unknown(watched: Processes) -> None:
    await asyncio.wait_for(watched.end("unknown", signal.SIGKILL, 60), 5)
    await asyncio.wait_for(watched.end(ID, signal.SIGKILL, 0.01), 5)
    watched.close()


async def test_a_signal_that_may_be_answered_is_sent_once(
    watched: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(watched, "send", lambda id, number: sent.append(number))
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        assert not await watched.end(ID, number, 0.001)
    assert sent == [signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]
    watched.close()


async def test_nobody_waits_for_what_is_not_heard_of(watched: Processes) -> None:
    """The events have broken off: the process may have ended since."""
    ending = asyncio.create_task(watched.end(ID, signal.SIGCONT, 60))
    await asyncio.sleep(0)
    watched.close()
    assert not await asyncio.wait_for(ending, 5)


async def test_all_who_wait_for_an_end_hear_of_it(watched: Processes) -> None:
    first = asyncio.create_task(watched.end(ID, signal.SIGCONT, 60))
    second = asyncio.create_task(watched.end(ID, signal.SIGKILL, 60))
    await asyncio.sleep(0)
    watched.observe(happened("delete", ID))
    assert await first and await second


async def test_a_process_is_adopted_if_it_is_the_containers(
    proc: Path, process: asyncio.subprocess.Process
) -> None:
    processes = Processes(proc)
    processes.adopt("another", process.pid)
    assert not processes.knows("another") and not processes.trusts("another")
    processes.adopt(ID, process.pid)
    assert processes.send(ID, signal.SIGTERM)
    assert await process.wait() == -signal.SIGTERM
    processes.close()


@pytest.mark.parametrize("garbage", [b"\xff", b"x/tasks/exit"])
def test_an_event_that_is_not_understood_asks_for_a_look(garbage: bytes) -> None:
    assert Processes().observe(garbage)

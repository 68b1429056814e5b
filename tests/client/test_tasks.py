"""Tasks of a group end together, and what fails is reported."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tiphys.client.tasks import TaskGroup


async def fail() -> None:
    raise KeyError("x")


async def answer() -> int:
    return 7


@pytest.mark.parametrize("vital", [True, False])
async def test_a_failure_is_logged_and_told_if_it_is_vital(
    caplog: pytest.LogCaptureFixture, vital: bool
) -> None:
    group = TaskGroup("group")
    task = group.start(fail(), "work", vital=vital)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert "Task group/work failed" in caplog.text and group.failed.is_set() is vital


async def test_what_ends_well_or_is_cancelled_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = TaskGroup("group")
    assert await group.start(answer(), "work", vital=True) == 7
    task = group.start(asyncio.Event().wait(), "wait", vital=True)
    await group.stop()
    assert task.cancelled() and not group.failed.is_set() and not caplog.records
    await group.stop()


async def test_a_task_that_loses_its_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wait = asyncio.wait

    async def soon(tasks: set[asyncio.Task[None]], timeout: float) -> object:
        return await wait(tasks, timeout=timeout / 100)

    monkeypatch.setattr(asyncio, "wait", soon)
    cancelled: list[int] = []

    async def stubborn() -> None:
        while len(cancelled) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(1)

    group = TaskGroup("group")
    group.start(stubborn(), "work")
    await asyncio.sleep(0)
    with caplog.at_level(logging.INFO):
        await group.stop()
    assert len(cancelled) == 2 and "Task group/work has not ended yet" in caplog.text

"""Signals end a process in an orderly way."""

from __future__ import annotations

import asyncio
import os

import pytest

from tiphys.client.signals import ENDING, stop_event


@pytest.mark.parametrize("number", ENDING)
async def test_a_signal_that_ends_sets_the_event(number: int) -> None:
    stop = stop_event()
    assert not stop.is_set()
    os.kill(os.getpid(), number)
    await asyncio.wait_for(stop.wait(), 5)
    assert stop.signal == number
    for handled in ENDING:
        asyncio.get_running_loop().remove_signal_handler(handled)

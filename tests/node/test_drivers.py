"""Changes of devices are reported, and not too often."""

from __future__ import annotations

import asyncio

from tiphys.node.drivers import GatheredReports


async def test_changes_are_gathered_to_one_report() -> None:
    loop = asyncio.get_running_loop()
    reports: asyncio.Queue[float] = asyncio.Queue()
    gathered = GatheredReports(lambda: reports.put_nowait(loop.time()), pause=0.01)
    async with asyncio.timeout(10):
        for _ in range(3):
            gathered.changed()
        assert reports.empty(), "the pause is not over yet"
        first = await reports.get()
        gathered.changed()
        assert reports.empty(), "three changes are one report"
        assert await reports.get() - first >= 0.01

"""When work that is not urgent is done."""

from __future__ import annotations

import pytest

from tiphys.node.quiet import Quiet


@pytest.mark.parametrize(
    ("disturbances", "waited"),
    [
        ([], 0.0),
        ([0.0], 0.3),
        ([0.0, 0.2, 0.25], 0.55),
        ([0.0, 0.4], 0.3),
        ([number / 10 for number in range(100)], 5.0),
    ],
)
async def test_work_waits_for_a_pause_but_not_for_ever(
    disturbances: list[float], waited: float
) -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        """While the time goes by, others do urgent work."""
        nonlocal now
        end = now + seconds
        for moment in disturbances:
            if now < moment <= end:
                now = moment
                quiet.disturb()
        now = end

    quiet = Quiet(0.3, lambda: now, sleep)
    if disturbances:
        quiet.disturb()
    await quiet.wait()
    assert now == pytest.approx(waited)

"""Windows of time that open by a cron schedule and stay open for a while. Pure."""

from __future__ import annotations

import datetime

from tiphys.machinery import cron


def is_open(schedule: str, length: float, now: float, zone: datetime.tzinfo = datetime.UTC) -> bool:
    """Whether a window of `length` seconds, opened by a schedule, is open at `now` (seconds since
    the epoch). Raises `cron.ScheduleError`.

    It is open from the second of the schedule on. A window that was opened while the one before was
    still open lasts for its own length: what counts is whether the schedule has struck within the
    last `length` seconds. The moment in which the length is over is no part of it (upstream:
    Karpenter's `Budget.IsActive` asks for the first strike after `now - length`). One whose
    schedule never strikes (30 February) is always open, as upstream's: no time is before any.
    """
    opened_since = max(now - length, 0.0)  # before the epoch there are no windows
    struck = cron.parse_schedule(schedule).after(opened_since, zone)
    return struck is None or struck <= now

"""What the supervisor reports of a cluster's components: whether they run, and since when."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from tiphys.cluster.state import Cluster

CRASH_LOOP = 3  # exits in a row, each soon after the start
_STEADY = 10.0  # seconds after which a component that restarted counts as running


def read(cluster: Cluster) -> dict[str, Any]:
    """The supervisor's file: its pid as `supervisor`, None when there is none, and a row for each
    of the `components`."""
    try:
        status: dict[str, Any] = json.loads(cluster.status_file.read_text())
    except (OSError, ValueError):
        return {"supervisor": None, "components": []}
    return status


def is_running(cluster: Cluster) -> bool:
    """Whether the cluster's supervisor is running."""
    pid = read(cluster)["supervisor"]
    return pid is not None and is_alive(pid)


def is_alive(pid: int) -> bool:
    """Whether a process with this pid runs. One that has ended and is not reaped, as in a
    container whose first process is no init, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return True


def started(cluster: Cluster, prefix: str) -> float:
    """When the last of the components with this prefix was started, in seconds since the epoch; 0
    when none was."""
    rows = read(cluster)["components"]
    times = [row["started"] for row in rows if row["name"].startswith(prefix)]
    return max(times, default=0.0)


def memory_of(pid: int | None) -> int:
    """Bytes that the end of a process would free: its proportional share of what is shared."""
    with contextlib.suppress(OSError, TypeError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def health(row: dict[str, Any], now: float) -> str:
    """How a component is, in a few words. `row` is from the supervisor's file, `now` in seconds
    since the epoch."""
    alive = row["pid"] is not None and is_alive(row["pid"])
    steady = alive and now - row["started"] >= _STEADY
    if row.get("failures", 0) >= CRASH_LOOP and not steady:
        return f"crash loop (exit {row['last_exit']})"
    return "ok" if alive else f"restarting (exit {row['last_exit']})"

"""What supervisors read of a cluster's folder: the processes to run."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 10.0  # seconds that a component usually has to end


@dataclass
class Component:
    """A process to keep alive. `env` is added to ours; `listen` is the address (``host:port``) of a
    socket that we hold for it, so that its clients wait while it is replaced; `patience` are the
    seconds that it may take to end."""

    name: str
    command: list[str]
    address: str = ""
    env: dict[str, str] = field(default_factory=dict)
    listen: str = ""
    patience: float = PATIENCE
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    failures: int = 0  # exits in a row, each within CALM seconds of the start
    started: float = 0.0  # on the monotonic clock
    due: float = 0.0  # when it is to be restarted, on the same clock
    pause: float = 0.0  # seconds before the last restart
    last_exit: int | None = None
    successor: subprocess.Popen[bytes] | None = None  # started beside `process`, to follow it
    ready: int = -1  # file descriptor where the successor says that it is
    refused: int = 0  # successors that ended before they were


def read_list(file: Path, name: str) -> list[str]:
    """What else a plan says: `closes` are the addresses at which nothing is to listen any more,
    `replaces` the components that another process is to follow."""
    return list(json.loads(file.read_text()).get(name, ()))


def read_machines(file: Path) -> str:
    """Where the plan has machines asked for; "" where it has no such place."""
    try:
        return str(json.loads(file.read_text()).get("machines", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def read_plan(file: Path) -> list[Component]:
    """The components of a plan. What only a later release knows of them is left out. Raises
    OSError, ValueError, TypeError and KeyError for what is none."""
    known = {"name", "command", "address", "env", "listen", "patience"}
    rows = json.loads(file.read_text())["components"]
    return [Component(**{k: v for k, v in row.items() if k in known}) for row in rows]

"""The agents' protocol, as PyPI's `hyperpod-elastic-agent` 1.1.3 speaks it: bodies of requests, and
what its answers mean. Pure.

An agent's report comes from the pod's image: it is bounded before it goes into a
status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tiphys.addons.training.observation import AgentReport, AgentState
from tiphys.addons.training.types import LogMonitoringRule
from tiphys.api.base import to_builtins

_LONGEST_MESSAGE = 1024  # characters
_LONGEST_REASON = 128
_MOST_PREFIXES = 64
_LONGEST_PREFIX = 256
_REASON = re.compile(r"[^A-Za-z0-9_,:]+")
_STATES = {state.value for state in AgentState}


class ProtocolError(Exception):
    """An answer that no agent gives."""


class _Answer(msgspec.Struct):
    status: str
    reason: str = ""
    message: str = ""
    transitions: dict[str, str] = {}
    assigned_rank: str = "-1"
    ipversion: str = ""
    progress: dict[str, Any] = {}


def read_status(body: bytes) -> AgentReport:
    """Raises ProtocolError."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        rank = int(answer.assigned_rank)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"no status of an agent: {str(error)[:200]}") from None
    state = AgentState(answer.status) if answer.status in _STATES else AgentState.OTHER
    return AgentReport(
        state,
        reason_of(answer.reason),
        answer.message[:_LONGEST_MESSAGE],
        rank,
        answer.ipversion[:64],
        answer.transitions.get("FAULTED", "")[:64],
        _bounded_progress(answer.progress),
    )


def _bounded_progress(progress: dict[str, Any]) -> dict[str, Any]:
    """An agent's report of its last checkpoints: a number of steps and a path for each prefix."""
    bounded = {}
    for prefix, entry in list(progress.items())[:_MOST_PREFIXES]:
        path = entry.get("progressData") if isinstance(entry, dict) else None
        is_path = path is None or (isinstance(path, str) and len(path) <= _LONGEST_MESSAGE)
        if is_path and len(prefix) <= _LONGEST_PREFIX and count_of(entry) >= 0:
            bounded[prefix] = {"progressCount": count_of(entry), "progressData": path}
    return bounded


def reason_of(text: str) -> str:
    """A reason as conditions may have one: rules' names are in it, and may have any character."""
    cleaned = _REASON.sub("_", text)[:_LONGEST_REASON].strip("_,:")
    return cleaned if cleaned[:1].isalpha() or not cleaned else f"Agent_{cleaned}"


def start_body(
    addresses: Sequence[str],
    master_port: int,
    restarts: int,
    epoch: str,
    rules: Sequence[LogMonitoringRule],
    checkpoints: dict[str, Any],
) -> dict[str, object]:
    """The body of /start, which is the same for all but for their rank: pods have those
    `addresses`, the first of which is the master's; rules for logs, and the checkpoints that all
    have."""
    body: dict[str, object] = {
        "nnodes": len(addresses),
        "faultCount": restarts,
        "master_addr": addresses[0],
        "master_port": str(master_port),
        "ipVersion": epoch,
        "rankIps": [{"rank": index, "ip": address} for index, address in enumerate(addresses)],
        "spare": False,
        "progress": checkpoints,
    }
    if rules:
        body["log_monitoring_configuration"] = [to_builtins(rule) for rule in rules]
    return body


def stop_body(grace: int) -> dict[str, object]:
    """The body of /stop. Without a mode the agent restarts within its processes, if it can."""
    body: dict[str, object] = {"restart_mode": "plr"}
    if grace:
        body |= {"is_graceful": True, "timeout": grace}
    return body


def common_progress(reports: Iterable[AgentReport]) -> dict[str, Any]:
    """For each prefix the oldest of the agents' last checkpoints: the newest that all have."""
    common: dict[str, Any] = {}
    for report in reports:
        for prefix, entry in report.progress.items():
            standing = common.get(prefix)
            if standing is None or count_of(entry) < count_of(standing):
                common[prefix] = entry
    return common


def count_of(entry: Any) -> int:
    """After how many steps a checkpoint was made; -1 for what is none."""
    count = entry.get("progressCount") if isinstance(entry, dict) else None
    return count if isinstance(count, int) and 0 <= count < 2**63 else -1

"""What the operator can do to a job's pods and agents, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tiphys.addons.training.observation import Member
from tiphys.addons.training.types import JobStatus


@dataclass(frozen=True)
class CreatePod:
    """The pod of a group with that index, away from some nodes."""

    group: str
    index: int
    avoided_nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeletePod:
    """`at_once` does not wait for a node that will not answer."""

    member: Member
    at_once: bool = False


@dataclass(frozen=True)
class StartAgent:
    """POST /start with a rank among `world` pods."""

    member: Member
    rank: int
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StopAgent:
    """POST /stop: its processes end, it is ready again. `grace` seconds are given to processes that
    save what they have on SIGUSR1; 0: they are killed."""

    member: Member
    grace: int = 0


@dataclass(frozen=True)
class ShutDownAgent:
    """POST /shutdown: the agent ends, and its container."""

    member: Member


@dataclass(frozen=True)
class DeleteJob:
    """Its time to live is over."""


Action = CreatePod | DeletePod | StartAgent | StopAgent | ShutDownAgent | DeleteJob


@dataclass(frozen=True)
class Event:
    reason: str
    message: str
    is_warning: bool = False


@dataclass
class Plan:
    """What is to be done in order, and the status to write first: an operator that dies in between
    finds there what it had started.

    `annotations` are the job's own that are to change before anything else does. `again` is the
    time in seconds after which to look again, None where only a change matters.
    """

    status: JobStatus
    annotations: dict[str, str] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    again: float | None = None

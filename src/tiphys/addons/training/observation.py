"""What the operator sees of a job: its pods, and what the agents in them say. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tiphys.addons.training.types import HyperPodPyTorchJob


class AgentState(StrEnum):
    """As agents say it. OTHER is a word that they did not have when this was written."""

    INIT = "init"
    READY = "ready"
    RUNNING = "running"
    COMPLETED = "completed"
    FAULTED = "faulted"
    STOPPING = "stopping"
    SHUTDOWN = "shutdown"
    OTHER = "other"


BUSY = frozenset((AgentState.RUNNING, AgentState.COMPLETED, AgentState.FAULTED))
"""States from which an agent has to be stopped before it can be started."""
STOPPABLE = BUSY | {AgentState.STOPPING}
"""Those, and that of an agent which is at it."""


@dataclass(frozen=True)
class AgentReport:
    """One answer of an agent.

    `rank` is the one of its last start, -1 before the first; `epoch` is what that start was called
    (`ipVersion` in the protocol); `faulted_at` is when it became faulted last, as it wrote it.
    `progress` is the last checkpoint for each prefix.
    """

    state: AgentState
    reason: str = ""
    message: str = ""
    rank: int = -1
    epoch: str = ""
    faulted_at: str = ""
    progress: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """A pod of a job. `lost` is the reason why it no longer counts; `silent` is for how many
    seconds its agent has not answered, and `last_rank` its last reported rank."""

    name: str
    uid: str
    group: str
    index: int
    address: str = ""
    node: str = ""
    runs: bool = False
    is_going: bool = False
    lost: str = ""
    node_is_lost: bool = False
    agent: AgentReport | None = None
    silent: float = 0.0
    last_rank: int = -1

    @property
    def is_usable(self) -> bool:
        return not self.lost and not self.is_going

    @property
    def rank(self) -> int:
        return self.agent.rank if self.agent is not None else self.last_rank

    @property
    def state(self) -> AgentState | None:
        return self.agent.state if self.agent is not None else None

    def is_in(self, state: AgentState, epoch: str | None = None) -> bool:
        """Whether its agent is in that state, since the start of that name where one is given."""
        if self.agent is None or not self.is_usable or self.agent.state is not state:
            return False
        return epoch is None or self.agent.epoch == epoch


@dataclass(frozen=True)
class Observation:
    """A job as it stands at a time in seconds since the epoch. `job` must not be changed."""

    job: HyperPodPyTorchJob
    members: tuple[Member, ...]
    now: float
    agent_timeout: float = 30.0

    def of(self, group: str) -> Iterator[Member]:
        """The members of a group, by index."""
        return iter(sorted((m for m in self.members if m.group == group), key=lambda m: m.index))

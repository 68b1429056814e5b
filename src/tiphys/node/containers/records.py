"""What the node remembers of each container of a pod between two relists of the runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.node.containers.backoff import RestartBackoff, StartBackoff
from tiphys.node.states import ContainerState

_ENDING = 15.0  # seconds that the starts of a pod have to end


class WaitingReason(NamedTuple):
    """Why a container does not run, as its status shows it."""

    reason: str
    message: str


class ActualResources(NamedTuple):
    """What the container of this id was started or resized with. `pod_limits` are those of the pod
    as a whole, which hold where it has none itself."""

    container_id: str
    resources: core_v1.ResourceRequirements
    pod_limits: Mapping[str, str] = {}


@dataclass(slots=True)
class ContainerRecord:
    """One container of the pod's spec, over all of its attempts.

    ready, started: as the probes say, of the attempt that runs
    failed_probe: the kind of the probe whose failure threshold the container has reached
    probed_id: id of the attempt that the probes run against
    probes: their tasks, by kind
    allocated: the resources that the node has granted; None for containers that are not resized
    restart_for_resize: it was ended to be started with other resources
    is_replaced: it was ended to be started from another image
    asked_image: that it was last tried to be started from
    next_attempt, removed: what it is started as, and how the attempt before ended, after all
        containers of the pod were removed to be restarted
    """

    name: str
    starting: asyncio.Task[None] | None = None
    waiting: WaitingReason | None = None
    restarts: RestartBackoff = field(default_factory=RestartBackoff)
    start_failures: StartBackoff = field(default_factory=StartBackoff)
    ready: bool = False
    started: bool = False
    failed_probe: str = ""
    probed_id: str = ""
    probes: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    allocated: core_v1.ResourceRequirements | None = None
    actual: ActualResources | None = None
    restart_for_resize: bool = False
    is_replaced: bool = False
    asked_image: str = ""
    next_attempt: int = 0
    removed: ContainerState | None = None

    @property
    def restart_anyway(self) -> bool:
        """It is started again, whatever the pod's policy is."""
        return self.restart_for_resize or self.is_replaced


class ContainerRecords(dict[str, ContainerRecord]):
    """The records of one pod, by container name. A record is created when it is first used."""

    def __missing__(self, name: str) -> ContainerRecord:
        record = self[name] = ContainerRecord(name)
        return record

    def starts(self) -> list[asyncio.Task[None]]:
        """The starts that are under way."""
        return [record.starting for record in self.values() if record.starting is not None]

    async def end_starts(self) -> bool:
        """Cancels the starts that are under way and waits until they have ended: what a runtime has
        begun it ends first. Returns whether there were any."""
        starts = self.starts()
        for start in starts:
            start.cancel()
        if starts:
            await asyncio.wait(starts, timeout=_ENDING)
        return bool(starts)

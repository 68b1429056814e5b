"""Restarting all containers of a pod in place: the action RestartAllContainers of restart rules.

As upstream, all are removed from the runtime at once, without grace; the pod keeps its sandbox, its
address and its volumes, and starts with its first init container.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.reporting import StatusReporter
from tiphys.node.states import EXITED, ContainerState

_REASON = "RestartingAllContainers"
_MESSAGE = "The container is removed because RestartAllContainers in place"
_KILLED = 137


async def restart_all(
    managed: ManagedPod, reporter: StatusReporter, containers: Sequence[ContainerState]
) -> None:
    """Removes the containers in their order, after the pod's status says so. Raises RuntimeFault,
    TimeoutError, StatusError, Unreachable; the next look at the pod goes on then."""
    await managed.records.end_starts()
    await reporter.report()
    managed.event("Normal", _REASON, "All containers of the pod are restarted")
    runtime = managed.node.runtime
    for container in containers:
        managed.probes.stop(container.name)
        _remember(managed, container)
        if container.state != EXITED:
            await runtime.stop_container(container, 0)
        previous = managed.state.previous.get(container.name)
        if previous is not None:
            await runtime.remove_container(previous.id)
        await runtime.remove_container(container.id)
    managed.resync()


def _remember(managed: ManagedPod, container: ContainerState) -> None:
    """What the status shows of an attempt that the runtime does not know any more."""
    record = managed.records[container.name]
    record.next_attempt = container.attempt + 1
    removed = copy.copy(container)
    if container.state != EXITED:
        removed.state = EXITED
        removed.exit_code = _KILLED
        removed.reason = _REASON
        removed.message = _MESSAGE
        removed.finished_at = managed.node.now()
    record.removed = removed

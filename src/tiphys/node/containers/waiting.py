"""Why the containers of a pod wait, as its status shows it, and when those that could not be
started are tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tiphys.api import core_v1
from tiphys.node.containers.backoff import PULL_FIRST, START_FIRST
from tiphys.node.containers.records import ContainerRecords, WaitingReason
from tiphys.node.images.pulling import PULL_FAULTS, RecordEvent
from tiphys.node.runtime import RuntimeFault
from tiphys.node.silence import ignore_event, ignore_wake
from tiphys.node.states import PodIdentity

_PULL_SHOWN = 1.5  # seconds for which the first failed pull shows as such, before its back-off does
# Reasons that show until the next attempt. A container that was created and could not be started
# (RunContainerError) is not among them: it has ended, and shows that.
_LASTING = PULL_FAULTS | {"CreateContainerConfigError", "CreateContainerError"}


class WaitingReasons:
    """Sets the reasons in the records of one pod's containers.

    now: seconds since the epoch
    wake: called when a reason changes by itself
    """

    def __init__(
        self,
        records: ContainerRecords,
        now: Callable[[], float],
        event: RecordEvent,
        wake: Callable[[], None],
    ) -> None:
        self._records = records
        self._now = now
        self._event = event
        self._wake = wake

    def update(self, backing_off: Mapping[str, WaitingReason], pod: core_v1.Pod) -> None:
        """Takes over which containers are not restarted yet. Those that could not be started keep
        their reasons."""
        for name, waiting in backing_off.items():
            before = self._records[name].waiting
            if before is None or before.reason != waiting.reason:
                text = f"Back-off restarting failed container {name} in pod {PodIdentity.of(pod)}"
                self._event("Warning", "BackOff", text, name)
            self._records[name].waiting = waiting
        for record in self._records.values():
            if record.name in backing_off or record.waiting is None:
                continue
            if record.starting is None and record.waiting.reason not in _LASTING:
                record.waiting = None

    def close(self) -> None:
        """Nothing is reported to the pod any more, nor is it referred to."""
        self._event, self._wake = ignore_event, ignore_wake

    def start_failed(self, container: Any, fault: RuntimeFault) -> None:
        """A container could not be started, or its image not be pulled."""
        record = self._records[container.name]
        is_pull = fault.reason in PULL_FAULTS
        self._event(
            "Warning", "Failed", f"Error: {fault.reason if is_pull else fault}", record.name
        )
        record.start_failures.record_failure(self._now(), PULL_FIRST if is_pull else START_FIRST)
        record.waiting = WaitingReason(fault.reason, str(fault))
        if fault.reason != "ErrImagePull":
            return
        if record.start_failures.delay > PULL_FIRST:
            self._show_pull_backoff(container, fault)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(_PULL_SHOWN, self._show_first_pull_backoff, container, fault)

    def _show_pull_backoff(self, container: Any, fault: RuntimeFault) -> None:
        name = container.name
        text = f'Back-off pulling image "{fault.image or container.image}"'
        message = f"{text}: ErrImagePull: {fault}"
        self._records[name].waiting = WaitingReason("ImagePullBackOff", message)
        self._event("Normal", "BackOff", text, name)
        self._event("Warning", "Failed", "Error: ImagePullBackOff", name)

    def _show_first_pull_backoff(self, container: Any, fault: RuntimeFault) -> None:
        waiting = self._records[container.name].waiting
        if waiting is not None and waiting.reason == "ErrImagePull":
            self._show_pull_backoff(container, fault)
            self._wake()

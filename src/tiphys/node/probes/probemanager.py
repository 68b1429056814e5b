"""The probes of one pod's containers: which run, and their last results."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from tiphys.api import core_v1
from tiphys.client.tasks import TaskGroup
from tiphys.node.containers.records import ContainerRecords
from tiphys.node.containers.restartpolicy import is_sidecar
from tiphys.node.images.pulling import RecordEvent
from tiphys.node.probes.httpprobe import Answer
from tiphys.node.probes.prober import Observe, Prober, Target, ignore_result
from tiphys.node.runtime import Runtime
from tiphys.node.silence import ignore_event, ignore_wake
from tiphys.node.states import RUNNING, ContainerState, PodState


class ProbeManager:
    """Keeps `ready`, `started` and `failed_probe` of a pod's container records.

    address: gives the pod's address
    wake: called when a probe's verdict matters to the pod
    """

    def __init__(
        self,
        records: ContainerRecords,
        runtime: Runtime,
        tasks: TaskGroup,
        address: Callable[[], str],
        event: RecordEvent,
        wake: Callable[[], None],
    ) -> None:
        self._records = records
        self._runtime = runtime
        self._tasks = tasks
        self._address = address
        self._event = event
        self._wake = wake
        self.observe: Observe = ignore_result

    def watch(self, pod: core_v1.Pod, state: PodState) -> None:
        """Starts the probes of every container that runs and is not probed yet."""
        for container in _probed(pod.spec):
            current = state.containers.get(container.name)
            if current is None or current.state != RUNNING:
                continue
            record = self._records[container.name]
            if record.probed_id == current.id:
                continue
            self.stop(container.name)
            record.probed_id = current.id
            known = _known_status(pod, current)
            has_started = known is not None and bool(known.started)
            if container.startup_probe is not None and not has_started:
                self._run("startup", container.startup_probe, container, current)
            else:
                was_ready = known is not None and known.ready
                self._started(container, current, was_ready)

    def stop(self, name: str) -> None:
        """The container ends or has ended: it is not probed any more."""
        record = self._records[name]
        record.ready = False
        record.started = False
        record.failed_probe = ""
        record.probed_id = ""
        for task in record.probes.values():
            task.cancel()
        record.probes = {}

    def stop_liveness(self, name: str) -> None:
        """The container was asked to end. As upstream, its readiness is probed until it has."""
        for kind, task in self._records[name].probes.items():
            if kind != "readiness":
                task.cancel()

    def stop_all(self) -> None:
        for name in self._records:
            self.stop(name)

    def close(self) -> None:
        """Nothing is reported to the pod any more, nor is it referred to."""
        self._address, self._event, self._wake = str, ignore_event, ignore_wake

    def _started(self, container: Any, current: ContainerState, was_ready: bool = False) -> None:
        """The container's startup is over."""
        record = self._records[container.name]
        record.started = True
        if container.readiness_probe is None:
            record.ready = True
        else:
            record.ready = record.ready or was_ready
            self._run("readiness", container.readiness_probe, container, current, was_ready)
        if container.liveness_probe is not None:
            self._run("liveness", container.liveness_probe, container, current)

    def _run(
        self,
        kind: str,
        probe: core_v1.Probe,
        container: Any,
        current: ContainerState,
        was_successful: bool = False,
    ) -> None:
        target = Target(container, current.id, self._address, self._runtime)
        prober = Prober(kind, probe, target, current.started_at, was_successful)
        report = functools.partial(self._report, current)
        task = self._tasks.start(prober.run(report, self.observe), f"{kind}-{container.name}")
        self._records[container.name].probes[kind] = task

    def _report(self, current: ContainerState, prober: Prober, answer: Answer) -> None:
        name = prober.target.container.name
        record = self._records[name]
        if record.probed_id != current.id:
            return
        title = prober.kind.title()
        if not answer.well:
            self._event("Warning", "Unhealthy", f"{title} probe failed: {answer.text}", name)
        elif answer.warning:
            self._event("Warning", "ProbeWarning", f"{title} probe warning: {answer.text}", name)
        if prober.kind == "readiness":
            record.ready = prober.verdict.successful
        elif prober.kind == "startup" and prober.verdict.successful:
            self._started(prober.target.container, current)
        elif not answer.well and prober.has_failed:
            record.failed_probe = prober.kind
        self._wake()


def _probed(spec: core_v1.PodSpec) -> Iterable[Any]:
    yield from spec.containers
    yield from (container for container in spec.init_containers if is_sidecar(container))


def _known_status(pod: core_v1.Pod, current: ContainerState) -> core_v1.ContainerStatus | None:
    """The status that an agent before this one wrote of the container that still runs."""
    for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        if status.container_id.endswith(f"//{current.id}"):
            return status
    return None

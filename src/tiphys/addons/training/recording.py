"""What becomes of jobs, counted as it happens."""

from __future__ import annotations

from tiphys.addons.training.metrics import JobMetrics
from tiphys.addons.training.observation import AgentState, Observation
from tiphys.addons.training.phases import Phase, is_in, since
from tiphys.addons.training.types import HyperPodPyTorchJob, JobStatus
from tiphys.machinery import timestamps


class Recorder:
    def __init__(self, metrics: JobMetrics) -> None:
        self._metrics = metrics
        self._faulted: dict[str, float] = {}  # since when, by job's uid
        self._running: set[str] = set()

    def job_changed(self, old: HyperPodPyTorchJob | None, new: HyperPodPyTorchJob | None) -> None:
        if new is None and old is not None:
            self._metrics.deleted.inc()
            self._faulted.pop(old.metadata.uid, None)
            self._set_running(old.metadata.uid, False)

    def decided(
        self, job: HyperPodPyTorchJob, before: JobStatus, after: JobStatus, seen: Observation
    ) -> None:
        uid = job.metadata.uid
        if not before.conditions and after.conditions:
            self._metrics.created.inc()
        for phase, counter in (
            (Phase.COMPLETED, self._metrics.successful),
            (Phase.FAILED, self._metrics.failed),
        ):
            if is_in(after, phase) and not is_in(before, phase):
                counter.inc()
        if after.restart_count > before.restart_count:
            self._metrics.restarted.inc()
            self._fault(uid, seen)
        runs = is_in(after, Phase.RUNNING)
        if runs and not is_in(before, Phase.RUNNING):
            began = self._faulted.pop(uid, since(before, Phase.FAULTED))
            if is_in(before, Phase.FAULTED):
                self._metrics.restart_latency.observe(max(0.0, seen.now - began))
        self._set_running(uid, runs)

    def _fault(self, uid: str, seen: Observation) -> None:
        self._faulted.setdefault(uid, seen.now)
        times = [
            timestamps.parse(member.agent.faulted_at)
            for member in seen.members
            if member.agent is not None and member.state is AgentState.FAULTED
        ]
        earliest = min(times, default=0.0)
        if earliest:
            self._metrics.detection_latency.observe(max(0.0, seen.now - earliest))

    def _set_running(self, uid: str, runs: bool) -> None:
        (self._running.add if runs else self._running.discard)(uid)
        self._metrics.running.set(len(self._running))

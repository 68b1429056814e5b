"""Evicts the victims of a preemption, so that a nominated pod gets their room."""

from __future__ import annotations

import logging

from tiphys.api import core_v1
from tiphys.client.client import Client, Unreachable
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.preemption import PREEMPTION_BY_SCHEDULER, Candidate
from tiphys.scheduler.reporting import Reporter
from tiphys.scheduler.state import SchedulerState

log = logging.getLogger(__name__)


class Evictor:
    def __init__(
        self,
        client: Client,
        tasks: TaskGroup,
        state: SchedulerState,
        reporter: Reporter,
    ) -> None:
        self._client = client
        self._tasks = tasks
        self._queue = state.queue
        self._nominator = state.nominator
        self._reporter = reporter
        self._preemptors: set[str] = set()  # uids of pods whose victims are being evicted just now

    def is_evicting_for(self, uid: str) -> bool:
        return uid in self._preemptors

    def start(self, pod: PodInfo, candidate: Candidate) -> None:
        """Evicts the victims of a candidate in a task of its own."""
        self._preemptors.add(pod.uid)
        self._tasks.start(self._run(pod, candidate), "evict victims")

    async def _run(self, pod: PodInfo, candidate: Candidate) -> None:
        try:
            await self._withdraw_lower_nominations(pod, candidate.node_name)
            await self._evict(pod, candidate)
        finally:
            self._preemptors.discard(pod.uid)

    async def _withdraw_lower_nominations(self, pod: PodInfo, node_name: str) -> None:
        """Pods of lower priority that were nominated to the node look for another one."""
        for placeholder in self._nominator.lower_priority_pods(pod, node_name):
            uid = placeholder.pod.metadata.uid
            self._nominator.withdraw(uid)
            self._queue.activate(uid)
            await self._reporter.nominate(placeholder.pod, None)

    async def _evict(self, pod: PodInfo, candidate: Candidate) -> None:
        for victim in candidate.victims:
            if victim.pod.metadata.deletion_timestamp:
                continue
            try:
                await self._evict_victim(pod, victim)
            except (StatusError, Unreachable) as error:
                log.info("Pod %s was not evicted for pod %s: %s", victim.key, pod.key, error)
                is_gone = is_not_found(error)
                if is_gone:
                    continue
                # No event would make the pod active again: the victim stays.
                self._queue.activate(pod.uid)
                return
            self._reporter.preempted(victim, pod, candidate.node_name)

    async def _evict_victim(self, pod: PodInfo, victim: PodInfo) -> None:
        """Raises StatusError, Unreachable."""
        meta = victim.pod.metadata
        scheduler_name = pod.spec.scheduler_name
        condition = self._reporter.condition(
            victim.pod,
            "DisruptionTarget",
            "True",
            PREEMPTION_BY_SCHEDULER,
            f"{scheduler_name}: preempting to accommodate a higher priority pod",
        )
        if condition is not None:
            patch = {"metadata": {"uid": meta.uid}, "status": {"conditions": [condition]}}
            await self._client.patch(core_v1.Pod, meta.name, patch, meta.namespace, "status")
        await self._client.delete(core_v1.Pod, meta.name, meta.namespace, uid=meta.uid)

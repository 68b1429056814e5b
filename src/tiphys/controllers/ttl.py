"""Finished jobs are deleted when their time to live is over."""

from __future__ import annotations

from tiphys.api.batch_v1 import Job
from tiphys.controllers.shell import Controller
from tiphys.machinery import timestamps
from tiphys.machinery.finished import finish_of


def expires(job: Job) -> float | None:
    """When a job may be deleted, in seconds since the epoch; None when it stays."""
    limit = job.spec.ttl_seconds_after_finished
    finish = finish_of(job.status)
    if limit is None or finish is None or job.metadata.deletion_timestamp:
        return None
    if not finish.last_transition_time:
        return None
    return timestamps.parse(finish.last_transition_time) + limit


class TTLAfterFinishedController(Controller):
    name = "ttl-after-finished"
    workers = 1

    def watch(self) -> None:
        self._jobs = self.informer(Job)
        self._jobs.on_change(self.enqueue)

    async def reconcile(self, key: str) -> float | None:
        job = self._jobs.get(key)
        if job is None:
            return None
        end = expires(job)
        if end is None:
            return None
        left = end - self.context.now()
        if left > 0:
            return left
        # In the meantime the time to live may have been made longer: not if it was changed.
        await self.delete(job, propagation="Foreground", unchanged=True)
        return None

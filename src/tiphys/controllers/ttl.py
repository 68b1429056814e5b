"""Finished jobs go when their time to live is over."""

from __future__ import annotations

from tiphys.api.batch_v1 import Job
from tiphys.controllers.job import is_over
from tiphys.controllers.shell import Controller
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError


def expires(job: Job) -> float | None:
    """When a job may go, in seconds since the epoch; None when it stays."""
    limit = job.spec.ttl_seconds_after_finished
    if limit is None or job.metadata.deletion_timestamp or not is_over(job.status):
        return None
    ends = [
        c.last_transition_time
        for c in job.status.conditions
        if c.type in ("Complete", "Failed") and c.status == "True"
    ]
    return timestamps.parse(ends[0]) + limit if ends and ends[0] else None


class TTLAfterFinishedController(Controller):
    name = "ttl-after-finished"
    workers = 1

    def watch(self) -> None:
        self._jobs = self.informer(Job)
        self._jobs.on_change(self.enqueue)

    async def reconcile(self, key: str) -> float | None:
        job = self._jobs.get(key)
        end = expires(job) if job is not None else None
        if job is None or end is None:
            return None
        left = end - self.context.now()
        if left > 0:
            return left
        meta = job.metadata
        try:
            await self.client.delete(
                Job,
                meta.name,
                meta.namespace,
                propagation="Foreground",
                uid=meta.uid,
                revision=meta.resource_version,
            )
        except StatusError as error:
            if error.code not in (404, 409):
                raise
        return None

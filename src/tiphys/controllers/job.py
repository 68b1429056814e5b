"""Jobs: pods until enough of them have succeeded. What to do next is worked out in `jobplan`."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from tiphys.api import core_v1
from tiphys.api.batch_v1 import Job
from tiphys.client.client import Unreachable
from tiphys.controllers import jobpolicy
from tiphys.controllers.claiming import claim
from tiphys.controllers.expectations import Expectations
from tiphys.controllers.jobindexes import INDEX
from tiphys.controllers.jobplan import TRACKING, Plan, plan
from tiphys.controllers.pods import from_template
from tiphys.controllers.shell import (
    Context,
    Controller,
    controller_of,
    owner_index,
    owner_key,
    sooner,
)
from tiphys.machinery.errors import StatusError, is_not_found, is_write_overtaken
from tiphys.machinery.selectors import NOTHING, Selector, from_label_selector

_OURS = (None, "kubernetes.io/job-controller")  # values of spec.managedBy
_BACKOFF = 10.0  # seconds until a failed pod is replaced, doubled with each failure
_LONGEST_BACKOFF = 600.0
_ORPHAN = "orphan:"  # before the key of a pod
_INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
_LONGEST_HOSTNAME = 63


def _selector(job: Job) -> Selector:
    return from_label_selector(job.spec.selector) or NOTHING


def _is_adoptable(pod: core_v1.Pod) -> bool:
    return not pod.metadata.deletion_timestamp  # one that has ended is counted, too


def new_pod(job: Job, index: int | None, failures: int) -> core_v1.Pod:
    """A pod of a job, for an index if it has them; `failures` is how often that has failed."""
    pod = from_template(job.spec.template, job)
    pod.metadata.finalizers.append(TRACKING)
    if index is None:
        return pod
    name = f"{job.metadata.name}-{index}"
    pod.metadata.annotations[INDEX] = str(index)
    pod.metadata.labels[INDEX] = str(index)
    if job.spec.backoff_limit_per_index is not None:
        pod.metadata.annotations[jobpolicy.FAILURES] = str(failures)
    pod.metadata.generate_name = f"{name}-"
    pod.spec.hostname = pod.spec.hostname or name[:_LONGEST_HOSTNAME]
    field_ref = core_v1.ObjectFieldSelector(field_path=f"metadata.annotations['{INDEX}']")
    source = core_v1.EnvVarSource(field_ref=field_ref)
    for container in [*pod.spec.containers, *pod.spec.init_containers]:
        if all(variable.name != _INDEX_VARIABLE for variable in container.env):
            container.env.append(core_v1.EnvVar(name=_INDEX_VARIABLE, value_from=source))
    return pod


class JobController(Controller):
    """Keys are jobs, and ``orphan:NAMESPACE/NAME`` pods that no job wants."""

    name = "job"
    workers = 4

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._expectations = Expectations()
        self._failed_at: dict[str, float] = {}
        self._written: dict[str, int] = {}  # revisions that the informer has to reach

    def watch(self) -> None:
        self._jobs = self.informer(Job)
        self._pods = self.informer(core_v1.Pod)
        self._pods.index("job", _job_index)
        self._pods.index("owner", owner_index)
        self._jobs.on_change(self.enqueue)
        self._pods.on_change(self._pod_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        if new is not None and controller_of(new) is None:
            self._orphan_changed(new)
        for key in {owner_key(old, "Job"), owner_key(new, "Job")}:
            if key:
                self._expectations.observe(key, old, new)
                self.queue.add(key)

    def _orphan_changed(self, pod: core_v1.Pod) -> None:
        """Some job may adopt a pod that nothing controls. Otherwise nothing may hold it back."""
        meta = pod.metadata
        if not meta.deletion_timestamp:
            for job in self._jobs:
                if job.metadata.namespace != meta.namespace:
                    continue
                if job.metadata.deletion_timestamp:
                    continue  # it has let the pod go, and adopts none
                if _selector(job).matches(meta.labels):
                    self.enqueue(None, job)
                    return
        if TRACKING in meta.finalizers:
            self.queue.add(f"{_ORPHAN}{meta.namespace}/{meta.name}")

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(_ORPHAN):
            await self._release_orphan(key.removeprefix(_ORPHAN))
            return None
        job = self._jobs.get(key)
        await self._release_strays(key, job)
        if job is None:
            self._expectations.forget(key)
            self._failed_at.pop(key, None)
            self._written.pop(key, None)
            return None
        if job.spec.managed_by not in _OURS:
            return None
        if not self._expectations.met(key):
            return None
        if int(job.metadata.resource_version) < self._written.get(key, 0):
            return None  # the informer will show what was written, and lead here again
        now = self.context.now()
        pods = await claim(self.client, self._pods, job, _selector(job), _is_adoptable, TRACKING)
        todo = plan(job, pods, now)
        if job.metadata.deletion_timestamp:
            # In foreground deletion the collector takes the pods; they are counted as they end.
            todo.create = []
            todo.dismiss = []
        self._hold_back(key, todo, now)
        await self._carry_out(key, job, todo)
        return todo.wake

    async def _release_orphan(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is not None and controller_of(pod) is None:
            await self._release(pod)

    async def _release_strays(self, key: str, job: Job | None) -> None:
        """Pods of an earlier job of the same name must not wait for one that does not know them."""
        uid = job.metadata.uid if job is not None else ""
        strays = [pod for pod in self._pods.by("job", key) if owner_index(pod) != [uid]]
        await asyncio.gather(*(self._release(pod) for pod in strays))

    def _hold_back(self, key: str, todo: Plan, now: float) -> None:
        """After a failure the next pod waits, longer each time."""
        if any(pod.status.phase == "Failed" for pod in todo.release):
            self._failed_at[key] = now
        uncounted = todo.status.uncounted_terminated_pods
        failures = todo.status.failed
        if uncounted is not None:
            failures += len(uncounted.failed)
        failed_at = self._failed_at.get(key)
        if not todo.create or not failures or failed_at is None:
            return
        backoff = min(_BACKOFF * 2 ** min(failures - 1, 10), _LONGEST_BACKOFF)
        wait = failed_at + backoff - now
        if wait > 0:
            todo.create = []
            todo.wake = sooner(todo.wake, wait)

    async def _carry_out(self, key: str, job: Job, todo: Plan) -> None:
        """The status first: what is released from its finalizer has to be noted there."""
        if todo.status != job.status:
            changed = copy.copy(job)
            changed.status = todo.status
            written = await self.client.update_status(changed)
            self._written[key] = int(written.metadata.resource_version)
            if todo.event is not None:
                self.event(job, *todo.event)
        await asyncio.gather(*(self._release(pod) for pod in (*todo.release, *todo.dismiss)))
        leaving = [*todo.delete, *todo.dismiss]
        if leaving:
            uids = {pod.metadata.uid for pod in leaving}
            self._expectations.expect(key, deletions=uids)
            await asyncio.gather(*(self._delete_pod(key, pod) for pod in leaving))
        if todo.create:
            await self._create_all(key, job, todo)

    async def _create_all(self, key: str, job: Job, todo: Plan) -> None:
        self._expectations.expect(key, creations=len(todo.create))
        pods = [new_pod(job, index, todo.failures.get(index or 0, 0)) for index in todo.create]
        creations = [self._create(job, pod) for pod in pods]
        results = await asyncio.gather(*creations, return_exceptions=True)
        failures = [result for result in results if isinstance(result, Exception)]
        if any(isinstance(failure, Unreachable) for failure in failures):
            # Some may be there all the same, and an index must not run twice.
            await self._pods.relisted()
        if failures:
            self._expectations.created(key, len(failures))
            raise failures[0]

    async def _create(self, job: Job, pod: core_v1.Pod) -> None:
        try:
            created = await self.client.create(pod)
        except StatusError as error:
            self.event(job, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        self.event(job, "Normal", "SuccessfulCreate", f"Created pod: {created.metadata.name}")

    async def _delete_pod(self, key: str, pod: core_v1.Pod) -> None:
        meta = pod.metadata
        try:
            await self.client.delete(core_v1.Pod, meta.name, meta.namespace, uid=meta.uid)
        except StatusError as error:
            self._expectations.deleted(key, meta.uid)
            if not is_not_found(error):
                raise

    async def _release(self, pod: core_v1.Pod) -> None:
        """Takes the tracking finalizer off a pod."""
        meta = pod.metadata
        if TRACKING not in meta.finalizers:
            return
        change = {"uid": meta.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING]}
        try:
            await self.client.patch(core_v1.Pod, meta.name, {"metadata": change}, meta.namespace)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise


def _job_index(pod: core_v1.Pod) -> list[str]:
    key = owner_key(pod, "Job")
    return [key] if key else []

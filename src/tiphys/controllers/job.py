"""Jobs: pods until enough of them have succeeded. A finished pod is counted exactly once: it is noted in the status
before its finalizer goes, and counted after."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
from typing import Any

from tiphys.api import core_v1
from tiphys.api.batch_v1 import Job, JobCondition, JobStatus, UncountedTerminatedPods
from tiphys.client.client import Unreachable
from tiphys.controllers import jobpolicy
from tiphys.controllers.claiming import claim
from tiphys.controllers.pods import from_template, is_ready
from tiphys.controllers.replicaset import Expectations
from tiphys.controllers.shell import Context, Controller, controller_of, owner_index, split_key
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import NOTHING, Selector, from_label_selector

TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
BACKOFF, BACKOFF_LIMIT = 10.0, 600.0
BURST = 500


# --- the core: pure ---


@dataclass
class Plan:
    """What to do: pods to make (index or None each), to delete, to dismiss (they are superfluous, and no failures: they
    are released before they are deleted), to release from the finalizer; the status to write."""

    status: JobStatus
    create: list[int | None] = field(default_factory=list)
    delete: list[core_v1.Pod] = field(default_factory=list)
    dismiss: list[core_v1.Pod] = field(default_factory=list)
    release: list[core_v1.Pod] = field(default_factory=list)
    wake: float | None = None
    event: tuple[str, str, str] | None = None
    verdict: tuple[str, str, str] | None = None
    failures: dict[int, int] = field(
        default_factory=dict
    )  # of indexes whose pods failed: how often so far


def parse_indexes(text: str) -> set[int]:
    """``1,3-5`` is {1, 3, 4, 5}."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def format_indexes(indexes: set[int]) -> str:
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(a) if a == b else f"{a},{b}" if b == a + 1 else f"{a}-{b}" for a, b in runs)


def index_of(pod: core_v1.Pod) -> int | None:
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if text.isascii() and text.isdigit() else None


def is_over(status: JobStatus) -> bool:
    return any(c.type in ("Complete", "Failed") and c.status == "True" for c in status.conditions)


def _ended(pod: core_v1.Pod, replace_failed_only: bool) -> bool:
    if pod.status.phase in ("Succeeded", "Failed"):
        return True
    return bool(pod.metadata.deletion_timestamp) and not replace_failed_only


def plan(job: Job, pods: list[core_v1.Pod], now: float) -> Plan:
    """Looks at a job and all its pods."""
    status, spec = copy.deepcopy(job.status), job.spec
    made = Plan(status)
    failed_indexes = parse_indexes(status.failed_indexes or "")
    completed = _count(job, pods, made, failed_indexes)
    if is_over(job.status):
        made.release = [pod for pod in pods if TRACKING in pod.metadata.finalizers]
        return made
    only_failed = spec.pod_replacement_policy == "Failed"
    running = [p for p in pods if p.status.phase not in ("Succeeded", "Failed")]
    active = [p for p in running if not p.metadata.deletion_timestamp]
    uncounted = status.uncounted_terminated_pods or UncountedTerminatedPods()
    failed = status.failed + len(uncounted.failed)
    succeeded = (
        len(completed)
        if spec.completion_mode == "Indexed"
        else status.succeeded + len(uncounted.succeeded)
    )
    status.active, status.ready = len(active), sum(is_ready(p) for p in active)
    status.terminating = len(running) - len(active)
    verdict = made.verdict or _verdict(
        job, active, succeeded, failed, completed, failed_indexes, now
    )
    if verdict is not None:
        return _finish(made, verdict, active, running, now)
    if spec.suspend:
        return _suspend(made, active, now)
    _resume(made, job, now)
    taken = active if not only_failed else running
    _staff(made, job, active, taken, completed | failed_indexes, succeeded)
    made.failures = {
        i: jobpolicy.failure_count(p) + 1
        for p in pods
        if p.status.phase == "Failed" and (i := index_of(p)) is not None
    }
    return made


def _count(job: Job, pods: list[core_v1.Pod], made: Plan, failed_indexes: set[int]) -> set[int]:
    """Moves finished pods through the two steps of counting. Returns the completed indexes; adds to the failed."""
    status, by_uid = made.status, {pod.metadata.uid: pod for pod in pods}
    waiting = status.uncounted_terminated_pods or UncountedTerminatedPods()
    held = {uid for uid, pod in by_uid.items() if TRACKING in pod.metadata.finalizers}
    indexed = job.spec.completion_mode == "Indexed"
    completed = parse_indexes(status.completed_indexes)
    counted = [uid for uid in waiting.succeeded if uid not in held]
    status.succeeded += 0 if indexed else len(counted)
    status.failed += sum(uid not in held for uid in waiting.failed)
    waiting.succeeded = [uid for uid in waiting.succeeded if uid in held]
    waiting.failed = [uid for uid in waiting.failed if uid in held]
    noted = {*waiting.succeeded, *waiting.failed}
    for uid in sorted(held):
        pod = by_uid[uid]
        if not _ended(pod, job.spec.pod_replacement_policy == "Failed"):
            continue
        made.release.append(pod)
        if uid in noted:
            continue
        success, index = pod.status.phase == "Succeeded", index_of(pod)
        if success:
            waiting.succeeded.append(uid)
            if index is not None:
                completed.add(index)
            continue
        judgement = jobpolicy.judge(job, pod)
        if judgement.action == "Ignore":
            continue  # let go without a word
        waiting.failed.append(uid)
        if judgement.action == "FailJob" and made.verdict is None:
            made.verdict = ("Failed", "PodFailurePolicy", judgement.message)
        if index is not None and jobpolicy.index_has_failed(job, pod, judgement):
            failed_indexes.add(index)
    if job.spec.backoff_limit_per_index is not None:
        status.failed_indexes = format_indexes(failed_indexes)
    if indexed:
        in_range = {
            i for i in completed if job.spec.completions is None or i < job.spec.completions
        }
        status.completed_indexes, status.succeeded = format_indexes(in_range), len(in_range)
        completed = in_range
    status.uncounted_terminated_pods = waiting
    return completed


def _verdict(
    job: Job,
    active: list[core_v1.Pod],
    succeeded: int,
    failed: int,
    completed: set[int],
    failed_indexes: set[int],
    now: float,
) -> tuple[str, str, str] | None:
    """(condition, reason, message) once the outcome is clear."""
    spec = job.spec
    for condition in job.status.conditions:  # announced before: it stands
        if condition.type in ("FailureTarget", "SuccessCriteriaMet") and condition.status == "True":
            return (
                "Failed" if condition.type == "FailureTarget" else "Complete",
                condition.reason,
                condition.message,
            )
    limit = (
        spec.backoff_limit
        if spec.backoff_limit is not None
        else (1 << 31) - 1
        if spec.backoff_limit_per_index is not None
        else 6
    )
    restarts = sum(s.restart_count for p in active for s in p.status.container_statuses)
    started = timestamps.parse(job.status.start_time)
    if failed > limit or (
        spec.template.spec.restart_policy == "OnFailure" and restarts > limit > 0
    ):
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    if (
        spec.active_deadline_seconds is not None
        and started
        and not spec.suspend
        and now - started >= spec.active_deadline_seconds
    ):
        return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
    if spec.max_failed_indexes is not None and len(failed_indexes) > spec.max_failed_indexes:
        return (
            "Failed",
            "MaxFailedIndexesExceeded",
            "Job has exceeded the specified maximal number of failed indexes",
        )
    if (rule := jobpolicy.succeeded_rule(job, completed)) is not None:
        return "Complete", "SuccessPolicy", f"Matched rules at index {rule}"
    if (
        failed_indexes
        and spec.completions is not None
        and succeeded + len(failed_indexes) >= spec.completions
    ):
        return "Failed", "FailedIndexes", "Job has failed indexes"
    enough = (
        succeeded >= spec.completions
        if spec.completions is not None
        else succeeded > 0 and not active
    )
    return (
        ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        if enough
        else None
    )


def _condition(
    status: JobStatus, kind: str, value: str, reason: str, message: str, now: float
) -> None:
    stamp = timestamps.rfc3339(now)
    made = JobCondition(
        type=kind,
        status=value,
        reason=reason,
        message=message,
        last_probe_time=stamp,
        last_transition_time=stamp,
    )
    status.conditions = [c for c in status.conditions if c.type != kind] + [made]


def _finish(
    made: Plan,
    verdict: tuple[str, str, str],
    active: list[core_v1.Pod],
    running: list[core_v1.Pod],
    now: float,
) -> Plan:
    """The outcome is announced at once, and becomes final when no pod runs and every one is counted."""
    status, (kind, reason, message) = made.status, verdict
    herald = "FailureTarget" if kind == "Failed" else "SuccessCriteriaMet"
    if not any(c.type == herald for c in status.conditions):
        _condition(status, herald, "True", reason, message, now)
    made.delete = active
    waiting = status.uncounted_terminated_pods
    if running or (waiting is not None and (waiting.succeeded or waiting.failed)):
        return made
    _condition(status, kind, "True", reason, message, now)
    status.active, status.ready, status.terminating = 0, 0, 0
    if kind == "Complete":
        status.completion_time = timestamps.rfc3339(now)
        made.event = ("Normal", "Completed", "Job completed")
    else:
        made.event = ("Warning", reason, message)
    return made


def _suspend(made: Plan, active: list[core_v1.Pod], now: float) -> Plan:
    made.dismiss = active
    if not any(c.type == "Suspended" and c.status == "True" for c in made.status.conditions):
        _condition(made.status, "Suspended", "True", "JobSuspended", "Job suspended", now)
        made.event = ("Normal", "Suspended", "Job suspended")
    made.status.start_time = None
    return made


def _resume(made: Plan, job: Job, now: float) -> None:
    if any(c.type == "Suspended" and c.status == "True" for c in made.status.conditions):
        _condition(made.status, "Suspended", "False", "JobResumed", "Job resumed", now)
        made.event = ("Normal", "Resumed", "Job resumed")
    made.status.start_time = made.status.start_time or timestamps.rfc3339(now)
    if job.spec.active_deadline_seconds is not None:
        made.wake = (
            timestamps.parse(made.status.start_time) + job.spec.active_deadline_seconds - now + 0.1
        )


def _staff(
    made: Plan,
    job: Job,
    active: list[core_v1.Pod],
    taken: list[core_v1.Pod],
    completed: set[int],
    succeeded: int,
) -> None:
    """As many pods as are wanted now."""
    spec = job.spec
    if spec.completion_mode == "Indexed":
        made.dismiss = _superfluous(active, completed, spec.completions or 0)
        gone = {pod.metadata.uid for pod in made.dismiss}
        active, taken = (
            [p for p in some if p.metadata.uid not in gone] for some in (active, taken)
        )
    wanted = spec.parallelism if spec.parallelism is not None else 1
    if spec.completions is not None:
        wanted = min(wanted, max(0, spec.completions - succeeded))
    elif succeeded:
        wanted = min(wanted, len(active))
    if len(active) > wanted:
        ranked = sorted(active, key=lambda p: (is_ready(p), p.metadata.creation_timestamp or ""))
        made.dismiss += ranked[: len(active) - wanted]
        return
    missing = min(wanted - len(taken), BURST)
    if missing <= 0:
        return
    if spec.completion_mode == "Indexed":
        busy = {index_of(p) for p in taken} | completed
        free = (i for i in range(spec.completions or 0) if i not in busy)
        made.create = [i for i, _ in zip(free, range(missing), strict=False)]
    else:
        made.create = [None] * missing


def _superfluous(active: list[core_v1.Pod], over: set[int], completions: int) -> list[core_v1.Pod]:
    """Pods whose index has ended, is out of range, or has another pod that is further on."""
    found, seen = [], set()
    for pod in sorted(active, key=lambda p: (not is_ready(p), p.metadata.creation_timestamp or "")):
        index = index_of(pod)
        if index is None or index >= completions or index in over or index in seen:
            found.append(pod)
        seen.add(index)
    return found


# --- the shell ---

_ORPHAN = "orphan:"  # before the key of a pod


def _selector(job: Job) -> Selector:
    return from_label_selector(job.spec.selector) or NOTHING


def _adoptable(pod: core_v1.Pod) -> bool:
    return not pod.metadata.deletion_timestamp  # an ended pod counts, too


class JobController(Controller):
    name = "job"
    workers = 4

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._expect = Expectations()
        self._failed_at: dict[str, float] = {}
        self._written: dict[
            str, int
        ] = {}  # revisions of what was last written: what the informer must have reached

    def watch(self) -> None:
        self._jobs, self._pods = self.informer(Job), self.informer(core_v1.Pod)
        self._pods.index("job", self._key_of_pod)
        self._pods.index("owner", owner_index)
        self._jobs.on_change(self.enqueue)
        self._pods.on_change(self._pod_changed)

    @staticmethod
    def _key_of_pod(pod: core_v1.Pod) -> list[str]:
        owner = controller_of(pod)
        return (
            [f"{pod.metadata.namespace}/{owner.name}"]
            if owner is not None and owner.kind == "Job"
            else []
        )

    def _pod_changed(self, old: Any, new: Any) -> None:
        if new is not None and controller_of(new) is None:
            self._orphaned(new)
        for key in {key for pod in (old, new) if pod is not None for key in self._key_of_pod(pod)}:
            self._expect.seen(key, old, new)
            self.queue.add(key)

    def _orphaned(self, pod: core_v1.Pod) -> None:
        """A pod that is nobody's: some job may want it, and none holds it back."""
        meta = pod.metadata
        if not meta.deletion_timestamp:
            for job in self._jobs:
                if job.metadata.deletion_timestamp or job.metadata.namespace != meta.namespace:
                    continue  # one that is being deleted has let it go, and adopts nobody
                if _selector(job).matches(meta.labels):
                    return self.enqueue(None, job)
        if TRACKING in meta.finalizers:
            self.queue.add(f"{_ORPHAN}{meta.namespace}/{meta.name}")

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(_ORPHAN):
            pod = self._pods.get(key.removeprefix(_ORPHAN))
            if pod is not None and controller_of(pod) is None:
                await self._release(pod)
            return None
        job, named = self._jobs.get(key), self._pods.by("job", key)
        strangers = [p for p in named if job is None or controller_of(p).uid != job.metadata.uid]  # type: ignore[union-attr]
        await asyncio.gather(*(self._release(pod) for pod in strangers))
        if job is not None and job.spec.managed_by not in (None, "kubernetes.io/job-controller"):
            return None  # somebody else's
        if job is None:
            self._expect.forget(key)
            self._failed_at.pop(key, None)
            self._written.pop(key, None)
            return None
        if not self._expect.met(key) or int(job.metadata.resource_version) < self._written.get(
            key, 0
        ):
            return None
        now = self.context.now()
        pods = await claim(self.client, self._pods, job, _selector(job), _adoptable, TRACKING)
        made = plan(job, pods, now)
        if job.metadata.deletion_timestamp:
            # In foreground deletion the collector takes the pods; they are counted and released as they end.
            made.create, made.dismiss = [], []
        self._hold_back(key, made, now)
        await self._carry_out(key, job, made)
        return made.wake

    def _hold_back(self, key: str, made: Plan, now: float) -> None:
        """After a failure the next pod waits, longer each time."""
        if any(p.status.phase == "Failed" for p in made.release):
            self._failed_at[key] = now
        waiting = made.status.uncounted_terminated_pods
        failures = made.status.failed + (len(waiting.failed) if waiting is not None else 0)
        if not made.create or not failures or key not in self._failed_at:
            return
        wait = self._failed_at[key] + min(BACKOFF * 2 ** min(failures - 1, 10), BACKOFF_LIMIT) - now
        if wait > 0:
            made.create, made.wake = [], wait if made.wake is None else min(made.wake, wait)

    async def _carry_out(self, key: str, job: Job, made: Plan) -> None:
        if made.status != job.status:
            changed = copy.copy(job)
            changed.status = made.status
            written = await self.client.update_status(changed)
            self._written[key] = int(written.metadata.resource_version)
            if made.event is not None:
                self.context.recorder.record(job, *made.event)
        await asyncio.gather(*(self._release(pod) for pod in (*made.release, *made.dismiss)))
        if leaving := [*made.delete, *made.dismiss]:
            self._expect.expect(key, deletions={p.metadata.uid for p in leaving})
            await asyncio.gather(*(self._delete(key, pod) for pod in leaving))
        if made.create:
            self._expect.expect(key, creations=len(made.create))
            done = await asyncio.gather(
                *(
                    self._create(job, index, made.failures.get(index or 0, 0))
                    for index in made.create
                ),
                return_exceptions=True,
            )
            failures = [r for r in done if isinstance(r, Exception)]
            if any(isinstance(r, Unreachable) for r in failures):
                await (
                    self._pods.relisted()
                )  # some may be there all the same, and an index must not run twice
            if failures:
                self._expect.created(key, len(failures))
                raise failures[0]

    async def _create(self, job: Job, index: int | None, failures: int) -> None:
        pod = from_template(job.spec.template, job)
        pod.metadata.finalizers.append(TRACKING)
        if index is not None:
            pod.metadata.annotations[INDEX] = pod.metadata.labels[INDEX] = str(index)
            if job.spec.backoff_limit_per_index is not None:
                pod.metadata.annotations[jobpolicy.FAILURES] = str(failures)
            pod.metadata.generate_name = f"{job.metadata.name}-{index}-"
            pod.spec.hostname = pod.spec.hostname or f"{job.metadata.name}-{index}"[:63]
            source = core_v1.EnvVarSource(
                field_ref=core_v1.ObjectFieldSelector(field_path=f"metadata.annotations['{INDEX}']")
            )
            for container in [*pod.spec.containers, *pod.spec.init_containers]:
                if all(v.name != "JOB_COMPLETION_INDEX" for v in container.env):
                    container.env.append(
                        core_v1.EnvVar(name="JOB_COMPLETION_INDEX", value_from=source)
                    )
        try:
            made = await self.client.create(pod)
        except StatusError as error:
            self.context.recorder.record(job, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        self.context.recorder.record(
            job, "Normal", "SuccessfulCreate", f"Created pod: {made.metadata.name}"
        )

    async def _delete(self, key: str, pod: core_v1.Pod) -> None:
        try:
            await self.client.delete(
                core_v1.Pod, pod.metadata.name, pod.metadata.namespace, uid=pod.metadata.uid
            )
        except StatusError as error:
            self._expect.deleted(key, pod.metadata.uid)
            if error.code != 404:
                raise

    async def _release(self, pod: core_v1.Pod) -> None:
        """Takes the tracking finalizer off a pod that has been noted."""
        if TRACKING not in pod.metadata.finalizers:
            return
        change = {
            "metadata": {"uid": pod.metadata.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING]}
        }
        try:
            await self.client.patch(core_v1.Pod, pod.metadata.name, change, pod.metadata.namespace)
        except StatusError as error:
            if error.code not in (404, 409):
                raise


__all__ = ["JobController", "Plan", "format_indexes", "parse_indexes", "plan", "split_key"]

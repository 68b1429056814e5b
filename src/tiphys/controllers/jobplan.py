"""One look at a job and its pods: what to create and delete, what its status says. Pure.

A pod that has finished is counted exactly once, in upstream's two steps. First its uid is noted in
`status.uncountedTerminatedPods`; only then its finalizer goes; and once the finalizer is seen to be
gone, the uid moves from the notes into the counts. Whatever is lost in between, a status that was
not written or an informer that is late, nothing is counted twice or not at all.
"""

from __future__ import annotations

import copy
from collections.abc import Set
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.api.batch_v1 import Job, JobCondition, JobStatus, UncountedTerminatedPods
from tiphys.controllers import jobpolicy
from tiphys.controllers.expectations import BURST
from tiphys.controllers.jobindexes import format_indexes, index_of, parse_indexes
from tiphys.controllers.pods import is_active, is_ready
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.finished import job_finished, pod_finished

TRACKING = "batch.kubernetes.io/job-tracking"  # the finalizer of pods that are not counted yet
_DEFAULT_BACKOFF_LIMIT = 6
# What announces the end of a job while its pods still end, and how the job ends then.
_ANNOUNCED = {"FailureTarget": "Failed", "SuccessCriteriaMet": "Complete"}
_UNLIMITED = (1 << 31) - 1  # the backoff limit of a job that has one for each index
_MARGIN = 0.1  # seconds after a deadline until it is checked


class Event(NamedTuple):
    """What to record about the job."""

    level: str
    reason: str
    message: str


class Outcome(NamedTuple):
    """How a job ends: ``Complete`` or ``Failed``, and why."""

    kind: str
    reason: str
    message: str


@dataclass
class Plan:
    """What to do.

    `create` has the index of each pod to create, or None. Pods to `dismiss` are superfluous, which
    is no failure: they are released from their finalizer before they are deleted. Pods to `release`
    have been noted. `failures` says how often each index has failed so far, `wake` when to look
    again.
    """

    status: JobStatus
    create: list[int | None] = field(default_factory=list)
    delete: list[core_v1.Pod] = field(default_factory=list)
    dismiss: list[core_v1.Pod] = field(default_factory=list)
    release: list[core_v1.Pod] = field(default_factory=list)
    wake: float | None = None
    event: Event | None = None
    failures: dict[int, int] = field(default_factory=dict)


def plan(job: Job, pods: list[core_v1.Pod], now: float) -> Plan:
    """One look at a job and all its pods."""
    return _Look(job, pods, now).plan()


class _Look:
    """What the parts of one look share."""

    def __init__(self, job: Job, pods: list[core_v1.Pod], now: float) -> None:
        self.job = job
        self.spec = job.spec
        self.pods = pods
        self.now = now
        self.status = copy.deepcopy(job.status)
        self.result = Plan(self.status)
        self.indexed = job.spec.completion_mode == "Indexed"
        self.only_failed = job.spec.pod_replacement_policy == "Failed"
        self.running = [pod for pod in pods if not pod_finished(pod)]
        self.active = [pod for pod in pods if is_active(pod)]
        self.uncounted = self.status.uncounted_terminated_pods or UncountedTerminatedPods()
        self.completed = parse_indexes(self.status.completed_indexes)
        self.failed_indexes = parse_indexes(self.status.failed_indexes or "")

    def plan(self) -> Plan:
        by_policy = self._count()
        if job_finished(self.job.status):
            self.result.release = [pod for pod in self.pods if TRACKING in pod.metadata.finalizers]
            return self.result
        self.status.active = len(self.active)
        self.status.ready = sum(map(is_ready, self.active))
        self.status.terminating = len(self.running) - len(self.active)
        outcome = by_policy or self._outcome()
        if outcome is not None:
            self._finish(outcome)
        elif self.spec.suspend:
            self._suspend()
        else:
            self._resume()
            self._staff()
            self._note_failures()
        return self.result

    # --- counting ---

    def _count(self) -> Outcome | None:
        """Takes finished pods through the two steps. Returns how the failure policy ends the job,
        if it does."""
        held = {pod.metadata.uid for pod in self.pods if TRACKING in pod.metadata.finalizers}
        counted = [uid for uid in self.uncounted.succeeded if uid not in held]
        if not self.indexed:
            self.status.succeeded += len(counted)
        self.status.failed += sum(uid not in held for uid in self.uncounted.failed)
        self.uncounted.succeeded = [uid for uid in self.uncounted.succeeded if uid in held]
        self.uncounted.failed = [uid for uid in self.uncounted.failed if uid in held]
        outcome = self._note_ended(held)
        if self.spec.backoff_limit_per_index is not None:
            self.status.failed_indexes = format_indexes(self.failed_indexes)
        if self.indexed:
            completions = self.spec.completions
            if completions is not None:  # it may have been made smaller
                self.completed = {index for index in self.completed if index < completions}
            self.status.completed_indexes = format_indexes(self.completed)
            self.status.succeeded = len(self.completed)
        self.status.uncounted_terminated_pods = self.uncounted
        return outcome

    def _note_ended(self, held: Set[str]) -> Outcome | None:
        """Notes the pods that have ended and are still held by their finalizer."""
        outcome = None
        noted = {*self.uncounted.succeeded, *self.uncounted.failed}
        for pod in sorted(self.pods, key=lambda pod: pod.metadata.uid):
            uid = pod.metadata.uid
            if uid not in held or not self._has_ended(pod):
                continue
            self.result.release.append(pod)
            if uid in noted:
                continue
            index = index_of(pod)
            if pod.status.phase == "Succeeded":
                self.uncounted.succeeded.append(uid)
                if index is not None:
                    self.completed.add(index)
                continue
            judgement = jobpolicy.judge(self.job, pod)
            if judgement.action == "Ignore":
                continue  # it is released, and counts as nothing
            self.uncounted.failed.append(uid)
            if judgement.action == "FailJob" and outcome is None:
                outcome = Outcome("Failed", "PodFailurePolicy", judgement.message)
            if index is not None and jobpolicy.index_has_failed(self.job, pod, judgement):
                self.failed_indexes.add(index)
        return outcome

    def _has_ended(self, pod: core_v1.Pod) -> bool:
        """A pod that is being deleted counts as failed at once, unless the job replaces only pods
        that have failed."""
        if pod_finished(pod):
            return True
        return bool(pod.metadata.deletion_timestamp) and not self.only_failed

    @property
    def _succeeded(self) -> int:
        if self.indexed:
            return len(self.completed)
        return self.status.succeeded + len(self.uncounted.succeeded)

    # --- how it ends ---

    def _outcome(self) -> Outcome | None:
        """How the job ends, once that is clear. One that was announced stands."""
        for announcement, outcome in _ANNOUNCED.items():
            condition = conditions.find(self.job.status.conditions, announcement)
            if condition is not None and condition.status == "True":
                return Outcome(outcome, condition.reason, condition.message)
        return self._failure() or self._success()

    def _failure(self) -> Outcome | None:
        if self._is_beyond_backoff_limit():
            message = "Job has reached the specified backoff limit"
            return Outcome("Failed", "BackoffLimitExceeded", message)
        if self._is_beyond_deadline():
            message = "Job was active longer than specified deadline"
            return Outcome("Failed", "DeadlineExceeded", message)
        limit = self.spec.max_failed_indexes
        if limit is not None and len(self.failed_indexes) > limit:
            message = "Job has exceeded the specified maximal number of failed indexes"
            return Outcome("Failed", "MaxFailedIndexesExceeded", message)
        return None

    def _is_beyond_backoff_limit(self) -> bool:
        """Containers that are restarted in place count when pods do not end with them."""
        limit = self.spec.backoff_limit
        if limit is None:
            is_per_index = self.spec.backoff_limit_per_index is not None
            limit = _UNLIMITED if is_per_index else _DEFAULT_BACKOFF_LIMIT
        if self.status.failed + len(self.uncounted.failed) > limit:
            return True
        if self.spec.template.spec.restart_policy != "OnFailure" or not limit:
            return False
        statuses = [status for pod in self.active for status in pod.status.container_statuses]
        return sum(status.restart_count for status in statuses) > limit

    def _is_beyond_deadline(self) -> bool:
        deadline = self.spec.active_deadline_seconds
        started = timestamps.parse(self.job.status.start_time)
        if deadline is None or not started or self.spec.suspend:
            return False
        return self.now - started >= deadline

    def _success(self) -> Outcome | None:
        rule = jobpolicy.succeeded_rule(self.job, self.completed)
        if rule is not None:
            return Outcome("Complete", "SuccessPolicy", f"Matched rules at index {rule}")
        completions = self.spec.completions
        if completions is None:
            # Work queue jobs: the first success says that the work is done, others may finish.
            enough = self._succeeded > 0 and not self.active
        else:
            if self.failed_indexes:
                if self._succeeded + len(self.failed_indexes) >= completions:
                    return Outcome("Failed", "FailedIndexes", "Job has failed indexes")
            enough = self._succeeded >= completions
        if not enough:
            return None
        message = "Reached expected number of succeeded pods"
        return Outcome("Complete", "CompletionsReached", message)

    def _finish(self, outcome: Outcome) -> None:
        """The outcome is announced at once, and becomes final when no pod runs any more and every
        one is counted."""
        announcement = "FailureTarget" if outcome.kind == "Failed" else "SuccessCriteriaMet"
        if conditions.find(self.status.conditions, announcement) is None:
            self._condition(announcement, "True", outcome.reason, outcome.message)
        self.result.delete = self.active
        if self.running or self.uncounted.succeeded or self.uncounted.failed:
            return
        self._condition(outcome.kind, "True", outcome.reason, outcome.message)
        self.status.active = 0
        self.status.ready = 0
        self.status.terminating = 0
        if outcome.kind == "Complete":
            self.status.completion_time = timestamps.rfc3339(self.now)
            self.result.event = Event("Normal", "Completed", "Job completed")
        else:
            self.result.event = Event("Warning", outcome.reason, outcome.message)

    def _condition(self, kind: str, value: str, reason: str, message: str) -> None:
        condition = JobCondition(
            type=kind,
            status=value,
            reason=reason,
            message=message,
            last_probe_time=timestamps.rfc3339(self.now),
        )
        self.status.conditions = conditions.updated(
            self.status.conditions, condition, self.now, last=True
        )

    # --- while it runs ---

    def _suspend(self) -> None:
        self.result.dismiss = self.active
        if not conditions.is_true(self.status.conditions, "Suspended"):
            self._condition("Suspended", "True", "JobSuspended", "Job suspended")
            self.result.event = Event("Normal", "Suspended", "Job suspended")
        self.status.start_time = None

    def _resume(self) -> None:
        """A job that was suspended has its whole deadline before it again."""
        if conditions.is_true(self.status.conditions, "Suspended"):
            self._condition("Suspended", "False", "JobResumed", "Job resumed")
            self.result.event = Event("Normal", "Resumed", "Job resumed")
        if not self.status.start_time:
            self.status.start_time = timestamps.rfc3339(self.now)
        if self.spec.active_deadline_seconds is not None:
            ends = timestamps.parse(self.status.start_time) + self.spec.active_deadline_seconds
            self.result.wake = ends - self.now + _MARGIN

    def _staff(self) -> None:
        """Creates pods up to the number that is wanted now, or dismisses what is beyond it. With
        the replacement policy Failed a pod on its way out still has its place."""
        active = self.active
        placed = self.running if self.only_failed else self.active
        if self.indexed:
            self.result.dismiss = self._superfluous()
            dismissed = {pod.metadata.uid for pod in self.result.dismiss}
            active = [pod for pod in active if pod.metadata.uid not in dismissed]
            placed = [pod for pod in placed if pod.metadata.uid not in dismissed]
        wanted = self._parallelism(len(active))
        if len(active) > wanted:
            ranked = sorted(active, key=_dismissal_rank)
            self.result.dismiss += ranked[: len(active) - wanted]
            return
        missing = min(wanted - len(placed), BURST)
        if missing <= 0:
            return
        if not self.indexed:
            self.result.create = [None] * missing
            return
        taken = {index_of(pod) for pod in placed} | self.completed | self.failed_indexes
        for index in range(self.spec.completions or 0):
            if len(self.result.create) == missing:
                break
            if index not in taken:
                self.result.create.append(index)

    def _parallelism(self, active: int) -> int:
        """How many pods are to run now."""
        parallelism = 1 if self.spec.parallelism is None else self.spec.parallelism
        if self.spec.completions is not None:
            return min(parallelism, max(0, self.spec.completions - self._succeeded))
        if self._succeeded:  # the work is done: nothing is started any more
            return min(parallelism, active)
        return parallelism

    def _superfluous(self) -> list[core_v1.Pod]:
        """Pods whose index has ended, is out of range, or has another pod that is further on."""
        superfluous = []
        over = self.completed | self.failed_indexes
        seen: set[int] = set()
        completions = self.spec.completions or 0
        for pod in sorted(self.active, key=_progress_rank):
            index = index_of(pod)
            if index is None or index >= completions or index in over or index in seen:
                superfluous.append(pod)
            else:
                seen.add(index)
        return superfluous

    def _note_failures(self) -> None:
        for pod in self.pods:
            index = index_of(pod)
            if pod.status.phase == "Failed" and index is not None:
                self.result.failures[index] = jobpolicy.failure_count(pod) + 1


def _dismissal_rank(pod: core_v1.Pod) -> tuple[bool, str]:
    """What is not ready goes first, then what is oldest."""
    return is_ready(pod), pod.metadata.creation_timestamp or ""


def _progress_rank(pod: core_v1.Pod) -> tuple[bool, str]:
    """What is ready is further on, then what is oldest."""
    return not is_ready(pod), pod.metadata.creation_timestamp or ""

"""What happens to a workload besides admission: checks, limits of time, queues that are stopped,
and coming back."""

from __future__ import annotations

from typing import NamedTuple

from tiphys.addons.kueue import Settings, statuses
from tiphys.addons.kueue.core.building import checks_of
from tiphys.addons.kueue.metrics import QueueMetrics
from tiphys.addons.kueue.types.quotas import ClusterQueue, LocalQueue
from tiphys.addons.kueue.types.workloads import AdmissionCheckState, Workload
from tiphys.addons.kueue.writing import Workloads
from tiphys.client.informer import Informer, key_of
from tiphys.controllers.shell import Controller, controller_of, sooner
from tiphys.machinery import conditions, timestamps

_BY_LOCAL = "local-queue"
_BY_CLUSTER = "cluster-queue"


class Eviction(NamedTuple):
    """Why a workload has to give its quota back."""

    reason: str
    message: str
    cause: str = ""
    deactivates: bool = False
    backs_off: bool = False


class WorkloadController(Controller):
    name = "kueue-workloads"
    event_source = "kueue"

    def watch(self) -> None:
        self._informer: Informer[Workload] = self.informer(Workload)
        self._informer.index(_BY_LOCAL, lambda one: [_local_key(one)])
        self._informer.index(_BY_CLUSTER, _cluster_of)
        self._informer.on_change(self.enqueue)
        self._locals: Informer[LocalQueue] = self.informer(LocalQueue)
        self._clusters: Informer[ClusterQueue] = self.informer(ClusterQueue)
        self._locals.on_change(self._local_changed)
        self._clusters.on_change(self._cluster_changed)
        self._workloads = Workloads(self.client, self._informer)
        self._metrics: QueueMetrics = self.context.settings["metrics"]
        self._settings: Settings = self.context.settings["settings"]

    def _local_changed(self, old: LocalQueue | None, new: LocalQueue | None) -> None:
        for workload in self._informer.by(_BY_LOCAL, key_of(new or old)):
            self.queue.add(key_of(workload))

    def _cluster_changed(self, old: ClusterQueue | None, new: ClusterQueue | None) -> None:
        for workload in self._informer.by(_BY_CLUSTER, key_of(new or old)):
            self.queue.add(key_of(workload))

    async def reconcile(self, key: str) -> float | None:
        workload = self._informer.get(key)
        if workload is None or workload.metadata.deletion_timestamp:
            return None
        if statuses.has(workload, statuses.FINISHED):
            return None
        if statuses.has(workload, statuses.EVICTED) and workload.status.admission is not None:
            await self._free_orphan(workload)
            return None
        if workload.status.admission is None:
            return await self._waits(workload)
        return await self._holds(workload)

    # --- one that waits ---

    async def _waits(self, workload: Workload) -> float | None:
        """Comes back when its pause is over, it is activated again, or its queue is."""
        now = self.context.now()
        state = workload.status.requeue_state
        left = timestamps.parse(state.requeue_at) - now if state is not None else 0.0
        if left > 0:
            return left
        requeued = conditions.find(workload.status.conditions, statuses.REQUEUED)
        back = None
        if requeued is not None and requeued.status == "False":
            back = self._back(workload, requeued.reason)

        def come_back(current: Workload) -> None:
            if current.status.requeue_state is not None:
                current.status.requeue_state.requeue_at = None
            if back is not None:
                statuses.set_condition(current, statuses.REQUEUED, True, *back, now)
                if back[0] == "Reactivated":
                    current.status.requeue_state = None

        await self._workloads.change(workload, come_back)
        return None

    def _back(self, workload: Workload, reason: str) -> tuple[str, str] | None:
        if not statuses.is_active(workload):
            return None
        if reason.startswith("Deactivated"):
            return "Reactivated", "The workload was reactivated"
        local = self._locals.get(_local_key(workload))
        cluster = self._clusters.get(local.spec.cluster_queue or "") if local is not None else None
        if reason == "LocalQueueStopped":
            if local is None or local.spec.stop_policy != "None":
                return None
            return "LocalQueueRestarted", "The LocalQueue was restarted after being stopped"
        if reason == "ClusterQueueStopped":
            if cluster is None or cluster.spec.stop_policy != "None":
                return None
            return "ClusterQueueRestarted", "The ClusterQueue was restarted after being stopped"
        return "BackoffFinished", "The workload backoff was finished"

    # --- one that holds quota ---

    async def _holds(self, workload: Workload) -> float | None:
        admission = workload.status.admission
        assert admission is not None
        cluster = self._clusters.get(admission.cluster_queue)
        local = self._locals.get(_local_key(workload))
        stopped = _cancelled(workload, cluster, local)
        now = self.context.now()
        if stopped is not None:
            reason, message = stopped
            await self._workloads.change(
                workload, lambda one: statuses.unreserve(one, reason, message, now)
            )
            return None
        due, again = due_eviction(workload, cluster, local, self._settings, now)
        if due is not None:
            await self._evict(workload, due)
            return None
        if cluster is not None:
            await self._sync(workload, cluster)
        return again

    async def _sync(self, workload: Workload, cluster: ClusterQueue) -> None:
        """Its checks stand in its status; it is admitted once all of them say yes."""
        now = self.context.now()
        admission = workload.status.admission
        assert admission is not None
        flavors = [name for one in admission.pod_set_assignments for name in one.flavors.values()]
        checks = checks_of(cluster.spec, flavors)

        def sync(current: Workload) -> None:
            if not statuses.has(current, statuses.ADMITTED):
                statuses.want_checks(current, checks, now)
            statuses.sync_admitted(current, now)

        was_admitted = statuses.has(workload, statuses.ADMITTED)
        written = await self._workloads.change(workload, sync)
        if statuses.has(written, statuses.ADMITTED) and not was_admitted:
            name = cluster.metadata.name
            reserved = conditions.find(workload.status.conditions, statuses.QUOTA_RESERVED)
            since = now - timestamps.parse(reserved.last_transition_time if reserved else None)
            self._metrics.admitted(name, _class_of(workload), since)
            message = (
                f"Admitted by ClusterQueue {name}, wait time since reservation was {since:.0f}s"
            )
            self.event(written, "Normal", "Admitted", message)

    async def _evict(self, workload: Workload, due: Eviction) -> None:
        now = self.context.now()
        if due.deactivates:

            def deactivate(current: Workload) -> None:
                current.spec.active = False

            workload = await self._workloads.respecify(workload, deactivate)
            self.event(workload, "Warning", due.cause or due.reason, due.message)

        def evict(current: Workload) -> None:
            statuses.evict(current, due.reason, due.message, now, due.cause)
            if due.backs_off:
                statuses.back_off(
                    current, self._settings.backoff_base, self._settings.backoff_longest, now
                )
            if due.deactivates:
                current.status.accumulated_past_execution_time_seconds = None
                current.status.requeue_state = None

        written = await self._workloads.change(workload, evict)
        admission = workload.status.admission
        queue = admission.cluster_queue if admission is not None else ""
        self._metrics.evicted(queue, due.reason, due.cause, _class_of(workload))
        self.event(written, "Normal", f"EvictedDueTo{due.reason}", due.message)

    async def _free_orphan(self, workload: Workload) -> None:
        """One that no job stands behind has nothing to stop."""
        if controller_of(workload) is not None or workload.metadata.owner_references:
            return
        now = self.context.now()
        evicted = conditions.find(workload.status.conditions, statuses.EVICTED)
        assert evicted is not None
        await self._workloads.change(workload, lambda one: statuses.free(one, evicted, now))


# --- when a workload has to go ---


def due_eviction(
    workload: Workload,
    cluster: ClusterQueue | None,
    local: LocalQueue | None,
    settings: Settings,
    now: float,
) -> tuple[Eviction | None, float | None]:
    """Why a workload that holds quota has to give it back, and otherwise the seconds after which
    that may be so."""
    if not statuses.is_active(workload):
        return Eviction("Deactivated", "The workload is deactivated"), None
    by_checks = _failed_checks(workload.status.admission_checks)
    if by_checks is not None:
        return by_checks, None
    if local is not None and local.spec.stop_policy == "HoldAndDrain":
        return Eviction("LocalQueueStopped", "The LocalQueue is stopped"), None
    if cluster is not None and cluster.spec.stop_policy == "HoldAndDrain":
        return Eviction("ClusterQueueStopped", "The ClusterQueue is stopped"), None
    admitted = conditions.find(workload.status.conditions, statuses.ADMITTED)
    if admitted is None or admitted.status != "True":
        return None, None
    since = timestamps.parse(admitted.last_transition_time)
    too_long, left = _execution(workload, now - since)
    if too_long is not None:
        return too_long, None
    unready, until = _readiness(workload, since, settings, now)
    return unready, sooner(left, until)


def _failed_checks(checks: list[AdmissionCheckState]) -> Eviction | None:
    for state in ("Rejected", "Retry"):
        failed = sorted((one for one in checks if one.state == state), key=lambda one: one.name)
        if not failed:
            continue
        noun = "AdmissionChecks" if len(failed) > 1 else "AdmissionCheck"
        details = "; ".join(
            f'"{one.name}" ({one.message})' if one.message else f'"{one.name}"' for one in failed
        )
        message = f"{noun} in {state} state: {details}"
        if state == "Retry":
            return Eviction("AdmissionCheck", f"Evicted due to {message}", backs_off=True)
        message = f"The workload is deactivated due to {message}"
        return Eviction("Deactivated", message, "AdmissionCheck", deactivates=True)
    return None


def _execution(workload: Workload, seconds: float) -> tuple[Eviction | None, float | None]:
    limit = workload.spec.maximum_execution_time_seconds
    if limit is None:
        return None, None
    left = limit - (workload.status.accumulated_past_execution_time_seconds or 0) - seconds
    if left > 0:
        return None, left
    message = "The workload is deactivated due to exceeding the maximum execution time"
    return Eviction("Deactivated", message, "MaximumExecutionTimeExceeded", True), None


def _readiness(
    workload: Workload, admitted: float, settings: Settings, now: float
) -> tuple[Eviction | None, float | None]:
    """Pods that do not become ready in time make room for others (`waitForPodsReady`)."""
    if not settings.pods_ready_timeout:
        return None, None
    ready = conditions.find(workload.status.conditions, statuses.PODS_READY)
    if ready is not None and (ready.status == "True" or ready.reason == "WaitForRecovery"):
        return None, None
    left = admitted + settings.pods_ready_timeout - now
    if left > 0:
        return None, left
    key = f"{workload.metadata.namespace}/{workload.metadata.name}"
    message = f"Exceeded the PodsReady timeout {key}"
    state = workload.status.requeue_state
    count = (state.count or 0) if state is not None else 0
    if settings.requeuing_limit and count >= settings.requeuing_limit:
        message = (
            "The workload is deactivated due to exceeding the maximum number of re-queuing retries"
        )
        return Eviction("Deactivated", message, "RequeuingLimitExceeded", True), None
    return Eviction("PodsReadyTimeout", message, "WaitForStart", backs_off=True), None


def _cancelled(
    workload: Workload, cluster: ClusterQueue | None, local: LocalQueue | None
) -> tuple[str, str] | None:
    """A reservation that is not an admission yet ends with its queue."""
    if statuses.has(workload, statuses.ADMITTED):
        return None
    if local is not None and local.spec.stop_policy != "None":
        return "Suspended", f"LocalQueue {local.metadata.name} is stopped"
    if cluster is not None and cluster.spec.stop_policy != "None":
        return "Suspended", f"ClusterQueue {cluster.metadata.name} is stopped"
    return None


def _local_key(workload: Workload) -> str:
    return f"{workload.metadata.namespace}/{workload.spec.queue_name}"


def _cluster_of(workload: Workload) -> list[str]:
    admission = workload.status.admission
    return [admission.cluster_queue] if admission is not None else []


def _class_of(workload: Workload) -> str:
    reference = workload.spec.priority_class_ref
    return reference.name if reference is not None else ""

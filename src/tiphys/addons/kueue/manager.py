"""The loop that admits: whenever something has changed it makes the state of the objects, decides,
and writes what was decided."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from tiphys.addons.kueue import statuses
from tiphys.addons.kueue.assignments import packed
from tiphys.addons.kueue.clusternodes import ClusterNodes
from tiphys.addons.kueue.core import cycle, flavors
from tiphys.addons.kueue.core.building import (
    Objects,
    checks_of,
    inactivity,
    item_of,
    queued_since,
    state_of,
)
from tiphys.addons.kueue.core.search import WORDS, Target
from tiphys.addons.kueue.core.shares import shares_of
from tiphys.addons.kueue.core.state import Item, State
from tiphys.addons.kueue.core.transforming import parse
from tiphys.addons.kueue.metrics import QueueMetrics
from tiphys.addons.kueue.queues import QueueStatuses
from tiphys.addons.kueue.types.quotas import (
    AdmissionCheck,
    ClusterQueue,
    Cohort,
    LocalQueue,
    ResourceFlavor,
    Topology,
)
from tiphys.addons.kueue.types.workloads import (
    Admission,
    PodSetAssignment,
    PodSetRequest,
    Workload,
)
from tiphys.addons.kueue.writing import Workloads
from tiphys.addons.optional import Context
from tiphys.api import core_v1
from tiphys.client.client import Unreachable
from tiphys.client.informer import key_of
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import StatusError, is_write_overtaken

log = logging.getLogger(__name__)
_KINDS = (
    ResourceFlavor,
    ClusterQueue,
    LocalQueue,
    Cohort,
    AdmissionCheck,
    Topology,
    Workload,
    core_v1.Namespace,
)
_PAUSE = 1.0  # seconds after a failure
# Those behind one that was refused and are like it (upstream's words).
_ALIKE = "Bypassed scheduling evaluation because an equivalent workload recently failed"
_IN_LINE = "Workload is pending evaluation in the scheduling queue"


class _Sorted(NamedTuple):
    """Workloads by what they are to this pass."""

    state: State
    by_key: dict[str, Workload]
    outside: list[tuple[Workload, str, str]]  # they cannot be admitted: reason and message


class Manager:
    def __init__(self, context: Context, metrics: QueueMetrics) -> None:
        self._context = context
        self._metrics = metrics
        settings = context.settings
        self._counting = parse(settings.transformations, settings.excluded)
        self._strategies = settings.strategies
        self._informers = {kind: context.informers.of(kind) for kind in _KINDS}
        self.workloads = Workloads(context.client, self._of(Workload))
        self._statuses = QueueStatuses(context.client, context.now, metrics)
        self._items: dict[str, tuple[str, Item]] = {}  # by key: version, and what it came to
        self._changed = asyncio.Event()
        self._nodes = ClusterNodes(context, self._changed.set)
        for informer in self._informers.values():
            informer.on_change(self._wake)

    def _of(self, kind: Any) -> Any:
        return self._informers[kind]

    def _wake(self, old: Any, new: Any) -> None:
        if isinstance(old, Workload) and isinstance(new, Workload):
            self._count_finished(old, new)
        if isinstance(new, Workload) and isinstance(old, Workload) and _same(old, new):
            return
        self._changed.set()

    def _count_finished(self, old: Workload, new: Workload) -> None:
        admission = new.status.admission
        has_ended = statuses.has(new, statuses.FINISHED)
        if admission is not None and has_ended and not statuses.has(old, statuses.FINISHED):
            self._metrics.finished(admission.cluster_queue, _class_of(new))

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._context.informers.synced()
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._pass()
            except (StatusError, Unreachable) as error:
                if isinstance(error, Unreachable) or not is_write_overtaken(error):
                    log.warning("Admission is tried again: %s", error)
                    await asyncio.sleep(_PAUSE)
                self._changed.set()

    async def _pass(self) -> None:
        began = time.perf_counter()
        if any(flavor.spec.topology_name for flavor in self._of(ResourceFlavor)):
            await self._nodes.follow()
        sorted_ = self._sort()
        # Hundreds of queues take a while, and other add-ons share the loop.
        decided = await asyncio.to_thread(cycle.decide, sorted_.state)
        if decided.admitted or decided.preempting or decided.refused:
            self._metrics.cycle(time.perf_counter() - began, bool(decided.admitted))
        for admission in decided.admitted:
            await self._admit(sorted_.by_key[admission.item.key], admission)
        for preempting in decided.preempting:
            await self._preempt(sorted_.by_key[preempting.item.key], preempting)
        seen: set[str] = set()
        for refusal in decided.refused:
            workload = sorted_.by_key[refusal.item.key]
            message = _ALIKE if refusal.item.shape in seen else refusal.message
            seen.add(refusal.item.shape)
            await self._refuse(workload, refusal.reason, message, refusal.item)
        for workload, reason, message in sorted_.outside:
            await self._refuse(workload, reason, message)
        await self._statuses.write(
            list(self._of(ClusterQueue)),
            list(self._of(LocalQueue)),
            list(self._of(Workload)),
            lambda queue: inactivity(queue, sorted_.state.flavors, self._checks()),
            shares_of(sorted_.state),
        )
        await self._statuses.write_cohorts(list(self._of(Cohort)), shares_of(sorted_.state))

    # --- looking ---

    def _sort(self) -> _Sorted:
        state = state_of(
            Objects(
                self._of(ResourceFlavor),
                self._of(ClusterQueue),
                self._of(Cohort),
                {one.metadata.name: one.metadata.labels for one in self._of(core_v1.Namespace)},
                self._checks(),
                self._strategies,
                self._of(Topology),
                self._nodes.nodes,
                self._nodes.others,
            )
        )
        sorted_ = _Sorted(state, {}, [])
        for workload in self._of(Workload):
            self._place(workload, sorted_)
        self._items = {key: row for key, row in self._items.items() if key in sorted_.by_key}
        return sorted_

    def _checks(self) -> dict[str, bool]:
        return {
            one.metadata.name: conditions.is_true(one.status.conditions, "Active")
            for one in self._of(AdmissionCheck)
        }

    def _place(self, workload: Workload, sorted_: _Sorted) -> None:
        key = key_of(workload)
        admission = workload.status.admission
        if statuses.has(workload, statuses.FINISHED):
            return
        if admission is not None:
            item = self._item(workload, admission.cluster_queue)
            if item is not None and item.queue in sorted_.state.queues:
                sorted_.by_key[key] = workload
                sorted_.state.admit(item, item.usage)
            return
        outside = self._outside(workload)
        if outside is not None:
            if outside[0]:
                sorted_.outside.append((workload, *outside))
            return
        local = self._of(LocalQueue).get(_local_key(workload))
        item = self._item(workload, local.spec.cluster_queue or "")
        if item is None:
            message = "its pod templates cannot be read"
            sorted_.outside.append((workload, cycle.MISCONFIGURED, message))
            return
        sorted_.by_key[key] = workload
        sorted_.state.waiting.setdefault(item.queue, []).append(item)

    def _outside(self, workload: Workload) -> tuple[str, str] | None:
        """(reason, message) why a workload is in no cluster queue; an empty reason is left
        unsaid. None: it is in one."""
        if not workload.spec.queue_name:
            return "", ""
        if not statuses.is_active(workload):
            return "Deactivated", "The workload is deactivated"
        state = workload.status.requeue_state
        if state is not None and timestamps.parse(state.requeue_at) > self._context.now():
            return "", ""
        local = self._of(LocalQueue).get(_local_key(workload))
        name = workload.spec.queue_name
        if local is None or local.metadata.deletion_timestamp:
            return cycle.MISCONFIGURED, f"LocalQueue {name} doesn't exist"
        if local.spec.stop_policy != "None":
            return cycle.SUSPENDED, f"LocalQueue {name} is stopped"
        if self._of(ClusterQueue).get(local.spec.cluster_queue or "") is None:
            return cycle.MISCONFIGURED, f"ClusterQueue {local.spec.cluster_queue} doesn't exist"
        return None

    def _item(self, workload: Workload, queue: str) -> Item | None:
        key = key_of(workload)
        version = workload.metadata.resource_version
        known = self._items.get(key)
        if known is not None and known[0] == version and known[1].queue == queue:
            return known[1]
        try:
            item = item_of(workload, queue, self._counting)
        except (msgspec.ValidationError, ValueError) as error:
            log.debug("Workload %s cannot be counted: %s", key, error)
            return None
        self._items[key] = (version, item)
        return item

    # --- writing ---

    async def _admit(self, workload: Workload, decision: cycle.Admission) -> None:
        now = self._context.now()
        queue = decision.item.queue
        cluster_queue = self._of(ClusterQueue).get(queue)
        if cluster_queue is None:
            return
        admission = _admission(decision)
        assigned = [name for one in admission.pod_set_assignments for name in one.flavors.values()]
        checks = checks_of(cluster_queue.spec, assigned)

        def reserve(current: Workload) -> None:
            current.status.resource_requests = []
            statuses.reserve(current, admission, now)
            statuses.want_checks(current, checks, now)
            statuses.sync_admitted(current, now)

        written = await self.workloads.change(workload, reserve)
        waited = now - queued_since(workload)
        priority_class = _class_of(workload)
        self._metrics.reserved(queue, priority_class, waited)
        details = f"in ClusterQueue {queue}, wait time since queued was {waited:.0f}s"
        self._event(written, "QuotaReserved", f"Quota reserved {details}")
        if statuses.has(written, statuses.ADMITTED):
            self._metrics.admitted(queue, priority_class, waited)
            message = f"Admitted by ClusterQueue {queue}, wait time since reservation was 0s"
            self._event(written, "Admitted", message)

    async def _preempt(self, workload: Workload, decision: cycle.Preempting) -> None:
        for target in decision.targets:
            await self._evict(target, workload, decision.item)
        await self._refuse(workload, cycle.PREEMPTING, decision.message, decision.item)

    async def _evict(self, target: Target, preemptor: Workload, item: Item) -> None:
        victim = self._of(Workload).get(target.item.key)
        if victim is None or statuses.has(victim, statuses.EVICTED):
            return
        now = self._context.now()
        paths = self._paths(item.queue, target.item.queue)
        message = (
            f"Preempted to accommodate a workload (UID: {item.uid}, "
            f"JobUID: {item.job_uid or 'UNKNOWN'}) due to {WORDS[target.reason]}; "
            f"preemptor path: {paths[0]}; preemptee path: {paths[1]}"
        )

        def evict(current: Workload) -> None:
            statuses.evict(current, "Preempted", message, now)
            statuses.set_condition(current, statuses.PREEMPTED, True, target.reason, message, now)

        written = await self.workloads.change(victim, evict)
        self._metrics.preempted(item.queue, target.reason)
        self._metrics.evicted(target.item.queue, "Preempted", "", _class_of(victim))
        self._event(written, "Preempted", message)
        self._event(
            preemptor,
            "PreemptedWorkload",
            f"Preempted workload {key_of(victim)} (UID: {victim.metadata.uid}) in ClusterQueue "
            f"{target.item.queue}",
        )

    def _paths(self, *queues: str) -> list[str]:
        state = state_of(Objects((), self._of(ClusterQueue), self._of(Cohort)))
        return [state.queues[name].node.path() if name in state.queues else name for name in queues]

    async def _refuse(
        self, workload: Workload, reason: str, message: str, item: Item | None = None
    ) -> None:
        now = self._context.now()
        standing = conditions.find(workload.status.conditions, statuses.QUOTA_RESERVED)

        def refuse(current: Workload) -> None:
            statuses.unreserve(current, reason, message, now)
            if item is not None:
                current.status.resource_requests = _requests(item)

        current = self._of(Workload).get(key_of(workload))
        if current is None or current.status.admission is not None:
            return
        written = await self.workloads.change(current, refuse)
        if standing is None or standing.message != message:
            self._event(written, reason, message, warning=True)

    def _event(self, workload: Workload, reason: str, message: str, warning: bool = False) -> None:
        kind = "Warning" if warning else "Normal"
        self._context.recorder.record(workload, kind, reason, message[:1024])


def _same(old: Workload, new: Workload) -> bool:
    """Whether nothing has changed that admission depends on."""
    return old.spec == new.spec and _facts(old) == _facts(new)


def _facts(workload: Workload) -> Iterator[Any] | tuple[Any, ...]:
    status = workload.status
    return (
        status.admission,
        status.reclaimable_pods,
        status.requeue_state,
        status.admission_checks,
        tuple((c.type, c.status) for c in status.conditions),
    )


def _local_key(workload: Workload) -> str:
    return f"{workload.metadata.namespace}/{workload.spec.queue_name}"


def _class_of(workload: Workload) -> str:
    reference = workload.spec.priority_class_ref
    return reference.name if reference is not None else ""


def _requests(item: Item) -> list[PodSetRequest]:
    return [
        PodSetRequest(
            name=one.name,
            resources={
                name: flavors.shown(name, amount) for name, amount in one.total(one.count).items()
            },
        )
        for one in item.pod_sets
    ]


def _admission(decision: cycle.Admission) -> Admission:
    """What was decided, as the API writes it."""
    assignments = []
    assigned = decision.assignment
    for index, (pod_set, count, chosen) in enumerate(
        zip(decision.item.pod_sets, assigned.counts, assigned.flavors, strict=True)
    ):
        topology = assigned.topologies.get(index)
        usage = pod_set.total(count)
        if "pods" in chosen:
            usage["pods"] = count
        assignments.append(
            PodSetAssignment(
                name=pod_set.name,
                flavors={name: choice.flavor for name, choice in chosen.items()},
                resource_usage={
                    name: flavors.shown(name, amount) for name, amount in usage.items()
                },
                count=count,
                topology_assignment=packed(topology) if topology is not None else None,
            )
        )
    return Admission(cluster_queue=decision.item.queue, pod_set_assignments=assignments)

"""The scheduling queue: active, backing-off and unschedulable pods. Pure: its clock is given.

Active pods are popped by priority, then by age. A pod that fits nowhere is unschedulable until a
cluster event comes that may help it (its queueing hint says so), or MAX_UNSCHEDULABLE_SECONDS have
passed; then it is active again, once the back-off of its last attempt is over.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Set
from enum import StrEnum
from typing import NamedTuple

from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.podinfo import PodInfo

# Whether an event may make a pod schedulable.
QueueingHint = Callable[[ClusterEvent], bool]

# Upstream's podInitialBackoffSeconds, podMaxBackoffSeconds and podMaxInUnschedulablePodsDuration.
INITIAL_BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 10.0
MAX_UNSCHEDULABLE_SECONDS = 300.0


class _ActiveEntry(NamedTuple):
    """Sorts by what is popped first."""

    negative_priority: int
    queued_at: float
    order: int  # of arrival, where the rest is equal
    uid: str


class _BackoffEntry(NamedTuple):
    ends_at: float
    uid: str


class Part(StrEnum):
    """Where in the queue a pod is, as upstream's metrics have it."""

    ACTIVE = "active"
    BACKOFF = "backoff"
    UNSCHEDULABLE = "unschedulable"


# What brings a pod to a part of the queue: upstream's labels of events.
_POD_ADDED = "UnscheduledPodAdd"
_POD_UPDATED = "UnscheduledPodUpdate"
_ATTEMPT_FAILED = "ScheduleAttemptFailure"
_BACKOFF_ENDED = "BackoffComplete"
_UNSCHEDULABLE_TIMEOUT = "UnschedulableTimeout"
_FORCED = "ForceActivate"
_EVENT_LABELS = {
    EventKind.NODE_ADDED: "NodeAdd",
    EventKind.NODE_DELETED: "NodeDelete",
    EventKind.NODE_ALLOCATABLE: "NodeAllocatableChange",
    EventKind.NODE_LABELS: "NodeLabelChange",
    EventKind.NODE_TAINTS: "NodeTaintChange",
    EventKind.POD_ASSIGNED: "AssignedPodAdd",
    EventKind.POD_DELETED: "AssignedPodDelete",
    EventKind.POD_LABELS: "AssignedPodUpdate",
    EventKind.POD_REQUESTS: "AssignedPodUpdate",
    EventKind.STORAGE: "StorageChange",
    EventKind.NAMESPACE_LABELS: "NamespaceLabelChange",
    EventKind.DEVICES: "DeviceChange",
    EventKind.DEVICE_CLASS: "DeviceClassChange",
}


class Attempt(NamedTuple):
    """An attempt to schedule a pod: the how manieth, and since when the pod is in the queue."""

    number: int
    queued_at: float


def _ignore() -> None:
    return None


def _ignore_incoming(part: str, event: str) -> None:
    return None


class SchedulingQueue:
    """`now` is a monotonic clock in seconds; `on_active` is called when pods may have become
    active, `on_incoming` with the part of the queue that a pod comes into, and why."""

    def __init__(
        self,
        now: Callable[[], float],
        on_active: Callable[[], None] = _ignore,
        on_incoming: Callable[[str, str], None] = _ignore_incoming,
    ) -> None:
        self._now = now
        self._on_active = on_active
        self._on_incoming = on_incoming
        self._pods: dict[str, PodInfo] = {}
        self._gangs: dict[str, set[str]] = {}  # uids of pods here, by gang
        self._queued_at: dict[str, float] = {}
        self._attempts: dict[str, int] = {}
        self._arrival = itertools.count()
        self._active: list[_ActiveEntry] = []
        self._backoff: list[_BackoffEntry] = []
        self._unschedulable: dict[str, float] = {}  # uid → since when
        self._hints: dict[str, QueueingHint] = {}  # without one, any event may help
        self._in_flight = ""  # the pod that was popped and of which nothing was said yet
        self._missed_events: list[ClusterEvent] = []  # those that came since then

    def __len__(self) -> int:
        return len(self._pods)

    def add(self, pod: PodInfo) -> None:
        """A new pod, or one that was updated: an update may make an unschedulable pod
        schedulable."""
        is_known = pod.uid in self._pods
        self._note_gang(self._pods.get(pod.uid), pod)
        self._pods[pod.uid] = pod
        self._queued_at.setdefault(pod.uid, self._now())
        if not is_known or pod.uid in self._unschedulable:
            self._unschedulable.pop(pod.uid, None)
            self._activate(pod.uid, _POD_UPDATED if is_known else _POD_ADDED)
        self._on_active()

    def delete(self, uid: str) -> None:
        """The pod is gone, or has a node."""
        self._note_gang(self._pods.pop(uid, None), None)
        self._unschedulable.pop(uid, None)
        self._hints.pop(uid, None)
        self._attempts.pop(uid, None)
        self._queued_at.pop(uid, None)

    # --- gangs ---

    def _note_gang(self, old: PodInfo | None, new: PodInfo | None) -> None:
        if old is not None and old.gang is not None:
            uids = self._gangs.get(old.gang.key, set())
            uids.discard(old.uid)
            if not uids:
                self._gangs.pop(old.gang.key, None)
        if new is not None and new.gang is not None:
            self._gangs.setdefault(new.gang.key, set()).add(new.uid)

    def pending_of(self, gang_key: str) -> list[PodInfo]:
        """The pods of a gang that are here, in the order in which they would be popped."""
        pods = [self._pods[uid] for uid in self._gangs.get(gang_key, ())]
        return sorted(pods, key=lambda pod: (-pod.priority, self._queued_at[pod.uid], pod.key))

    def take(self, gang_key: str, uids: Set[str]) -> None:
        """Pods of a gang are scheduled together, the one that was popped among them:
        `add_unschedulable` or `add_backoff` says how it ended for each, and `end_flight` that it
        has."""
        self._in_flight = gang_key
        for uid in uids:
            self._unschedulable.pop(uid, None)
        if any(entry.uid in uids for entry in self._active):
            self._active = [entry for entry in self._active if entry.uid not in uids]
            heapq.heapify(self._active)
        if any(entry.uid in uids for entry in self._backoff):
            self._backoff = [entry for entry in self._backoff if entry.uid not in uids]
            heapq.heapify(self._backoff)

    def has(self, uid: str) -> bool:
        return uid in self._pods

    def pop(self) -> PodInfo | None:
        """The active pod to schedule next; None when there is none.

        It is in flight until `add_unschedulable` or `add_backoff` says how its attempt ended, or
        the next pod is popped.
        """
        self._flush_backoff()
        self._flush_unschedulable()
        while self._active:
            uid = heapq.heappop(self._active).uid
            pod = self._pods.get(uid)
            if pod is not None and uid not in self._unschedulable:
                self._in_flight = uid
                self._missed_events.clear()
                return pod
        self._in_flight = ""
        return None

    def _flush_backoff(self) -> None:
        while self._backoff and self._backoff[0].ends_at <= self._now():
            uid = heapq.heappop(self._backoff).uid
            if uid in self._pods:
                self._activate(uid, _BACKOFF_ENDED)

    def _flush_unschedulable(self) -> None:
        now = self._now()
        expired = [
            uid
            for uid, since in self._unschedulable.items()
            if now - since > MAX_UNSCHEDULABLE_SECONDS
        ]
        for uid in expired:
            del self._unschedulable[uid]
            self._activate(uid, _UNSCHEDULABLE_TIMEOUT)

    def _activate(self, uid: str, event: str) -> None:
        entry = _ActiveEntry(
            -self._pods[uid].priority, self._queued_at[uid], next(self._arrival), uid
        )
        heapq.heappush(self._active, entry)
        self._on_incoming(Part.ACTIVE, event)

    def add_unschedulable(self, pod: PodInfo, hint: QueueingHint | None = None) -> None:
        """The pod fits nowhere now. Without a `hint` any event may help it."""
        uid = pod.uid
        if uid in self._pods:
            self._attempts[uid] = self._attempts.get(uid, 0) + 1
            self._unschedulable[uid] = self._now()
            self._on_incoming(Part.UNSCHEDULABLE, _ATTEMPT_FAILED)
            if hint is None:
                self._hints.pop(uid, None)
            else:
                self._hints[uid] = hint
        if self._in_flight == uid:
            self.end_flight()

    def end_flight(self) -> None:
        """What was popped is back, or bound: events that came meanwhile may help it."""
        self._in_flight = ""
        for event in self._missed_events:
            self.move_on(event)

    def add_backoff(self, pod: PodInfo) -> None:
        """The attempt ended with an error: the pod is tried again after a back-off, whatever
        happens."""
        uid = pod.uid
        if uid in self._pods:
            self._attempts[uid] = self._attempts.get(uid, 0) + 1
            self._push_backoff(uid, self._now() + self._backoff_of(uid), _ATTEMPT_FAILED)

    def activate(self, uid: str) -> None:
        """An unschedulable pod becomes active at once, whatever it waits for."""
        if self._unschedulable.pop(uid, None) is not None:
            self._activate(uid, _FORCED)
            self._on_active()

    def _push_backoff(self, uid: str, ends_at: float, event: str) -> None:
        heapq.heappush(self._backoff, _BackoffEntry(ends_at, uid))
        self._on_incoming(Part.BACKOFF, event)

    def _backoff_of(self, uid: str) -> float:
        """Seconds: doubled with each attempt, up to the maximum."""
        doublings = self._attempts.get(uid, 1) - 1
        return min(float(INITIAL_BACKOFF_SECONDS * 2**doublings), MAX_BACKOFF_SECONDS)

    @property
    def wants_events(self) -> bool:
        """Whether an event could move a pod. If not, there is no need to work events out."""
        return bool(self._unschedulable or self._in_flight)

    def move_on(self, event: ClusterEvent) -> None:
        """Moves the unschedulable pods that the event may help: to the active ones, or first to
        those backing off."""
        if self._in_flight:
            self._missed_events.append(event)
        for uid in list(self._unschedulable):
            hint = self._hints.get(uid)
            if hint is not None and not hint(event):
                continue
            backoff_ends_at = self._unschedulable.pop(uid) + self._backoff_of(uid)
            label = _EVENT_LABELS[event.kind]
            if backoff_ends_at <= self._now():
                self._activate(uid, label)
            else:
                self._push_backoff(uid, backoff_ends_at, label)
        self._on_active()

    def seconds_until_next(self) -> float | None:
        """Seconds until a back-off ends or a pod has been unschedulable for too long; None when
        neither is ahead."""
        ends = []
        if self._backoff:
            ends.append(self._backoff[0].ends_at)
        if self._unschedulable:
            ends.append(min(self._unschedulable.values()) + MAX_UNSCHEDULABLE_SECONDS)
        return max(0.0, min(ends) - self._now()) if ends else None

    # --- metrics ---

    def attempt_at(self, pod: PodInfo) -> Attempt:
        """The attempt to schedule a pod that was popped."""
        uid = pod.uid
        return Attempt(self._attempts.get(uid, 0) + 1, self._queued_at.get(uid, self._now()))

    def count_active(self) -> int:
        """May be called on any thread, as the other counts."""
        return self._count_waiting(entry.uid for entry in list(self._active))

    def count_backoff(self) -> int:
        return self._count_waiting(entry.uid for entry in list(self._backoff))

    def count_unschedulable(self) -> int:
        return len(self._unschedulable)

    def _count_waiting(self, uids: Iterable[str]) -> int:
        """Entries stay in the heaps after their pods are gone, or have become unschedulable."""
        return sum(uid in self._pods and uid not in self._unschedulable for uid in set(uids))

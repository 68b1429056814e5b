"""The scheduling queue: active, backing-off and unschedulable pods. Pure: its clock is given.

Active pods are popped by priority, then by age. A pod that fits nowhere is unschedulable until a
cluster event comes that may help it (its queueing hint says so), or MAX_UNSCHEDULABLE_SECONDS have
passed; then it is active again, once the back-off of its last attempt is over.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import NamedTuple

from tiphys.scheduler.cluster_events import ClusterEvent
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


def _ignore() -> None:
    return None


class SchedulingQueue:
    """`now` is a monotonic clock in seconds; `on_active` is called when pods may have become
    active."""

    def __init__(self, now: Callable[[], float], on_active: Callable[[], None] = _ignore) -> None:
        self._now = now
        self._on_active = on_active
        self._pods: dict[str, PodInfo] = {}
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
        self._pods[pod.uid] = pod
        self._queued_at.setdefault(pod.uid, self._now())
        if not is_known or pod.uid in self._unschedulable:
            self._unschedulable.pop(pod.uid, None)
            self._activate(pod.uid)
        self._on_active()

    def delete(self, uid: str) -> None:
        """The pod is gone, or has a node."""
        self._pods.pop(uid, None)
        self._unschedulable.pop(uid, None)
        self._hints.pop(uid, None)
        self._attempts.pop(uid, None)
        self._queued_at.pop(uid, None)

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
                self._activate(uid)

    def _flush_unschedulable(self) -> None:
        now = self._now()
        expired = [
            uid
            for uid, since in self._unschedulable.items()
            if now - since > MAX_UNSCHEDULABLE_SECONDS
        ]
        for uid in expired:
            del self._unschedulable[uid]
            self._activate(uid)

    def _activate(self, uid: str) -> None:
        entry = _ActiveEntry(
            -self._pods[uid].priority, self._queued_at[uid], next(self._arrival), uid
        )
        heapq.heappush(self._active, entry)

    def add_unschedulable(self, pod: PodInfo, hint: QueueingHint | None = None) -> None:
        """The pod fits nowhere now. Without a `hint` any event may help it."""
        uid = pod.uid
        if uid in self._pods:
            self._attempts[uid] = self._attempts.get(uid, 0) + 1
            self._unschedulable[uid] = self._now()
            if hint is None:
                self._hints.pop(uid, None)
            else:
                self._hints[uid] = hint
        if self._in_flight == uid:
            self._in_flight = ""
            for event in self._missed_events:
                self.move_on(event)

    def add_backoff(self, pod: PodInfo) -> None:
        """The attempt ended with an error: the pod is tried again after a back-off, whatever
        happens."""
        uid = pod.uid
        if uid in self._pods:
            self._attempts[uid] = self._attempts.get(uid, 0) + 1
            self._push_backoff(uid, self._now() + self._backoff_of(uid))

    def activate(self, uid: str) -> None:
        """An unschedulable pod becomes active at once, whatever it waits for."""
        if self._unschedulable.pop(uid, None) is not None:
            self._activate(uid)
            self._on_active()

    def _push_backoff(self, uid: str, ends_at: float) -> None:
        heapq.heappush(self._backoff, _BackoffEntry(ends_at, uid))

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
            if backoff_ends_at <= self._now():
                self._activate(uid)
            else:
                self._push_backoff(uid, backoff_ends_at)
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

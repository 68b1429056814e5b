"""Who is scheduled next: by priority, then by age. Those that did not fit wait until something happens that may help."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from tiphys.scheduler.changes import Change
from tiphys.scheduler.podinfo import PodInfo

Helped = Callable[[Change], bool]

FIRST, LIMIT = 1.0, 10.0  # seconds of back-off
STUCK = 300.0  # seconds after which a pod is tried again whatever happened


class SchedulingQueue:
    """`now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._active: list[tuple[int, float, int, str]] = []
        self._backoff: list[tuple[float, str]] = []
        self._unschedulable: dict[str, float] = {}  # since when
        self._helped: dict[
            str, Helped
        ] = {}  # whether a change may help; any may when it is not known
        self._trying = ""  # the pod that somebody has taken out and not said anything of yet
        self._missed: list[Change] = []  # what has happened since then
        self._pods: dict[str, PodInfo] = {}
        self._attempts: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._pods)

    def put(self, pod: PodInfo) -> None:
        """A new pod, or one that was changed."""
        known = self._pods.get(pod.uid)
        self._pods[pod.uid] = pod
        self._since.setdefault(pod.uid, self._now())
        if known is None or pod.uid in self._unschedulable:
            self._unschedulable.pop(pod.uid, None)
            self._push(pod.uid)

    def _push(self, uid: str) -> None:
        pod = self._pods[uid]
        heapq.heappush(self._active, (-pod.priority, self._since[uid], next(self._order), uid))

    def remove(self, uid: str) -> None:
        self._pods.pop(uid, None)
        self._unschedulable.pop(uid, None)
        self._helped.pop(uid, None)
        self._attempts.pop(uid, None)
        self._since.pop(uid, None)

    def pop(self) -> PodInfo | None:
        """The next pod to try; it is out of the queue until `failed` or `put` brings it back."""
        now = self._now()
        while self._backoff and self._backoff[0][0] <= now:
            _, uid = heapq.heappop(self._backoff)
            if uid in self._pods and uid not in self._unschedulable:
                self._push(uid)
        for uid in [uid for uid, since in self._unschedulable.items() if now - since > STUCK]:
            del self._unschedulable[uid]
            self._push(uid)
        while self._active:
            uid = heapq.heappop(self._active)[3]
            pod = self._pods.get(uid)
            if pod is not None and uid not in self._unschedulable:
                self._trying = uid
                self._missed.clear()
                return pod
        self._trying = ""
        return None

    @property
    def stuck(self) -> bool:
        """Whether anybody would be told of a change."""
        return bool(self._unschedulable or self._trying)

    def failed(self, pod: PodInfo, helped: Helped | None = None) -> None:
        """The pod fits nowhere now; `helped` says whether a change may alter that."""
        if pod.uid in self._pods:
            self._attempts[pod.uid] = self._attempts.get(pod.uid, 0) + 1
            self._unschedulable[pod.uid] = self._now()
            if helped:
                self._helped[pod.uid] = helped
            else:
                self._helped.pop(pod.uid, None)
        if self._trying == pod.uid:
            self._trying = ""
            for change in self._missed:
                self.something_changed(change)

    def again(self, pod: PodInfo) -> None:
        """The pod could not be bound: try once more after a back-off."""
        if pod.uid in self._pods:
            self._attempts[pod.uid] = self._attempts.get(pod.uid, 0) + 1
            self._wait(pod.uid)

    def retry(self, uid: str) -> None:
        """The pod is tried at once, whatever it waits for."""
        if self._unschedulable.pop(uid, None) is not None:
            self._push(uid)

    def _wait(self, uid: str) -> None:
        pause = min(FIRST * 2 ** (self._attempts.get(uid, 1) - 1), LIMIT)
        heapq.heappush(self._backoff, (self._now() + pause, uid))

    def something_changed(self, change: Change) -> None:
        """A node or a pod came, went or changed: those that are helped by that may fit now."""
        if self._trying:
            self._missed.append(change)
        for uid in list(self._unschedulable):
            helped = self._helped.get(uid)
            if helped is not None and not helped(change):
                continue
            failed_at = self._unschedulable.pop(uid)
            pause = min(FIRST * 2 ** (self._attempts.get(uid, 1) - 1), LIMIT)
            if failed_at + pause <= self._now():
                self._push(uid)
            else:
                heapq.heappush(self._backoff, (failed_at + pause, uid))

    def next_wake(self) -> float | None:
        """Seconds until a back-off ends or a pod has waited too long; None when nothing waits."""
        ends = [self._backoff[0][0]] if self._backoff else []
        if self._unschedulable:
            ends.append(min(self._unschedulable.values()) + STUCK)
        return max(0.0, min(ends) - self._now()) if ends else None

"""Priority and fairness: to which flow a request belongs, and how many of each priority level are
served at a time.

A flow schema says who and what it is about and which level that has; the first in order of
precedence decides. A level has seats, a share of the server's. What finds none waits in one of the
level's queues, chosen so that flows do not crowd each other out (shuffle sharding), or is asked to
retry later. Levels lend seats that they do not use.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from tiphys.api import flowcontrol_v1 as v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.apiserver.access.flowschemas import matches
from tiphys.apiserver.access.prioritylevel import (
    PER_SEAT,
    SEATS,
    Counts,
    Flow,
    Level,
    Waiter,
    configure,
    shares,
    too_many,
)
from tiphys.apiserver.http.request import RequestInfo, User, waited
from tiphys.machinery import errors
from tiphys.store.store import Store

PATIENCE = 15.0  # seconds that a request waits for a seat: a quarter of its time
_MOST_KNOWN = 8_000  # kinds of requests whose flows are remembered
# (name, type, help, attribute of the counts of a flow schema) of each metric
_METRICS: tuple[tuple[str, type[GaugeMetricFamily | CounterMetricFamily], str, str], ...] = (
    ("current_executing_requests", GaugeMetricFamily, "Requests that have seats.", "executing"),
    ("current_executing_seats", GaugeMetricFamily, "Seats that are taken.", "seats"),
    ("current_inqueue_requests", GaugeMetricFamily, "Requests that wait for seats.", "waiting"),
    ("dispatched_requests_total", CounterMetricFamily, "Requests that got seats.", "served"),
)
_SCHEMAS, _LEVELS = resource_of(v1.FlowSchema), resource_of(v1.PriorityLevelConfiguration)


def _flow(schema: v1.FlowSchema, level: Level, key: str) -> Flow:
    headers = (
        ("X-Kubernetes-Pf-Flowschema-Uid", schema.metadata.uid),
        ("X-Kubernetes-Pf-Prioritylevel-Uid", level.uid),
    )
    counts = level.schemas.setdefault(schema.metadata.name, Counts())
    return Flow(schema.metadata.name, level, key, headers, counts)


# --- all levels ---


class Seat:
    """What a request holds while it is served. It may give it back before it ends, when what is
    left costs little."""

    __slots__ = ("_counts", "_fairness", "_level", "_seats")

    def __init__(self, fairness: Fairness, flow: Flow, seats: int) -> None:
        self._fairness = fairness
        self._level = flow.level
        self._seats = seats
        self._counts = counts = flow.counts
        counts.served += 1
        counts.executing += 1
        counts.seats += seats

    def release(self) -> None:
        seats = self._seats
        self._seats = 0
        if seats:
            self._counts.executing -= 1
            self._counts.seats -= seats
            self._fairness.leave(self._level, seats)


class Fairness:
    def __init__(self, store: Store, seats: int = SEATS) -> None:
        self._caches = store.cache(_SCHEMAS.prefix), store.cache(_LEVELS.prefix)
        self._seats = seats
        self._seen = (-1, -1)
        self._schemas: list[v1.FlowSchema] = []
        self._known: dict[Any, Flow] = {}
        self._flows: dict[str, Flow] = {}  # by their key: of many kinds of requests each
        self.levels: dict[str, Level] = {}
        self._crowded = 0  # requests that wait, at all levels
        # Of every request before the first schemas are written.
        self._unconfigured = Flow("", Level("exempt", exempt=True), "", ())

    def flow_of(self, user: User, info: RequestInfo) -> Flow:
        """The flow of a request."""
        seen = (self._caches[0].revision, self._caches[1].revision)
        if seen != self._seen:
            self._read()
            self._seen = seen
        about: Any = info.path
        if info.is_resource:
            about = (info.group, info.resource, info.subresource, info.namespace)
        key = (user.name, user.groups, info.verb, about)
        flow = self._known.get(key)
        if flow is None:
            if info.is_long:  # clients may send paths of a megabyte
                return self._classify(user, info, {})
            if len(self._known) > _MOST_KNOWN:
                self._forget()
            flow = self._known[key] = self._classify(user, info, self._flows)
        return flow

    def _classify(self, user: User, info: RequestInfo, flows: dict[str, Flow]) -> Flow:
        """`flows` are those that are remembered, by their keys."""
        for schema in self._schemas:
            level = self.levels.get(schema.spec.priority_level_configuration.name)
            if level is None or not matches(schema, user, info):
                continue
            method = schema.spec.distinguisher_method
            distinguisher = ""
            if method is not None and method.type == "ByUser":
                distinguisher = user.name
            elif method is not None and method.type == "ByNamespace":
                distinguisher = info.namespace
            key = f"{schema.metadata.name}/{distinguisher}"
            flow = flows.get(key)
            if flow is None:
                flow = flows[key] = _flow(schema, level, key)
            return flow
        return self._unconfigured

    def _forget(self) -> None:
        self._known.clear()
        self._flows.clear()

    def _read(self) -> None:
        """Reads schemas and levels again. Requests that are served or wait keep their place."""
        self._forget()
        schemas = [decode(entry.data, v1.FlowSchema) for entry in self._caches[0]]
        self._schemas = sorted(schemas, key=lambda s: (s.spec.matching_precedence, s.metadata.name))
        configured = [
            decode(entry.data, v1.PriorityLevelConfiguration) for entry in self._caches[1]
        ]
        total = sum(shares(configuration) for configuration in configured) or 1
        previous = self.levels
        self.levels = {}
        for configuration in configured:
            level = previous.get(configuration.metadata.name) or Level(configuration.metadata.name)
            configure(level, configuration, self._seats, total)
            self.levels[level.name] = level

    # --- seats ---

    def enter(self, level: Level, seats: int = 1) -> bool:
        """Takes seats if there are so many."""
        if level.used and not self._has_room(level, seats):
            return False
        level.take(seats)
        return True

    def _has_room(self, level: Level, seats: int) -> bool:
        """Whether there are seats, the level's own or such as others do not need. What takes
        several leaves half of the level to what takes one, whoever may lend."""
        if seats > 1 and level.wide + seats > max(level.nominal // 2, 1):
            return False
        return level.used + seats <= level.nominal or self._may_borrow(level, seats)

    def _serve_next(self, level: Level) -> bool:
        """Gives seats to who has waited longest in the queue whose turn it is, or in the next whose
        first has enough. Whether there was one."""
        for queue in level.in_turn():
            while queue and queue[0].future.done():
                queue.popleft()
            if queue and self.enter(level, queue[0].seats):
                queue.popleft().future.set_result(None)
                return True
        return False

    async def seat(self, flow: Flow, objects: int) -> Seat:
        """The seats of a request that reads so many objects, once they are free. Raises 429."""
        level = flow.level
        seats = level.width(objects) if objects > PER_SEAT else 1
        if not self.enter(level, seats):
            began = time.perf_counter()
            try:
                await self.queue(flow, seats)
            finally:
                waited(began)
        return Seat(self, flow, seats)

    def _may_borrow(self, level: Level, seats: int) -> bool:
        if level.used + seats - level.nominal > level.borrowing:
            return False
        lent = sum(max(0, other.used - other.nominal) for other in self.levels.values())
        free = sum(
            min(other.lendable, other.nominal - other.used)
            for other in self.levels.values()
            if other is not level and other.used < other.nominal
        )
        return free - lent >= seats

    async def queue(self, flow: Flow, seats: int = 1) -> None:
        """Waits for seats and takes them. Raises 429 when the queue is full, or when none gets free
        in time."""
        level = flow.level
        if not level.queues:
            raise self._refusal(flow, "concurrency-limit")
        queue = level.queues[level.shard(flow.key)]
        if len(queue) >= level.length:
            raise self._refusal(flow, "queue-full")
        waiter = asyncio.get_running_loop().create_future()
        queue.append(Waiter(waiter, seats))
        level.waiting += 1
        flow.counts.waiting += 1
        self._crowded += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self.leave(level, seats)  # it got its seats in the same moment
            waiter.cancel()
            if isinstance(error, TimeoutError):
                raise self._refusal(flow, "time-out") from None
            raise
        finally:
            level.waiting -= 1
            flow.counts.waiting -= 1
            self._crowded -= 1

    @staticmethod
    def _refusal(flow: Flow, reason: str) -> errors.StatusError:
        flow.level.refused += 1
        flow.counts.refuse(reason)
        return too_many()

    def leave(self, level: Level, seats: int = 1) -> None:
        """Returns seats, and gives them to requests that wait."""
        level.used -= seats
        if seats > 1:
            level.wide -= seats
        if self._crowded:
            for other in (level, *self.levels.values()):
                while other.waiting and self._serve_next(other):
                    pass

    def metrics(self) -> Iterator[Metric]:
        """What each level has and does. May be called on any thread."""
        levels = list(self.levels.values())
        prefix = "apiserver_flowcontrol"
        nominal = GaugeMetricFamily(
            f"{prefix}_nominal_limit_seats", "Seats of a level's own.", labels=("priority_level",)
        )
        for level in levels:
            nominal.add_metric((level.name,), level.nominal)
        yield nominal
        rows = [
            ((level.name, schema), counts)
            for level in levels
            for schema, counts in list(level.schemas.items())
        ]
        names = ("priority_level", "flow_schema")
        for name, kind, text, attribute in _METRICS:
            family = kind(f"{prefix}_{name}", text, labels=names)
            for place, counts in rows:
                family.add_metric(place, getattr(counts, attribute))
            yield family
        rejected = CounterMetricFamily(
            f"{prefix}_rejected_requests_total",
            "Requests that got no seats.",
            labels=(*names, "reason"),
        )
        for place, counts in rows:
            for reason, count in list(counts.refused.items()):
                rejected.add_metric((*place, reason), count)
        yield rejected

"""Events: what happened to an object, for people to read. Repeats are counted in one Event.

They are written no faster than a budget allows, as upstream's components do: when thousands of
objects come at once, their events must not take the server's time from the objects. What waits too
long is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError, is_not_found

log = logging.getLogger(__name__)

_REMEMBERED = 4096  # events whose repeats are counted; client-go's correlator keeps as many
_WAITING = 1000  # events that wait to be written
_LONGEST_WAIT = 60.0  # seconds; later they tell nobody anything
_LONGEST_MESSAGE = 1024  # characters, as upstream validates


class EventBudget:
    """How fast a process may write events. Recorders of one process that speak for many (hollow
    nodes) share one.

    rate:  events a second
    burst: events at once after a quiet time
    clock: seconds
    """

    def __init__(
        self, rate: float = 50.0, burst: int = 500, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._left = float(burst)
        self._updated = clock()

    def wait(self) -> float:
        """Takes one event's share; returns the seconds until it may be written."""
        now = self._clock()
        earned = (now - self._updated) * self._rate
        self._left = min(self._left + earned, self._burst) - 1
        self._updated = now
        return max(-self._left / self._rate, 0.0)


class _Recorded(NamedTuple):
    """An event that waits to be written."""

    component: str
    ref: core_v1.ObjectReference
    kind: str
    reason: str
    message: str
    when: float  # wall clock
    action: str = ""
    related: core_v1.ObjectReference | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What repeats of an event have in common."""
        ref = self.ref
        return (
            self.component,
            ref.namespace,
            ref.name,
            ref.uid,
            ref.field_path,
            self.kind,
            self.reason,
            self.message,
            self.action,
            self.related.uid if self.related is not None else "",
        )


class _Written(NamedTuple):
    """An Event on the server: its name, and how often what it reports has happened."""

    name: str
    times: int


class EventRecorder:
    """Writes events as `component`; never blocks and never fails its caller.

    host:   where the component runs, "" for nowhere in particular
    now:    wall clock
    budget: shared with other recorders, or one of its own
    """

    def __init__(
        self,
        client: Client,
        component: str,
        host: str = "",
        now: Callable[[], float] = time.time,
        budget: EventBudget | None = None,
    ) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._now = now
        self._budget = budget or EventBudget()
        self._queue: asyncio.Queue[_Recorded] = asyncio.Queue(_WAITING)
        self._written: OrderedDict[tuple[str, ...], _Written] = OrderedDict()

    def record(
        self,
        obj: Any,
        kind: str,
        reason: str,
        message: str,
        path: str = "",
        component: str | None = None,
    ) -> None:
        """Has an event about `obj` written.

        kind:      Normal or Warning
        reason:    one word in camel case, for programs
        message:   a sentence, for people
        path:      names a part of the object, such as ``spec.containers{web}``
        component: who reports it, when it is not the recorder's own
        """
        ref = reference(obj)
        ref.field_path = path
        source = component or self._component
        event = _Recorded(source, ref, kind, reason, message[:_LONGEST_MESSAGE], self._now())
        self._put(event)

    def record_action(
        self,
        obj: Any,
        kind: str,
        reason: str,
        message: str,
        action: str,
        related: Any = None,
    ) -> None:
        """As `record`, in the form of events.k8s.io: repeats are a series. `action` is what the
        component did, or tried; `related` another object that it has to do with."""
        other = reference(related) if related is not None else None
        text = message[:_LONGEST_MESSAGE]
        now = self._now()
        ref = reference(obj)
        self._put(_Recorded(self._component, ref, kind, reason, text, now, action, other))

    def _put(self, event: _Recorded) -> None:
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.debug("Event %s of %s was dropped: %s", event.reason, event.ref.name, event.message)

    def as_component(self, component: str) -> ComponentRecorder:
        """For one of several components of this process: its own name, the budget of all."""
        return ComponentRecorder(self, component)

    async def run(self) -> None:
        """Writes what was recorded, for ever."""
        while True:
            event = await self._queue.get()
            if self._now() - event.when > _LONGEST_WAIT:
                log.debug("Event %s of %s waited too long", event.reason, event.ref.name)
                continue
            pause = self._budget.wait()
            if pause:
                await asyncio.sleep(pause)
            try:
                await self._write(event)
            except (StatusError, Unreachable) as error:
                log.debug("Event %s of %s: %s", event.reason, event.ref.name, error)

    async def _write(self, event: _Recorded) -> None:
        written = self._written.get(event.key)
        if written is not None:
            written = await self._count_repeat(event, written)
        if written is None:
            written = await self._create(event)
        self._written[event.key] = written
        if len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)

    async def _count_repeat(self, event: _Recorded, written: _Written) -> _Written | None:
        """None if the Event is no longer there: they are deleted after an hour."""
        times = written.times + 1
        patch: dict[str, Any]
        if event.action:
            observed = timestamps.rfc3339_micro(event.when)
            patch = {"series": {"count": times, "lastObservedTime": observed}}
        else:
            patch = {"count": times, "lastTimestamp": timestamps.rfc3339(event.when)}
        namespace = event.ref.namespace or "default"
        try:
            await self._client.patch(core_v1.Event, written.name, patch, namespace, media=MERGE)
        except StatusError as error:
            if is_not_found(error):
                return None
            raise
        return _Written(written.name, times)

    async def _create(self, event: _Recorded) -> _Written:
        name = f"{event.ref.name}.{int(event.when * 1e9):x}"
        namespace = event.ref.namespace or "default"
        obj = core_v1.Event(
            metadata=ObjectMeta(name=name, namespace=namespace),
            involved_object=event.ref,
            type=event.kind,
            reason=event.reason,
            message=event.message,
            reporting_component=event.component,
            reporting_instance=self._host,
        )
        if event.action:
            obj.event_time = timestamps.rfc3339_micro(event.when)
            obj.action = event.action
            obj.related = event.related
            obj.reporting_instance = f"{event.component}-{self._host}"
        else:
            obj.first_timestamp = obj.last_timestamp = timestamps.rfc3339(event.when)
            obj.source = core_v1.EventSource(component=event.component, host=self._host)
            obj.count = 1
        await self._client.create(obj)
        return _Written(name, 1)


@dataclass(frozen=True)
class ComponentRecorder:
    """Records as `component` through a recorder that several share."""

    shared: EventRecorder
    component: str

    def record(self, obj: Any, kind: str, reason: str, message: str, path: str = "") -> None:
        """See `EventRecorder.record`."""
        self.shared.record(obj, kind, reason, message, path, self.component)

    def as_component(self, component: str) -> ComponentRecorder:
        return ComponentRecorder(self.shared, component)


def reference(obj: Any) -> core_v1.ObjectReference:
    """The reference by which an Event names its object."""
    meta = obj.metadata
    return core_v1.ObjectReference(
        api_version=obj.api_version,
        kind=obj.kind,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
    )

"""Events: what happened to an object, for people to read. Repeats are counted in one Event, not written anew.

They are written no faster than a budget allows, as upstream's components do (50 a second each): when thousands of objects
come at once, their events must not take the server's time from the objects. What waits too long is dropped."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)
_REMEMBERED = 4096
_WAITING = 1000


class EventBudget:
    """How fast a process may write events: `rate` a second, and `burst` at once after a quiet time. Recorders of one
    process that speak for many (hollow nodes) share one."""

    def __init__(
        self, rate: float = 50.0, burst: int = 500, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._at = float(burst), clock()

    def wait(self) -> float:
        """Takes one event's share; returns the seconds until it may be written."""
        now = self._clock()
        self._left = min(self._left + (now - self._at) * self._rate, self._burst) - 1
        self._at = now
        return max(-self._left / self._rate, 0.0)


class EventRecorder:
    """Writes events as `component`; never blocks and never fails its caller."""

    def __init__(
        self,
        client: Client,
        component: str,
        host: str = "",
        now: Callable[[], float] = time.time,
        budget: EventBudget | None = None,
    ) -> None:
        self._client = client
        self._budget = budget or EventBudget()
        self._component, self._host = component, host
        self._now = now
        self._queue: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue(_WAITING)
        self._seen: OrderedDict[tuple[str, ...], tuple[str, int]] = OrderedDict()

    def record(
        self,
        obj: Any,
        kind: str,
        reason: str,
        message: str,
        path: str = "",
        component: str | None = None,
    ) -> None:
        """`kind` is Normal or Warning; `path` names a part of the object, such as spec.containers{web}; `component` is who
        says so, when it is not the recorder's own."""
        ref = reference(obj)
        ref.field_path = path
        source = component or self._component
        try:
            self._queue.put_nowait((source, ref, kind, reason, message[:1024], self._now()))
        except asyncio.QueueFull:
            log.debug("event dropped: %s %s", reason, message)

    def as_component(self, component: str) -> ComponentRecorder:
        """For one of several components of this process: its own name, the budget of all."""
        return ComponentRecorder(self, component)

    async def run(self) -> None:
        while True:
            event = await self._queue.get()
            if pause := self._budget.wait():
                await asyncio.sleep(pause)
            try:
                await self._write(*event)
            except (StatusError, Unreachable) as error:
                log.debug("event not written: %s", error)

    async def _write(
        self,
        component: str,
        ref: core_v1.ObjectReference,
        kind: str,
        reason: str,
        message: str,
        when: float,
    ) -> None:
        key = (component, ref.namespace, ref.name, ref.uid, ref.field_path, kind, reason, message)
        stamp = timestamps.rfc3339(when)
        known = self._seen.get(key)
        namespace = ref.namespace or "default"
        if known is not None:
            name, count = known
            try:
                await self._client.patch(
                    core_v1.Event,
                    name,
                    {"count": count + 1, "lastTimestamp": stamp},
                    namespace,
                    media=MERGE,
                )
                self._seen[key] = (name, count + 1)
                return
            except StatusError as error:
                if error.code != 404:
                    raise
        name = f"{ref.name}.{int(when * 1e9):x}"
        event = core_v1.Event(
            metadata=ObjectMeta(name=name, namespace=namespace),
            involved_object=ref,
            type=kind,
            reason=reason,
            message=message,
            source=core_v1.EventSource(component=component, host=self._host),
            first_timestamp=stamp,
            last_timestamp=stamp,
            count=1,
            reporting_component=component,
            reporting_instance=self._host,
        )
        await self._client.create(event)
        self._seen[key] = (name, 1)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


@dataclass(frozen=True)
class ComponentRecorder:
    """Records as `component` through a recorder that several share."""

    shared: EventRecorder
    component: str

    def record(self, obj: Any, kind: str, reason: str, message: str, path: str = "") -> None:
        self.shared.record(obj, kind, reason, message, path, self.component)

    def as_component(self, component: str) -> ComponentRecorder:
        return ComponentRecorder(self.shared, component)


def reference(obj: Any) -> core_v1.ObjectReference:
    meta = obj.metadata
    return core_v1.ObjectReference(
        api_version=obj.api_version,
        kind=obj.kind,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
    )

"""Pods that come and go at a steady rate, how long each takes to run, and how long calls for single
objects take meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.machinery.errors import StatusError

_SHOWN = ("p50", "p90", "p99", "max")
_PROBES = 5  # each second, of each kind
_TITLES = ("create pod", "delete pod", "get node", "get pod", "patch config map", "pod start")
_LAST_START = 10.0  # seconds that the last pods have to run


@dataclass
class Calls:
    """How long calls of one kind took, in seconds, and how many failed."""

    title: str
    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    def line(self) -> str:
        ordered = sorted(self.seconds) or [0.0]
        shown = (ordered[int((len(ordered) - 1) * part)] * 1000 for part in (0.5, 0.9, 0.99, 1.0))
        numbers = "  ".join(
            f"{name} {value:6.1f} ms" for name, value in zip(_SHOWN, shown, strict=True)
        )
        return f"  {self.title:<28} {len(self.seconds):6} calls  {numbers}  {self.failed} failed"


def pod(name: str) -> core_v1.Pod:
    made = core_v1.Pod(metadata=ObjectMeta(name=name, namespace="steady"))
    made.spec.containers = [core_v1.Container(name="c", image="img")]
    return made


class Steady:
    """`rate` pods come each second, and as many go that have run for a while, for `seconds`."""

    def __init__(self, client: Client, rate: int, seconds: float) -> None:
        self._client = client
        self._rate = rate
        self._seconds = seconds
        self._names: list[str] = []
        self._created_at: dict[str, float] = {}  # of pods that do not run yet
        self.made = 0
        self.calls = {title: Calls(title) for title in _TITLES}

    async def run(self) -> None:
        namespace = core_v1.Namespace(metadata=ObjectMeta(name="steady"))
        config = core_v1.ConfigMap(metadata=ObjectMeta(name="probe", namespace="steady"))
        for obj in (namespace, config):
            await self._client.create(obj)
        async with asyncio.TaskGroup() as watching:
            following = watching.create_task(self._follow())
            end = time.monotonic() + self._seconds
            async with asyncio.TaskGroup() as group:
                group.create_task(self._come_and_go(group, end))
                group.create_task(self._probe(group, end))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_START):
                    while self._created_at:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
            following.cancel()
        self.calls["pod start"].failed = len(self._created_at)

    def lines(self) -> list[str]:
        return [calls.line() for calls in self.calls.values()]

    async def _come_and_go(self, group: asyncio.TaskGroup, end: float) -> None:
        began = time.monotonic()
        for number in range(int(self._rate * self._seconds)):
            await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
            if time.monotonic() > end:
                return
            group.create_task(self._create(f"s-{number}"))
            if len(self._names) > self._rate * 3:
                group.create_task(self._delete(self._names.pop(0)))

    async def _create(self, name: str) -> None:
        self._created_at[name] = time.monotonic()
        await self._timed("create pod", lambda: self._client.create(pod(name)))
        self._names.append(name)
        self.made += 1

    async def _follow(self) -> None:
        """Notes when pods run."""
        revision = (await self._client.list(core_v1.Pod, "steady")).revision
        async for event in self._client.watch(core_v1.Pod, "steady", revision=revision):
            if event.obj.status.phase != "Running":
                continue
            began = self._created_at.pop(event.obj.metadata.name, None)
            if began is not None:
                self.calls["pod start"].seconds.append(time.monotonic() - began)

    async def _delete(self, name: str) -> None:
        await self._timed("delete pod", lambda: self._client.delete(core_v1.Pod, name, "steady"))

    async def _probe(self, group: asyncio.TaskGroup, end: float) -> None:
        change = 0
        config = core_v1.ConfigMap
        while time.monotonic() < end:
            change += 1
            data = {"data": {"change": str(change)}}
            node = f"hollow-{change % 10}"
            get = partial(self._client.get, core_v1.Node, node)
            group.create_task(self._timed("get node", get))
            patch = partial(self._client.patch, config, "probe", data, "steady", media=MERGE)
            group.create_task(self._timed("patch config map", patch))
            if self._names:
                get = partial(self._client.get, core_v1.Pod, self._names[-1], "steady")
                group.create_task(self._timed("get pod", get))
            await asyncio.sleep(1 / _PROBES)

    async def _timed(self, title: str, call: Callable[[], Awaitable[object]]) -> None:
        began = time.monotonic()
        try:
            await call()
        except (StatusError, Unreachable):
            self.calls[title].failed += 1
            return
        self.calls[title].seconds.append(time.monotonic() - began)

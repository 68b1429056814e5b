"""The loops: the triggers of each object are kept, and queried at their intervals."""

from __future__ import annotations

import asyncio
import copy
import logging
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tiphys.addons.keda import facts
from tiphys.addons.keda.authentication import AuthenticationError
from tiphys.addons.keda.building import Builder, Built
from tiphys.addons.keda.formula import FormulaError
from tiphys.addons.keda.measuring import Measurer, Record
from tiphys.addons.keda.scaler import ScalerError, Surroundings
from tiphys.addons.keda.types import Health, ScaledJob, ScaledObject
from tiphys.addons.optional import Context
from tiphys.client.client import Unreachable
from tiphys.client.informer import Informer
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)

K = TypeVar("K", ScaledObject, ScaledJob)
WRONG = (ScalerError, AuthenticationError, facts.SpecError, FormulaError)
"""What is wrong with an object, in words for its user."""
FAILURES = (*WRONG, StatusError, Unreachable, LookupError, ValueError)
"""And what may go wrong beside."""


@dataclass
class Watched:
    """One object: its loop, and what is remembered between two looks."""

    task: asyncio.Task[None]
    generation: int
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    health: dict[str, Health] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    falls_back: bool = False
    errors: dict[str, str] = field(default_factory=dict)
    others: list[asyncio.Task[None]] = field(default_factory=list)


def key_of(obj: ScaledObject | ScaledJob) -> str:
    return f"{obj.metadata.namespace}/{obj.metadata.name}"


class Loops(Generic[K]):
    """Those of all objects of one kind. Keys are ``namespace/name``."""

    def __init__(
        self, context: Context, kind: type[K], surroundings: Surroundings, measurer: Measurer
    ) -> None:
        self.context = context
        self.measurer = measurer
        self.observer = measurer.observer
        self.client = context.client
        self.kind: type[K] = kind
        self.targets = measurer.targets
        self.builder = Builder(surroundings, self.targets)
        self.objects: Informer[K] = context.informers.of(kind)
        self._watched: dict[str, Watched] = {}
        self._built: dict[str, Built] = {}
        self._building: dict[str, asyncio.Lock] = {}
        self._reported: dict[str, tuple[str, int | None]] = {}

    @property
    def count(self) -> int:
        """How many are watched."""
        return len(self._watched)

    # --- defined by each kind ---

    async def check(self, obj: K, watched: Watched) -> None:
        """One look, and what follows from it."""
        raise NotImplementedError

    async def begun(self, key: str, watched: Watched) -> None:
        """Called after the first look that did not fail."""

    # --- triggers ---

    async def built(self, obj: K) -> Built:
        """The object's triggers, as they are kept. Raises what `Builder.build` raises."""
        key = key_of(obj)
        async with self._building.setdefault(key, asyncio.Lock()):
            kept = self._built.get(key)
            meta = obj.metadata
            if kept is not None and (kept.uid, kept.generation) == (meta.uid, meta.generation):
                return kept
            try:
                built = await self.builder.build(obj)
            except WRONG as error:
                self.event(obj, "KEDAScalerFailed", str(error), warning=True)
                raise
            if kept is not None:
                await kept.close()
            self._built[key] = built
        # once for each version: those that fail are rebuilt each time, and an object's events are
        # counted (client.events.EventBudget)
        if self._reported.get(key) != (meta.uid, meta.generation):
            self._reported[key] = (meta.uid, meta.generation)
            for scaler in built.scalers:
                self.event(obj, "KEDAScalersStarted", f"Scaler {scaler.config.type} is built")
        return built

    def kept(self, key: str) -> Built | None:
        return self._built.get(key)

    async def forget(self, key: str) -> None:
        """The triggers are rebuilt when they are needed next."""
        kept = self._built.pop(key, None)
        if kept is not None:
            await kept.close()

    def event(self, obj: K, reason: str, message: str, *, warning: bool = False) -> None:
        self.context.recorder.record(obj, "Warning" if warning else "Normal", reason, message)

    # --- loops ---

    def watch(self, obj: K) -> None:
        """Starts to query an object's triggers; restarts if its spec changed."""
        key = key_of(obj)
        standing = self._watched.get(key)
        generation = obj.metadata.generation or 0
        if standing is not None and standing.generation == generation:
            return
        if standing is not None:
            self._end(standing)
        else:
            self.event(obj, "KEDAScalersStarted", "Started scalers watch")
        task = self.context.tasks.start(self._poll(key), f"{self.kind.__name__.lower()}-{key}")
        watched = self._watched[key] = Watched(task, generation)
        if standing is not None:
            watched.health = standing.health
            watched.falls_back = standing.falls_back
        elif isinstance(obj, ScaledObject):
            watched.health = copy.deepcopy(obj.status.health)
            fallback = facts.condition(obj.status.conditions, "Fallback")
            watched.falls_back = fallback.status == "True"

    def watched(self, key: str) -> Watched | None:
        return self._watched.get(key)

    async def unwatch(self, key: str, obj: K | None = None) -> None:
        standing = self._watched.pop(key, None)
        if standing is not None:
            self._end(standing)
            if obj is not None:
                self.event(obj, "KEDAScalersStopped", "Stopped scalers watch")
            self.observer.forget(self.kind.__name__, key)
        await self.forget(key)
        self._building.pop(key, None)
        self._reported.pop(key, None)

    @staticmethod
    def _end(watched: Watched) -> None:
        for task in (watched.task, *watched.others):
            task.cancel()

    async def _poll(self, key: str) -> None:
        """Looks, and looks again after the object's polling interval, which counts from look to
        look."""
        loop = asyncio.get_running_loop()
        has_begun = False
        due = loop.time()
        while True:
            started = loop.time()
            self.observer.late(self.kind.__name__, key, started - due)
            obj = self.objects.get(key)
            watched = self._watched.get(key)
            if obj is None or watched is None:
                return
            try:
                async with watched.turn:
                    await self.check(obj, watched)
                if not has_begun:
                    has_begun = True
                    await self.begun(key, watched)
            except FAILURES as error:
                log.info("%s %s: %s", self.kind.__name__, key, error)
            except Exception:
                log.exception("%s %s", self.kind.__name__, key)
            interval = obj.spec.polling_interval or facts.POLLING
            due = started + interval
            await asyncio.sleep(max(0.0, due - loop.time()))

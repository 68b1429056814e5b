"""The shell every controller runs in: a keyed queue, workers, back-off, metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tiphys.client.client import Client, Unreachable
from tiphys.client.events import ComponentRecorder, EventRecorder
from tiphys.client.informer import Informer, Informers, key_of
from tiphys.client.queue import WorkQueue
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)


@dataclass
class Context:
    """What a controller is given. `now` is seconds since the epoch."""

    client: Client
    informers: Informers
    recorder: EventRecorder | ComponentRecorder
    tasks: TaskGroup
    now: Callable[[], float] = time.time
    settings: dict[str, Any] = field(default_factory=dict)


class Controller:
    """A reconciler: `watch` says what puts keys into the queue, `reconcile` works on one key."""

    name = ""
    event_source = ""  # as events name the controller; empty: its name and "-controller"
    workers = 4

    def __init__(self, context: Context) -> None:
        source = self.event_source or f"{self.name}-controller"
        self.context = replace(context, recorder=context.recorder.as_component(source))
        self.client = context.client
        self.queue: WorkQueue[str] = WorkQueue()
        self.reconciled = 0
        self.failed = 0

    def watch(self) -> None:
        """Asks for informers and connects them to the queue."""
        raise NotImplementedError

    async def reconcile(self, key: str) -> float | None:
        """Moves the world one step for `key`. Returns seconds after which to look again, or None."""
        raise NotImplementedError

    # --- help for `watch` ---

    def informer(self, kind: Any) -> Informer[Any]:
        return self.context.informers.of(kind)

    def enqueue(self, old: Any, new: Any) -> None:
        """The object itself is the key."""
        self.queue.add(key_of(new or old))

    def enqueue_owner(self, kind: str) -> Callable[[Any, Any], None]:
        """The controlling owner of `kind` is the key."""

        def handler(old: Any, new: Any) -> None:
            for obj in (old, new):
                owner = controller_of(obj) if obj is not None else None
                if owner is not None and owner.kind == kind:
                    self.queue.add(f"{obj.metadata.namespace}/{owner.name}")

        return handler

    # --- running ---

    async def run(self) -> None:
        await self.context.informers.synced()
        for number in range(self.workers):
            self.context.tasks.start(self._work(), f"{self.name}-{number}", vital=True)

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                again = await self.reconcile(key)
                self.reconciled += 1
                self.queue.forget(key)
                if again is not None:
                    self.queue.add_after(key, again)
            except asyncio.CancelledError:
                raise
            except (StatusError, Unreachable) as error:
                self._later(key, error)
            except Exception as error:
                log.exception("%s: %s", self.name, key)
                self._later(key, error)
            finally:
                self.queue.done(key)

    def _later(self, key: str, error: Exception) -> None:
        """A conflict is everyday life; anything else is worth a line."""
        self.failed += 1
        if not (
            isinstance(error, StatusError)
            and error.reason in ("Conflict", "NotFound", "AlreadyExists")
        ):
            log.info("%s: %s: %s", self.name, key, error)
        self.queue.retry(key)


def controller_of(obj: Any) -> Any | None:
    """The owner reference of what controls an object, or None."""
    return next((owner for owner in obj.metadata.owner_references if owner.controller), None)


def owner_index(obj: Any) -> list[str]:
    """For Informer.index: objects by their controller's uid; those without one by ``orphan/NAMESPACE``."""
    owner = controller_of(obj)
    return [owner.uid] if owner else [f"orphan/{obj.metadata.namespace}"]


def split_key(key: str) -> tuple[str, str]:
    namespace, _, name = key.rpartition("/")
    return namespace, name

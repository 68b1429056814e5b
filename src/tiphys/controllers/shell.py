"""The base class of every controller: informers fill a queue of keys, workers reconcile them.

A controller says in `watch` what puts keys into the queue, and in `reconcile` what to do about one.
A whole one, which gives every namespace a label:

    class LabelController(Controller):
        name = "label"

        def watch(self) -> None:
            self._namespaces = self.informer(core_v1.Namespace)
            self._namespaces.on_change(self.enqueue)

        async def reconcile(self, key: str) -> float | None:
            namespace = self._namespaces.get(key)
            if namespace is None or namespace.metadata.labels.get("seen") == "yes":
                return None
            change = {"metadata": {"labels": {"seen": "yes"}}}
            await self.client.patch(core_v1.Namespace, key, change)
            return None

What makes that safe: a key is worked on by one worker at a time; one that changes meanwhile is
worked on again; whatever is raised is retried later. So `reconcile` looks at the world as it is,
never at what changed, and may be called at any time. Objects of informers are shared: they are
copied before they are changed.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tiphys.api.base import Struct
from tiphys.api.meta_v1 import OwnerReference
from tiphys.client.client import Client, Unreachable
from tiphys.client.events import ComponentRecorder, EventRecorder
from tiphys.client.informer import Informer, Informers, key_of
from tiphys.client.queue import WorkQueue
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError, is_not_found, is_write_overtaken

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Struct)


@dataclass
class Context:
    """What all controllers of a process share.

    `now` is the wall clock in seconds since the epoch, which tests may replace. `settings` are what
    single controllers need beside the API: ``ca``, the cluster's CA certificate in PEM, and
    ``authority``, (certificate, key) in PEM or None, ``pools``, networks with commas; and where
    machines may join ``pod_networks`` and ``service_networks`` for nodes' ranges, ``server_names``,
    the API server's, for certificates, ``api_address`` and ``api_port`` where clients find any of
    several API servers.
    """

    client: Client
    informers: Informers
    recorder: EventRecorder | ComponentRecorder
    tasks: TaskGroup
    now: Callable[[], float] = time.time
    settings: dict[str, Any] = field(default_factory=dict)


class Controller:
    """A reconciler of keys, most often ``namespace/name`` of an object.

    Subclasses give `name` (of tasks and log lines), `watch` and `reconcile`; `event_source` where
    upstream's events name the controller otherwise, and `workers`, how many keys are worked on at
    once: more where one reconciliation waits for the server most of the time.
    """

    name = ""
    event_source = ""  # empty: `name` and "-controller"
    workers = 4

    def __init__(self, context: Context) -> None:
        source = self.event_source or f"{self.name}-controller"
        self.context = replace(context, recorder=context.recorder.as_component(source))
        self.client = context.client
        self.queue: WorkQueue[str] = WorkQueue(name=self.name, metrics=self.client.metrics)
        self.reconciled = 0
        self.failed = 0

    def watch(self) -> None:
        """Asks for informers and connects them to the queue. Called once, on the running loop;
        handlers hear of everything that is there already, too."""
        raise NotImplementedError

    async def reconcile(self, key: str) -> float | None:
        """Reconciles `key` by one step.

        Returns the seconds after which to reconcile again without a change, or None. May raise
        anything: the key is retried with a back-off that doubles from 10 ms up to 30 s.
        """
        raise NotImplementedError

    # --- for `watch` ---

    def informer(self, kind: Any) -> Informer[Any]:
        """The informer of a kind, which all controllers of the process share."""
        return self.context.informers.of(kind)

    def enqueue(self, old: Any, new: Any) -> None:
        """A handler for informers: the object itself is the key."""
        self.queue.add(key_of(new or old))

    def enqueue_owner(self, kind: str) -> Callable[[Any, Any], None]:
        """A handler for informers: the controlling owner, if it is of that kind, is the key."""

        def handler(old: Any, new: Any) -> None:
            for obj in (old, new):
                key = owner_key(obj, kind)
                if key:
                    self.queue.add(key)

        return handler

    # --- for `reconcile` ---

    def event(self, obj: Any, level: str, reason: str, message: str) -> None:
        """Records an event about an object; `level` is ``Normal`` or ``Warning``. Never blocks."""
        self.context.recorder.record(obj, level, reason, message)

    async def write_status(self, obj: Struct, status: Any) -> None:
        """Writes a new status of an object of an informer, unless it has it already.

        Raises StatusError 409 when the object changed since: the key is then retried.
        """
        if status == obj.status:  # type: ignore[attr-defined]
            return
        changed = copy.copy(obj)
        changed.status = status  # type: ignore[attr-defined]
        await self.client.update_status(changed)

    async def delete(
        self,
        obj: Any,
        *,
        grace: int | None = None,
        propagation: str | None = None,
        unchanged: bool = False,
    ) -> bool:
        """Deletes exactly this object: one that was created since by the same name stays.

        With `unchanged` only if it has not changed since. Returns whether it existed.
        """
        meta = obj.metadata
        try:
            await self.client.delete(
                type(obj),
                meta.name,
                meta.namespace,
                grace=grace,
                propagation=propagation,
                uid=meta.uid,
                revision=meta.resource_version if unchanged else None,
            )
        except StatusError as error:
            if not is_write_overtaken(error):
                raise
            return False
        return True

    async def live(self, kind: type[T], name: str, namespace: str = "") -> T | None:
        """The object as the server has it now, None when there is none. For decisions that must not
        rely on an informer, which may be stale."""
        try:
            return await self.client.get(kind, name, namespace)
        except StatusError as error:
            if not is_not_found(error):
                raise
            return None

    # --- running ---

    async def run(self) -> None:
        """Starts the workers once every informer has its first list."""
        await self.context.informers.synced()
        for number in range(self.workers):
            self.context.tasks.start(self._work(), f"{self.name}-{number}", vital=True)

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                seconds = await self.reconcile(key)
                self.reconciled += 1
                self.queue.forget(key)
                if seconds is not None:
                    self.queue.add_after(key, seconds)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._retry(key, error)
            finally:
                self.queue.done(key)

    def _retry(self, key: str, error: Exception) -> None:
        """Works on the key again later. A conflict is everyday life, and needs no line in the
        log."""
        self.failed += 1
        self.queue.retry(key)
        if is_write_overtaken(error):
            return
        if isinstance(error, StatusError | Unreachable):
            log.info("The %s controller retries %s later: %s", self.name, key, error)
        else:
            log.error("The %s controller failed on %s", self.name, key, exc_info=error)


def controller_of(obj: Any) -> OwnerReference | None:
    """The owner reference of what controls an object, or None."""
    for owner in obj.metadata.owner_references:
        if owner.controller:
            return owner  # type: ignore[no-any-return]
    return None


def owner_key(obj: Any, kind: str) -> str:
    """``namespace/name`` of the controlling owner if it is of that kind, otherwise empty."""
    owner = controller_of(obj) if obj is not None else None
    if owner is None or owner.kind != kind:
        return ""
    return f"{obj.metadata.namespace}/{owner.name}"


def owner_index(obj: Any) -> list[str]:
    """For `Informer.index`: objects by the uid of their controller, and those that have none by
    ``orphan/NAMESPACE``."""
    owner = controller_of(obj)
    return [owner.uid] if owner else [f"orphan/{obj.metadata.namespace}"]


def namespace_index(obj: Any) -> list[str]:
    """For `Informer.index`: objects by their namespace."""
    return [obj.metadata.namespace]


def split_key(key: str) -> tuple[str, str]:
    """(namespace, name) of a key."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def sooner(*waits: float | None) -> float | None:
    """The shortest of several waits in seconds; None stands for none."""
    return min((wait for wait in waits if wait is not None), default=None)

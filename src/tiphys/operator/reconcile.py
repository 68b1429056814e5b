"""Reconcilers: what an operator's author writes, and the shell that runs it.

An object of the reconciled kind, or one that it owns, changes; its key enters a queue; `reconcile`
is called with the newest copy. It says what should be (`apply`), what is so (`set_status`) and when
to look again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from tiphys.api.base import Struct, encode, to_builtins
from tiphys.api.meta_v1 import Condition, OwnerReference
from tiphys.client.client import MERGE, Client
from tiphys.client.events import ComponentRecorder, EventRecorder
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Context, Controller, split_key
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.mergepatch import replacing

R = TypeVar("R", bound=Struct)
K = TypeVar("K", bound=Struct)


class Reconciler(Generic[R]):
    """Reconciles the cluster with objects of one kind.

    `kind` is what it reconciles, `owns` are kinds it makes: their changes bring their owner back.
    With a `finalizer` (``domain/name``) no object goes before `finalize` has returned for it.
    """

    kind: ClassVar[type[Struct]]
    owns: ClassVar[tuple[type[Struct], ...]] = ()
    finalizer: ClassVar[str] = ""
    workers: ClassVar[int] = 4

    def __init__(self, context: Context, manager: str) -> None:
        self.context = context
        self.client: Client = context.client
        self.manager = manager
        self._recorder: EventRecorder | ComponentRecorder = context.recorder

    # --- what an author writes ---

    def watch(self, enqueue: Callable[[str], None]) -> None:
        """Connects further informers (`self.informer(kind).on_change(...)`) to keys
        ``namespace/name``."""

    async def reconcile(self, obj: R) -> float | None:
        """Moves the cluster one step towards the state that `obj` declares.

        Returns the seconds after which to reconcile again without a change, or None. `obj` is a
        copy: what is changed in it is not written. An exception is logged and the key comes back
        after a growing pause.
        """
        raise NotImplementedError

    async def finalize(self, obj: R) -> float | None:
        """Cleans up what owner references do not reach. An exception keeps the object; it is called
        again. What takes longer returns the seconds after which to call again, None when it is
        done."""
        return None

    # --- what it may use ---

    @property
    def now(self) -> float:
        """Seconds since the epoch, by the clock that tests may turn."""
        return self.context.now()

    @property
    def settings(self) -> Any:
        """Those of the add-on that it belongs to; None for an operator of its own."""
        return self.context.settings.get("settings")

    def informer(self, kind: type[K]) -> Informer[K]:
        """The shared, watched copy of a kind. Its objects must not be changed."""
        return self.context.informers.of(kind)

    async def apply(self, owner: R, obj: K) -> K:
        """Server-side apply of an object that goes with its `owner`. Set fields are ours; others
        stay."""
        reference = owner_reference(owner)
        kept = [r for r in obj.metadata.owner_references if r.uid != reference.uid]  # type: ignore[attr-defined]
        obj.metadata.owner_references = [*kept, reference]  # type: ignore[attr-defined]
        return await self.client.apply(obj, manager=self.manager, force=True)

    async def set_status(self, obj: R, status: Struct) -> None:
        """Writes the status if it says something new. `observed_generation` is filled in where
        there is one."""
        if "observed_generation" in status.__struct_fields__:
            status.observed_generation = obj.metadata.generation  # type: ignore[attr-defined]
        before = getattr(obj, "status", None)
        if before is not None and encode(before) == encode(status):
            return
        patch = {"status": replacing(to_builtins(before), to_builtins(status))}
        metadata = obj.metadata  # type: ignore[attr-defined]
        await self.client.patch(
            type(obj), metadata.name, patch, metadata.namespace, "status", media=MERGE
        )

    def condition(
        self,
        obj: R,
        standing: list[Condition],
        type_: str,
        ok: bool,
        reason: str,
        message: str = "",
    ) -> list[Condition]:
        """`standing` with one condition set, its time of transition kept while its status is the
        same."""
        wanted = Condition(
            type=type_,
            status=conditions.status_of(ok),
            reason=reason,
            message=message,
            observed_generation=obj.metadata.generation,  # type: ignore[attr-defined]
        )
        return conditions.updated(standing, wanted, self.now)

    def event(self, obj: R, reason: str, message: str, *, warning: bool = False) -> None:
        """An event about `obj`, for `kubectl describe`. Never blocks and never fails."""
        self._recorder.record(obj, "Warning" if warning else "Normal", reason, message)


def owner_reference(owner: Struct) -> OwnerReference:
    """The reference that makes `owner` the controller of an object."""
    return OwnerReference(
        api_version=owner.api_version,  # type: ignore[attr-defined]
        kind=owner.kind,  # type: ignore[attr-defined]
        name=owner.metadata.name,  # type: ignore[attr-defined]
        uid=owner.metadata.uid,  # type: ignore[attr-defined]
        controller=True,
        block_owner_deletion=True,
    )


class Shell(Controller):
    """Runs one reconciler on the controllers' queue, with its finalizer."""

    def __init__(self, context: Context, reconciler: type[Reconciler[Any]], manager: str) -> None:
        kind = reconciler.kind
        self.name = f"{manager}-{kind.__name__.lower()}"
        self.event_source = manager
        self.workers = reconciler.workers
        super().__init__(context)
        self.reconciler = reconciler(self.context, manager)

    def watch(self) -> None:
        self.informer(self.reconciler.kind).on_change(self.enqueue)
        for owned in self.reconciler.owns:
            self.informer(owned).on_change(self.enqueue_owner(self.reconciler.kind.__name__))
        self.reconciler.watch(self.queue.add)

    async def reconcile(self, key: str) -> float | None:
        cached = self.informer(self.reconciler.kind).get(key)
        if cached is None:
            return None
        obj: Any = copy.deepcopy(cached)
        finalizer = self.reconciler.finalizer
        if obj.metadata.deletion_timestamp:
            if finalizer in obj.metadata.finalizers:
                again = await self.reconciler.finalize(obj)
                if again is not None:
                    return again
                await self._set_finalizers(obj, without=finalizer)
            return None
        if finalizer and finalizer not in obj.metadata.finalizers:
            await self._set_finalizers(obj, adding=finalizer)
            return None  # the change of the object brings it back
        return await self.reconciler.reconcile(obj)

    async def _set_finalizers(self, obj: Any, adding: str = "", without: str = "") -> None:
        """Bound to the version that was read: no other controller's finalizer is lost."""
        kept = [name for name in obj.metadata.finalizers if name != without]
        patch = {
            "metadata": {
                "finalizers": [*kept, adding] if adding else kept,
                "resourceVersion": obj.metadata.resource_version,
            }
        }
        namespace, name = split_key(_key(obj))
        try:
            await self.client.patch(type(obj), name, patch, namespace, media=MERGE)
        except StatusError as error:
            if not is_not_found(error):
                raise


def _key(obj: Any) -> str:
    namespace = obj.metadata.namespace
    return f"{namespace}/{obj.metadata.name}" if namespace else str(obj.metadata.name)

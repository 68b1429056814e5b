"""Watches the definitions: accepts their names, serves what is established, and empties what is
deleted.

It runs inside the API server, since what it decides is what the server serves.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from tiphys.api import apiextensions_v1 as v1
from tiphys.api.base import Struct, decode, encode
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import DeleteOptions
from tiphys.apiserver.custom.resource import CustomResource, Sketch, rows_of
from tiphys.apiserver.registry.changes import LongMutation
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.served import NAMES, ServedResources
from tiphys.apiserver.registry.writes import Write
from tiphys.apiserver.resources.customresourcedefinitions.rules import FINALIZER, approval
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found
from tiphys.store.cache import Entry, Filter

log = logging.getLogger(__name__)
_DEFINITIONS = resource_of(v1.CustomResourceDefinition)
Definition = v1.CustomResourceDefinition


class _Spec(Struct):
    spec: msgspec.Raw = msgspec.Raw(b"{}")


@dataclass(slots=True)
class _Known:
    """What is kept of a stored definition, so that it need not be read again until it changes.

    `names` are those it has been given, `rows` what is served of it (none until it is established),
    `spec` a digest of what these are made of.
    """

    revision: int
    uid: str
    name: str
    group: str
    names: v1.CustomResourceDefinitionNames
    spec: bytes = b""
    rows: list[CustomResource] = field(default_factory=list)
    settled: tuple[int, int] = (
        -1,
        -1,
    )  # (revision, changes in its group's names) when its status was last right


class DefinitionController:
    """`run` goes on until it is cancelled; `serve` brings what is served up to date at once."""

    def __init__(
        self, registry: Registry, end_watches_of: Callable[[str], None], tasks: TaskGroup
    ) -> None:
        """`end_watches_of` ends the watches of what is stored under a prefix."""
        self._registry = registry
        self._end_watches_of = end_watches_of
        self._tasks = tasks
        self._cache = registry.cache(_DEFINITIONS)
        self._known: dict[str, _Known] = {}  # by definition's key
        self._groups: dict[str, int] = {}  # group → how often names in it were given or given back
        self._finalizing: set[str] = set()
        self._wake = asyncio.Event()

    @property
    def _served(self) -> ServedResources:
        return self._registry.served

    async def run(self, settles: bool = True) -> None:
        """`settles`: whether this process writes the definitions' statuses, and empties
        those that go; one of a server's does."""

        def changed() -> None:
            watcher.take()
            self.serve()
            self._wake.set()

        watcher = self._cache.watch(
            Filter(_DEFINITIONS.prefix), self._registry.store.revision, changed
        )
        try:
            while True:
                self._wake.clear()
                for entry in list(self._cache) if settles else ():
                    known = self._known.get(entry.key)
                    now = (
                        entry.revision,
                        self._groups.get(known.group, 0) if known is not None else 0,
                    )
                    if known is not None and known.settled == now:
                        continue
                    await self._settle(decode(entry.data, Sketch))
                    if known is not None:
                        known.settled = now
                    await asyncio.sleep(0)
                await self._wake.wait()
        finally:
            self._cache.unwatch(watcher)

    # --- serving ---

    def serve(self) -> None:
        """Serves the versions of every established definition.

        Reads only what has changed.
        """
        present: dict[str, _Known] = {}
        for entry in self._cache:
            known = self._known.get(entry.key)
            if known is None or known.revision != entry.revision:
                known = self._read(entry, known)
            present[entry.key] = known
        for key, gone in self._known.items():
            if key not in present:
                self._replaced(gone.rows, [])
                self._touch(gone.group)
        self._known = present
        self._served.replace_added([row for known in present.values() for row in known.rows])

    def _read(self, entry: Entry, before: _Known | None) -> _Known:
        crd = decode(entry.data, Sketch)
        names = crd.status.accepted_names
        known = _Known(entry.revision, crd.metadata.uid, crd.metadata.name, crd.spec.group, names)
        if before is None or before.uid != known.uid or before.names != names:
            self._touch(known.group)
        if not _is(crd, "Established"):
            self._replaced(before.rows if before is not None else [], [])
            return known
        known.spec = hashlib.sha256(bytes(decode(entry.data, _Spec).spec) + encode(names)).digest()
        same = (
            before is not None
            and bool(before.rows)
            and (before.uid, before.spec) == (known.uid, known.spec)
        )
        if before is not None and same and crd.metadata.deletion_timestamp == _going(before.rows):
            known.rows = before.rows
        elif before is not None and same:  # it is being deleted: watches go on
            known.rows = [row.of(crd) for row in before.rows]
        else:
            known.rows = rows_of(crd, entry.revision)
            self._replaced(before.rows if before is not None else [], known.rows)
        return known

    def _touch(self, group: str) -> None:
        self._groups[group] = self._groups.get(group, 0) + 1

    def _replaced(self, before: list[CustomResource], after: list[CustomResource]) -> None:
        """Watches of a version that is gone end; the others restart, as
        upstream does.
        """
        if before:
            self._end_watches_of(before[0].prefix)
        for row in after[:1]:
            paths = dict.fromkeys(path for version in after for path in version.selectable)
            self._registry.cache(row).select_by((*NAMES, *paths))

    # --- a definition's status ---

    async def _settle(self, crd: Sketch) -> None:
        try:
            if crd.metadata.deletion_timestamp:
                if (
                    FINALIZER in crd.metadata.finalizers
                    and crd.metadata.name not in self._finalizing
                ):
                    self._finalizing.add(crd.metadata.name)
                    self._tasks.start(self._finalize(crd), f"empty-{crd.metadata.name}")
                return
            wanted = self._judged(crd)
            if wanted.status != crd.status:
                await self._write_status(crd, wanted.status)
        except StatusError as error:
            if is_conflict(error):
                self._wake.set()
            elif not is_not_found(error):
                log.warning("The status of definition %s: %s", crd.metadata.name, error)

    def _judged(self, crd: Sketch) -> Sketch:
        """The definition with the names and conditions it should have."""
        crd = msgspec.structs.replace(crd, status=copy.deepcopy(crd.status))
        accepted, reason, message = self._accept_names(crd)
        self._condition(crd, "NamesAccepted", accepted, reason, message)
        if _is(crd, "NamesAccepted"):
            self._condition(
                crd,
                "Established",
                True,
                "InitialNamesAccepted",
                "the initial names have been accepted",
            )
        elif not _is(crd, "Established"):
            self._condition(crd, "Established", False, "NotAccepted", "not all names are accepted")
        review = approval(crd.spec.group, crd.metadata.annotations)
        if review is not None:
            kind = "KubernetesAPIApprovalPolicyConformant"
            self._condition(crd, kind, review.status == "True", review.reason, review.message)
        return crd

    def _accept_names(self, crd: Sketch) -> tuple[bool, str, str]:
        """Accepts each name that is free in the group; reports of the last that was refused,
        as upstream does.
        """
        taken: dict[str, str] = {}
        kinds: dict[str, str] = {}
        for other in self._known.values():
            if other.uid == crd.metadata.uid or other.group != crd.spec.group:
                continue
            names = other.names
            for name in (names.plural, names.singular, *names.short_names):
                taken[name] = other.name
            kinds |= {names.kind: other.name, names.list_kind: other.name}
        result = (True, "NoConflicts", "no conflicts found")
        names = crd.spec.names
        accepted = crd.status.accepted_names
        for attribute, table in (
            ("plural", taken),
            ("singular", taken),
            ("short_names", taken),
            ("kind", kinds),
            ("list_kind", kinds),
        ):
            wish = getattr(names, attribute)
            used = [
                value for value in (wish if isinstance(wish, list) else [wish]) if value in table
            ]
            if used:
                label = "".join(part.capitalize() for part in attribute.split("_"))
                result = (False, f"{label}Conflict", f'"{used[0]}" is already in use')
            else:
                setattr(accepted, attribute, copy.copy(wish))
        accepted.categories = list(names.categories)
        return result

    def _condition(
        self, crd: Definition | Sketch, kind: str, on: bool, reason: str, message: str
    ) -> None:
        wanted = v1.CustomResourceDefinitionCondition(
            type=kind, status=conditions.status_of(on), reason=reason, message=message
        )
        now = self._registry.now()
        crd.status.conditions = conditions.updated(crd.status.conditions, wanted, now)

    async def _write_status(self, crd: Sketch, status: v1.CustomResourceDefinitionStatus) -> None:
        def change(old: Definition) -> Definition:
            new = _beside_spec(old)
            if old.metadata.generation == crd.metadata.generation:
                stored = new.status.stored_versions
                new.status = copy.deepcopy(status)
                new.status.stored_versions = stored
            return new

        await self._update_status(crd.metadata.name, change)

    async def _update_status(self, name: str, change: Callable[[Definition], Definition]) -> None:
        write = Write(_DEFINITIONS, "", name, subresource="status")
        await self._registry.update(write, LongMutation(change))

    # --- removal ---

    async def _finalize(self, crd: Sketch) -> None:
        """Deletes every object, waits until they are gone, and removes the finalizer."""
        name = crd.metadata.name
        try:
            await self._terminating(
                crd, True, "InstanceDeletionInProgress", "CustomResource deletion is in progress"
            )
            for row in self._rows(crd)[:1]:
                await self._empty(row)
            await self._terminating(
                crd, False, "InstanceDeletionCompleted", "removed all instances"
            )

            def release(old: Definition) -> Definition:
                new = _beside_spec(old)
                new.metadata.finalizers = [f for f in old.metadata.finalizers if f != FINALIZER]
                return new

            await self._registry.update(Write(_DEFINITIONS, "", name), LongMutation(release))
        except StatusError as error:
            if not is_not_found(error):
                log.warning("emptying %s: %s", name, error)
                await asyncio.sleep(1)
                self._wake.set()
        finally:
            self._finalizing.discard(name)

    def _rows(self, crd: Sketch) -> list[CustomResource]:
        known = self._known.get(_DEFINITIONS.key("", crd.metadata.name))
        return known.rows if known is not None and known.rows else rows_of(crd, 0)

    async def _empty(self, row: CustomResource) -> None:
        cache = self._registry.cache(row)
        view = Filter(row.prefix)
        gone = asyncio.Event()
        watcher = cache.watch(view, self._registry.store.revision, gone.set)
        try:
            while cache.select(view):
                gone.clear()
                await self._registry.delete_collection(Write(row), view, DeleteOptions())
                watcher.take()
                if cache.select(view):
                    await (
                        gone.wait()
                    )  # finalizers hold what is left: look again when something changes
        finally:
            cache.unwatch(watcher)

    async def _terminating(self, crd: Sketch, on: bool, reason: str, message: str) -> None:
        def change(old: Definition) -> Definition:
            new = _beside_spec(old)
            self._condition(new, "Terminating", on, reason, message)
            return new

        await self._update_status(crd.metadata.name, change)


def _going(rows: list[CustomResource]) -> str | None:
    return rows[0].definition.metadata.deletion_timestamp


def _beside_spec(old: Definition) -> Definition:
    """A copy whose spec is the same, for changes of all else."""
    return msgspec.structs.replace(
        old, metadata=copy.deepcopy(old.metadata), status=copy.deepcopy(old.status)
    )


def _is(crd: Definition | Sketch, kind: str) -> bool:
    return conditions.is_true(crd.status.conditions, kind)

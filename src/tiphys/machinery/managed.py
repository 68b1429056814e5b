"""Who manages which fields: `metadata.managedFields` kept by every write, and server-side apply.

The rules are those of upstream's structured merge: an update takes the fields it changes, an apply
owns what its configuration says, meets conflicts where others own something it would change, and
removes what it owned before, no longer says, and nobody else owns.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tiphys.api.meta_v1 import ManagedFieldsEntry, Status, StatusCause, StatusDetails
from tiphys.machinery import typed
from tiphys.machinery.errors import StatusError
from tiphys.machinery.fielderrors import MOST_TEXT
from tiphys.machinery.fieldsets import (
    FieldSet,
    difference,
    intersection,
    joined,
    ordered,
    paths,
    union,
)
from tiphys.machinery.typed import Node

APPLY, UPDATE = "Apply", "Update"
_MAX_UPDATES = 10  # entries of updates that are kept apart; older ones are merged
_ANCIENT = "ancient-changes"
# Fields without a manager.
_UNMANAGED = (
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
    "name",
    "namespace",
    "clusterName",
)


# Fields of every configuration, without a manager: the metadata stays when its last label is
# removed.
_ALWAYS_OWNED: FieldSet = {"f:apiVersion": {}, "f:kind": {}, "f:metadata": {"f:name": {}}}


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes, and how. Two entries with the same of it are one. An applier is the same one at
    every version, so it has none here."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def at_any_version(self) -> Manager:
        return replace(self, api_version="") if self.operation == APPLY else self


def entry_of(
    manager: Manager, fields: FieldSet, time: str | None, api_version: str = ""
) -> ManagedFieldsEntry:
    """What is published of one manager; `fields` are in order."""
    return ManagedFieldsEntry(
        manager=manager.name,
        operation=manager.operation,
        api_version=api_version or manager.api_version,
        time=time,
        fields_type="FieldsV1",
        fields_v1=fields,
        subresource=manager.subresource,
    )


@dataclass(slots=True)
class Managed:
    """The sets of all managers of one object; for appliers, the version in which each has applied
    last."""

    sets: dict[Manager, FieldSet]
    times: dict[Manager, str | None]
    versions: dict[Manager, str] = field(default_factory=dict)
    entries: dict[Manager, ManagedFieldsEntry] = field(default_factory=dict)
    """Those that were decoded, as they were published."""

    def __post_init__(self) -> None:
        self.versions = {manager.at_any_version(): manager.api_version for manager in self.sets}
        self.sets = {manager.at_any_version(): fields for manager, fields in self.sets.items()}
        self.times = {manager.at_any_version(): time for manager, time in self.times.items()}

    @classmethod
    def decode(cls, entries: list[ManagedFieldsEntry]) -> Managed:
        managed = cls({}, {})
        for entry in entries:
            if entry.operation not in (APPLY, UPDATE) or not isinstance(entry.fields_v1, dict):
                continue
            manager = Manager(
                entry.manager, entry.operation, entry.api_version, entry.subresource
            ).at_any_version()
            managed.versions[manager] = entry.api_version
            managed.sets[manager] = union(managed.sets.get(manager, {}), entry.fields_v1)
            managed.times[manager] = entry.time
            managed.entries[manager] = entry
        return managed

    def encode(self, in_order: bool = False) -> list[ManagedFieldsEntry]:
        """`in_order`: the sets are, and one that is still the decoded one is published again."""
        self._cap()
        entries = [self._entry(m, fields, in_order) for m, fields in self.sets.items() if fields]
        if len(entries) > 1:
            entries.sort(
                key=lambda e: (e.operation, e.time or "", e.manager, e.api_version, e.subresource)
            )
        return entries

    def _entry(self, manager: Manager, fields: FieldSet, in_order: bool) -> ManagedFieldsEntry:
        known = self.entries.get(manager)
        if in_order and known is not None and known.fields_v1 is fields:
            return known
        shown = fields if in_order else ordered(fields)
        return entry_of(manager, shown, self.times.get(manager), self.versions.get(manager, ""))

    def _cap(self) -> None:
        updates = [m for m, fields in self.sets.items() if m.operation == UPDATE and fields]
        if len(updates) <= _MAX_UPDATES:
            return
        updates.sort(key=lambda m: self.times.get(m) or "")
        for old in updates[: len(updates) - _MAX_UPDATES + 1]:
            if old.name == _ANCIENT:
                continue
            kept = Manager(_ANCIENT, UPDATE, old.api_version)
            self.sets[kept] = joined(self.sets.get(kept, {}), ordered(self.sets.pop(old)))
            self.times[kept] = max(self.times.get(kept) or "", self.times.pop(old, None) or "")


def _managed(fields: FieldSet, reset: tuple[str, ...]) -> FieldSet:
    """The set without unmanaged fields, and without those that this path resets."""
    if not fields:
        return fields
    result = {
        k: v for k, v in fields.items() if k not in ("f:apiVersion", "f:kind") and k not in reset
    }
    meta = result.get("f:metadata")
    if meta is not None:
        kept = {k: v for k, v in meta.items() if k != "." and k[2:] not in _UNMANAGED}
        if kept:
            result["f:metadata"] = kept
        else:
            del result["f:metadata"]
    return result


def taken(old: Any, new: Any, node: Node, reset: tuple[str, ...]) -> FieldSet:
    """The fields that a change of `old` into `new` (plain) takes over."""
    changes = typed.compare(old, new, node)
    return _managed(union(changes.modified, changes.added), reset)


def updated(
    managed: Managed,
    old: Any,
    new: Any,
    node: Node,
    manager: Manager,
    now: str,
    reset: tuple[str, ...] = (),
) -> list[ManagedFieldsEntry] | None:
    """The entries after `manager` turned `old` into `new` (plain); None when no
    manager's fields changed. The sets in `managed` are in order."""
    difference_made = typed.compare(old, new, node)
    if difference_made.same:
        return None
    took = _managed(union(difference_made.modified, difference_made.added), reset)
    lost = union(took, _managed(difference_made.removed, reset))
    if not lost:
        return None
    sets = {m: difference(fields, lost) for m, fields in managed.sets.items()}
    if took:
        sets[manager] = joined(sets.get(manager, {}), ordered(took))
        managed.times[manager] = now
    managed.sets = sets
    return managed.encode(in_order=True)


@dataclass(slots=True)
class Applied:
    """What an apply comes to: the merged object, and the entries that go with it."""

    obj: dict[str, Any]
    entries: list[ManagedFieldsEntry]


def apply(
    managed: Managed,
    live: dict[str, Any],
    config: dict[str, Any],
    node: Node,
    manager: Manager,
    force: bool,
    now: str,
    reset: tuple[str, ...] = (),
) -> Applied:
    """`config` applied to `live` by `manager`. Raises StatusError (409, every conflict named) or
    typed.MergeError."""
    version = manager.api_version
    manager = manager.at_any_version()
    moved = managed.versions.get(manager, version) != version
    managed.versions[manager] = version
    before = managed.sets.get(manager, {})
    wanted = _managed(typed.fields_in(config, node), reset)
    merged = typed.merge(live, typed.without(config, {key: {} for key in reset}, node), node)
    managed.sets[manager] = wanted
    gone = _abandoned(merged, before, managed, node)
    # What lost all that was in it is not gone as far as its owners are concerned.
    changes = typed.compare(
        live, typed.without(merged, gone, node, nulls=True) if gone else merged, node
    )
    merged = typed.without(merged, gone, node) if gone else merged
    taken = _managed(union(changes.modified, changes.added), reset)
    removed = _managed(changes.removed, reset)
    conflicts: dict[Manager, FieldSet] = {}
    for other, fields in managed.sets.items():
        if other != manager and (both := intersection(fields, taken)):
            conflicts[other] = both
    if conflicts and not force:
        raise _conflict(conflicts, managed)
    for other, both in conflicts.items():
        managed.sets[other] = difference(managed.sets[other], both)
    if removed:
        for other in managed.sets:
            if other != manager:
                managed.sets[other] = difference(managed.sets[other], removed)
    if moved or not changes.same or manager not in managed.times:
        managed.times[manager] = now
    return Applied(merged, managed.encode())


def _abandoned(merged: dict[str, Any], before: FieldSet, managed: Managed, node: Node) -> FieldSet:
    """What the applier owned, does not apply any more, and no other manager owns.

    In upstream's three steps: all that it owned is removed; what any manager owns now is restored,
    with its parents, as far as the type names them (so an item is removed when no manager owns the
    item itself, whatever they own in it); and of the rest only what the applier had owned is
    removed."""
    owned: FieldSet = _ALWAYS_OWNED
    for fields in managed.sets.values():
        owned = union(owned, fields)
    if not difference(before, owned):
        return {}

    def present(obj: dict[str, Any]) -> FieldSet:
        return typed.with_named_parents(typed.fields_in(obj, node, stored=True), node)

    before = typed.with_named_parents(before, node)
    owned = typed.with_named_parents(owned, node)
    present_fields = present(merged)
    left = present(typed.without(merged, before, node, nulls=True))
    left = present(
        typed.without(merged, difference(present_fields, union(left, owned)), node, nulls=True)
    )
    return intersection(difference(present_fields, left), before)


def _conflict(conflicts: dict[Manager, FieldSet], managed: Managed) -> StatusError:
    """As many as fit into an answer are named; one without a field says that there are more."""
    rows: dict[str, list[str]] = {}
    room = MOST_TEXT
    count = 0
    for manager, fields in conflicts.items():
        of_manager = rows.setdefault(_named(manager), [])
        for path in paths(fields):
            count += 1
            if room > 0:
                of_manager.append(path)
                room -= len(path)
    causes = [
        StatusCause(reason="FieldManagerConflict", message=f"conflict with {who}", field=path)
        for who, fields in sorted(rows.items())
        for path in fields
    ]
    if count == 1:
        message = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
    else:
        listed = "\n".join(
            f"conflicts with {who}:\n" + "\n".join(f"- {path}" for path in fields)
            for who, fields in sorted(rows.items())
        )
        message = f"Apply failed with {count} conflicts: {listed}"
    if count > len(causes):
        truncated = "too many conflicts, the list is truncated"
        causes.append(StatusCause(reason="FieldManagerConflict", message=truncated))
    return StatusError(
        Status(
            status="Failure",
            message=message,
            reason="Conflict",
            details=StatusDetails(causes=causes),
            code=409,
        )
    )


def _named(manager: Manager) -> str:
    text = f'"{manager.name}"'
    if manager.subresource:
        text += f' with subresource "{manager.subresource}"'
    if manager.operation == UPDATE:
        text += f" using {manager.api_version}"
    return text

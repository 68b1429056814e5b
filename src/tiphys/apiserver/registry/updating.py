"""The update of an object, whether it is replaced, patched or applied: its steps, in order."""

from __future__ import annotations

from typing import Any

from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.eventloop.aside import LARGE, answered, aside, free_aside, weigh_object
from tiphys.apiserver.http.request import warn
from tiphys.apiserver.registry import ownership
from tiphys.apiserver.registry.admission import Attributes
from tiphys.apiserver.registry.changes import Change, Upsert
from tiphys.apiserver.registry.creating import create
from tiphys.apiserver.registry.deleting import remove, waits_for_its_keeper
from tiphys.apiserver.registry.metadata import (
    drop_double_owners,
    validate_metadata,
    validate_metadata_update,
)
from tiphys.apiserver.registry.objects import Objects, outage, put, unwritten
from tiphys.apiserver.registry.writes import Write, Written
from tiphys.apiserver.resources.base import Strategy
from tiphys.machinery import errors, regexp
from tiphys.machinery.errors import StatusError, is_already_exists
from tiphys.store.cache import Entry, with_revision
from tiphys.store.engine import Conflict, StoreError

ATTEMPTS = 20  # after which a write that always conflicts fails
# What the system does on these paths is no change of what the user wants: a pod that gets its
# node is the pod its author wanted.
_UNCOUNTED = ("binding",)


async def update(objects: Objects, write: Write, change: Change) -> Written:
    """Takes the object from what it is to what it should be. Raises StatusError.

    The change is made again, of the object as it is then, when another writer was faster;
    unless it insists on a version.
    """
    resource = write.resource
    strategy = objects.strategy_of(write.requested)
    cache = objects.cache(resource)
    key = write.key
    for _ in range(ATTEMPTS):
        entry = cache.get(key)
        if entry is None:
            try:
                return Written(await _create(objects, write, strategy, change), created=True)
            except StatusError as error:
                if not is_already_exists(error):
                    raise
            continue  # another writer created it in between
        old = await _read(objects, resource, entry)
        new = await _changed(change, old, objects.stamp())
        versioned = _check_preconditions(resource, strategy, new, old)
        try:
            written = await _update(objects, write, strategy, change, entry, old, new)
            return Written(written, created=False)
        except Conflict:
            if versioned and change.insists:
                break
        finally:
            free_aside(old, new, change)
    raise errors.conflict(resource.group_resource, write.name, errors.MODIFIED)


async def _create(objects: Objects, write: Write, strategy: Strategy[Any], change: Change) -> Entry:
    """Creates what is not there, where the change and the resource allow it. Raises 404."""
    by_strategy = change.upsert is Upsert.BY_STRATEGY and strategy.create_on_update
    creates = change.upsert is Upsert.ALWAYS or by_strategy
    if not creates or write.subresource:
        raise errors.not_found(write.resource.group_resource, write.name)
    weigh_object(0)
    obj = await _changed(change, None, objects.stamp())
    await answered(write.check_create)
    return await create(objects, write, obj, change.manages_fields)


async def _read(objects: Objects, resource: Resource, entry: Entry) -> Any:
    weigh_object(len(entry.data))
    return await objects.converter.read(resource, entry)


async def _changed(change: Change, old: Any | None, stamp: str) -> Any:
    return await aside(change.new, old, stamp) if change.long else change.new(old, stamp)


def _check_preconditions(resource: Resource, strategy: Strategy[Any], new: Any, old: Any) -> bool:
    """Whether the new object carries a version, which is the one that stands.

    Raises 409 and 422.
    """
    meta = new.metadata
    before = old.metadata
    if meta.uid and meta.uid != before.uid:
        detail = (
            f"Precondition failed: UID in precondition: {meta.uid},"
            f" UID in object meta: {before.uid}"
        )
        raise errors.conflict(resource.group_resource, before.name, detail)
    if meta.resource_version in ("", "0"):  # whatever there is
        if not strategy.unconditional_update:
            detail = "must be specified for an update"
            problem = errors.invalid_value("metadata.resourceVersion", 0, detail)
            # Upstream puts the resource where the kind should be.
            raise errors.invalid(resource.plural, resource.group, before.name, [problem])
        return False
    if meta.resource_version != before.resource_version:
        raise errors.conflict(resource.group_resource, before.name, errors.MODIFIED)
    return True


async def _update(
    objects: Objects,
    write: Write,
    strategy: Strategy[Any],
    change: Change,
    entry: Entry,
    old: Any,
    new: Any,
) -> Entry:
    """The steps of one attempt. Raises Conflict when another writer was faster."""
    resource = write.resource
    subresource = write.subresource
    _keep_system_fields(new.metadata, old.metadata)
    if len(new.metadata.owner_references) > 1:
        await aside(drop_double_owners, new.metadata)
    await aside(strategy.default, new)
    if not change.manages_fields:
        await _note_manager(objects, write, change, old, new)
    attributes = _attributes(write, old, new)
    if not write.admitted:
        await objects.admission.mutate(attributes)
        new = _admitted(write, attributes, new)
    await aside(_prepare, strategy, new, old, subresource)
    if strategy.slow and not subresource:
        await strategy.deliberate(new, old, objects.workers)
    if strategy.costly:
        weigh_object(LARGE + 1)
    await aside(_validate, resource, strategy, new, old, subresource)
    if not write.admitted:
        await objects.admission.validate(attributes)
    meta = new.metadata
    meta.resource_version = ""
    deleted = meta.deletion_timestamp and not meta.finalizers
    if deleted and not waits_for_its_keeper(strategy, new):
        return await remove(objects, resource, strategy, new, entry, write.dry_run)
    return await _store(objects, write, strategy, entry, old, new)


def _keep_system_fields(meta: ObjectMeta, before: ObjectMeta) -> None:
    """Restores what an update may not change."""
    meta.name = meta.name or before.name
    meta.namespace = meta.namespace or before.namespace
    meta.uid = before.uid
    meta.creation_timestamp = before.creation_timestamp
    meta.deletion_timestamp = before.deletion_timestamp
    meta.deletion_grace_period_seconds = before.deletion_grace_period_seconds
    meta.generation = before.generation
    meta.self_link = ""


async def _note_manager(objects: Objects, write: Write, change: Change, old: Any, new: Any) -> None:
    if not write.manager:
        new.metadata.managed_fields = old.metadata.managed_fields
        return
    author = ownership.Author(write.manager, write.subresource)
    new.metadata.managed_fields = await aside(
        ownership.updated, write.resource, old, new, author, objects.stamp(), change.plain_old
    )


def _attributes(write: Write, old: Any, new: Any) -> Attributes:
    before = old.metadata
    attributes = Attributes(
        write.resource,
        "UPDATE",
        before.namespace,
        before.name,
        new,
        old,
        write.user,
        write.dry_run,
        write.subresource,
        requested=write.requested,
        verb=write.verb,
    )
    if write.view is not None:
        attributes.obj = write.view.get(new)
        attributes.old = write.view.get(old)
        attributes.kind = write.view.kind
    return attributes


def _admitted(write: Write, attributes: Attributes, new: Any) -> Any:
    """The object as mutating admission left it."""
    if write.view is None:
        return attributes.obj
    write.view.put(new, attributes.obj)
    return new


def _prepare(strategy: Strategy[Any], new: Any, old: Any, subresource: str) -> None:
    if subresource == "status":
        strategy.prepare_for_status(new, old)
    elif not subresource:
        strategy.prepare_for_update(new, old)
    if not strategy.generation or subresource in _UNCOUNTED:
        return
    if strategy.desired(new) != strategy.desired(old):
        new.metadata.generation = old.metadata.generation + 1


def _validate(
    resource: Resource, strategy: Strategy[Any], new: Any, old: Any, subresource: str
) -> None:
    """Raises 422, or warns."""
    problems = validate_metadata(new.metadata, resource, strategy.name_errors)
    problems += validate_metadata_update(new.metadata, old.metadata)
    with regexp.Together():
        if subresource == "status":
            problems += strategy.validate_status(new, old)
        elif not problems and subresource in ("", "scale"):
            problems += strategy.validate_change(new, old)
        elif not problems:
            problems += strategy.validate_part(new, old, subresource)
    if problems:
        raise errors.invalid(resource.kind, resource.group, old.metadata.name, problems)
    if not subresource:
        for text in strategy.warnings(new, old):
            warn(text)


async def _store(
    objects: Objects, write: Write, strategy: Strategy[Any], entry: Entry, old: Any, new: Any
) -> Entry:
    resource = write.resource
    if await aside(ownership.same_but_for_times, new, old):
        new.metadata.managed_fields = old.metadata.managed_fields
    value = await objects.converter.write(resource, new)
    unchanged = with_revision(value, entry.revision) == entry.data
    if unchanged and not objects.store.is_stale(entry.key):
        return entry  # nothing changed: no new revision, as upstream
    if write.dry_run:
        return unwritten(entry.key, value, entry)
    undo = await strategy.reserve(objects, new, old)
    if undo is not None:
        value = await objects.converter.write(resource, new)  # with what was reserved
    try:
        written = await put(objects, resource, strategy, new, entry.key, value, entry.revision)
    except BaseException as error:
        if undo is not None:
            await undo()
        if isinstance(error, StoreError):
            raise outage(error) from error
        raise
    if undo is not None:
        await strategy.after_update(objects, new, old)
    return written

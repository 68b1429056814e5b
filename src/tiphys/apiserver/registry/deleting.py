"""The deletion of an object, or of all objects in a view: the steps, in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tiphys.api.base import encode
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import DeleteOptions, ObjectMeta, Preconditions
from tiphys.apiserver.eventloop.aside import aside, free_aside, weigh_object
from tiphys.apiserver.registry.admission import Attributes
from tiphys.apiserver.registry.objects import Objects, outage, split_key, unwritten
from tiphys.apiserver.registry.writes import Deleted, Write
from tiphys.apiserver.resources.base import Strategy
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.store.cache import Entry, Filter, with_revision
from tiphys.store.engine import Conflict, StoreError

_ATTEMPTS = 20  # after which a deletion that always comes late is a conflict
_EXAMINED = 250  # objects that a collection's deletion examines in one step
ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"


async def delete(objects: Objects, write: Write, options: DeleteOptions) -> Deleted:
    """Deletes the object, or marks it as being deleted. Raises StatusError."""
    resource = write.resource
    strategy = objects.strategy_of(write.requested)
    dry_run = write.dry_run or "All" in options.dry_run
    for _ in range(_ATTEMPTS):
        entry = objects.entry(resource, write.namespace, write.name)
        weigh_object(len(entry.data))
        obj = await objects.converter.read(resource, entry)
        _check_preconditions(resource, obj.metadata, options.preconditions)
        attributes = Attributes(
            resource,
            "DELETE",
            write.namespace,
            write.name,
            None,
            obj,
            write.user,
            dry_run,
            options=options,
            requested=write.requested,
        )
        await objects.admission.mutate(attributes)
        await objects.admission.validate(attributes)
        try:
            return await _delete(objects, resource, strategy, obj, entry, options, dry_run)
        except Conflict:
            continue  # another writer was faster
        finally:
            free_aside(obj)
    raise errors.conflict(resource.group_resource, write.name, errors.MODIFIED)


def _check_preconditions(
    resource: Resource, meta: ObjectMeta, preconditions: Preconditions | None
) -> None:
    """Raises 409."""
    if preconditions is None:
        return
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    for label, wanted, actual, event in (
        ("UID", preconditions.uid, meta.uid, "deleted and then recreated"),
        ("ResourceVersion", preconditions.resource_version, meta.resource_version, "modified"),
    ):
        if wanted is not None and wanted != actual:
            detail = (
                f"the {label} in the precondition ({wanted}) does not match the {label} in record"
                f" ({actual}). The object might have been {event}"
            )
            raise errors.conflict(kind, meta.name, detail)


async def _delete(
    objects: Objects,
    resource: Resource,
    strategy: Strategy[Any],
    obj: Any,
    entry: Entry,
    options: DeleteOptions,
    dry_run: bool,
) -> Deleted:
    """Removes the object, or marks it. Raises Conflict when another writer was faster."""
    meta = obj.metadata
    finalizers = _finalizers(strategy, meta, options)
    grace = strategy.grace(obj, options.grace_period_seconds)
    waits = bool(finalizers) or bool(grace) or strategy.held(obj)
    if not waits:
        meta.finalizers = finalizers
        removed = await remove(objects, resource, strategy, obj, entry, dry_run)
        return Deleted(removed, gone=True)
    remaining = grace or 0
    marked = bool(meta.deletion_timestamp)
    shorter = marked and remaining < (meta.deletion_grace_period_seconds or 0)
    if marked and not shorter and finalizers == meta.finalizers:
        return Deleted(entry, gone=False)
    meta.finalizers = finalizers
    if not marked or shorter:
        _mark(objects, strategy, obj, remaining)
    meta.resource_version = ""
    value = await objects.converter.write(resource, obj)
    if dry_run:
        return Deleted(unwritten(entry.key, value, entry), gone=False)
    try:
        written = await objects.store.put(objects.cache(resource), entry.key, value, entry.revision)
    except StoreError as error:
        raise outage(error) from error
    return Deleted(written, gone=False)


def _finalizers(strategy: Strategy[Any], meta: ObjectMeta, options: DeleteOptions) -> list[str]:
    """The finalizers that the propagation policy leaves on the object."""
    policy = options.propagation_policy
    if policy is None and options.orphan_dependents is not None:
        policy = "Orphan" if options.orphan_dependents else "Background"
    others = [name for name in meta.finalizers if name not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        return [*others, ORPHAN]
    if policy == "Foreground":
        return [*others, FOREGROUND]
    if policy is not None:
        return others
    if strategy.orphans_dependents and FOREGROUND not in meta.finalizers:
        return [*others, ORPHAN]
    return list(meta.finalizers)


def _mark(objects: Objects, strategy: Strategy[Any], obj: Any, seconds: int) -> None:
    """Marks the object as being deleted, `seconds` from now."""
    meta = obj.metadata
    meta.deletion_timestamp = objects.stamp(after=seconds)
    meta.deletion_grace_period_seconds = seconds
    if strategy.generation:
        meta.generation += 1
    strategy.mark_deleted(obj)


def waits_for_its_keeper(strategy: Strategy[Any], obj: Any) -> bool:
    """Whether an object that is marked waits for others (the node), not for finalizers alone."""
    return bool(obj.metadata.deletion_grace_period_seconds) or strategy.held(obj)


async def remove(
    objects: Objects,
    resource: Resource,
    strategy: Strategy[Any],
    obj: Any,
    entry: Entry,
    dry_run: bool,
) -> Entry:
    """Takes the object out of the store. Raises Conflict when another writer was faster."""
    obj.metadata.resource_version = ""
    if dry_run:
        return unwritten(entry.key, await objects.converter.write(resource, obj), entry)
    try:
        revision = await objects.store.delete(entry.key, entry.revision)
    except StoreError as error:
        raise outage(error) from error
    await strategy.after_delete(objects, obj)
    data = await aside(encode, obj)
    return Entry(entry.key, revision, with_revision(data, revision), ())


async def delete_corrupt(objects: Objects, write: Write) -> None:
    """Removes what cannot be read, whatever it may have been.

    Raises 404, and 422 for what can be read.
    """
    resource = write.resource
    corrupt = objects.cache(resource).corrupt.get(write.key)
    if corrupt is None:
        objects.entry(resource, write.namespace, write.name)
        field = "ignoreStoreReadErrorWithClusterBreakingPotential"
        detail = (
            "is exclusively used to delete corrupt object(s), try again by removing this option"
        )
        problem = errors.invalid_value(field, True, detail)
        raise errors.invalid(resource.plural, resource.group, write.name, [problem])
    if write.dry_run:
        return
    try:
        await objects.store.delete(write.key, corrupt.revision)
    except (StoreError, Conflict) as error:
        raise outage(error) from error


async def delete_collection(
    objects: Objects, write: Write, view: Filter, options: DeleteOptions
) -> list[Entry]:
    """Deletes every object of the view; one that vanishes meanwhile is no error."""
    resource = write.resource
    objects.check_readable(resource, view.prefix)
    entries = objects.cache(resource).snapshot(view)
    if view.stored is not view:  # its fields are of another version: a webhook is asked once
        await objects.converter.present(resource, entries)
    deleted: list[Entry] = []
    async for some in objects.turns.sliced(write.user.name, entries, _EXAMINED):
        for entry in filter(view.matches, some):
            namespace, name = split_key(resource, entry.key)
            deletion = replace(write, namespace=namespace, name=name)
            try:
                deleted.append((await delete(objects, deletion, options)).entry)
            except StatusError as error:
                if not is_not_found(error):
                    raise
    return deleted

"""The creation of an object: its steps, in order."""

from __future__ import annotations

from typing import Any

from tiphys.api.base import decode
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import ObjectMeta, PartialObjectMetadata
from tiphys.apiserver.eventloop.aside import LARGE, aside, free_aside, weigh_object
from tiphys.apiserver.http.request import warn
from tiphys.apiserver.registry import ownership
from tiphys.apiserver.registry.admission import Attributes
from tiphys.apiserver.registry.metadata import (
    check_namespace,
    drop_double_owners,
    validate_metadata,
)
from tiphys.apiserver.registry.objects import Objects, outage, put, unwritten
from tiphys.apiserver.registry.writes import Write
from tiphys.apiserver.resources.base import Strategy
from tiphys.machinery import errors, names, regexp
from tiphys.machinery.errors import StatusError, is_already_exists
from tiphys.store.cache import Entry
from tiphys.store.engine import Conflict

_GENERATED = 8  # names that are tried for a generateName, as upstream does


async def create(objects: Objects, write: Write, obj: Any, fields_known: bool = False) -> Entry:
    """Creates the object and returns its entry. Raises StatusError.

    `fields_known`: the object comes with its managed fields (of server-side apply).
    """
    strategy = objects.strategy_of(write.requested)
    meta: ObjectMeta = obj.metadata
    # What has no namespace forgets one that its manifest gives it, as upstream's does.
    check_namespace(meta, write.namespace if write.resource.namespaced else "")
    generates = bool(meta.generate_name and not meta.name)
    if generates:
        meta.name = names.generated(meta.generate_name)
    obj = await _admit(objects, write, strategy, obj, fields_known)
    attempts = _GENERATED if generates else 1
    for attempt in range(1, attempts + 1):
        try:
            return await _create(objects, write, strategy, obj)
        except StatusError as error:
            if attempt == attempts or not is_already_exists(error):
                raise
        finally:
            free_aside(obj)
        obj.metadata.name = names.generated(obj.metadata.generate_name)
    raise AssertionError("unreachable")


async def _admit(
    objects: Objects, write: Write, strategy: Strategy[Any], obj: Any, fields_known: bool
) -> Any:
    """Defaults, the owners of fields, and what admission changes. Returns the object."""
    meta = obj.metadata
    if len(meta.owner_references) > 1:
        await aside(drop_double_owners, meta)
    await aside(strategy.default, obj)
    if not fields_known:
        meta.managed_fields = []
        if write.manager:
            meta.managed_fields = await aside(
                ownership.created, write.resource, obj, write.manager, objects.stamp()
            )
    attributes = _attributes(write, obj)
    await objects.admission.mutate(attributes)
    return attributes.obj


async def _create(objects: Objects, write: Write, strategy: Strategy[Any], obj: Any) -> Entry:
    """The steps after mutating admission. Raises AlreadyExists when the name is taken."""
    resource = write.resource
    meta = obj.metadata
    attributes = _attributes(write, obj)  # with the name, which may have been generated again
    _set_system_fields(objects, strategy, meta)
    await aside(strategy.prepare_for_create, obj)
    if strategy.slow:
        await strategy.deliberate(obj, None, objects.workers)
    if strategy.costly:
        weigh_object(LARGE + 1)
    await aside(_validate, objects, resource, strategy, obj)
    await objects.admission.validate(attributes)
    if not write.dry_run:  # the store objects to a version, and a dry run does not reach it
        _check_unversioned(meta)
    cache = objects.cache(resource)
    key = resource.key(meta.namespace, meta.name)
    if (existing := cache.get(key)) is not None:
        raise _exists(resource, meta.name, existing)
    if write.dry_run:
        return unwritten(key, await objects.converter.write(resource, obj))
    undo = await strategy.reserve(objects, obj, None)
    try:
        value = await objects.converter.write(resource, obj)
        return await put(objects, resource, strategy, obj, key, value, 0)
    except BaseException as error:
        if undo is not None:
            await undo()
        if isinstance(error, Conflict):
            raise errors.already_exists(resource.group_resource, meta.name) from None
        raise outage(error) from error


def _exists(resource: Resource, name: str, existing: Entry) -> StatusError:
    failure = errors.already_exists(resource.group_resource, name)
    if decode(existing.data, PartialObjectMetadata).metadata.deletion_timestamp:
        failure.status.message = f"object is being deleted: {failure.status.message}"
    return failure


def _attributes(write: Write, obj: Any) -> Attributes:
    meta = obj.metadata
    return Attributes(
        write.resource,
        "CREATE",
        meta.namespace,
        meta.name,
        obj,
        None,
        write.user,
        write.dry_run,
        requested=write.requested,
    )


def _set_system_fields(objects: Objects, strategy: Strategy[Any], meta: ObjectMeta) -> None:
    """The metadata that only the server sets on a new object."""
    meta.uid = names.new_uid()
    meta.creation_timestamp = objects.stamp()
    meta.deletion_timestamp = None
    meta.deletion_grace_period_seconds = None
    meta.self_link = ""
    meta.generation = 1 if strategy.generation else 0


def _validate(objects: Objects, resource: Resource, strategy: Strategy[Any], obj: Any) -> None:
    """Raises 422, or warns."""
    meta = obj.metadata
    problems = validate_metadata(meta, resource, strategy.name_errors)
    with regexp.Together():
        problems += strategy.validate_new(obj, objects)
    if problems:
        raise errors.invalid(resource.kind, resource.group, meta.name, problems)
    for text in strategy.warnings(obj, None):
        warn(text)


def _check_unversioned(meta: ObjectMeta) -> None:
    """What is to be created has no version yet. Raises 400.

    Upstream's store checks it last, and ignores what is no number.
    """
    version = meta.resource_version
    if version.isascii() and version.isdigit() and 0 < int(version) < 1 << 64:
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    meta.resource_version = ""

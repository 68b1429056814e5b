"""The generic registry: create, update, delete and collection delete of any resource, written once.

Objects come in typed, are prepared, admitted and validated, and leave as bytes. Reads are not here: they are bytes
from the cache (see handlers).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from tiphys.api.base import decode, encode
from tiphys.api.catalog import BY_PATH, Resource
from tiphys.api.meta_v1 import DeleteOptions, ManagedFieldsEntry, ObjectMeta, Preconditions
from tiphys.apiserver.admission import Admission, Attributes
from tiphys.apiserver.eventloop.aside import LARGE, Pure, aside, weigh_object
from tiphys.apiserver.eventloop.turns import Turns
from tiphys.apiserver.eventloop.workers import Workers
from tiphys.apiserver.http.request import SYSTEM, User, warn
from tiphys.apiserver.proxying.webhooks import WebhookCaller
from tiphys.apiserver.registry import ownership
from tiphys.apiserver.registry.conversion import Converter
from tiphys.apiserver.registry.metadata import (
    drop_double_owners,
    validate_metadata,
    validate_metadata_update,
)
from tiphys.apiserver.registry.served import Catalogue
from tiphys.apiserver.resources import strategy_of
from tiphys.apiserver.resources.warnings import warnings_of
from tiphys.machinery import errors, names, timestamps
from tiphys.machinery.selectors import EVERYTHING, Selector
from tiphys.store.cache import Entry, Filter, ResourceCache, with_revision
from tiphys.store.engine import Conflict, StoreError, StoreTimeout
from tiphys.store.store import Store

Transform = Callable[[Any], Any]  # old object → new object; raises StatusError

_EXAMINED = 250  # objects that a deletion of many looks at in one step
_RETRIES = 20
_UNCOUNTED = ("binding",)  # what the system does on these paths is no change of what the user wants
_NAMESPACES = BY_PATH["", "v1", "namespaces"]
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"


@dataclass(frozen=True, slots=True)
class Lens:
    """What a subresource shows of an object: its Scale, for one. `kind` is ``group/version/Kind``; `put` changes an
    object to what is seen of it."""

    kind: str
    get: Callable[[Any], Any]
    put: Callable[[Any, Any], None]


@dataclass(slots=True)
class _Target:
    """What one update is about, and who makes it. `entries` are the managed fields when they are known already."""

    resource: Resource
    strategy: Any
    entry: Entry
    user: User
    dry_run: bool
    subresource: str
    manager: str
    entries: list[ManagedFieldsEntry] | None = None
    admitted: bool = False
    lens: Lens | None = None


class Registry:
    """Every stored resource's writes. `now` gives seconds since the epoch."""

    def __init__(
        self,
        store: Store,
        admission: Admission,
        catalogue: Catalogue | None = None,
        caller: WebhookCaller | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.admission = admission
        self.catalogue = catalogue or Catalogue()
        self.converter = Converter(caller or WebhookCaller(store))
        self.now = now
        self.workers = Workers()
        self.turns = Turns()

    def cache(self, resource: Resource) -> ResourceCache:
        return self.store.cache(resource.prefix)

    def lookup(
        self, plural: str, namespace: str, name: str, group: str = "", version: str = "v1"
    ) -> Any | None:
        """A stored object, decoded, or None."""
        resource = BY_PATH[group, version, plural]
        entry = self.cache(resource).get(resource.key(namespace, name))
        return decode(entry.data, resource.type) if entry else None

    def select_plain(
        self, resource: Resource, namespace: str, name: str, labels: Selector | None
    ) -> list[Any]:
        """Objects as plain data: one by name, or those with the labels."""
        cache = self.cache(resource)
        if name:
            entries = (
                [found] if (found := cache.get(resource.key(namespace, name))) is not None else []
            )
        else:
            prefix = resource.prefix + (f"{namespace}/" if namespace else "")
            entries = cache.select(Filter(prefix, labels or EVERYTHING))
        return [
            msgspec.json.decode(self.converter.shown(resource, entry) or entry.data)
            for entry in entries
        ]

    def labels_of(self, namespace: str) -> dict[str, str] | None:
        """The labels of a namespace, None when there is none of that name."""
        found = self.cache(_NAMESPACES).get(_NAMESPACES.key("", namespace))
        return found.labels if found is not None else None

    def entry(self, resource: Resource, namespace: str, name: str) -> Entry:
        """A stored object. Raises 404, and 500 when there is something that cannot be read."""
        cache, key = self.cache(resource), resource.key(namespace, name)
        found = cache.get(key)
        if found is None:
            if key in cache.corrupt:
                raise errors.internal(str(cache.corrupt[key]))
            raise errors.not_found(resource.group_resource, name)
        return found

    def check_readable(self, resource: Resource, prefix: str) -> None:
        """Raises 500 with the keys under a prefix that hold no objects."""
        if corrupt := self.cache(resource).corrupt_below(prefix):
            raise errors.store_read(
                resource.group_resource, [(found.key, str(found)) for found in corrupt]
            )

    async def delete_corrupt(
        self, resource: Resource, namespace: str, name: str, dry_run: bool
    ) -> None:
        """Removes what cannot be read, whatever it may have been. Raises 404, and 422 for what can be read."""
        cache, key = self.cache(resource), resource.key(namespace, name)
        found = cache.corrupt.get(key)
        if found is None:
            self.entry(resource, namespace, name)
            why = (
                "is exclusively used to delete corrupt object(s), try again by removing this option"
            )
            field = "ignoreStoreReadErrorWithClusterBreakingPotential"
            problem = errors.invalid_value(field, True, why)
            raise errors.invalid(resource.plural, resource.group, name, [problem])
        if not dry_run:
            try:
                await self.store.delete(key, found.revision)
            except (StoreError, Conflict) as error:
                raise outage(error) from error

    # --- create ---

    async def create(
        self,
        resource: Resource,
        namespace: str,
        obj: Any,
        user: User = SYSTEM,
        dry_run: bool = False,
        manager: str = "",
        entries: list[ManagedFieldsEntry] | None = None,
    ) -> Entry:
        """Creates the object and returns its entry. `manager` is who will manage its fields, unless `entries` say it.
        Raises StatusError."""
        meta: ObjectMeta = obj.metadata
        self._place(resource, namespace, meta)
        strategy = strategy_of(resource)
        generate = bool(meta.generate_name and not meta.name)
        for attempt in range(8):
            if generate:
                meta.name = names.generated(meta.generate_name)
            try:
                if attempt == 0:
                    obj = await self._admit_new(
                        resource, strategy, obj, user, dry_run, manager, entries
                    )
                    meta = obj.metadata
                return await self._create(resource, strategy, obj, user, dry_run)
            except errors.StatusError as error:
                if not (generate and error.reason == "AlreadyExists" and attempt < 7):
                    raise
        raise AssertionError("unreachable")

    async def _admit_new(
        self,
        resource: Resource,
        strategy: Any,
        obj: Any,
        user: User,
        dry_run: bool,
        manager: str,
        entries: Any,
    ) -> Any:
        """Defaults, the maker's fields, and what admission changes. Returns the object."""
        meta = obj.metadata
        if len(meta.owner_references) > 1:
            await aside(drop_double_owners, meta)
        await aside(strategy.default, obj)
        meta.managed_fields = entries or []
        if manager and entries is None:
            stamp = timestamps.rfc3339(self.now())
            meta.managed_fields = await aside(ownership.created, resource, obj, manager, stamp)
        attributes = Attributes(
            resource, "CREATE", meta.namespace, meta.name, obj, None, user, dry_run
        )
        await self.admission.mutate(attributes)
        return attributes.obj

    async def _create(
        self, resource: Resource, strategy: Any, obj: Any, user: User, dry_run: bool
    ) -> Entry:
        meta = obj.metadata
        attributes = Attributes(
            resource, "CREATE", meta.namespace, meta.name, obj, None, user, dry_run
        )
        meta.uid = names.new_uid()
        meta.creation_timestamp = timestamps.rfc3339(self.now())
        meta.deletion_timestamp = meta.deletion_grace_period_seconds = None
        meta.self_link = ""
        meta.generation = 1 if strategy.generation else 0
        strategy.prepare_for_create(obj)
        if strategy.slow:
            await strategy.deliberate(obj, None, self.workers)
        if strategy.costly:
            weigh_object(LARGE + 1)
        await aside(self._check_new, resource, strategy, obj)
        await self.admission.validate(attributes)
        if not dry_run:  # the store objects to a version, and a dry run does not reach it
            _check_unversioned(meta)
        key, cache = resource.key(meta.namespace, meta.name), self.cache(resource)
        if cache.get(key) is not None:
            raise errors.already_exists(resource.group_resource, meta.name)
        if dry_run:
            return _unwritten(key, await self.converter.write(resource, obj))
        undo = await strategy.reserve(self, obj, None)
        try:
            value = await self.converter.write(resource, obj)
            return await self.store.put(cache, key, value, 0, strategy.lifetime)
        except BaseException as error:
            if undo:
                await undo()
            if isinstance(error, Conflict):
                raise errors.already_exists(resource.group_resource, meta.name) from None
            raise outage(error) from error

    def _check_new(self, resource: Resource, strategy: Any, obj: Any) -> None:
        """Raises 422, or warns."""
        meta = obj.metadata
        problems = validate_metadata(meta, resource, strategy) + strategy.validate_new(obj, self)
        if problems:
            raise errors.invalid(resource.kind, resource.group, meta.name, problems)
        for text in warnings_of(resource, obj, None):
            warn(text)

    def _place(self, resource: Resource, namespace: str, meta: ObjectMeta) -> None:
        if not resource.namespaced:
            return
        if meta.namespace and meta.namespace != namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        meta.namespace = namespace

    # --- update ---

    async def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Transform,
        user: User = SYSTEM,
        dry_run: bool = False,
        subresource: str = "",
        create: Callable[[], Any] | None = None,
        patching: bool = False,
        manager: str = "",
        admitted: bool = False,
        lens: Lens | None = None,
    ) -> tuple[Entry, bool]:
        """Applies `change` to the object as it stands now, again when somebody else wrote in between and the change
        does not insist on a version (a patch carries the version it was applied to, and is applied anew). What the
        system does in the course of another request is `admitted`: no plugin is asked. A `lens` says what admission sees
        of the object. Returns the entry and whether it was created. Raises StatusError."""
        cache, key, strategy = (
            self.cache(resource),
            resource.key(namespace, name),
            strategy_of(resource),
        )
        for _ in range(_RETRIES):
            entry = cache.get(key)
            if entry is None:
                if create is not None and strategy.create_on_update:
                    return await self.create(
                        resource, namespace, create(), user, dry_run, manager
                    ), True
                raise errors.not_found(resource.group_resource, name)
            weigh_object(len(entry.data))
            old = await self.converter.read(resource, entry)
            new = await aside(change, old) if isinstance(change, Pure) else change(old)
            insists = self._check_version(resource, strategy, new, old) and not patching
            try:
                to = _Target(
                    resource,
                    strategy,
                    entry,
                    user,
                    dry_run,
                    subresource,
                    manager,
                    admitted=admitted,
                    lens=lens,
                )
                return await self._update(to, new, old), False
            except Conflict:
                if insists:
                    raise errors.conflict(resource.group_resource, name, errors.MODIFIED) from None
        raise errors.conflict(resource.group_resource, name, errors.MODIFIED)

    def _check_version(self, resource: Resource, strategy: Any, new: Any, old: Any) -> bool:
        meta, wanted = new.metadata, new.metadata.resource_version
        if meta.uid and meta.uid != old.metadata.uid:
            why = f"Precondition failed: UID in precondition: {meta.uid}, UID in object meta: {old.metadata.uid}"
            raise errors.conflict(resource.group_resource, old.metadata.name, why)
        if wanted in ("", "0"):  # whatever there is
            if not strategy.unconditional_update:
                missing = [
                    errors.invalid_value(
                        "metadata.resourceVersion", 0, "must be specified for an update"
                    )
                ]
                # Upstream puts the resource where the kind should be.
                raise errors.invalid(resource.plural, resource.group, old.metadata.name, missing)
            return False
        if wanted != old.metadata.resource_version:
            raise errors.conflict(resource.group_resource, old.metadata.name, errors.MODIFIED)
        return True

    async def apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        config: dict[str, Any],
        typed: Callable[[Any], Any],
        user: User,
        dry_run: bool,
        subresource: str,
        manager: str,
        force: bool,
        before_create: Callable[[], None],
        lens: Lens | None = None,
    ) -> tuple[Entry, bool]:
        """Server-side apply of a plain configuration. `typed` makes an object of plain data; `before_create` may refuse to
        make what is not there. Returns the entry and whether it was created. Raises StatusError."""
        cache, key, strategy = (
            self.cache(resource),
            resource.key(namespace, name),
            strategy_of(resource),
        )
        for _ in range(_RETRIES):
            entry, stamp = cache.get(key), timestamps.rfc3339(self.now())
            if entry is None and subresource:
                raise errors.not_found(resource.group_resource, name)
            weigh_object(len(entry.data) if entry is not None else 0)
            old = await self.converter.read(resource, entry) if entry is not None else None
            merged, entries = await aside(
                ownership.apply, resource, old, config, manager, subresource, force, stamp
            )
            new = await aside(typed, merged)
            try:
                if entry is None:
                    if new.metadata.uid:
                        raise errors.conflict(
                            resource.group_resource, name, _NO_SUCH_UID.format(new.metadata.uid)
                        )
                    before_create()
                    return await self.create(
                        resource, namespace, new, user, dry_run, entries=entries
                    ), True
                insists = (
                    self._check_version(resource, strategy, new, old)
                    and "resourceVersion" in config["metadata"]
                )
                to = _Target(
                    resource, strategy, entry, user, dry_run, subresource, "", entries, lens=lens
                )
                return await self._update(to, new, old), False
            except Conflict:
                if insists:
                    raise errors.conflict(resource.group_resource, name, errors.MODIFIED) from None
            except errors.StatusError as error:
                if entry is not None or error.reason != "AlreadyExists":
                    raise
        raise errors.conflict(resource.group_resource, name, errors.MODIFIED)

    async def _update(self, to: _Target, new: Any, old: Any) -> Entry:
        resource, strategy, user, dry_run, sub = (
            to.resource,
            to.strategy,
            to.user,
            to.dry_run,
            to.subresource,
        )
        meta, before = new.metadata, old.metadata
        meta.name, meta.namespace = meta.name or before.name, meta.namespace or before.namespace
        meta.uid, meta.creation_timestamp = before.uid, before.creation_timestamp
        meta.deletion_timestamp = before.deletion_timestamp
        meta.deletion_grace_period_seconds = before.deletion_grace_period_seconds
        meta.generation, meta.self_link = before.generation, ""
        if len(meta.owner_references) > 1:
            await aside(drop_double_owners, meta)
        await aside(strategy.default, new)
        if to.entries is not None:
            meta.managed_fields = to.entries
        elif to.manager:
            stamp = timestamps.rfc3339(self.now())
            meta.managed_fields = await aside(
                ownership.updated, resource, old, new, to.manager, sub, stamp
            )
        else:
            meta.managed_fields = before.managed_fields
        attributes = Attributes(
            resource, "UPDATE", before.namespace, before.name, new, old, user, dry_run, sub
        )
        if to.lens is not None:
            attributes.obj, attributes.old, attributes.kind = (
                to.lens.get(new),
                to.lens.get(old),
                to.lens.kind,
            )
        if not to.admitted:
            await self.admission.mutate(attributes)
        if to.lens is not None:
            to.lens.put(new, attributes.obj)
        elif attributes.obj is not new:
            new = attributes.obj
            meta = new.metadata
        await aside(_prepare_change, strategy, new, old, sub)
        if strategy.slow and not sub:
            await strategy.deliberate(new, old, self.workers)
        if strategy.costly:
            weigh_object(LARGE + 1)
        await aside(_check_change, resource, strategy, new, old, sub)
        if not to.admitted:
            await self.admission.validate(attributes)
        meta.resource_version = ""
        if meta.deletion_timestamp and not meta.finalizers and not self._lingers(strategy, new):
            return await self._finish(resource, new, to.entry, dry_run)
        return await self._write(resource, strategy, new, old, to.entry, dry_run)

    async def _write(
        self, resource: Resource, strategy: Any, new: Any, old: Any, entry: Entry, dry_run: bool
    ) -> Entry:
        if ownership.same_but_for_times(new, old):
            new.metadata.managed_fields = old.metadata.managed_fields
        value = await self.converter.write(resource, new)
        if with_revision(value, entry.revision) == entry.data:
            return entry  # nothing changed: no new revision, as upstream
        if dry_run:
            return _unwritten(entry.key, value, entry.revision)
        undo = await strategy.reserve(self, new, old)
        if undo is not None:
            value = await self.converter.write(resource, new)  # with what was reserved
        try:
            written = await self.store.put(
                self.cache(resource), entry.key, value, entry.revision, strategy.lifetime
            )
        except BaseException as error:
            if undo:
                await undo()
            if isinstance(error, StoreError):
                raise outage(error) from error
            raise
        if undo is not None:
            await strategy.after_update(self, new, old)
        return written

    # --- delete ---

    @staticmethod
    def _lingers(strategy: Any, obj: Any) -> bool:
        """An object marked with a grace period waits for its keeper (the node), not for finalizers alone."""
        return bool(obj.metadata.deletion_grace_period_seconds) or strategy.held(obj)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        options: DeleteOptions,
        user: User = SYSTEM,
        dry_run: bool = False,
    ) -> tuple[Entry, bool]:
        """Deletes or marks as being deleted. Returns the object's last entry and whether it is gone now."""
        dry_run = dry_run or "All" in options.dry_run
        cache, key, strategy = (
            self.cache(resource),
            resource.key(namespace, name),
            strategy_of(resource),
        )
        for _ in range(_RETRIES):
            entry = cache.get(key)
            if entry is None:
                entry = self.entry(resource, namespace, name)  # says what is wrong
            weigh_object(len(entry.data))
            obj = await self.converter.read(resource, entry)
            _check_preconditions(resource, obj.metadata, options.preconditions)
            attributes = Attributes(
                resource, "DELETE", namespace, name, None, obj, user, dry_run, options=options
            )
            await self.admission.mutate(attributes)
            await self.admission.validate(attributes)
            try:
                return await self._delete(resource, strategy, obj, entry, options, dry_run)
            except Conflict:
                continue
        raise errors.conflict(resource.group_resource, name, errors.MODIFIED)

    async def _delete(
        self,
        resource: Resource,
        strategy: Any,
        obj: Any,
        entry: Entry,
        options: DeleteOptions,
        dry_run: bool,
    ) -> tuple[Entry, bool]:
        meta = obj.metadata
        finalizers = _finalizers(strategy, meta, options)
        grace = strategy.grace(obj, options.grace_period_seconds)
        waits = bool(finalizers) or bool(grace) or strategy.held(obj)
        if not waits:
            meta.finalizers = finalizers
            return await self._finish(resource, obj, entry, dry_run), True
        remaining = grace or 0
        marked = bool(meta.deletion_timestamp)
        shorter = marked and remaining < (meta.deletion_grace_period_seconds or 0)
        if marked and not shorter and finalizers == meta.finalizers:
            return entry, False
        meta.finalizers = finalizers
        if not marked or shorter:
            meta.deletion_timestamp = timestamps.rfc3339(self.now() + remaining)
            meta.deletion_grace_period_seconds = remaining
            if strategy.generation:
                meta.generation += 1
            strategy.mark_deleted(obj)
        meta.resource_version = ""
        if dry_run:
            return _unwritten(
                entry.key, await self.converter.write(resource, obj), entry.revision
            ), False
        try:
            value = await self.converter.write(resource, obj)
            return await self.store.put(
                self.cache(resource), entry.key, value, entry.revision
            ), False
        except StoreError as error:
            raise outage(error) from error

    async def _finish(self, resource: Resource, obj: Any, entry: Entry, dry_run: bool) -> Entry:
        obj.metadata.resource_version = ""
        if dry_run:
            return _unwritten(entry.key, await self.converter.write(resource, obj), entry.revision)
        try:
            revision = await self.store.delete(entry.key, entry.revision)
        except StoreError as error:
            raise outage(error) from error
        await strategy_of(resource).after_delete(self, obj)
        return Entry(entry.key, revision, with_revision(encode(obj), revision), ())

    async def delete_collection(
        self, resource: Resource, view: Filter, options: DeleteOptions, user: User, dry_run: bool
    ) -> list[Entry]:
        """Deletes every object of the view; one that vanishes meanwhile is no error."""
        deleted = []
        self.check_readable(resource, view.prefix)
        entries = self.cache(resource).snapshot(view)
        if view.stored is not view:
            await self.converter.present(resource, entries)
        async for some in self.turns.sliced(user.name, entries, _EXAMINED):
            for entry in filter(view.matches, some):
                namespace, name = split_key(resource, entry.key)
                one = msgspec.structs.replace(options, preconditions=None)
                try:
                    deleted.append(
                        (await self.delete(resource, namespace, name, one, user, dry_run))[0]
                    )
                except errors.StatusError as error:
                    if error.code != 404:
                        raise
        return deleted


def _check_unversioned(meta: ObjectMeta) -> None:
    """What is to be made has no version yet. Upstream's store looks at it last, and does not see what is no number."""
    said = meta.resource_version
    if said.isascii() and said.isdigit() and 0 < int(said) < 1 << 64:
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    meta.resource_version = ""


def split_key(resource: Resource, key: str) -> tuple[str, str]:
    """(namespace, name) of a storage key."""
    namespace, _, name = key[len(resource.prefix) :].rpartition("/")
    return namespace, name


def _finalizers(strategy: Any, meta: ObjectMeta, options: DeleteOptions) -> list[str]:
    """The finalizers that the propagation policy leaves on the object."""
    policy = options.propagation_policy
    kept = [name for name in meta.finalizers if name not in (ORPHAN, FOREGROUND)]
    if options.orphan_dependents is not None and policy is None:
        policy = "Orphan" if options.orphan_dependents else "Background"
    if policy == "Orphan":
        return [*kept, ORPHAN]
    if policy == "Foreground":
        return [*kept, FOREGROUND]
    if policy is None and strategy.orphans and FOREGROUND not in meta.finalizers:
        return [*kept, ORPHAN]
    return list(meta.finalizers) if policy is None else kept


def _check_preconditions(
    resource: Resource, meta: ObjectMeta, wanted: Preconditions | None
) -> None:
    if wanted is None:
        return
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    for label, want, have, happened in (
        ("UID", wanted.uid, meta.uid, "deleted and then recreated"),
        ("ResourceVersion", wanted.resource_version, meta.resource_version, "modified"),
    ):
        if want is not None and want != have:
            why = f"the {label} in the precondition ({want}) does not match the {label} in record ({have}). The object might have been {happened}"
            raise errors.conflict(kind, meta.name, why)


def _prepare_change(strategy: Any, new: Any, old: Any, subresource: str) -> None:
    if subresource == "status":
        strategy.prepare_for_status(new, old)
    elif not subresource:
        strategy.prepare_for_update(new, old)
    # A pod that gets its node is the pod its author wanted: upstream counts that as no change.
    if (
        strategy.generation
        and subresource not in _UNCOUNTED
        and strategy.desired(new) != strategy.desired(old)
    ):
        new.metadata.generation = old.metadata.generation + 1


def _check_change(resource: Resource, strategy: Any, new: Any, old: Any, subresource: str) -> None:
    """Raises 422, or warns."""
    meta, before = new.metadata, old.metadata
    problems = validate_metadata(meta, resource, strategy) + validate_metadata_update(meta, before)
    if subresource == "status":
        problems += strategy.validate_status(new, old)
    elif not problems:
        part = subresource not in ("", "scale")
        problems += (
            strategy.validate_part(new, old, subresource)
            if part
            else strategy.validate_change(new, old)
        )
    if problems:
        raise errors.invalid(resource.kind, resource.group, before.name, problems)
    for text in warnings_of(resource, new, old) if not subresource else ():
        warn(text)


_NO_SUCH_UID = (
    "uid mismatch: the provided object specified uid {}, and no existing object was found"
)


def _unwritten(key: str, value: bytes, revision: int = 0) -> Entry:
    """The entry a dry run answers with, of the bytes that would have been stored: upstream passes them through the same
    codec, so that defaults of the stored version are seen here, too."""
    return Entry(key, revision, with_revision(value, revision) if revision else value, ())


def outage(error: BaseException) -> BaseException:
    """What a client is told of a store that fails, or does not answer."""
    if isinstance(error, StoreTimeout):
        return errors.timeout(
            "Timeout: request did not complete within requested timeout - context deadline exceeded"
        )
    return errors.internal(str(error)) if isinstance(error, StoreError) else error


Handler = Callable[..., Awaitable[Any]]

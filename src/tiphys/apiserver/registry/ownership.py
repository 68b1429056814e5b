"""`metadata.managedFields` of what passes through the registry: which node of which type, which
manager, which reset.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import msgspec

from tiphys.api.base import Struct, to_builtins
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import ManagedFieldsEntry
from tiphys.machinery import errors, managed, typed
from tiphys.machinery.errors import StatusError
from tiphys.machinery.fieldsets import FieldSet, ordered, paths
from tiphys.machinery.managed import APPLY, UPDATE, Managed, Manager
from tiphys.machinery.typed import MergeError, Node, node_of

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_KUBECTL = "kubectl"  # its field manager's name


class Author(NamedTuple):
    """Who writes, and through which path. `force` takes fields from others (server-side apply)."""

    manager: str
    subresource: str = ""
    force: bool = False


# Nothing here caches rows of custom resources, nor their types: a definition that changes makes
# new ones, and the old ones have to go.


def node_for(resource: Resource) -> Node:
    """How objects of a resource are taken apart."""
    declared: Node | None = getattr(resource, "node", None)  # a custom resource brings its own
    return declared or node_of(resource.type)


def _empty(resource: Resource) -> Any:
    """What a new object is compared with: what is written even when no one sets it."""
    return _empty_built_in(resource) if resource.built_in else {"metadata": {}}


@functools.lru_cache(2048)
def _empty_built_in(resource: Resource) -> Any:
    return to_builtins(resource.type())


def _empty_beside_spec(resource: Resource) -> Any:
    return _built_in_beside_spec(resource) if resource.built_in else _empty(resource)


@functools.lru_cache(2048)
def _built_in_beside_spec(resource: Resource) -> Any:
    return {key: value for key, value in _empty(resource).items() if key != "spec"}


def _reset(resource: Resource, subresource: str) -> tuple[str, ...]:
    """Top-level fields that a path does not change, whatever is sent to it."""
    if subresource == "status":
        return resource.kept_by_status
    return ("f:status",) if resource.subresource("status") is not None else ()


def created(resource: Resource, obj: Any, name: str, now: str) -> list[ManagedFieldsEntry]:
    """The entries of a new object: its maker has all of it."""
    manager = Manager(name, UPDATE, resource.api_version)
    plain = to_builtins(obj)
    spec = plain.pop("spec", None)
    node = node_for(resource)
    reset = _reset(resource, "")
    took = ordered(managed.taken(_empty_beside_spec(resource), plain, node, reset))
    if spec:
        # Many objects have the spec of another: pods of one template, claims of one set.
        data = msgspec.json.encode(spec)
        fields = _spec_fields_of(resource, data)
        took = dict(sorted((took | fields).items()))
    return [managed.entry_of(manager, took, now)] if took else []


# Bytes of specs whose fields are remembered, and of how many: these take 25 times as much.
_SHORT_SPEC = 2 << 10
_LONGEST_SPEC = 16 << 10
_MOST_SHORT = 512
_MOST_LONG = 32


def _spec_fields(resource: Resource, spec: bytes) -> FieldSet:
    """The fields of a new object's spec, in order."""
    before = {"spec": _empty(resource)["spec"]} if "spec" in _empty(resource) else {}
    return ordered(
        managed.taken(before, {"spec": msgspec.json.decode(spec)}, node_for(resource), ())
    )


_of_short_spec = functools.lru_cache(_MOST_SHORT)(_spec_fields)
_of_long_spec = functools.lru_cache(_MOST_LONG)(_spec_fields)


def _spec_fields_of(resource: Resource, spec: bytes) -> FieldSet:
    """Those of pods and the like, which come with the same spec again and again, are found once."""
    if not resource.built_in or len(spec) > _LONGEST_SPEC:
        return _spec_fields(resource, spec)
    return (_of_short_spec if len(spec) <= _SHORT_SPEC else _of_long_spec)(resource, spec)


def _within_reach(
    obj: Any, reset: tuple[str, ...], plain: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A plain object for comparison, its spec or status blank where the path cannot change it.
    `plain`: all of the object, where it is known."""
    reach = reset in _LARGE_PARTS and isinstance(obj, Struct)
    kind: Any = type(obj)
    if not reach:
        return plain if plain is not None else _plain(obj)
    name = reset[0][2:]
    if plain is None:
        return _plain(msgspec.structs.replace(obj, **{name: getattr(_blank(kind), name)}))
    return {key: value for key, value in plain.items() if key != name} | _blank_part(kind, name)


def _plain(obj: Any) -> dict[str, Any]:
    plain: dict[str, Any] = to_builtins(obj)
    return plain


_LARGE_PARTS = (("f:spec",), ("f:status",))


@functools.lru_cache(1024)
def _blank(kind: Any) -> Any:
    return kind()


@functools.lru_cache(1024)
def _blank_part(kind: Any, name: str) -> dict[str, Any]:
    """What a blank object of a kind has of one of its parts, which may be nothing."""
    return {key: value for key, value in _plain(_blank(kind)).items() if key == name}


def updated(
    resource: Resource,
    old: Any,
    new: Any,
    author: Author,
    now: str,
    plain_old: dict[str, Any] | None = None,
) -> list[ManagedFieldsEntry]:
    """The entries after an update. `plain_old` is `old` as plain data, where it is known.

    A request may bring its own, or ask for a fresh start with one that is empty.
    """
    before = old.metadata.managed_fields
    requested = new.metadata.managed_fields
    if requested and all(not entry.manager and not entry.operation for entry in requested):
        before = []
    elif requested and not author.subresource and requested != before:
        before = [_in_order(entry) for entry in requested]
    new.metadata.managed_fields = old.metadata.managed_fields
    manager = Manager(author.manager, UPDATE, resource.api_version, author.subresource)
    reset = _reset(resource, author.subresource)
    entries = managed.updated(
        Managed.decode(before),
        _within_reach(old, reset, plain_old),
        _within_reach(new, reset),
        node_for(resource),
        manager,
        now,
        reset,
    )
    return before if entries is None else entries


def _in_order(entry: ManagedFieldsEntry) -> ManagedFieldsEntry:
    fields = entry.fields_v1
    if not isinstance(fields, dict):
        return entry
    return msgspec.structs.replace(entry, fields_v1=ordered(fields))


def same_but_for_times(new: Any, old: Any) -> bool:
    """Whether a write changes nothing but when managers wrote: the same configuration applied
    again, its defaults filled in. Upstream leaves such an object alone.
    """
    now = new.metadata.managed_fields
    before = old.metadata.managed_fields
    if now is before or len(now) != len(before):
        return False
    if not _same_parts(new, old, ("metadata",)) or not _same_parts(
        new.metadata, old.metadata, _WRITTEN
    ):
        return False
    return all(_same_parts(a, b, ("time",)) for a, b in zip(now, before, strict=True))


_WRITTEN = ("managed_fields", "resource_version")


def _same_parts(new: Any, old: Any, apart: tuple[str, ...]) -> bool:
    names = new.__struct_fields__ if isinstance(new, Struct) else new.__slots__ or ("content",)
    return all(getattr(new, name) == getattr(old, name) for name in names if name not in apart)


def apply(
    resource: Resource, live: Any | None, config: dict[str, Any], author: Author, now: str
) -> managed.Applied:
    """The merged object as plain data, and its entries. Raises StatusError."""
    node = node_for(resource)
    manager = Manager(author.manager, APPLY, resource.api_version, author.subresource)
    entries = live.metadata.managed_fields if live is not None else []
    before = to_builtins(live) if live is not None else {}
    reset = _reset(resource, author.subresource)

    def run(forced: bool) -> managed.Applied:
        return managed.apply(
            Managed.decode(entries), before, config, node, manager, forced, now, reset
        )

    try:
        try:
            applied = run(author.force)
        except StatusError as conflict:
            if not _moves_from_client_side(conflict, before, config, node, author):
                raise
            applied = run(True)
    except MergeError as error:
        raise _misshapen(resource, config, error) from None
    if author.manager == _KUBECTL and _last_applied(before) is not None:
        meta = dict(applied.obj["metadata"])
        text = msgspec.json.encode(config).decode() + "\n"
        meta["annotations"] = {**(meta.get("annotations") or {}), LAST_APPLIED: text}
        applied.obj = {**applied.obj, "metadata": meta}
    return applied


def check_shape(resource: Resource, config: dict[str, Any]) -> None:
    """Raises StatusError (400) where a map or list of the type is something else in a
    configuration."""
    try:
        typed.fields_in(config, node_for(resource))
    except MergeError as error:
        raise _misshapen(resource, config, error) from None


def _misshapen(resource: Resource, config: dict[str, Any], error: MergeError) -> StatusError:
    meta = config.get("metadata", {})
    where = f"{meta.get('namespace', '')}/{meta.get('name', '')}"
    kind = f"{resource.api_version}, Kind={resource.kind}"
    return errors.bad_request(f"failed to create typed patch object ({where}; {kind}): {error}")


def _last_applied(obj: dict[str, Any]) -> Any:
    text = ((obj.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    try:
        return msgspec.json.decode(text) if text else None
    except msgspec.DecodeError:
        return None


def _moves_from_client_side(
    conflict: StatusError,
    live: dict[str, Any],
    config: dict[str, Any],
    node: Node,
    author: Author,
) -> bool:
    """Whether kubectl moves from client-side to server-side apply: what it applied before is its
    own.
    """
    last = _last_applied(live)
    details = conflict.status.details
    if author.manager != _KUBECTL or not isinstance(last, dict) or details is None:
        return False
    own = set(paths(typed.fields_in(last, node)))
    return all(cause.field in own for cause in details.causes)

"""Which objects a list, watch or deletion of a collection is about: a request's selectors."""

from __future__ import annotations

import asyncio

from tiphys.api.catalog import Resource, storage_of
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.registry.conversion import shown
from tiphys.apiserver.registry.objects import Objects
from tiphys.apiserver.registry.served import NAMES
from tiphys.machinery import errors
from tiphys.machinery.selectors import (
    EVERYTHING,
    Requirement,
    Selector,
    SelectorError,
    parse_fields,
    parse_labels,
)
from tiphys.store.cache import Entry, Filter, Selectable


def view_of(call: Call, resource: Resource, objects: Objects) -> Filter:
    """The part of the resource that a list, watch or collection delete is about. Raises 400."""
    selectable = objects.strategy_of(storage_of(resource)).fields
    labels = call.selectors.get("labelSelector") or _labels(call.query.get("labelSelector", ""))
    fields = _fields(call, resource, selectable)
    if resource.webhook is not None:
        names, others = _parted(fields)
        if others.requirements:
            stored = _stored_view(call, resource, labels, names)
            return ConvertedFilter(stored, others, resource, selectable)
    return _stored_view(call, resource, labels, fields)


def _parted(fields: Selector) -> tuple[Selector, Selector]:
    """(what is about names, which no conversion changes, the rest)."""
    known = {field.name for field in NAMES}
    names = tuple(requirement for requirement in fields.requirements if requirement.key in known)
    others = tuple(
        requirement for requirement in fields.requirements if requirement.key not in known
    )
    return Selector(names), Selector(others)


def _stored_view(call: Call, resource: Resource, labels: Selector, fields: Selector) -> Filter:
    prefix = resource.prefix
    if resource.namespaced and call.info.namespace:
        prefix += call.info.namespace + "/"
    if call.info.path_name:
        return _of_name(call, prefix, labels, fields)
    name = fields.exact("metadata.name")
    if name and (call.info.namespace or not resource.namespaced):
        # The key has it already; another name that is asked for besides still has to match.
        chosen = Requirement("metadata.name", "=", (name,))
        fields = Selector(
            tuple(requirement for requirement in fields.requirements if requirement != chosen)
        )
        return _Exact(prefix + name, labels, fields)
    namespace = fields.exact("metadata.namespace")
    if namespace and resource.namespaced and not call.info.namespace:
        prefix += namespace + "/"
    return Filter(prefix, labels, fields)


def _of_name(call: Call, prefix: str, labels: Selector, fields: Selector) -> Filter:
    """The view of a watch whose path names an object: that one alone. Raises 400."""
    name = call.info.path_name
    if fields.requirements and fields.exact("metadata.name") != name:
        raise errors.bad_request("fieldSelector metadata.name doesn't match requested name")
    return _Exact(prefix + name, labels, fields)


_LONG = 2048  # characters of a selector that takes a millisecond to read


async def read_selectors(call: Call) -> None:
    """Reads long selectors on a thread, before `view_of` asks for them. Raises 400."""
    for name, read in (("labelSelector", _labels), ("fieldSelector", _field_terms)):
        text = call.query.get(name, "")
        if len(text) > _LONG:
            call.selectors[name] = await asyncio.to_thread(read, text)


class ConvertedFilter(Filter):
    """A view by fields of a version that a webhook makes.

    It knows entries that `Converter.present` was asked for; others do not match. `stored` is the
    part of the view that the bytes in the store answer.
    """

    __slots__ = ("_resource", "_selectable", "_stored")

    def __init__(
        self,
        stored: Filter,
        fields: Selector,
        resource: Resource,
        selectable: tuple[Selectable, ...],
    ) -> None:
        super().__init__(stored.prefix, stored.labels, fields)
        self.matches_all = False
        self._stored = stored
        self._resource = resource
        self._selectable = selectable

    @property
    def stored(self) -> Filter:
        return self._stored

    def matches(self, entry: Entry) -> bool:
        if not self._stored.matches(entry):
            return False
        data = shown(self._resource, entry)
        if data is None:
            return False
        converted = Entry(entry.key, entry.revision, data, self._selectable)
        return self.fields.matches(converted.fields)


class _Exact(Filter):
    """A view of one object."""

    __slots__ = ()

    def __init__(self, prefix: str, labels: Selector, fields: Selector) -> None:
        super().__init__(prefix, labels, fields)
        self.matches_all = False

    def matches(self, entry: Entry) -> bool:
        return (
            entry.key == self.prefix
            and self.labels.matches(entry.labels)
            and self.fields.matches(entry.fields)
        )


def _labels(text: str) -> Selector:
    try:
        return parse_labels(text) if text else EVERYTHING
    except SelectorError as error:
        raise errors.bad_request(str(error)) from None


_MIRRORED = {"regarding": "involvedObject", "reportingController": "reportingComponent"}


def _field_terms(text: str) -> Selector:
    try:
        return parse_fields(text)
    except SelectorError as error:
        raise errors.bad_request(str(error)) from None


def _fields(call: Call, resource: Resource, selectable: tuple[Selectable, ...]) -> Selector:
    text = call.query.get("fieldSelector", "")
    if not text:
        return EVERYTHING
    selector = call.selectors.get("fieldSelector") or _field_terms(text)
    if resource.group == "events.k8s.io":
        selector = Selector(
            tuple(Requirement(_mirror(r.key), r.operator, r.values) for r in selector.requirements)
        )
    allowed = {field.name for field in (*NAMES, *selectable)}
    for requirement in selector.requirements:
        if requirement.key not in allowed:
            raise errors.bad_request(_unsupported(resource, requirement.key))
    return selector


# Kinds whose fields upstream converts by a rule of their own word it differently.
_WORDED = frozenset(
    ("Pod", "Node", "Namespace", "Secret", "Event", "ReplicationController", "Service")
)


def _unsupported(resource: Resource, key: str) -> str:
    if not resource.built_in or (resource.kind in _WORDED and resource.group == ""):
        return f"field label not supported: {key}"
    return f'"{key}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _mirror(key: str) -> str:
    head, dot, rest = key.partition(".")
    return _MIRRORED.get(head, head) + dot + rest

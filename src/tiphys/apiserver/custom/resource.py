"""From a CustomResourceDefinition to served resources, one for each served version."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec

from tiphys.api import apiextensions_v1 as v1
from tiphys.api.base import Struct
from tiphys.api.catalog import SCALE, STATUS, Resource, Subresource
from tiphys.api.custom import custom_type
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.custom.conversion import CustomConversion
from tiphys.apiserver.custom.strategy import CustomStrategy, ScalePaths
from tiphys.machinery.cel import CelError, compile_expression
from tiphys.machinery.jsonpath import field_path
from tiphys.machinery.structural import ANYTHING, Schema, compile_schema, rules_in
from tiphys.machinery.typed import Node, node_of_schema
from tiphys.store.cache import Selectable


class VersionSketch(Struct):
    name: str = ""
    served: bool = False
    storage: bool = False
    deprecated: bool = False
    deprecation_warning: str | None = None
    schema: msgspec.Raw = msgspec.Raw(b"null")  # of {"openAPIV3Schema": ...}
    subresources: v1.CustomResourceSubresources | None = None
    additional_printer_columns: list[v1.CustomResourceColumnDefinition] = []
    selectable_fields: list[v1.SelectableField] = []


class SpecSketch(Struct):
    group: str = ""
    names: v1.CustomResourceDefinitionNames = msgspec.field(
        default_factory=v1.CustomResourceDefinitionNames
    )
    scope: str = ""
    versions: list[VersionSketch] = []
    conversion: v1.CustomResourceConversion | None = None


class Sketch(Struct):
    """A stored definition whose schemas have not been read: with those of a megabyte it takes 80
    ms, without them one.
    """

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: SpecSketch = msgspec.field(default_factory=SpecSketch)
    status: v1.CustomResourceDefinitionStatus = msgspec.field(
        default_factory=v1.CustomResourceDefinitionStatus
    )


T = TypeVar("T")


class _once(Generic[T]):
    """A `cached_property` without its lock: that of Python 3.11 is one for all instances, and while
    a thread made the schema of one resource, the event loop would wait for that of another.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> T:
        value = instance.__dict__[self._name] = self._make(instance)
        return value


_AGE = v1.CustomResourceColumnDefinition(
    name="Age",
    type="date",
    json_path=".metadata.creationTimestamp",
    description="Time since the object was made.",
)
_MADE = ("schema", "node", "strategy", "type")  # what `CustomResource.prepare` makes


@dataclass(frozen=True, eq=False)
class CustomResource(Resource):
    """A row made from a definition.

    `since` is the store's revision from which objects were written under it: older ones are pruned
    and defaulted again when they are read.
    """

    definition: Sketch = field(default_factory=Sketch, repr=False)
    # Compiled, by apiVersion; shared by all rows.
    versions: dict[str, Schema] = field(default_factory=dict, repr=False)
    columns: tuple[v1.CustomResourceColumnDefinition, ...] = field(default=(), repr=False)
    selectable: tuple[Selectable, ...] = ()
    scale: ScalePaths | None = None
    since: int = 0

    verbs: tuple[str, ...] = (
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "create",
        "update",
        "watch",
    )

    # Two rows are the same only when they are one: a definition that changed makes new ones.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @_once
    def schema(self) -> Schema:
        """The compiled schema. It takes a second for a schema of a megabyte: see `prepare`."""
        return self.schema_of(self.api_version) or ANYTHING

    def schema_of(self, api_version: str) -> Schema | None:
        """The compiled schema of any version of the definition, served or not: objects may be
        stored in each.
        """
        schema = self.versions.get(api_version)
        if schema is None:
            group, _, name = api_version.rpartition("/")
            version = next((v for v in self.definition.spec.versions if v.name == name), None)
            if version is None or group != self.group:
                return None
            facts = (msgspec.json.decode(version.schema) or {}).get("openAPIV3Schema")
            schema = self.versions[api_version] = compile_schema(facts) if facts else ANYTHING
        return schema

    @property
    def prepared(self) -> bool:
        return "node" in self.__dict__ and "strategy" in self.__dict__

    def prepare(self) -> None:
        """Makes what requests for this resource will need.

        Any thread may do it; twice does no harm.
        """
        _ = self.strategy, self.node, self.schema_of(self.stored_api_version)
        for rule in rules_in(self.schema):
            with contextlib.suppress(CelError):
                compile_expression(rule)

    def of(self, definition: Sketch) -> CustomResource:
        """The same for a definition that differs in nothing that objects obey."""
        row = replace(self, definition=definition)
        row.__dict__.update({name: self.__dict__[name] for name in _MADE if name in self.__dict__})
        return row

    @_once
    def type(self) -> Any:
        return custom_type(self.api_version, self.kind)

    built_in = False

    @property
    def terminating(self) -> bool:
        return self.definition.metadata.deletion_timestamp is not None

    @property
    def kept_by_status(self) -> tuple[str, ...]:
        """All but the status, as upstream's strategy for custom resources has it."""
        fields = (name for name in self.schema.properties if name != "status")
        return ("f:metadata", *(f"f:{name}" for name in fields))

    @cached_property
    def conversion(self) -> CustomConversion:
        return CustomConversion(self)

    @cached_property
    def singular(self) -> str:
        return self.definition.status.accepted_names.singular or self.kind.lower()

    @cached_property
    def list_kind(self) -> str:
        return self.definition.status.accepted_names.list_kind or self.kind + "List"

    @cached_property
    def is_storage_version(self) -> bool:
        return True  # objects are converted where they are read and written, see `conversion`

    @cached_property
    def stored_version(self) -> str:
        return next(v.name for v in self.definition.spec.versions if v.storage)

    @cached_property
    def stored_api_version(self) -> str:
        """The apiVersion that objects are written in."""
        return f"{self.group}/{self.stored_version}"

    @property
    def definition_version(self) -> tuple[str, str]:
        metadata = self.definition.metadata
        return (metadata.uid, metadata.resource_version)

    @property
    def declared_columns(self) -> Sequence[v1.CustomResourceColumnDefinition]:
        return self.columns or (_AGE,)

    @cached_property
    def head(self) -> bytes:
        """The first bytes of an object of this version."""
        return f'{{"apiVersion":"{self.api_version}",'.encode()

    @_once
    def node(self) -> Node:
        """How objects are taken apart, for the ownership of their fields."""
        return node_of_schema(self.schema, root=True)

    @_once
    def strategy(self) -> CustomStrategy:
        has_status = self.subresource("status") is not None
        return CustomStrategy(self.schema, has_status, self.selectable, self.scale)

    @cached_property
    def deprecation(self) -> str:
        """The warning that requests of this version are answered with."""
        version = next(v for v in self.definition.spec.versions if v.name == self.version)
        if not version.deprecated:
            return ""
        if version.deprecation_warning is not None:
            return version.deprecation_warning
        warning = f"{self.api_version} {self.kind} is deprecated"
        rank = version_rank(self.version)
        better = [v.name for v in self.definition.spec.versions if v.served and not v.deprecated]
        better = sorted((name for name in better if version_rank(name) < rank), key=version_rank)
        return f"{warning}; use {self.group}/{better[0]} {self.kind}" if better else warning

    @property
    def webhook(self) -> v1.WebhookConversion | None:
        conversion = self.definition.spec.conversion
        if conversion is None or conversion.strategy != "Webhook":
            return None
        return conversion.webhook


def rows_of(crd: Sketch, since: int) -> list[CustomResource]:
    """The rows of a definition, the storage version's data behind each of them."""
    names = crd.status.accepted_names
    versions: dict[str, Schema] = {}
    return [
        _row(crd, version, names, since, versions)
        for version in sorted(crd.spec.versions, key=lambda v: version_rank(v.name))
        if version.served
    ]


def _row(
    crd: Sketch,
    version: VersionSketch,
    names: v1.CustomResourceDefinitionNames,
    since: int,
    versions: dict[str, Schema],
) -> CustomResource:
    offered = list[Subresource]()
    scale = None
    if version.subresources is not None:
        if version.subresources.status is not None:
            offered.append(STATUS)
        wanted = version.subresources.scale
        if wanted is not None:
            offered.append(SCALE)
            scale = ScalePaths(
                field_path(wanted.spec_replicas_path) or ("spec", "replicas"),
                field_path(wanted.status_replicas_path) or ("status", "replicas"),
                field_path(wanted.label_selector_path) if wanted.label_selector_path else None,
            )
    selectable = (field_path(f.json_path) for f in version.selectable_fields)
    return CustomResource(
        crd.spec.group,
        version.name,
        names.plural,
        names.kind,
        crd.spec.scope == "Namespaced",
        tuple(names.short_names),
        tuple(names.categories),
        tuple(offered),
        definition=crd,
        versions=versions,
        columns=tuple(version.additional_printer_columns),
        selectable=tuple(Selectable(".".join(path)) for path in selectable if path),
        scale=scale,
        since=since,
    )


def version_rank(name: str) -> tuple[int, int, int, str]:
    """Sort key that puts v2 before v1 before v1beta2 before v1alpha1 before anything else, as
    upstream ranks them.
    """
    import re

    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", name)
    if match is None:
        return (3, 0, 0, name)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), name)

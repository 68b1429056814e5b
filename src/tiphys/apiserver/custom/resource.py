"""From a CustomResourceDefinition to rows of the catalogue, one for each served version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tiphys.api import apiextensions_v1 as v1
from tiphys.api.catalog import SCALE, STATUS, Resource, Subresource
from tiphys.api.custom import custom_type
from tiphys.apiserver.custom.strategy import CustomStrategy, ScalePaths
from tiphys.apiserver.strategies.definitions import schema_of
from tiphys.machinery.jsonpath import field_path
from tiphys.machinery.structural import ANYTHING, Schema, compile_schema
from tiphys.store.cache import Selectable


@dataclass(frozen=True, eq=False)
class CustomResource(Resource):
    """A row made from a definition. `since` is the store's revision from which objects were written under it: older
    ones are pruned and defaulted anew when they are read."""

    definition: v1.CustomResourceDefinition = field(default_factory=v1.CustomResourceDefinition, repr=False)
    schema: Schema = field(default_factory=lambda: ANYTHING, repr=False)
    schemas: Mapping[str, Schema] = field(default_factory=dict, repr=False)  # of all versions, by apiVersion
    columns: tuple[v1.CustomResourceColumnDefinition, ...] = field(default=(), repr=False)
    selectable: tuple[Selectable, ...] = ()
    scale: ScalePaths | None = None
    since: int = 0

    verbs: tuple[str, ...] = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")

    __eq__ = object.__eq__  # two rows are the same only when they are one: a definition that changed makes new ones
    __hash__ = object.__hash__

    @cached_property
    def type(self) -> Any:
        return custom_type(self.api_version, self.kind)

    @cached_property
    def singular(self) -> str:
        return self.definition.status.accepted_names.singular or self.kind.lower()

    @cached_property
    def list_kind(self) -> str:
        return self.definition.status.accepted_names.list_kind or self.kind + "List"

    @cached_property
    def is_storage_version(self) -> bool:
        return True  # objects are converted where they are read and written, see apiserver.conversion

    @cached_property
    def stored_api_version(self) -> str:
        """The apiVersion that objects are written in."""
        version = next(v.name for v in self.definition.spec.versions if v.storage)
        return f"{self.group}/{version}"

    @cached_property
    def head(self) -> bytes:
        """How the bytes of an object of this version begin."""
        return f'{{"apiVersion":"{self.api_version}",'.encode()

    @cached_property
    def strategy(self) -> CustomStrategy:
        has_status = self.subresource("status") is not None
        return CustomStrategy(self.schema, has_status, self.selectable, self.deprecation, self.scale)

    @cached_property
    def deprecation(self) -> str:
        """The warning that requests of this version are answered with."""
        version = next(v for v in self.definition.spec.versions if v.name == self.version)
        if not version.deprecated:
            return ""
        return version.deprecation_warning or f"{self.api_version} {self.kind} is deprecated"

    @property
    def webhook(self) -> v1.WebhookConversion | None:
        conversion = self.definition.spec.conversion
        return conversion.webhook if conversion is not None and conversion.strategy == "Webhook" else None


def rows_of(crd: v1.CustomResourceDefinition, since: int) -> list[CustomResource]:
    """The rows of a definition, the storage version's data behind each of them."""
    names, group = crd.status.accepted_names, crd.spec.group
    schemas = {f"{group}/{version.name}": _compiled(version) for version in crd.spec.versions}
    return [
        _row(crd, version, names, since, schemas)
        for version in sorted(crd.spec.versions, key=lambda v: version_rank(v.name))
        if version.served
    ]


def _compiled(version: v1.CustomResourceDefinitionVersion) -> Schema:
    facts = schema_of(version)
    return compile_schema(facts) if facts else ANYTHING


def _row(
    crd: v1.CustomResourceDefinition,
    version: v1.CustomResourceDefinitionVersion,
    names: v1.CustomResourceDefinitionNames,
    since: int,
    schemas: Mapping[str, Schema],
) -> CustomResource:
    offered, scale = list[Subresource](), None
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
        crd.spec.group, version.name, names.plural, names.kind, crd.spec.scope == "Namespaced",
        tuple(names.short_names), tuple(names.categories), tuple(offered),
        definition=crd, schema=schemas[f"{crd.spec.group}/{version.name}"], schemas=schemas,
        columns=tuple(version.additional_printer_columns),
        selectable=tuple(Selectable(".".join(path)) for path in selectable if path), scale=scale, since=since,
    )  # fmt: skip


def version_rank(name: str) -> tuple[int, int, int, str]:
    """Sort key that puts v2 before v1 before v1beta2 before v1alpha1 before anything else, as upstream ranks them."""
    import re

    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", name)
    if match is None:
        return (3, 0, 0, name)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), name)

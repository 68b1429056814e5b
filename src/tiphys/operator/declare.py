"""What a struct says of itself when it is a custom resource."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tiphys.api.base import Struct
from tiphys.api.catalog import SCALE, STATUS, Resource

T = TypeVar("T", bound=type[Struct])


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`. `priority` above 0 shows it with `-o wide` alone."""

    name: str
    json_path: str
    type: str = "string"
    description: str = ""
    priority: int = 0


@dataclass(frozen=True)
class Scale:
    """The paths behind the scale subresource, which `kubectl scale` and autoscalers use."""

    spec_replicas: str = ".spec.replicas"
    status_replicas: str = ".status.replicas"
    selector: str = ""


@dataclass(frozen=True)
class Rule:
    """A CEL rule (`x-kubernetes-validations`), of a resource or of any struct within it.

    A nested struct carries its own as ``rules: ClassVar[tuple[Rule, ...]]``; those of one field stand in its
    annotation: ``Annotated[list[str], Rule("...")]``.
    """

    rule: str
    message: str = ""
    message_expression: str = ""
    reason: str = ""
    field_path: str = ""


@dataclass(frozen=True)
class Declaration:
    """One version of a custom resource."""

    kind: type[Struct]
    resource: Resource
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...]
    scale: Scale | None
    is_storage: bool
    deprecated: str


def custom_resource(
    group: str,
    version: str = "v1",
    *,
    plural: str = "",
    namespaced: bool = True,
    short_names: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    columns: tuple[Column, ...] = (),
    rules: tuple[Rule, ...] = (),
    scale: Scale | None = None,
    storage: bool = True,
    deprecated: str = "",
) -> Callable[[T], T]:
    """Makes a struct one version of a custom resource, whose kind is the class's name.

    The struct has `api_version`, `kind`, `metadata` and what else the resource holds; with a field `status`
    it gets the status subresource. `storage` is false for all versions but one. `deprecated` is the warning
    for who still uses this version. Raises TypeError for a struct without metadata, or whose defaults of
    `api_version` and `kind` are others.
    """

    def declare(kind: T) -> T:
        if "metadata" not in kind.__struct_fields__:
            raise TypeError(f"{kind.__name__} has no metadata: it is no resource")
        api_version = f"{group}/{version}"
        written = kind()
        if (written.api_version, written.kind) != (api_version, kind.__name__):  # type: ignore[attr-defined]
            raise TypeError(
                f"{kind.__name__} must be written with api_version {api_version!r} "
                f"and kind {kind.__name__!r}: give the two fields these defaults"
            )
        has_status = "status" in kind.__struct_fields__
        subresources = (*((STATUS,) if has_status else ()), *((SCALE,) if scale else ()))
        resource = Resource(
            group,
            version,
            plural or _plural(kind.__name__.lower()),
            kind.__name__,
            namespaced=namespaced,
            short_names=short_names,
            categories=categories,
            subresources=subresources,
        )
        kind.resource = resource  # type: ignore[attr-defined]
        kind.declaration = Declaration(  # type: ignore[attr-defined]
            kind, resource, columns, rules, scale, storage, deprecated
        )
        return kind

    return declare


def declaration_of(kind: type[Struct]) -> Declaration:
    """Raises TypeError for what `custom_resource` has not seen."""
    declaration = kind.__dict__.get("declaration")
    if not isinstance(declaration, Declaration):
        raise TypeError(f"{kind.__name__} is not declared with @custom_resource")
    return declaration


def _plural(singular: str) -> str:
    """English, as far as kinds need it: policies, classes, gateways."""
    if singular.endswith("y") and singular[-2:-1] not in "aeiou":
        return singular[:-1] + "ies"
    if singular.endswith(("s", "x", "ch", "sh")):
        return singular + "es"
    return singular + "s"

"""The CustomResourceDefinition of a declared resource."""

from __future__ import annotations

from tiphys.api.apiextensions_v1 import (
    CustomResourceColumnDefinition,
    CustomResourceConversion,
    CustomResourceDefinition,
    CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec,
    CustomResourceDefinitionVersion,
    CustomResourceSubresources,
    CustomResourceSubresourceScale,
    CustomResourceSubresourceStatus,
    CustomResourceValidation,
)
from tiphys.api.base import Struct
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.operator.declare import Declaration, declaration_of
from tiphys.operator.schema import schema_of


def definition(
    *versions: type[Struct],
    labels: dict[str, str] | None = None,
    conversion: CustomResourceConversion | None = None,
) -> CustomResourceDefinition:
    """The definition of one resource from the structs of its versions, the newest first.

    `conversion` is the webhook between versions whose schemas differ. Raises TypeError for structs
    that are not declared, and ValueError when they are not versions of one resource or not exactly
    one is stored.
    """
    declarations = [declaration_of(version) for version in versions]
    first = declarations[0].resource
    names = {(d.resource.group, d.resource.plural, d.resource.namespaced) for d in declarations}
    if len(names) != 1:
        raise ValueError(f"not versions of one resource: {sorted(str(name) for name in names)}")
    if sum(d.is_storage for d in declarations) != 1:
        raise ValueError(f"{first.group_resource}: exactly one version is stored")
    return CustomResourceDefinition(
        metadata=ObjectMeta(name=first.group_resource, labels=dict(labels or {})),
        spec=CustomResourceDefinitionSpec(
            group=first.group,
            names=CustomResourceDefinitionNames(
                plural=first.plural,
                singular=first.singular,
                kind=first.kind,
                list_kind=first.list_kind,
                short_names=list(first.short_names),
                categories=list(first.categories),
            ),
            scope="Namespaced" if first.namespaced else "Cluster",
            versions=[_version(declaration) for declaration in declarations],
            conversion=conversion,
        ),
    )


def _version(declaration: Declaration) -> CustomResourceDefinitionVersion:
    resource = declaration.resource
    schema = schema_of(declaration.kind, declaration.rules)
    return CustomResourceDefinitionVersion(
        name=resource.version,
        served=True,
        storage=declaration.is_storage,
        deprecated=bool(declaration.deprecated),
        deprecation_warning=declaration.deprecated or None,
        schema=CustomResourceValidation(open_apiv3_schema=schema),
        subresources=_subresources(declaration),
        additional_printer_columns=[
            CustomResourceColumnDefinition(
                name=column.name,
                type=column.type,
                description=column.description,
                priority=column.priority,
                json_path=column.json_path,
            )
            for column in declaration.columns
        ],
    )


def _subresources(declaration: Declaration) -> CustomResourceSubresources | None:
    scale = declaration.scale
    has_status = declaration.resource.subresource("status") is not None
    if not has_status and scale is None:
        return None
    subresources = CustomResourceSubresources()
    if has_status:
        subresources.status = CustomResourceSubresourceStatus()
    if scale is not None:
        subresources.scale = CustomResourceSubresourceScale(
            spec_replicas_path=scale.spec_replicas,
            status_replicas_path=scale.status_replicas,
            label_selector_path=scale.selector or None,
        )
    return subresources

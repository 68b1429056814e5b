"""What is wrong with a custom resource definition."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tiphys.api import apiextensions_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.apiserver.resources.customresourcedefinitions.schemas import schema_errors
from tiphys.apiserver.resources.webhookclients import client_errors
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.jsonpath import PathError, schema_path
from tiphys.machinery.names import dns1035_errors, dns_subdomain_errors

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_POLICY = "https://github.com/kubernetes/enhancements/pull/1111"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s]")
_PROTECTED = re.compile(r"(^|\.)(k8s|kubernetes)\.io$")
_APPROVED = "api-approved.kubernetes.io"
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_MOST_SELECTABLE = 8


def schema_of(version: v1.CustomResourceDefinitionVersion) -> dict[str, Any]:
    """The published JSON of a version's schema."""
    if version.schema is None or version.schema.open_apiv3_schema is None:
        return {}
    plain: dict[str, Any] = to_builtins(version.schema.open_apiv3_schema)
    return plain


def judged(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    """What is wrong with a definition."""
    return _names(obj) + _group(obj) + _spec(obj.spec) + stored_version_errors(obj)


def stored_version_errors(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    path = "status.storedVersions"
    stored = obj.status.stored_versions
    if not stored:
        return [errors.invalid_value(path, None, "must have at least one stored version")]
    names = {version.name for version in obj.spec.versions}
    violations = [
        errors.invalid_value(path, stored, f"must have the storage version {version.name}")
        for version in obj.spec.versions
        if version.storage and version.name not in stored
    ]
    return violations + [
        errors.invalid_value(
            f"{path}[{index}]",
            name,
            "missing from spec.versions; "
            f"{name} was previously a storage version, and must remain in spec.versions"
            f" until a storage migration ensures no data remains persisted in {name} and"
            f" removes {name} from status.storedVersions",
        )
        for index, name in enumerate(stored)
        if name not in names
    ]


def _names(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    names = obj.spec.names
    violations = []
    if obj.metadata.name != f"{names.plural}.{obj.spec.group}":
        violations.append(
            errors.invalid_value(
                "metadata.name", obj.metadata.name, 'must be spec.names.plural+"."+spec.group'
            )
        )
    for key, value, mixed in (
        ("plural", names.plural, False),
        ("singular", names.singular, False),
        ("kind", names.kind, True),
        ("listKind", names.list_kind, True),
    ):
        path = f"spec.names.{key}"
        problems = dns1035_errors(value.lower() if mixed else value) if value else []
        if not value:
            violations.append(errors.required(path))
        elif problems:
            prefix = "may have mixed case, but should otherwise match: " if mixed else ""
            violations.append(errors.invalid_value(path, value, prefix + ",".join(problems)))
    for key, values in (("shortNames", names.short_names), ("categories", names.categories)):
        for index, value in enumerate(values):
            if problems := dns1035_errors(value):
                violations.append(
                    errors.invalid_value(f"spec.names.{key}[{index}]", value, ",".join(problems))
                )
    if names.kind and names.kind == names.list_kind:
        violations.append(
            errors.invalid_value(
                "spec.names.listKind", names.list_kind, "kind and listKind may not be the same"
            )
        )
    return violations


def _group(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    group = obj.spec.group
    if not group:
        return [errors.required("spec.group")]
    problems = dns_subdomain_errors(group)
    violations = []
    if problems:
        violations.append(errors.invalid_value("spec.group", group, ",".join(problems)))
    elif len(group.split(".")) < 2:
        violations.append(
            errors.invalid_value("spec.group", group, "should be a domain with at least one dot")
        )
    return violations


@dataclass(frozen=True, slots=True)
class Approval:
    """The condition about a definition's API approval, from its annotation."""

    status: str
    reason: str
    message: str


def approval(group: str, annotations: dict[str, str]) -> Approval | None:
    """None for groups that Kubernetes does not keep for itself."""
    if not _PROTECTED.search(group):
        return None
    value = annotations.get(_APPROVED, "")
    needs = f'protected groups must have approval annotation "{_APPROVED}"'
    if not value:
        return Approval("False", "MissingAnnotation", f"{needs}, see {_POLICY}")
    if value.startswith("unapproved"):
        return Approval("False", "UnapprovedAnnotation", f'not approved: "{value}"')
    if _URL.match(value):
        return Approval("True", "ApprovedAnnotation", f"approved in {value}")
    advice = f'either a URL or a reason starting with "unapproved", see {_POLICY}'
    return Approval("False", "InvalidAnnotation", f"{needs} with {advice}")


def approval_errors(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    review = approval(obj.spec.group, obj.metadata.annotations)
    path = f"metadata.annotations[{_APPROVED}]"
    if review is None or review.reason in ("ApprovedAnnotation", "UnapprovedAnnotation"):
        return []
    if review.reason == "MissingAnnotation":
        return [errors.required(path, review.message)]
    return [errors.invalid_value(path, obj.metadata.annotations[_APPROVED], review.message)]


def _spec(spec: v1.CustomResourceDefinitionSpec) -> list[FieldError]:
    violations = []
    path = "spec.versions"
    scopes = ("Cluster", "Namespaced")
    if not spec.scope:
        violations.append(errors.required("spec.scope"))
    elif spec.scope not in scopes:
        violations.append(errors.not_supported("spec.scope", spec.scope, scopes))
    for index, version in enumerate(spec.versions):
        if version.schema is None or version.schema.open_apiv3_schema is None:
            violations.append(errors.required(f"{path}[{index}].schema.openAPIV3Schema"))
        if problems := dns1035_errors(version.name):
            violations.append(
                errors.invalid_value(f"{path}[{index}].name", version.name, ",".join(problems))
            )
            if not index and version.name:
                violations.append(
                    errors.invalid_value("spec.version", version.name, ",".join(problems))
                )
    if len({version.name for version in spec.versions}) < len(spec.versions):
        violations.append(
            errors.invalid_value(path, _shown(spec), "must contain unique version names")
        )
    if sum(version.storage for version in spec.versions) != 1:
        detail = "must have exactly one version marked as storage version"
        violations.append(errors.invalid_value(path, _shown(spec), detail))
    if spec.preserve_unknown_fields:
        violations.append(
            errors.invalid_value(
                "spec.preserveUnknownFields",
                True,
                (
                    "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in"
                    " spec.versions[*].schema instead"
                ),
            )
        )
    return violations + _versions(spec) + _conversion(spec)


def _shown(spec: v1.CustomResourceDefinitionSpec) -> list[dict[str, Any]] | None:
    """The versions as upstream prints them: what all of them have in common stands
    outside of them."""
    kept = not _alike(spec, "schema")
    return [
        {
            "Name": version.name,
            "Served": version.served,
            "Storage": version.storage,
            "Deprecated": version.deprecated,
            "DeprecationWarning": version.deprecation_warning,
            "Schema": to_builtins(version.schema) if kept else None,
            "Subresources": None,
            "AdditionalPrinterColumns": None,
            "SelectableFields": None,
        }
        for version in spec.versions
    ]


def _alike(spec: v1.CustomResourceDefinitionSpec, name: str) -> bool:
    """Whether all versions have the same. Upstream reports errors in it once then, as if
    it stood in the spec."""
    values = [getattr(version, name) for version in spec.versions]
    return all(value == values[0] for value in values)


def _versions(spec: v1.CustomResourceDefinitionSpec) -> list[FieldError]:
    violations = []
    for index, version in enumerate(spec.versions):

        def place(name: str, attribute: str, outside: str = "", index: int = index) -> str | None:
            """The path of the version's value; None where it has been checked."""
            if not _alike(spec, attribute):
                return f"spec.versions[{index}].{name}"
            return f"spec.{outside or name}" if index == 0 else None

        violations += _deprecation(version, f"spec.versions[{index}].deprecationWarning")
        facts = schema_of(version)
        has_status = version.subresources is not None and version.subresources.status is not None
        if version.schema is not None and (path := place("schema", "schema", "validation")):
            if version.schema.open_apiv3_schema is not None:
                violations += schema_errors(facts, f"{path}.openAPIV3Schema", has_status)
        if path := place("subresources", "subresources"):
            violations += _scale(version, f"{path}.scale")
        if path := place("additionalPrinterColumns", "additional_printer_columns"):
            for number, column in enumerate(version.additional_printer_columns):
                violations += _column(column, f"{path}[{number}]")
        if path := place("selectableFields", "selectable_fields"):
            violations += _selectable(version, facts, path)
    return violations


def _deprecation(version: v1.CustomResourceDefinitionVersion, path: str) -> list[FieldError]:
    text = version.deprecation_warning
    if text is None:
        return []
    if not version.deprecated:
        return [errors.invalid_value(path, text, "can only be set for deprecated versions")]
    problems = []
    if len(text.encode()) > 256:
        problems.append("must be <= 256 characters long")
    if not text:
        problems.append("must not be an empty string")
    if not text.isprintable():
        index = next(i for i, character in enumerate(text) if not character.isprintable())
        problems.append(
            "must only contain printable UTF-8 characters; non-printable character"
            f" found at index {index}"
        )
    return [errors.invalid_value(path, text, detail) for detail in problems]


def _scale(version: v1.CustomResourceDefinitionVersion, path: str) -> list[FieldError]:
    scale = version.subresources.scale if version.subresources else None
    if scale is None:
        return []
    violations = []
    for key, text, roots in (
        ("specReplicasPath", scale.spec_replicas_path, ("spec",)),
        ("statusReplicasPath", scale.status_replicas_path, ("status",)),
        ("labelSelectorPath", scale.label_selector_path, ("spec", "status")),
    ):
        field = f"{path}.{key}"
        if not text:
            if key != "labelSelectorPath":
                violations.append(errors.required(field))
        elif not text.startswith("."):
            violations.append(
                errors.invalid_value(field, text, "must be a simple json path starting with .")
            )
        elif not text.startswith(tuple(f".{root}." for root in roots)):
            subpath = f".{roots[0]}" if len(roots) == 1 else "either .spec or .status"
            violations.append(
                errors.invalid_value(field, text, f"should be a json path under {subpath}")
            )
    return violations


def _column(column: v1.CustomResourceColumnDefinition, path: str) -> list[FieldError]:
    violations = []
    types = "must be one of " + ",".join(_COLUMN_TYPES)
    if not column.name:
        violations.append(errors.required(f"{path}.name"))
    if not column.type:
        violations.append(errors.required(f"{path}.type", types))
    elif column.type not in _COLUMN_TYPES:
        violations.append(errors.invalid_value(f"{path}.type", column.type, types))
    if column.format and column.format not in _COLUMN_FORMATS:
        detail = "must be one of " + ",".join(_COLUMN_FORMATS)
        violations.append(errors.invalid_value(f"{path}.format", column.format, detail))
    text = column.json_path
    field = f"{path}.JSONPath"
    if not text:
        violations.append(errors.required(field))
    elif not text.startswith("."):
        violations.append(
            errors.invalid_value(field, text, "must be a simple json path starting with .")
        )
    return violations


def _selectable(
    version: v1.CustomResourceDefinitionVersion, facts: dict[str, Any], path: str
) -> list[FieldError]:
    violations = []
    seen = set[str]()
    for index, selectable in enumerate(version.selectable_fields):
        field = f"{path}[{index}].jsonPath"
        text = selectable.json_path
        if not text:
            violations.append(errors.required(field))
            continue
        try:
            name, inner = schema_path(text, facts, arrays=False)
        except PathError as error:
            violations.append(errors.invalid_value(field, text, f"is an invalid path: {error}"))
            continue
        if name.startswith("metadata"):
            violations.append(
                errors.invalid_value(field, text, "must not point to fields in metadata")
            )
        if inner.get("type") not in ("string", "boolean", "integer"):
            detail = (
                "must point to a field of type string, boolean or integer. Enum string"
                " fields and strings with formats are allowed."
            )
            violations.append(errors.invalid_value(field, text, detail))
        if name in seen:
            violations.append(errors.duplicate(field, text))
        seen.add(name)
    if len(seen) > _MOST_SELECTABLE:
        violations.append(errors.too_many(path, len(seen), _MOST_SELECTABLE))
    return violations


def _conversion(spec: v1.CustomResourceDefinitionSpec) -> list[FieldError]:
    """Upstream names these fields as in an older version."""
    conversion = spec.conversion
    path = "spec.conversion"
    if conversion is None:
        return []
    if not conversion.strategy:
        return [errors.required(f"{path}.strategy")]
    if conversion.strategy not in ("None", "Webhook"):
        return [errors.not_supported(f"{path}.strategy", conversion.strategy, ("None", "Webhook"))]
    webhook = conversion.webhook
    client, reviews = (
        (webhook.client_config, webhook.conversion_review_versions) if webhook else (None, [])
    )
    field = f"{path}.webhookClientConfig"
    listed = f"{path}.conversionReviewVersions"
    if conversion.strategy == "None":
        detail = "should not be set when strategy is not set to Webhook"
        return [
            errors.forbidden_field(subpath, detail)
            for subpath, value in ((field, client), (listed, reviews))
            if value
        ]
    violations = []
    if client is None:
        violations.append(errors.required(field, "required when strategy is set to Webhook"))
    else:
        violations += client_errors(client, field)
    if not reviews:
        return [*violations, errors.required(listed)]
    for index, name in enumerate(reviews):
        if name in reviews[:index]:
            violations.append(errors.invalid_value(f"{listed}[{index}]", name, "duplicate version"))
        else:
            violations += [
                errors.invalid_value(f"{listed}[{index}]", name, detail)
                for detail in dns1035_errors(name)
            ]
    if not {"v1", "v1beta1"} & set(reviews):
        violations.append(
            errors.invalid_value(listed, list(reviews), "must include at least one of v1, v1beta1")
        )
    return violations

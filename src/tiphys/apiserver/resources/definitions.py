"""What a CustomResourceDefinition itself obeys: defaults, and the rules of names, versions and structural schemas."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from tiphys.api import apiextensions_v1 as v1
from tiphys.api.base import encode, to_builtins
from tiphys.apiserver.eventloop.aside import aside
from tiphys.apiserver.http.request import warn
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.clients import client_errors
from tiphys.apiserver.resources.schemas import schema_errors
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


_LARGE = 8 << 10  # bytes of a definition whose validation would hold the event loop


class DefinitionStrategy(Strategy):
    generation = True
    slow = True

    def __init__(self) -> None:
        self._judged: dict[
            bytes, list[FieldError]
        ] = {}  # digest of a definition → what is wrong with it, until it is asked

    async def deliberate(
        self, new: v1.CustomResourceDefinition, old: Any | None, workers: Any
    ) -> None:
        """Has a large definition judged in a worker process."""
        if old is not None and await aside(_same_spec, new, old):
            return
        data = await aside(encode, new)
        if len(data) <= _LARGE:
            return
        found, warnings = await workers.judge_definition(data)
        digest = await aside(_digest, data)
        self._judged[digest] = [FieldError(*row) for row in found]
        for text in warnings:
            warn(text)

    def default(self, obj: v1.CustomResourceDefinition) -> None:
        names = obj.spec.names
        names.singular = names.singular or names.kind.lower()
        names.list_kind = names.list_kind or (f"{names.kind}List" if names.kind else "")
        if obj.spec.conversion is None:
            obj.spec.conversion = v1.CustomResourceConversion(strategy="None")
        webhook = obj.spec.conversion.webhook
        if (
            webhook is not None
            and webhook.client_config is not None
            and webhook.client_config.service is not None
        ):
            service = webhook.client_config.service
            service.port = 443 if service.port is None else service.port
        for version in obj.spec.versions:
            scale = version.subresources.scale if version.subresources else None
            if scale is not None and scale.label_selector_path == "":
                scale.label_selector_path = None

    def prepare_for_create(self, obj: v1.CustomResourceDefinition) -> None:
        obj.status = v1.CustomResourceDefinitionStatus()
        _note_storage(obj)

    def prepare_for_update(
        self, new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition
    ) -> None:
        import copy

        new.status = copy.deepcopy(old.status)
        _note_storage(new)

    def held(self, obj: v1.CustomResourceDefinition) -> bool:
        return not obj.metadata.deletion_timestamp  # the objects go first

    def mark_deleted(self, obj: v1.CustomResourceDefinition) -> None:
        if FINALIZER not in obj.metadata.finalizers:
            obj.metadata.finalizers.append(FINALIZER)

    def validate(self, obj: v1.CustomResourceDefinition) -> list[FieldError]:
        return self._judgement(obj) + _approval_errors(obj)

    def _judgement(self, obj: v1.CustomResourceDefinition) -> list[FieldError]:
        known = self._judged.pop(_digest(encode(obj)), None) if self._judged else None
        return judged(obj) if known is None else known

    def validate_change(
        self, new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition
    ) -> list[FieldError]:
        # What has been let in before, perhaps under rules that were fewer, does not stand in the way of other changes.
        found = [] if _same_spec(new, old) else self._judgement(new)
        reviewed = approval(old.spec.group, old.metadata.annotations)
        review = approval(new.spec.group, new.metadata.annotations)
        if review is not None and (reviewed is None or review.reason != reviewed.reason):
            found += _approval_errors(new)
        return found + self.validate_update(new, old)

    def validate_update(
        self, new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition
    ) -> list[FieldError]:
        found = immutable("spec.group", new.spec.group, old.spec.group)
        found += immutable("spec.names.plural", new.spec.names.plural, old.spec.names.plural)
        if any(c.type == "Established" and c.status == "True" for c in old.status.conditions):
            found += immutable("spec.scope", new.spec.scope, old.spec.scope)
            found += immutable("spec.names.kind", new.spec.names.kind, old.spec.names.kind)
        return found

    def validate_status(
        self, new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition
    ) -> list[FieldError]:
        return _stored_versions(new)


def judged(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    """What is wrong with a definition."""
    return _names(obj) + _group(obj) + _spec(obj.spec) + _stored_versions(obj)


def _same_spec(new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition) -> bool:
    return new.spec is old.spec or new.spec == old.spec


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _note_storage(obj: v1.CustomResourceDefinition) -> None:
    storage = next((version.name for version in obj.spec.versions if version.storage), None)
    if storage is not None and storage not in obj.status.stored_versions:
        obj.status.stored_versions.append(storage)


def _stored_versions(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    path, stored = "status.storedVersions", obj.status.stored_versions
    if not stored:
        return [errors.invalid_value(path, None, "must have at least one stored version")]
    names = {version.name for version in obj.spec.versions}
    found = [
        errors.invalid_value(path, stored, f"must have the storage version {version.name}")
        for version in obj.spec.versions
        if version.storage and version.name not in stored
    ]
    return found + [
        errors.invalid_value(
            f"{path}[{index}]",
            name,
            "missing from spec.versions; "
            f"{name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions",
        )
        for index, name in enumerate(stored)
        if name not in names
    ]


def _names(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    names, found = obj.spec.names, []
    if obj.metadata.name != f"{names.plural}.{obj.spec.group}":
        found.append(
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
            found.append(errors.required(path))
        elif problems:
            told = "may have mixed case, but should otherwise match: " if mixed else ""
            found.append(errors.invalid_value(path, value, told + ",".join(problems)))
    for key, values in (("shortNames", names.short_names), ("categories", names.categories)):
        for index, value in enumerate(values):
            if problems := dns1035_errors(value):
                found.append(
                    errors.invalid_value(f"spec.names.{key}[{index}]", value, ",".join(problems))
                )
    if names.kind and names.kind == names.list_kind:
        found.append(
            errors.invalid_value(
                "spec.names.listKind", names.list_kind, "kind and listKind may not be the same"
            )
        )
    return found


def _group(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    group = obj.spec.group
    if not group:
        return [errors.required("spec.group")]
    problems, found = dns_subdomain_errors(group), []
    if problems:
        found.append(errors.invalid_value("spec.group", group, ",".join(problems)))
    elif len(group.split(".")) < 2:
        found.append(
            errors.invalid_value("spec.group", group, "should be a domain with at least one dot")
        )
    return found


@dataclass(frozen=True, slots=True)
class Approval:
    """What a definition's annotation says of its review, in the words of the condition about it."""

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
    why = f'{needs} with either a URL or a reason starting with "unapproved", see {_POLICY}'
    return Approval("False", "InvalidAnnotation", why)


def _approval_errors(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    found = approval(obj.spec.group, obj.metadata.annotations)
    at = f"metadata.annotations[{_APPROVED}]"
    if found is None or found.reason in ("ApprovedAnnotation", "UnapprovedAnnotation"):
        return []
    if found.reason == "MissingAnnotation":
        return [errors.required(at, found.message)]
    return [errors.invalid_value(at, obj.metadata.annotations[_APPROVED], found.message)]


def _spec(spec: v1.CustomResourceDefinitionSpec) -> list[FieldError]:
    found, path = [], "spec.versions"
    scopes = ("Cluster", "Namespaced")
    if not spec.scope:
        found.append(errors.required("spec.scope"))
    elif spec.scope not in scopes:
        found.append(errors.not_supported("spec.scope", spec.scope, scopes))
    for index, version in enumerate(spec.versions):
        if version.schema is None or version.schema.open_apiv3_schema is None:
            found.append(errors.required(f"{path}[{index}].schema.openAPIV3Schema"))
        if problems := dns1035_errors(version.name):
            found.append(
                errors.invalid_value(f"{path}[{index}].name", version.name, ",".join(problems))
            )
            if not index and version.name:
                found.append(errors.invalid_value("spec.version", version.name, ",".join(problems)))
    if len({version.name for version in spec.versions}) < len(spec.versions):
        found.append(errors.invalid_value(path, _shown(spec), "must contain unique version names"))
    if sum(version.storage for version in spec.versions) != 1:
        why = "must have exactly one version marked as storage version"
        found.append(errors.invalid_value(path, _shown(spec), why))
    if spec.preserve_unknown_fields:
        found.append(
            errors.invalid_value(
                "spec.preserveUnknownFields",
                True,
                "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
            )
        )
    return found + _versions(spec) + _conversion(spec)


def _shown(spec: v1.CustomResourceDefinitionSpec) -> list[dict[str, Any]] | None:
    """The versions as upstream prints them: what all of them say in the same words stands outside of them."""
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
    """Whether all versions say the same of it. Upstream tells of errors in it once then, as if it stood in the spec."""
    values = [getattr(version, name) for version in spec.versions]
    return all(value == values[0] for value in values)


def _versions(spec: v1.CustomResourceDefinitionSpec) -> list[FieldError]:
    found = []
    for index, version in enumerate(spec.versions):

        def place(name: str, attribute: str, outside: str = "", index: int = index) -> str | None:
            """Where what the version says stands; None where it has been looked at."""
            if not _alike(spec, attribute):
                return f"spec.versions[{index}].{name}"
            return f"spec.{outside or name}" if index == 0 else None

        found += _deprecation(version, f"spec.versions[{index}].deprecationWarning")
        facts = schema_of(version)
        has_status = version.subresources is not None and version.subresources.status is not None
        if version.schema is not None and (at := place("schema", "schema", "validation")):
            if version.schema.open_apiv3_schema is not None:
                found += schema_errors(facts, f"{at}.openAPIV3Schema", has_status)
        if at := place("subresources", "subresources"):
            found += _scale(version, f"{at}.scale")
        if at := place("additionalPrinterColumns", "additional_printer_columns"):
            for number, column in enumerate(version.additional_printer_columns):
                found += _column(column, f"{at}[{number}]")
        if at := place("selectableFields", "selectable_fields"):
            found += _selectable(version, facts, at)
    return found


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
            f"must only contain printable UTF-8 characters; non-printable character found at index {index}"
        )
    return [errors.invalid_value(path, text, why) for why in problems]


def _scale(version: v1.CustomResourceDefinitionVersion, path: str) -> list[FieldError]:
    scale = version.subresources.scale if version.subresources else None
    if scale is None:
        return []
    found = []
    for key, text, roots in (
        ("specReplicasPath", scale.spec_replicas_path, ("spec",)),
        ("statusReplicasPath", scale.status_replicas_path, ("status",)),
        ("labelSelectorPath", scale.label_selector_path, ("spec", "status")),
    ):
        at = f"{path}.{key}"
        if not text:
            if key != "labelSelectorPath":
                found.append(errors.required(at))
        elif not text.startswith("."):
            found.append(
                errors.invalid_value(at, text, "must be a simple json path starting with .")
            )
        elif not text.startswith(tuple(f".{root}." for root in roots)):
            where = f".{roots[0]}" if len(roots) == 1 else "either .spec or .status"
            found.append(errors.invalid_value(at, text, f"should be a json path under {where}"))
    return found


def _column(column: v1.CustomResourceColumnDefinition, path: str) -> list[FieldError]:
    found, types = [], "must be one of " + ",".join(_COLUMN_TYPES)
    if not column.name:
        found.append(errors.required(f"{path}.name"))
    if not column.type:
        found.append(errors.required(f"{path}.type", types))
    elif column.type not in _COLUMN_TYPES:
        found.append(errors.invalid_value(f"{path}.type", column.type, types))
    if column.format and column.format not in _COLUMN_FORMATS:
        why = "must be one of " + ",".join(_COLUMN_FORMATS)
        found.append(errors.invalid_value(f"{path}.format", column.format, why))
    text, at = column.json_path, f"{path}.JSONPath"
    if not text:
        found.append(errors.required(at))
    elif not text.startswith("."):
        found.append(errors.invalid_value(at, text, "must be a simple json path starting with ."))
    return found


def _selectable(
    version: v1.CustomResourceDefinitionVersion, facts: dict[str, Any], path: str
) -> list[FieldError]:
    found, seen = [], set[str]()
    for index, selectable in enumerate(version.selectable_fields):
        at, text = f"{path}[{index}].jsonPath", selectable.json_path
        if not text:
            found.append(errors.required(at))
            continue
        try:
            name, inner = schema_path(text, facts, arrays=False)
        except PathError as error:
            found.append(errors.invalid_value(at, text, f"is an invalid path: {error}"))
            continue
        if name.startswith("metadata"):
            found.append(errors.invalid_value(at, text, "must not point to fields in metadata"))
        if inner.get("type") not in ("string", "boolean", "integer"):
            why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
            found.append(errors.invalid_value(at, text, why))
        if name in seen:
            found.append(errors.duplicate(at, text))
        seen.add(name)
    if len(seen) > _MOST_SELECTABLE:
        found.append(errors.too_many(path, len(seen), _MOST_SELECTABLE))
    return found


def _conversion(spec: v1.CustomResourceDefinitionSpec) -> list[FieldError]:
    """Upstream names these fields as they stood in an older version."""
    conversion, path = spec.conversion, "spec.conversion"
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
    at, listed = f"{path}.webhookClientConfig", f"{path}.conversionReviewVersions"
    if conversion.strategy == "None":
        why = "should not be set when strategy is not set to Webhook"
        return [
            errors.forbidden_field(where, why)
            for where, value in ((at, client), (listed, reviews))
            if value
        ]
    found = []
    if client is None:
        found.append(errors.required(at, "required when strategy is set to Webhook"))
    else:
        found += client_errors(client, at)
    if not reviews:
        return [*found, errors.required(listed)]
    for index, name in enumerate(reviews):
        if name in reviews[:index]:
            found.append(errors.invalid_value(f"{listed}[{index}]", name, "duplicate version"))
        else:
            found += [
                errors.invalid_value(f"{listed}[{index}]", name, why)
                for why in dns1035_errors(name)
            ]
    if not {"v1", "v1beta1"} & set(reviews):
        found.append(
            errors.invalid_value(listed, list(reviews), "must include at least one of v1, v1beta1")
        )
    return found

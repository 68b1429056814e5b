"""What a CustomResourceDefinition itself obeys: defaults, and the rules of names, versions and structural schemas."""

from __future__ import annotations

import re
from typing import Any

from tiphys.api import apiextensions_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.apiserver.strategies.base import Strategy, immutable
from tiphys.machinery import errors, structural
from tiphys.machinery.errors import FieldError
from tiphys.machinery.jsonpath import PathError, compile_path, field_path
from tiphys.machinery.names import dns1035_errors, dns_subdomain_errors
from tiphys.machinery.regexp import RegexpError, compiled
from tiphys.machinery.rules import rule_errors

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_PROTECTED = re.compile(r"(^|\.)(k8s|kubernetes)\.io$")
_APPROVED = "api-approved.kubernetes.io"
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_FORBIDDEN = ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "id")
_VALUE_ONLY = (
    "type", "description", "title", "default", "nullable", "additionalProperties", "x-kubernetes-embedded-resource",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
)  # fmt: skip


def schema_of(version: v1.CustomResourceDefinitionVersion) -> dict[str, Any]:
    """The published JSON of a version's schema."""
    if version.schema is None or version.schema.open_apiv3_schema is None:
        return {}
    plain: dict[str, Any] = to_builtins(version.schema.open_apiv3_schema)
    return plain


class DefinitionStrategy(Strategy):
    generation = True

    def default(self, obj: v1.CustomResourceDefinition) -> None:
        names = obj.spec.names
        names.singular = names.singular or names.kind.lower()
        names.list_kind = names.list_kind or (f"{names.kind}List" if names.kind else "")
        if obj.spec.conversion is None or not obj.spec.conversion.strategy:
            obj.spec.conversion = v1.CustomResourceConversion(strategy="None")
        webhook = obj.spec.conversion.webhook
        if webhook is not None and webhook.client_config is not None and webhook.client_config.service is not None:
            webhook.client_config.service.port = webhook.client_config.service.port or 443
        for version in obj.spec.versions:
            scale = version.subresources.scale if version.subresources else None
            if scale is not None and scale.label_selector_path == "":
                scale.label_selector_path = None

    def prepare_for_create(self, obj: v1.CustomResourceDefinition) -> None:
        obj.status = v1.CustomResourceDefinitionStatus()
        _note_storage(obj)

    def prepare_for_update(self, new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition) -> None:
        import copy

        new.status = copy.deepcopy(old.status)
        _note_storage(new)

    def held(self, obj: v1.CustomResourceDefinition) -> bool:
        return not obj.metadata.deletion_timestamp  # the objects go first

    def mark_deleted(self, obj: v1.CustomResourceDefinition) -> None:
        if FINALIZER not in obj.metadata.finalizers:
            obj.metadata.finalizers.append(FINALIZER)

    def validate(self, obj: v1.CustomResourceDefinition) -> list[FieldError]:
        spec = obj.spec
        found = _names(obj)
        if spec.scope not in ("Cluster", "Namespaced"):
            missing = errors.required("spec.scope")
            found.append(
                errors.not_supported("spec.scope", spec.scope, ("Cluster", "Namespaced")) if spec.scope else missing
            )
        found += _group(obj)
        if not spec.versions:
            found.append(errors.required("spec.versions", "must have exactly one version marked as storage version"))
        elif sum(v.storage for v in spec.versions) != 1:
            found.append(
                errors.invalid_value(
                    "spec.versions",
                    to_builtins(spec.versions),
                    "must have exactly one version marked as storage version",
                )
            )
        seen: set[str] = set()
        for index, version in enumerate(spec.versions):
            path = f"spec.versions[{index}]"
            if version.name in seen:
                found.append(
                    errors.invalid_value(
                        "spec.versions", to_builtins(spec.versions), "must contain unique version names"
                    )
                )
            seen.add(version.name)
            found += [errors.invalid_value(f"{path}.name", version.name, why) for why in dns1035_errors(version.name)]
            found += _version(version, path)
        if spec.preserve_unknown_fields:
            found.append(
                errors.invalid_value(
                    "spec.preserveUnknownFields",
                    True,
                    "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
                )
            )
        return found + _conversion(spec)

    def validate_update(self, new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition) -> list[FieldError]:
        found = immutable("spec.group", new.spec.group, old.spec.group)
        found += immutable("spec.names.plural", new.spec.names.plural, old.spec.names.plural)
        if any(c.type == "Established" and c.status == "True" for c in old.status.conditions):
            found += immutable("spec.scope", new.spec.scope, old.spec.scope)
            found += immutable("spec.names.kind", new.spec.names.kind, old.spec.names.kind)
        return found + _stored_versions(new)

    def validate_status(self, new: v1.CustomResourceDefinition, old: v1.CustomResourceDefinition) -> list[FieldError]:
        return _stored_versions(new)


def _note_storage(obj: v1.CustomResourceDefinition) -> None:
    for version in obj.spec.versions:
        if version.storage and version.name not in obj.status.stored_versions:
            obj.status.stored_versions.append(version.name)


def _stored_versions(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    names = {v.name for v in obj.spec.versions}
    stored = obj.status.stored_versions
    return [
        errors.invalid_value(f"status.storedVersions[{index}]", name, "missing from spec.versions; "
                             f"{name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions")
        for index, name in enumerate(stored) if name not in names
    ]  # fmt: skip


def _names(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    names, found = obj.spec.names, []
    if obj.metadata.name != f"{names.plural}.{obj.spec.group}":
        found.append(
            errors.invalid_value("metadata.name", obj.metadata.name, 'must be spec.names.plural+"."+spec.group')
        )
    for key, value in (
        ("plural", names.plural),
        ("singular", names.singular),
        ("kind", names.kind),
        ("listKind", names.list_kind),
    ):
        path = f"spec.names.{key}"
        if not value:
            found.append(errors.required(path))
        else:
            found += [errors.invalid_value(path, value, why) for why in dns1035_errors(value.lower())]
    for key, values in (("shortNames", names.short_names), ("categories", names.categories)):
        for index, value in enumerate(values):
            found += [errors.invalid_value(f"spec.names.{key}[{index}]", value, why) for why in dns1035_errors(value)]
    if names.kind and names.kind == names.list_kind:
        found.append(
            errors.invalid_value("spec.names.listKind", names.list_kind, "kind and listKind may not be the same")
        )
    return found  # fmt: skip


def _group(obj: v1.CustomResourceDefinition) -> list[FieldError]:
    group = obj.spec.group
    if not group:
        return [errors.required("spec.group")]
    found = [errors.invalid_value("spec.group", group, why) for why in dns_subdomain_errors(group)]
    if len(group.split(".")) < 2:
        found.append(errors.invalid_value("spec.group", group, "should be a domain with at least one dot"))
    if _PROTECTED.search(group):
        value = obj.metadata.annotations.get(_APPROVED)
        if value is None:
            found.append(
                errors.required(
                    f"metadata.annotations[{_APPROVED}]",
                    'protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111',
                )
            )
        elif not value.startswith(("unapproved", "https://")):
            found.append(
                errors.invalid_value(
                    f"metadata.annotations[{_APPROVED}]",
                    value,
                    'protected groups must have approval annotation "api-approved.kubernetes.io" with either a URL or a reason starting with "unapproved", see https://github.com/kubernetes/enhancements/pull/1111',
                )
            )
    return found  # fmt: skip


def _conversion(spec: v1.CustomResourceDefinitionSpec) -> list[FieldError]:
    conversion = spec.conversion
    if conversion is None:
        return []
    if conversion.strategy not in ("None", "Webhook"):
        return [errors.not_supported("spec.conversion.strategy", conversion.strategy, ("None", "Webhook"))]
    webhook = conversion.webhook
    if conversion.strategy == "None":
        if webhook is not None:
            why = "should not be set when strategy is not set to Webhook"
            return [errors.forbidden_field("spec.conversion.webhook", why)]
        return []
    if webhook is None or webhook.client_config is None:
        return [errors.required("spec.conversion.webhook.clientConfig", 'required when strategy is set to "Webhook"')]
    found = []
    client = webhook.client_config
    if bool(client.url) == (client.service is not None):
        found.append(
            errors.required("spec.conversion.webhook.clientConfig", "exactly one of url or service is required")
        )
    versions = webhook.conversion_review_versions
    if not versions:
        found.append(errors.required("spec.conversion.webhook.conversionReviewVersions"))
    elif not {"v1", "v1beta1"} & set(versions):
        found.append(
            errors.invalid_value(
                "spec.conversion.webhook.conversionReviewVersions",
                list(versions),
                "must include at least one of v1, v1beta1",
            )
        )
    return found  # fmt: skip


def _version(version: v1.CustomResourceDefinitionVersion, path: str) -> list[FieldError]:
    facts, found = schema_of(version), list[FieldError]()
    where = f"{path}.schema.openAPIV3Schema"
    if version.schema is None or version.schema.open_apiv3_schema is None:
        found.append(errors.required(where, "schemas are required"))
    else:
        found += structural_errors(facts, where, root=True)
        if not found:
            found += _defaults(facts, where)
            found += rule_errors(structural.compile_schema(facts), where)
    for index, column in enumerate(version.additional_printer_columns):
        at = f"{path}.additionalPrinterColumns[{index}]"
        if not column.name:
            found.append(errors.required(f"{at}.name"))
        if column.type not in _COLUMN_TYPES:
            found.append(
                errors.not_supported(f"{at}.type", column.type, _COLUMN_TYPES)
                if column.type
                else errors.required(f"{at}.type", "must be one of " + ",".join(_COLUMN_TYPES))
            )
        found += _path_errors(column.json_path, f"{at}.jsonPath")
    for index, selectable in enumerate(version.selectable_fields):
        at = f"{path}.selectableFields[{index}].jsonPath"
        if field_path(selectable.json_path) is None:
            found.append(errors.invalid_value(at, selectable.json_path, "is an invalid path"))
    scale = version.subresources.scale if version.subresources else None
    if scale is not None:
        for key, text, root in (
            ("specReplicasPath", scale.spec_replicas_path, "spec"),
            ("statusReplicasPath", scale.status_replicas_path, "status"),
        ):
            names = field_path(text)
            at = f"{path}.subresources.scale.{key}"
            if not text:
                found.append(errors.required(at))
            elif names is None or names[0] != root:
                found.append(errors.invalid_value(at, text, f"should be a json path under .{root}"))
    if version.deprecation_warning is not None and not version.deprecated:
        found.append(
            errors.invalid_value(
                f"{path}.deprecationWarning", version.deprecation_warning, "can only be set for deprecated versions"
            )
        )
    return found  # fmt: skip


def _path_errors(text: str, at: str) -> list[FieldError]:
    if not text:
        return [errors.required(at)]
    if not text.startswith("."):
        return [errors.invalid_value(at, text, "is an invalid path: does not start with .")]
    try:
        compile_path(text)
    except PathError as error:
        return [errors.invalid_value(at, text, f"is an invalid path: {error}")]
    return []


def _defaults(facts: Any, path: str) -> list[FieldError]:
    """Defaults must be what their own schema allows."""
    found: list[FieldError] = []
    if isinstance(facts, dict):
        if facts.get("default") is not None:
            schema = structural.compile_schema(facts)
            problems = structural.validate(facts["default"], schema, f"{path}.default")
            found += problems
        for name, inner in (facts.get("properties") or {}).items():
            found += _defaults(inner, f"{path}.properties[{name}]")
        for key in ("items", "additionalProperties"):
            if isinstance(facts.get(key), dict):
                found += _defaults(facts[key], f"{path}.{key}")
    return found


def structural_errors(facts: dict[str, Any], path: str, root: bool = False) -> list[FieldError]:
    """What keeps a schema from being structural."""
    found = [errors.forbidden_field(f"{path}.{key}", f"{key} is not supported") for key in _FORBIDDEN if facts.get(key)]
    kind = facts.get("type", "")
    loose = facts.get("x-kubernetes-int-or-string") or facts.get("x-kubernetes-preserve-unknown-fields")
    if not kind and (root or not loose):
        why = "must not be empty at the root" if root else "must not be empty for specified object fields"
        found.append(errors.required(f"{path}.type", why))
    elif kind and kind not in _TYPES:
        found.append(errors.not_supported(f"{path}.type", kind, _TYPES))
    if root and kind not in ("", "object"):
        found.append(errors.invalid_value(f"{path}.type", kind, "must be object at the root"))
    if facts.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        found.append(errors.forbidden_field(f"{path}.uniqueItems", why))
    if kind == "array" and not isinstance(facts.get("items"), dict):
        found.append(errors.required(f"{path}.items", "must be specified"))
    if facts.get("properties") and facts.get("additionalProperties") not in (None, False):
        found.append(
            errors.forbidden_field(
                f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive"
            )
        )
    if isinstance(facts.get("additionalProperties"), bool) and not facts["additionalProperties"]:
        found.append(errors.forbidden_field(f"{path}.additionalProperties", "must not be false"))
    found += _list_rules(facts, path)
    found += _pattern(facts, path)
    for name, inner in (facts.get("properties") or {}).items():
        if root and name in ("apiVersion", "kind", "metadata"):
            continue
        found += structural_errors(inner, f"{path}.properties[{name}]")
    for key in ("items", "additionalProperties"):
        if isinstance(facts.get(key), dict):
            found += structural_errors(facts[key], f"{path}.{key}")
    for key in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(facts.get(key) or ()):
            found += _value_only(inner, f"{path}.{key}[{index}]", facts)
    if facts.get("not"):
        found += _value_only(facts["not"], f"{path}.not", facts)
    return found  # fmt: skip


def _list_rules(facts: dict[str, Any], path: str) -> list[FieldError]:
    kind, keys = facts.get("x-kubernetes-list-type"), facts.get("x-kubernetes-list-map-keys") or []
    if kind is None:
        return (
            [
                errors.invalid_value(
                    f"{path}.x-kubernetes-list-map-keys", keys, "must only be set if x-kubernetes-list-type is map"
                )
            ]
            if keys
            else []
        )
    if kind not in ("atomic", "set", "map"):
        return [errors.not_supported(f"{path}.x-kubernetes-list-type", kind, ("atomic", "set", "map"))]
    if facts.get("type") != "array":
        return [
            errors.invalid_value(
                f"{path}.type", facts.get("type", ""), "must be array if x-kubernetes-list-type is specified"
            )
        ]
    if kind != "map":
        return []
    if not keys:
        return [
            errors.required(f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
        ]
    items = facts.get("items") or {}
    found = []
    for key in keys:
        inner = (items.get("properties") or {}).get(key)
        if inner is None:
            found.append(
                errors.invalid_value(
                    f"{path}.x-kubernetes-list-map-keys", keys, "entries must all be names of item properties"
                )
            )
        elif key not in (items.get("required") or ()) and inner.get("default") is None:
            found.append(
                errors.required(
                    f"{path}.items.properties[{key}].default",
                    "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
                )
            )
    return found  # fmt: skip


def _pattern(facts: dict[str, Any], path: str) -> list[FieldError]:
    if not facts.get("pattern"):
        return []
    try:
        compiled(facts["pattern"])
    except RegexpError as error:
        why = f"must be a valid regular expression, but isn't: {error}"
        return [errors.invalid_value(f"{path}.pattern", facts["pattern"], why)]
    return []


def _value_only(facts: dict[str, Any], path: str, around: dict[str, Any]) -> list[FieldError]:
    """Below allOf and its kin stand rules on values alone: what the fields are is said outside."""
    loose = around.get("x-kubernetes-int-or-string")
    found = []
    for key in _VALUE_ONLY:
        if facts.get(key) not in (None, "", False) and not (key == "type" and loose):
            found.append(errors.forbidden_field(f"{path}.{key}", "must be empty to be structural"))
    for name, inner in (facts.get("properties") or {}).items():
        outer = (around.get("properties") or {}).get(name)
        extra = around.get("additionalProperties")
        if outer is None and isinstance(extra, dict):
            outer = extra
        if outer is None and not around.get("x-kubernetes-preserve-unknown-fields"):
            where = path.rsplit(".", 1)[0]
            found.append(
                errors.required(f"{where}.properties[{name}]", f"because it is defined in {path}.properties[{name}]")
            )
        found += _value_only(inner, f"{path}.properties[{name}]", outer or {})
    if isinstance(facts.get("items"), dict):
        found += _value_only(facts["items"], f"{path}.items", around.get("items") or {})
    for key in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(facts.get(key) or ()):
            found += _value_only(inner, f"{path}.{key}[{index}]", around)
    if facts.get("not"):
        found += _value_only(facts["not"], f"{path}.not", around)
    return found  # fmt: skip

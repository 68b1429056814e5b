"""AuthorizationConfiguration (apiserver.config.k8s.io): who is asked what a user may do, in which
order. The validation rules and their messages are upstream's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tiphys.api.base import Struct, named
from tiphys.machinery import durations, errors
from tiphys.machinery.cel import CelError
from tiphys.machinery.cel.checker import check, type_of
from tiphys.machinery.configfiles import ConfigFileError, read_strictly
from tiphys.machinery.configfiles import check as check_file
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_subdomain_errors
from tiphys.machinery.structural import compile_schema

VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
KINDS = ("AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")
"""Upstream's without ABAC."""
_MOST_CONDITIONS = 64
_MOST_SECONDS = 30.0
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_SELECTOR = {
    "type": "object",
    "properties": {
        "rawSelector": _TEXT,
        "requirements": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"key": _TEXT, "operator": _TEXT, "values": _TEXTS},
            },
        },
    },
}
_ATTRIBUTES = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
REQUEST = compile_schema(
    {
        "type": "object",
        "properties": {
            "user": _TEXT,
            "groups": _TEXTS,
            "uid": _TEXT,
            "extra": {"type": "object", "additionalProperties": _TEXTS},
            "resourceAttributes": {
                "type": "object",
                "properties": {
                    **dict.fromkeys(_ATTRIBUTES, _TEXT),
                    "fieldSelector": _SELECTOR,
                    "labelSelector": _SELECTOR,
                },
            },
            "nonResourceAttributes": {
                "type": "object",
                "properties": {"path": _TEXT, "verb": _TEXT},
            },
        },
    }
)
"""What match conditions see: the spec of a SubjectAccessReview."""


class ConnectionInfo(Struct):
    type: str = ""
    kube_config_file: str | None = None


class MatchCondition(Struct):
    expression: str = ""


class WebhookConfiguration(Struct):
    """Times are durations in Go's syntax."""

    authorized_ttl: str = named("authorizedTTL", "")
    cache_authorized_requests: bool = True
    unauthorized_ttl: str = named("unauthorizedTTL", "")
    cache_unauthorized_requests: bool = True
    timeout: str = ""
    subject_access_review_version: str = ""
    match_condition_subject_access_review_version: str = ""
    failure_policy: str = ""
    connection_info: ConnectionInfo | None = None
    match_conditions: list[MatchCondition] = []


class AuthorizerConfiguration(Struct):
    type: str = ""
    name: str = ""
    webhook: WebhookConfiguration | None = None


class AuthorizationConfiguration(Struct):
    api_version: str = ""
    kind: str = ""
    authorizers: list[AuthorizerConfiguration] = []


def parse_configuration(data: bytes) -> AuthorizationConfiguration:
    """The configuration of a file's bytes, with upstream's defaults. Raises ConfigFileError."""
    configuration = read_strictly(data, VERSIONS, AuthorizationConfiguration)
    for authorizer in configuration.authorizers:
        webhook = authorizer.webhook
        if webhook is not None:
            webhook.authorized_ttl = _or(webhook.authorized_ttl, "5m")
            webhook.unauthorized_ttl = _or(webhook.unauthorized_ttl, "30s")
    check_file(configuration_errors(configuration))
    return configuration


def _or(duration: str, default: str) -> str:
    return default if duration in ("", "0", "0s") else duration


def configuration_errors(configuration: AuthorizationConfiguration) -> list[FieldError]:
    violations: list[FieldError] = []
    if not configuration.authorizers:
        detail = "at least one authorization mode must be defined"
        violations.append(errors.required("authorizers", detail))
    kinds: set[str] = set()
    names: set[str] = set()
    for index, authorizer in enumerate(configuration.authorizers):
        path = f"authorizers[{index}]"
        kind = authorizer.type
        if not kind:
            violations.append(errors.required(f"{path}.type"))
        elif kind not in KINDS:
            violations.append(errors.not_supported(f"{path}.type", kind, KINDS))
        elif kind in kinds and kind != "Webhook":
            violations.append(errors.duplicate(f"{path}.type", kind))
        else:
            violations += _name_errors(authorizer.name, names, f"{path}.name")
            violations += _kind_errors(authorizer, path)
            names.add(authorizer.name)
        kinds.add(kind)
    return violations


def _name_errors(name: str, names: set[str], path: str) -> Iterator[FieldError]:
    if not name:
        yield errors.required(path)
    elif name in names:
        yield errors.duplicate(path, name)
    elif problems := dns_subdomain_errors(name):
        detail = f"authorizer name is invalid: {', '.join(problems)}"
        yield errors.invalid_value(path, name, detail)


def _kind_errors(authorizer: AuthorizerConfiguration, path: str) -> Iterator[FieldError]:
    if authorizer.type == "Webhook":
        if authorizer.webhook is None:
            yield errors.required(f"{path}.webhook", "required when type=Webhook")
        else:
            # Upstream's paths of a webhook's fields have no `webhook` in them.
            yield from _webhook_errors(authorizer.webhook, path)
    elif authorizer.webhook is not None:
        detail = "may only be specified when type=Webhook"
        yield errors.invalid_value(f"{path}.webhook", "non-null", detail)


def _webhook_errors(webhook: WebhookConfiguration, path: str) -> Iterator[FieldError]:
    yield from _timeout_errors(webhook.timeout, f"{path}.timeout")
    for name, text in (
        ("authorizedTTL", webhook.authorized_ttl),
        ("unauthorizedTTL", webhook.unauthorized_ttl),
    ):
        seconds = _seconds(text)
        if seconds is None or seconds < 0:
            yield errors.invalid_value(f"{path}.{name}", text, "must be > 0s")
    yield from _version_errors(webhook, path)
    policy = webhook.failure_policy
    if not policy:
        yield errors.required(f"{path}.failurePolicy")
    elif policy not in ("NoOpinion", "Deny"):
        allowed = ("NoOpinion", "Deny")
        yield errors.not_one_of(f"{path}.failurePolicy", policy, allowed)
    yield from _connection_errors(webhook.connection_info, f"{path}.connectionInfo")
    yield from _condition_errors(webhook.match_conditions, f"{path}.matchConditions")


def _seconds(text: str) -> float | None:
    try:
        return durations.seconds(text)
    except durations.DurationError:
        return None


def _timeout_errors(text: str, path: str) -> Iterator[FieldError]:
    seconds = _seconds(text) if text else 0.0
    if seconds == 0:
        yield errors.required(path)
    elif seconds is None or not 0 < seconds <= _MOST_SECONDS:
        yield errors.invalid_value(path, text, "must be > 0s and <= 30s")


def _version_errors(webhook: WebhookConfiguration, path: str) -> Iterator[FieldError]:
    version = webhook.subject_access_review_version
    field = f"{path}.subjectAccessReviewVersion"
    if not version:
        yield errors.required(field)
    elif version not in ("v1", "v1beta1"):
        yield errors.not_supported(field, version, ("v1", "v1beta1"))
    version = webhook.match_condition_subject_access_review_version
    field = f"{path}.matchConditionSubjectAccessReviewVersion"
    if not version and webhook.match_conditions:
        yield errors.required(field, "required if match conditions are specified")
    elif version not in ("", "v1"):
        yield errors.not_supported(field, version, ("v1",))


def _connection_errors(info: ConnectionInfo | None, path: str) -> Iterator[FieldError]:
    kind = info.type if info is not None else ""
    file = info.kube_config_file if info is not None else None
    if not kind:
        yield errors.required(f"{path}.type")
    elif kind == "InClusterConfig":
        if file is not None:
            detail = "can only be set when type=KubeConfigFile"
            yield errors.invalid_value(f"{path}.kubeConfigFile", file, detail)
    elif kind != "KubeConfigFile":
        yield errors.not_supported(f"{path}.type", kind, ("InClusterConfig", "KubeConfigFile"))
    elif not file:
        yield errors.required(f"{path}.kubeConfigFile")
    elif problem := _file_problem(Path(file)):
        yield errors.invalid_value(f"{path}.kubeConfigFile", file, problem)


def _file_problem(file: Path) -> str:
    if not file.is_absolute():
        return "must be an absolute path"
    try:
        file.stat()
    except OSError as error:
        return f"error loading file: stat {file}: {(error.strerror or '').lower()}"
    return "" if file.is_file() else "must be a regular file"


def _condition_errors(conditions: list[MatchCondition], path: str) -> Iterator[FieldError]:
    if len(conditions) > _MOST_CONDITIONS:
        yield errors.too_many(path, len(conditions), _MOST_CONDITIONS)
        return
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        field = f"{path}[{index}].expression"
        text = condition.expression
        if not text.strip():
            yield errors.required(field)
        elif text in seen:
            yield errors.duplicate(field, text)
        elif problem := _expression_problem(text):
            yield errors.invalid_value(field, text, problem)
        seen.add(text)


def _expression_problem(text: str) -> str:
    try:
        check(text, {"request": type_of(REQUEST)}, "bool")
    except CelError as error:
        if str(error) == "must evaluate to a bool":
            return "must evaluate to bool"
        return f"compilation failed: {error}"
    return ""


__all__ = ["KINDS", "AuthorizationConfiguration", "ConfigFileError", "parse_configuration"]

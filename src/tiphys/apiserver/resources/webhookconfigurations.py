"""Mutating and validating webhook configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from tiphys.api.admissionregistration_v1 import (
    MutatingWebhook,
    MutatingWebhookConfiguration,
    ValidatingWebhook,
    ValidatingWebhookConfiguration,
)
from tiphys.api.meta_v1 import LabelSelector
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.admissionrules import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    REINVOCATION_POLICIES,
    condition_errors,
    rule_errors,
)
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.webhookclients import client_errors
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_subdomain_errors

_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_REVIEW_VERSIONS = frozenset(("v1", "v1beta1"))
_DEFAULT_SECONDS = 10
_LONGEST_SECONDS = 30

AnyWebhook = MutatingWebhook | ValidatingWebhook
C = TypeVar("C", bound=MutatingWebhookConfiguration | ValidatingWebhookConfiguration)


class _WebhookConfigurationStrategy(Strategy[C]):
    """What both kinds have in common."""

    unconditional_update = False
    columns = (NAME, Column("Webhooks", lambda o: len(o.webhooks), type="integer"), AGE)
    generation = True

    def desired(self, obj: C) -> Any:
        return obj.webhooks

    def default(self, obj: C) -> None:
        for hook in _hooks(obj):
            _default(hook)

    def validate(self, obj: C) -> list[FieldError]:
        violations = []
        seen: set[str] = set()
        for index, hook in enumerate(_hooks(obj)):
            path = f"webhooks[{index}]"
            if hook.name in seen:
                violations.append(errors.duplicate(f"{path}.name", hook.name))
            seen.add(hook.name)
            violations += _webhook(hook, path)
        return violations


class MutatingWebhookConfigurationStrategy(
    _WebhookConfigurationStrategy[MutatingWebhookConfiguration]
):
    pass


class ValidatingWebhookConfigurationStrategy(
    _WebhookConfigurationStrategy[ValidatingWebhookConfiguration]
):
    pass


def _hooks(
    configuration: MutatingWebhookConfiguration | ValidatingWebhookConfiguration,
) -> Sequence[AnyWebhook]:
    return configuration.webhooks


def _default(hook: AnyWebhook) -> None:
    hook.failure_policy = hook.failure_policy or "Fail"
    hook.match_policy = hook.match_policy or "Equivalent"
    hook.namespace_selector = hook.namespace_selector or LabelSelector()
    hook.object_selector = hook.object_selector or LabelSelector()
    if hook.timeout_seconds is None:
        hook.timeout_seconds = _DEFAULT_SECONDS
    if isinstance(hook, MutatingWebhook):
        hook.reinvocation_policy = hook.reinvocation_policy or "Never"
    service = hook.client_config.service
    if service is not None and service.port is None:
        service.port = 443
    for rule in hook.rules:
        rule.scope = rule.scope or "*"


def _webhook(hook: AnyWebhook, path: str) -> list[FieldError]:
    violations = _name(hook.name, f"{path}.name")
    violations += _side_effects(hook.side_effects, f"{path}.sideEffects")
    policy = hook.failure_policy
    if policy not in FAILURE_POLICIES:
        violations.append(errors.not_supported(f"{path}.failurePolicy", policy, FAILURE_POLICIES))
    if isinstance(hook, MutatingWebhook):
        field = f"{path}.reinvocationPolicy"
        violations += checks.one_of(hook.reinvocation_policy, REINVOCATION_POLICIES, field)
    violations += checks.label_selector(hook.namespace_selector, f"{path}.namespaceSelector")
    violations += checks.label_selector(hook.object_selector, f"{path}.objectSelector")
    policy = hook.match_policy
    if policy not in MATCH_POLICIES:
        violations.append(errors.not_supported(f"{path}.matchPolicy", policy, MATCH_POLICIES))
    seconds = hook.timeout_seconds
    if seconds is not None and not 1 <= seconds <= _LONGEST_SECONDS:
        detail = "the timeout value must be between 1 and 30 seconds"
        violations.append(errors.invalid_value(f"{path}.timeoutSeconds", seconds, detail))
    versions = hook.admission_review_versions
    violations += _review_versions(versions, f"{path}.admissionReviewVersions")
    violations += client_errors(hook.client_config, f"{path}.clientConfig")
    for index, rule in enumerate(hook.rules):
        violations += rule_errors(rule, f"{path}.rules[{index}]")
    return violations + condition_errors(hook.match_conditions, f"{path}.matchConditions")


def _name(name: str, path: str) -> list[FieldError]:
    violations = checks.obeys(name, dns_subdomain_errors, path)
    if not violations and name.count(".") < 2:
        detail = "should be a domain with at least three segments separated by dots"
        violations.append(errors.invalid_value(path, name, detail))
    return violations


def _side_effects(side_effects: str | None, path: str) -> list[FieldError]:
    if side_effects is None:
        return [errors.required(path, "must specify one of None, NoneOnDryRun")]
    if side_effects not in _SIDE_EFFECTS:
        return [errors.not_supported(path, side_effects, _SIDE_EFFECTS)]
    return []


def _review_versions(versions: list[str], path: str) -> list[FieldError]:
    if not versions:
        return [errors.required(path, "must specify one of v1, v1beta1")]
    if _REVIEW_VERSIONS.isdisjoint(versions):
        detail = "must include at least one of v1, v1beta1"
        return [errors.invalid_value(path, list(versions), detail)]
    return []

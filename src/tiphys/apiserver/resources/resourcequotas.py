"""Resource quotas."""

from __future__ import annotations

from tiphys.api.core_v1 import ResourceQuota, ScopedResourceSelectorRequirement
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.quota import COUNTED

# Scopes that a pod is in or not; of the other two, values are chosen.
_PLAIN_SCOPES = frozenset(
    (
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "CrossNamespacePodAffinity",
    )
)
_SCOPES = _PLAIN_SCOPES | {"PriorityClass", "VolumeAttributesClass"}
_OPPOSITES = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
_EXISTS_ONLY = (
    "must be 'Exist' only operator when scope is any of ResourceQuotaScopeTerminating,"
    " ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort,"
    " ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


def _used(quota: ResourceQuota, limits: bool) -> str:
    """What is used of what is allowed: of the limits, or of the rest."""
    hard = quota.status.hard or quota.spec.hard
    used = quota.status.used
    names = sorted(name for name in hard if name.startswith("limits.") == limits)
    return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)


def _is_counted(name: str) -> bool:
    return name in COUNTED or name.startswith(("count/", "services."))


class ResourceQuotaStrategy(Strategy[ResourceQuota]):
    columns = (
        NAME,
        Column("Request", lambda o: _used(o, limits=False)),
        Column("Limit", lambda o: _used(o, limits=True)),
        AGE,
    )
    returns_deleted = True

    def validate(self, obj: ResourceQuota) -> list[FieldError]:
        scopes = obj.spec.scopes
        violations = checks.amounts(obj.spec.hard, "spec.hard", _is_counted)
        if not _SCOPES.issuperset(scopes):
            violations.append(errors.invalid_value("spec.scopes", scopes, "unsupported scope"))
        for pair in _OPPOSITES:
            if set(pair) <= set(scopes):
                detail = "conflicting scopes"
                violations.append(errors.invalid_value("spec.scopes", scopes, detail))
        if obj.spec.scope_selector is not None:
            for wanted in obj.spec.scope_selector.match_expressions:
                violations += _requirement(wanted, "spec.scopeSelector.matchExpressions")
        return violations

    def validate_update(self, new: ResourceQuota, old: ResourceQuota) -> list[FieldError]:
        return immutable("spec.scopes", sorted(new.spec.scopes), sorted(old.spec.scopes))


def _requirement(wanted: ScopedResourceSelectorRequirement, path: str) -> list[FieldError]:
    """Upstream's path has no index of the requirement."""
    scope = wanted.scope_name
    violations = []
    if scope not in _SCOPES:
        violations.append(errors.invalid_value(f"{path}.scopeName", scope, "unsupported scope"))
    return violations + _operator(wanted, path)


def _operator(wanted: ScopedResourceSelectorRequirement, path: str) -> list[FieldError]:
    operator = wanted.operator
    if wanted.scope_name in _PLAIN_SCOPES and operator != "Exists":
        return [errors.invalid_value(f"{path}.operator", operator, _EXISTS_ONLY)]
    if operator in ("In", "NotIn"):
        detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
        return checks.required(wanted.values, f"{path}.values", detail)
    if operator not in ("Exists", "DoesNotExist"):
        detail = "not a valid selector operator"
        return [errors.invalid_value(f"{path}.operator", operator, detail)]
    if wanted.values:
        detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
        return [errors.invalid_value(f"{path}.values", wanted.values, detail)]
    return []

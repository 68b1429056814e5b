"""Roles and cluster roles."""

from __future__ import annotations

from tiphys.api.rbac_v1 import AggregationRule, ClusterRole, PolicyRule, Role
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import CREATED_DATE, NAME
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import path_segment_errors


class RoleStrategy(Strategy[Role]):
    """Role names may be any path segment: the system's own have colons."""

    create_on_update = True
    columns = (NAME, CREATED_DATE)
    name_errors = staticmethod(path_segment_errors)

    def validate(self, obj: Role) -> list[FieldError]:
        return _rule_errors(obj.rules, namespaced=True)


class ClusterRoleStrategy(Strategy[ClusterRole]):
    create_on_update = True
    columns = (NAME, CREATED_DATE)
    name_errors = staticmethod(path_segment_errors)

    def validate(self, obj: ClusterRole) -> list[FieldError]:
        violations = _aggregation_errors(obj.aggregation_rule)
        return violations + _rule_errors(obj.rules, namespaced=False)


def _aggregation_errors(aggregation: AggregationRule | None) -> list[FieldError]:
    if aggregation is None:
        return []
    path = "aggregationRule.clusterRoleSelectors"
    violations = checks.required(
        aggregation.cluster_role_selectors,
        path,
        "at least one clusterRoleSelector required if aggregationRule is non-nil",
    )
    for index, selector in enumerate(aggregation.cluster_role_selectors):
        violations += checks.label_selector(selector, f"{path}[{index}]")
    return violations


def _rule_errors(rules: list[PolicyRule], namespaced: bool) -> list[FieldError]:
    violations = []
    for index, rule in enumerate(rules):
        path = f"rules[{index}]"
        detail = "verbs must contain at least one value"
        violations += checks.required(rule.verbs, f"{path}.verbs", detail)
        urls = rule.non_resource_urls
        if urls and namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            violations.append(errors.invalid_value(f"{path}.nonResourceURLs", urls, detail))
        if urls:
            continue
        detail = "resource rules must supply at least one api group"
        violations += checks.required(rule.api_groups, f"{path}.apiGroups", detail)
        detail = "resource rules must supply at least one resource"
        violations += checks.required(rule.resources, f"{path}.resources", detail)
    return violations

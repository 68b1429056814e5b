"""The smaller resources: namespaces, nodes, configuration, limits, RBAC, coordination."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import (
    config_key_errors,
    dns_label_errors,
    label_key_errors,
    label_value_errors,
    path_segment_errors,
)
from tiphys.machinery.quota import COUNTED
from tiphys.store.cache import Selectable


class NamespaceStrategy(Strategy):
    name_errors = staticmethod(dns_label_errors)
    fields = (Selectable("status.phase"),)

    def default(self, obj: v1.Namespace) -> None:
        obj.metadata.labels["kubernetes.io/metadata.name"] = obj.metadata.name

    def prepare_for_create(self, obj: v1.Namespace) -> None:
        obj.status = v1.NamespaceStatus(phase="Active")
        if "kubernetes" not in obj.spec.finalizers:
            obj.spec.finalizers.append("kubernetes")

    def prepare_for_update(self, new: v1.Namespace, old: v1.Namespace) -> None:
        new.status = old.status
        new.spec.finalizers = old.spec.finalizers

    def held(self, obj: v1.Namespace) -> bool:
        return bool(obj.spec.finalizers)

    def mark_deleted(self, obj: v1.Namespace) -> None:
        obj.status.phase = "Terminating"


class NodeStrategy(Strategy):
    fields = (Selectable("spec.unschedulable", "false"),)

    def prepare_for_create(self, obj: v1.Node) -> None:
        """A node registers with its status."""
        obj.spec.config_source = None  # of a feature that is gone

    def default(self, obj: v1.Node) -> None:
        obj.status.allocatable = obj.status.allocatable or dict(obj.status.capacity)
        spec = obj.spec
        if spec.pod_cidr and not spec.pod_cidrs:  # two names of one thing
            spec.pod_cidrs = [spec.pod_cidr]
        elif spec.pod_cidrs and not spec.pod_cidr:
            spec.pod_cidr = spec.pod_cidrs[0]

    def validate(self, obj: v1.Node) -> list[FieldError]:
        found = []
        for index, taint in enumerate(obj.spec.taints):
            if not taint.key:
                found.append(errors.required(f"metadata.taints[{index}].key"))
            if taint.effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
                allowed = ("NoSchedule", "PreferNoSchedule", "NoExecute")
                found.append(
                    errors.not_supported(f"metadata.taints[{index}].effect", taint.effect, allowed)
                )
            found += checks.qualified(taint.key, f"metadata.taints[{index}].key")
            found += checks.named(
                taint.value, label_value_errors, f"metadata.taints[{index}].value"
            )
        for index, block in enumerate(obj.spec.pod_cidrs):
            found += checks.network(block, f"spec.podCIDRs[{index}]")
        for kind, amounts in (
            ("capacity", obj.status.capacity),
            ("allocatable", obj.status.allocatable),
        ):
            found += checks.amounts(amounts, f"status.{kind}")
        return found


class ConfigMapStrategy(Strategy):
    def validate(self, obj: v1.ConfigMap) -> list[FieldError]:
        found = []
        for kind, data in (("data", obj.data), ("binaryData", obj.binary_data)):
            for key in data:
                found += [
                    errors.invalid_value(f"{kind}[{key}]", key, problem)
                    for problem in config_key_errors(key)
                ]
        found += [
            errors.invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData")
            for key in obj.data
            if key in obj.binary_data
        ]
        if sum(map(len, obj.data.values())) + sum(map(len, obj.binary_data.values())) > 1048576:
            found.append(errors.too_long("", 1048576))
        return found

    def validate_update(self, new: v1.ConfigMap, old: v1.ConfigMap) -> list[FieldError]:
        return _frozen(new, old, ("data", "binary_data"))


def _frozen(new: Any, old: Any, parts: tuple[str, ...]) -> list[FieldError]:
    if not old.immutable:
        return []
    why, found = "field is immutable when `immutable` is set", []
    if not new.immutable:
        found.append(errors.forbidden_field("immutable", why))
    for part in parts:
        if getattr(new, part) != getattr(old, part):
            found.append(
                errors.forbidden_field("binaryData" if part == "binary_data" else part, why)
            )
    return found


_SECRET_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


class SecretStrategy(Strategy):
    fields = (Selectable("type"),)

    def default(self, obj: v1.Secret) -> None:
        obj.type = obj.type or "Opaque"
        for key, value in obj.string_data.items():
            obj.data[key] = value.encode()
        obj.string_data = {}

    def validate(self, obj: v1.Secret) -> list[FieldError]:
        found = []
        for key in obj.data:
            found += [
                errors.invalid_value(f"data[{key}]", key, problem)
                for problem in config_key_errors(key)
            ]
        for key in _SECRET_KEYS.get(obj.type, ()):
            if key not in obj.data:
                found.append(errors.required(f"data[{key}]"))
        account = "kubernetes.io/service-account.name"
        if obj.type == "kubernetes.io/service-account-token" and not obj.metadata.annotations.get(
            account
        ):
            found.append(errors.required(f"metadata.annotations[{account}]"))
        if sum(map(len, obj.data.values())) > 1048576:
            found.append(errors.too_long("data", 1048576))
        return found

    def validate_update(self, new: v1.Secret, old: v1.Secret) -> list[FieldError]:
        return immutable("type", new.type, old.type) + _frozen(new, old, ("data",))


class ServiceAccountStrategy(Strategy):
    def prepare_for_create(self, obj: Any) -> None:
        obj.secrets = obj.secrets or []


class EventStrategy(Strategy):
    lifetime = 3600
    fields = (
        Selectable("involvedObject.kind"),
        Selectable("involvedObject.namespace"),
        Selectable("involvedObject.name"),
        Selectable("involvedObject.uid"),
        Selectable("involvedObject.apiVersion"),
        Selectable("involvedObject.resourceVersion"),
        Selectable("involvedObject.fieldPath"),
        Selectable("reason"),
        Selectable("reportingComponent"),
        Selectable("source", path="source.component|reportingComponent"),
        Selectable("type"),
    )
    create_on_update = True
    component = "reportingComponent"

    def validate(self, obj: v1.Event) -> list[FieldError]:
        about, space, found = (
            obj.involved_object.namespace,
            obj.metadata.namespace,
            list[FieldError](),
        )
        if obj.event_time is None:
            strange = about != space if about else space not in ("", "default")
        else:  # told through the newer API
            strange = not about and space not in ("default", "kube-system")
            found += checks.given(obj.reporting_component, self.component)
            found += checks.qualified_name(obj.reporting_component, self.component)
            texts = (
                ("reportingInstance", obj.reporting_instance),
                ("action", obj.action),
                ("reason", obj.reason),
            )
            for name, text in texts:
                found += checks.given(text, name)
            for name, text, most in (
                *((name, text, 128) for name, text in texts),
                ("message", obj.message, 1024),
            ):
                if len(text) > most:
                    found.append(
                        errors.invalid_value(name, "", f"can have at most {most} characters")
                    )
        if strange:
            why = "does not match event.namespace"
            found.append(errors.invalid_value("involvedObject.namespace", about, why))
        return found


class ToldEventStrategy(EventStrategy):
    """Events that come through events.k8s.io: they have a time of their own, and are not counted but in series."""

    component = "reportingController"

    def validate_new(self, obj: v1.Event, registry: Any) -> list[FieldError]:
        found = self.validate(obj) + _series(obj.series)
        found += [] if obj.event_time is not None else [errors.required("eventTime")]
        if obj.type not in ("Normal", "Warning"):
            found.append(errors.invalid_value("type", "", f"has invalid value: {obj.type}"))
        unset = (
            ("firstTimestamp", obj.first_timestamp),
            ("lastTimestamp", obj.last_timestamp),
            ("count", obj.count),
            ("source", obj.source.component or obj.source.host),
        )
        return found + [
            errors.invalid_value(name, "", "needs to be unset") for name, value in unset if value
        ]

    def validate_change(self, new: v1.Event, old: v1.Event) -> list[FieldError]:
        return self.validate(new) + (_series(new.series) if new.series != old.series else [])


def _series(series: v1.EventSeries | None) -> list[FieldError]:
    if series is None:
        return []
    found = (
        []
        if series.count > 1
        else [errors.invalid_value("series.count", "", "should be at least 2")]
    )
    return found + (
        []
        if series.last_observed_time is not None
        else [errors.required("series.lastObservedTime")]
    )


def _scope_errors(wanted: v1.ScopedResourceSelectorRequirement, at: str) -> list[FieldError]:
    found, operator = list[FieldError](), wanted.operator
    if wanted.scope_name not in _SCOPES:
        found.append(
            errors.invalid_value(f"{at}.scopeName", wanted.scope_name, "unsupported scope")
        )
    if (
        wanted.scope_name in _SCOPES - {"PriorityClass", "VolumeAttributesClass"}
        and operator != "Exists"
    ):
        why = (
            "must be 'Exist' only operator when scope is any of ResourceQuotaScopeTerminating,"
            " ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or"
            " ResourceQuotaScopeCrossNamespacePodAffinity"
        )
        return [*found, errors.invalid_value(f"{at}.operator", operator, why)]
    if operator in ("In", "NotIn"):
        if not wanted.values:
            why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            found.append(errors.required(f"{at}.values", why))
    elif operator in ("Exists", "DoesNotExist"):
        if wanted.values:
            why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            found.append(errors.invalid_value(f"{at}.values", wanted.values, why))
    else:
        found.append(
            errors.invalid_value(f"{at}.operator", operator, "not a valid selector operator")
        )
    return found


class ResourceQuotaStrategy(Strategy):
    def validate(self, obj: v1.ResourceQuota) -> list[FieldError]:
        def whole(name: str) -> bool:
            return name in COUNTED or name.startswith(("count/", "services."))

        found = checks.amounts(obj.spec.hard, "spec.hard", whole)
        if any(scope not in _SCOPES for scope in obj.spec.scopes):
            found.append(errors.invalid_value("spec.scopes", obj.spec.scopes, "unsupported scope"))
        for one, other in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")):
            if {one, other} <= set(obj.spec.scopes):
                found.append(
                    errors.invalid_value("spec.scopes", obj.spec.scopes, "conflicting scopes")
                )
        if obj.spec.scope_selector is not None:
            for wanted in obj.spec.scope_selector.match_expressions:
                found += _scope_errors(wanted, "spec.scopeSelector.matchExpressions")
        return found

    def validate_update(self, new: v1.ResourceQuota, old: v1.ResourceQuota) -> list[FieldError]:
        return immutable("spec.scopes", sorted(new.spec.scopes), sorted(old.spec.scopes))


_SCOPES = frozenset(
    (
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
        "VolumeAttributesClass",
    )
)


class LimitRangeStrategy(Strategy):
    def default(self, obj: v1.LimitRange) -> None:
        for item in obj.spec.limits:
            if item.type == "Container":
                for name, value in item.max.items():
                    item.default.setdefault(name, value)
                for source in (item.default, item.min):
                    for name, value in source.items():
                        item.default_request.setdefault(name, value)

    def validate(self, obj: v1.LimitRange) -> list[FieldError]:
        found: list[FieldError] = []
        seen: set[str] = set()
        for index, item in enumerate(obj.spec.limits):
            at = f"spec.limits[{index}]"
            if item.type in seen:
                found.append(errors.duplicate(f"{at}.type", item.type))
            seen.add(item.type)
            found += checks.qualified(item.type, f"{at}.type")
            if "/" not in item.type and item.type not in (
                "Container",
                "PersistentVolumeClaim",
                "Pod",
            ):
                why = "must be a standard limit type or fully qualified"
                found.append(errors.invalid_value(f"{at}.type", item.type, why))
            if (
                item.type == "PersistentVolumeClaim"
                and "storage" not in item.min
                and "storage" not in item.max
            ):
                why = (
                    "either minimum or maximum storage value is required, but neither was provided"
                )
                found.append(errors.required(f"{at}.limits", why))
            for resource, ratio in item.max_limit_request_ratio.items():
                if quantity.nano(ratio) < quantity.NANO:
                    why = f"ratio {ratio} is less than 1"
                    found.append(
                        errors.invalid_value(f"{at}.maxLimitRequestRatio[{resource}]", ratio, why)
                    )
            if item.type == "Pod":
                for name, values in (
                    ("default", item.default),
                    ("defaultRequest", item.default_request),
                ):
                    if values:
                        found.append(
                            errors.forbidden_field(
                                f"{at}.{name}", "may not be specified when `type` is 'Pod'"
                            )
                        )
            found += _bounds(item, at)
        return found


# Of each two bounds of a resource: the lower, the higher, which of them the field is, which the value, what they are called.
_ORDERED = (
    ("min", "max", "min", "min", "min", "max"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest", "min", "default request"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest", "default request", "max"),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request",
        "default limit",
    ),
    ("min", "default", "default", "min", "min", "default"),
    ("default", "max", "default", "max", "default", "max"),
)


def _bounds(item: v1.LimitRangeItem, at: str) -> list[FieldError]:
    parts = {
        "min": item.min,
        "defaultRequest": item.default_request,
        "default": item.default,
        "max": item.max,
    }
    found = []
    for low, high, field, valued, lower, higher in _ORDERED:
        for resource in sorted(parts[low].keys() & parts[high].keys()):
            less, more = parts[low][resource], parts[high][resource]
            if quantity.nano(less) > quantity.nano(more):
                why = f"{lower} value {less} is greater than {higher} value {more}"
                found.append(
                    errors.invalid_value(f"{at}.{field}[{resource}]", parts[valued][resource], why)
                )
    return found


class RBACStrategy(Strategy):
    """Role names may be any path segment: the system's own have colons."""

    name_errors = staticmethod(path_segment_errors)

    def default(self, obj: Any) -> None:
        if hasattr(obj, "role_ref"):
            group = "rbac.authorization.k8s.io"
            obj.role_ref.api_group = obj.role_ref.api_group or group
            for subject in obj.subjects:
                if subject.kind in ("User", "Group"):
                    subject.api_group = subject.api_group or group

    def validate(self, obj: Any) -> list[FieldError]:
        if hasattr(obj, "role_ref"):
            group = "rbac.authorization.k8s.io"
            found = checks.one_of(obj.role_ref.api_group, (group,), "roleRef.apiGroup")
            found += checks.segment(obj.role_ref.name, "roleRef.name")
            # Everywhere nobody has the role of one namespace.
            kinds = ("ClusterRole", "Role") if obj.metadata.namespace else ("ClusterRole",)
            if obj.role_ref.kind not in kinds:
                found.append(errors.not_supported("roleRef.kind", obj.role_ref.kind, kinds))
            for index, subject in enumerate(obj.subjects):
                at = f"subjects[{index}]"
                found += checks.given(subject.name, f"{at}.name") + checks.given(
                    subject.kind, f"{at}.kind"
                )
                found += checks.one_of(
                    subject.kind, ("Group", "ServiceAccount", "User"), f"{at}.kind"
                )
                if subject.kind == "ServiceAccount":
                    found += checks.subdomain(subject.name, f"{at}.name")
                    found += checks.one_of(subject.api_group, ("",), f"{at}.apiGroup")
                    if not obj.metadata.namespace:
                        found += checks.given(subject.namespace, f"{at}.namespace")
                elif subject.kind in ("Group", "User"):
                    found += checks.one_of(subject.api_group, (group,), f"{at}.apiGroup")
            return found
        found = []
        if (aggregation := getattr(obj, "aggregation_rule", None)) is not None:
            at = "aggregationRule.clusterRoleSelectors"
            if not aggregation.cluster_role_selectors:
                why = "at least one clusterRoleSelector required if aggregationRule is non-nil"
                found.append(errors.required(at, why))
            for index, selector in enumerate(aggregation.cluster_role_selectors):
                found += checks.label_selector(selector, f"{at}[{index}]")
        for index, rule in enumerate(obj.rules):
            if not rule.verbs:
                found.append(
                    errors.required(
                        f"rules[{index}].verbs", "verbs must contain at least one value"
                    )
                )
            if rule.non_resource_urls and obj.metadata.namespace:
                why = "namespaced rules cannot apply to non-resource URLs"
                found.append(
                    errors.invalid_value(
                        f"rules[{index}].nonResourceURLs", rule.non_resource_urls, why
                    )
                )
            if not rule.non_resource_urls and not rule.api_groups:
                found.append(
                    errors.required(
                        f"rules[{index}].apiGroups",
                        "resource rules must supply at least one api group",
                    )
                )
            if not rule.non_resource_urls and not rule.resources:
                found.append(
                    errors.required(
                        f"rules[{index}].resources",
                        "resource rules must supply at least one resource",
                    )
                )
        return found

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        if hasattr(new, "role_ref") and new.role_ref != old.role_ref:
            ref = new.role_ref
            told = {
                "APIGroup": ref.api_group,
                "Kind": ref.kind,
                "Name": ref.name,
            }  # as upstream's own type is shown
            return [errors.invalid_value("roleRef", told, "cannot change roleRef")]
        return []


class LeaseStrategy(Strategy):
    create_on_update = True

    def validate(self, obj: Any) -> list[FieldError]:
        duration = obj.spec.lease_duration_seconds
        found = checks.natural(obj.spec.lease_transitions, "spec.leaseTransitions")
        if duration is not None and duration <= 0:
            found.append(
                errors.invalid_value(
                    "spec.leaseDurationSeconds", duration, "must be greater than 0"
                )
            )
        strategy, at = obj.spec.strategy, "spec.strategy"
        if strategy is not None:
            found += [
                errors.invalid_value(at, strategy, why)
                for why in label_key_errors(strategy.removeprefix("/"))
            ]
        elif obj.spec.preferred_holder:
            why = "may only be specified if `strategy` is defined"
            found.append(errors.forbidden_field("spec.preferredHolder", why))
        return found


class PriorityClassStrategy(Strategy):
    generation = True

    def desired(self, obj: Any) -> Any:
        """Nothing that may change counts."""
        return None

    def default(self, obj: Any) -> None:
        obj.preemption_policy = obj.preemption_policy or "PreemptLowerPriority"

    def validate(self, obj: Any) -> list[FieldError]:
        if obj.metadata.name.startswith("system-") and obj.metadata.name not in (
            "system-node-critical",
            "system-cluster-critical",
        ):
            return [
                errors.forbidden_field(
                    "metadata.name",
                    "priority class names with 'system-' prefix are reserved for system use only. error: "
                    + obj.metadata.name,
                )
            ]
        if obj.value > 1000000000 and not obj.metadata.name.startswith("system-"):
            return [
                errors.forbidden_field(
                    "value", "maximum allowed value of a user defined priority is 1000000000"
                )
            ]
        return checks.one_of(
            obj.preemption_policy, ("Never", "PreemptLowerPriority"), "preemptionPolicy"
        )

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return immutable("value", new.value, old.value) + immutable(
            "preemptionPolicy", new.preemption_policy, old.preemption_policy
        )


class APIServiceStrategy(Strategy):
    """The name says what is served: ``v1.apps``, and ``v1.`` for the group without a name."""

    name_errors = staticmethod(path_segment_errors)
    status_alone = True

    def default(self, obj: Any) -> None:
        if obj.spec.service is not None:
            obj.spec.service.port = obj.spec.service.port or 443

    def validate(self, obj: Any) -> list[FieldError]:
        spec, found = obj.spec, list[FieldError]()
        wanted = f"{spec.version}.{spec.group}"
        if obj.metadata.name != wanted:
            found.append(
                errors.invalid_value(
                    "metadata.name",
                    obj.metadata.name,
                    f'must be `spec.version+"."+spec.group`: "{wanted}"',
                )
            )
        if not 0 < spec.group_priority_minimum <= 20000:
            found.append(
                errors.invalid_value(
                    "spec.groupPriorityMinimum",
                    spec.group_priority_minimum,
                    "must be positive and less than 20000",
                )
            )
        if not 0 < spec.version_priority <= 1000:
            found.append(
                errors.invalid_value(
                    "spec.versionPriority",
                    spec.version_priority,
                    "must be positive and less than 1000",
                )
            )
        if spec.service is not None:
            if not spec.service.namespace:
                found.append(errors.required("spec.service.namespace"))
            if not spec.service.name:
                found.append(errors.required("spec.service.name"))
            if spec.insecure_skip_tls_verify and spec.ca_bundle:
                found.append(
                    errors.invalid_value(
                        "spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present"
                    )
                )
        elif spec.ca_bundle or spec.insecure_skip_tls_verify:
            found.append(
                errors.invalid_value(
                    "spec.caBundle", "", "local APIServices may not have a caBundle"
                )
            )
        return found

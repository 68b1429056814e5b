"""The smaller resources: namespaces, nodes, configuration, storage, RBAC, networking, coordination."""

from __future__ import annotations

import ipaddress
from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.apiserver.metadata import validate_labels
from tiphys.apiserver.strategies import checks
from tiphys.apiserver.strategies.base import Strategy, immutable
from tiphys.apiserver.strategies.podvolumes import host_path_errors, nfs_errors
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import config_key_errors, dns_label_errors, dns_subdomain_errors, is_ip, path_segment_errors
from tiphys.machinery.quota import COUNTED


class NamespaceStrategy(Strategy):
    name_errors = staticmethod(dns_label_errors)
    fields = ("status.phase",)

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
    fields = ("spec.unschedulable",)

    def prepare_for_create(self, obj: v1.Node) -> None:
        """A node registers with its status."""

    def default(self, obj: v1.Node) -> None:
        obj.status.allocatable = obj.status.allocatable or dict(obj.status.capacity)

    def validate(self, obj: v1.Node) -> list[FieldError]:
        found = []
        for index, taint in enumerate(obj.spec.taints):
            if not taint.key:
                found.append(errors.required(f"spec.taints[{index}].key"))
            if taint.effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
                allowed = ("NoSchedule", "PreferNoSchedule", "NoExecute")
                found.append(errors.not_supported(f"spec.taints[{index}].effect", taint.effect, allowed))
        return found


class ConfigMapStrategy(Strategy):
    def validate(self, obj: v1.ConfigMap) -> list[FieldError]:
        found = []
        for kind, data in (("data", obj.data), ("binaryData", obj.binary_data)):
            for key in data:
                found += [errors.invalid_value(f"{kind}[{key}]", key, problem) for problem in config_key_errors(key)]
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
            found.append(errors.forbidden_field("binaryData" if part == "binary_data" else part, why))
    return found


_SECRET_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


class SecretStrategy(Strategy):
    fields = ("type",)

    def default(self, obj: v1.Secret) -> None:
        obj.type = obj.type or "Opaque"
        for key, value in obj.string_data.items():
            obj.data[key] = value.encode()
        obj.string_data = {}

    def validate(self, obj: v1.Secret) -> list[FieldError]:
        found = []
        for key in obj.data:
            found += [errors.invalid_value(f"data[{key}]", key, problem) for problem in config_key_errors(key)]
        for key in _SECRET_KEYS.get(obj.type, ()):
            if key not in obj.data:
                found.append(errors.required(f"data[{key}]"))
        account = "kubernetes.io/service-account.name"
        if obj.type == "kubernetes.io/service-account-token" and not obj.metadata.annotations.get(account):
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
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
        "reportingComponent", "source", "type",
    )  # fmt: skip
    create_on_update = True

    def validate(self, obj: v1.Event) -> list[FieldError]:
        wanted = obj.involved_object.namespace or "default"
        if obj.metadata.namespace and wanted != obj.metadata.namespace:
            return [
                errors.invalid_value(
                    "involvedObject.namespace", obj.involved_object.namespace, "does not match event.namespace"
                )
            ]
        return []


class EndpointsStrategy(Strategy):
    def default(self, obj: v1.Endpoints) -> None:
        for subset in obj.subsets:
            for port in subset.ports:
                port.protocol = port.protocol or "TCP"

    def validate(self, obj: v1.Endpoints) -> list[FieldError]:
        found = []
        for at, subset in enumerate(obj.subsets):
            for index, address in enumerate(subset.addresses + subset.not_ready_addresses):
                if not is_ip(address.ip):
                    found.append(
                        errors.invalid_value(
                            f"subsets[{at}].addresses[{index}].ip",
                            address.ip,
                            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                        )
                    )
        return found


class EndpointSliceStrategy(Strategy):
    generation = True

    def desired(self, obj: Any) -> Any:
        return obj.endpoints, obj.ports

    def default(self, obj: Any) -> None:
        for port in obj.ports:
            port.name = port.name or ""
            port.protocol = port.protocol or "TCP"

    def validate(self, obj: Any) -> list[FieldError]:
        allowed = ("FQDN", "IPv4", "IPv6")
        if not obj.address_type:
            return [errors.required("addressType")]
        if obj.address_type not in allowed:
            return [errors.not_supported("addressType", obj.address_type, allowed)]
        found = []
        for index, endpoint in enumerate(obj.endpoints):
            if not endpoint.addresses:
                found.append(errors.required(f"endpoints[{index}].addresses", "must contain at least 1 address"))
            for number, address in enumerate(endpoint.addresses if obj.address_type != "FQDN" else ()):
                found += checks.address(address, f"endpoints[{index}].addresses[{number}]")
        return found

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return immutable("addressType", new.address_type, old.address_type)


class ClaimStrategy(Strategy):
    def default(self, obj: v1.PersistentVolumeClaim) -> None:
        obj.spec.volume_mode = obj.spec.volume_mode or "Filesystem"

    def prepare_for_create(self, obj: v1.PersistentVolumeClaim) -> None:
        obj.status = v1.PersistentVolumeClaimStatus(phase="Pending")

    def validate(self, obj: v1.PersistentVolumeClaim) -> list[FieldError]:
        found = []
        if not obj.spec.access_modes:
            found.append(errors.required("spec.accessModes", "at least 1 access mode is required"))
        found += _modes(obj.spec)
        size = obj.spec.resources.requests.get("storage")
        if size is None:
            found.append(errors.required("spec.resources[storage]"))
        elif quantity.nano(size) <= 0:
            found.append(errors.invalid_value("spec.resources[storage]", size, "must be greater than zero"))
        name = obj.spec.storage_class_name or ""
        return found + checks.named(name, dns_subdomain_errors, "spec.storageClassName")

    def validate_update(self, new: v1.PersistentVolumeClaim, old: v1.PersistentVolumeClaim) -> list[FieldError]:
        import copy

        spec = copy.deepcopy(new.spec)
        wanted, before = spec.resources.requests.get("storage"), old.spec.resources.requests.get("storage")
        found = []
        if wanted is not None and before is not None and old.status.phase == "Bound":
            if quantity.nano(wanted) < quantity.nano(old.status.capacity.get("storage", before)) and wanted != before:
                path = "spec.resources.requests.storage"
                found.append(errors.forbidden_field(path, "field can not be less than status.capacity"))
            spec.resources.requests["storage"] = before
        if not old.spec.volume_name:
            spec.volume_name = ""
        if old.spec.storage_class_name is None:
            spec.storage_class_name = None
        spec.volume_attributes_class_name = old.spec.volume_attributes_class_name
        if spec != old.spec:
            why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
            found.append(errors.forbidden_field("spec", why))
        return found


class VolumeStrategy(Strategy):
    def default(self, obj: v1.PersistentVolume) -> None:
        obj.spec.volume_mode = obj.spec.volume_mode or "Filesystem"
        obj.spec.persistent_volume_reclaim_policy = obj.spec.persistent_volume_reclaim_policy or "Retain"
        if obj.spec.host_path is not None and obj.spec.host_path.type is None:
            obj.spec.host_path.type = ""

    def prepare_for_create(self, obj: v1.PersistentVolume) -> None:
        obj.status = v1.PersistentVolumeStatus(phase="Pending")

    def validate(self, obj: v1.PersistentVolume) -> list[FieldError]:
        found = []
        if not obj.spec.access_modes:
            found.append(errors.required("spec.accessModes"))
        if "storage" not in obj.spec.capacity:
            found.append(errors.required("spec.capacity"))
        found += _modes(obj.spec) + checks.amounts(obj.spec.capacity, "spec.capacity")
        policy = obj.spec.persistent_volume_reclaim_policy
        found += checks.one_of(policy, ("Delete", "Recycle", "Retain"), "spec.persistentVolumeReclaimPolicy")
        sources = _volume_sources(obj.spec)
        if not sources:
            found.append(errors.required("spec", "must specify a volume type"))
        for name in list(sources)[1:]:
            found.append(errors.forbidden_field(f"spec.{name}", "may not specify more than 1 volume type"))
        if obj.spec.host_path is not None:
            found += host_path_errors(obj.spec.host_path, "spec.hostPath")
        if obj.spec.nfs is not None:
            found += nfs_errors(obj.spec.nfs, "spec.nfs")
        return found

    def validate_update(self, new: v1.PersistentVolume, old: v1.PersistentVolume) -> list[FieldError]:
        if _volume_sources(new.spec) == _volume_sources(old.spec):
            return []
        why = "spec.persistentvolumesource is immutable after creation"
        return [errors.forbidden_field("spec.persistentvolumesource", why)]


def _volume_sources(spec: v1.PersistentVolumeSpec) -> dict[str, Any]:
    """What kinds of volume a spec describes, by JSON name."""
    kind = v1.PersistentVolumeSource
    names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    return {name: found for field, name in names if (found := getattr(spec, field)) is not None}


def _modes(spec: Any) -> list[FieldError]:
    """Of a claim or a volume."""
    allowed = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
    found = [error for mode in spec.access_modes for error in checks.one_of(mode, allowed, "spec.accessModes")]
    return found + checks.one_of(spec.volume_mode, ("Block", "Filesystem"), "spec.volumeMode")


class ResourceQuotaStrategy(Strategy):
    def validate(self, obj: v1.ResourceQuota) -> list[FieldError]:
        def whole(name: str) -> bool:
            return name in COUNTED or name.startswith(("count/", "services."))

        found = checks.amounts(obj.spec.hard, "spec.hard", whole)
        if any(scope not in _SCOPES for scope in obj.spec.scopes):
            found.append(errors.invalid_value("spec.scopes", obj.spec.scopes, "unsupported scope"))
        for one, other in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")):
            if {one, other} <= set(obj.spec.scopes):
                found.append(errors.invalid_value("spec.scopes", obj.spec.scopes, "conflicting scopes"))
        return found

    def validate_update(self, new: v1.ResourceQuota, old: v1.ResourceQuota) -> list[FieldError]:
        return immutable("spec.scopes", sorted(new.spec.scopes), sorted(old.spec.scopes))


_SCOPES = frozenset((
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
))  # fmt: skip


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
            if item.type == "Pod":
                for name, values in (("default", item.default), ("defaultRequest", item.default_request)):
                    if values:
                        found.append(errors.forbidden_field(f"{at}.{name}", "may not be specified when `type` is 'Pod'"))
            parts = (
                ("min", item.min), ("defaultRequest", item.default_request), ("default", item.default), ("max", item.max)
            )  # fmt: skip
            shown = {"min": "min", "defaultRequest": "default request", "default": "default", "max": "max"}
            for place, (low, lower) in enumerate(parts):
                for high, higher in parts[place + 1 :]:
                    for resource in lower.keys() & higher.keys():
                        less, more = lower[resource], higher[resource]
                        if quantity.nano(less) > quantity.nano(more):
                            why = f"{shown[low]} value {less} is greater than {shown[high]} value {more}"
                            found.append(errors.invalid_value(f"{at}.{low}[{resource}]", less, why))
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
            found = [] if obj.role_ref.name else [errors.required("roleRef.name")]
            if obj.role_ref.kind not in ("Role", "ClusterRole"):
                found.append(errors.not_supported("roleRef.kind", obj.role_ref.kind, ("ClusterRole", "Role")))
            for index, subject in enumerate(obj.subjects):
                at = f"subjects[{index}]"
                found += checks.given(subject.name, f"{at}.name") + checks.given(subject.kind, f"{at}.kind")
                found += checks.one_of(subject.kind, ("Group", "ServiceAccount", "User"), f"{at}.kind")
                if subject.kind == "ServiceAccount" and not obj.metadata.namespace:
                    found += checks.given(subject.namespace, f"{at}.namespace")
            return found
        found = []
        for index, rule in enumerate(obj.rules):
            if not rule.verbs:
                found.append(errors.required(f"rules[{index}].verbs", "verbs must contain at least one value"))
            if rule.non_resource_urls and obj.metadata.namespace:
                why = "namespaced rules cannot apply to non-resource URLs"
                found.append(errors.invalid_value(f"rules[{index}].nonResourceURLs", rule.non_resource_urls, why))
            if not rule.non_resource_urls and not rule.api_groups:
                found.append(
                    errors.required(f"rules[{index}].apiGroups", "resource rules must supply at least one api group")
                )
            if not rule.non_resource_urls and not rule.resources:
                found.append(
                    errors.required(f"rules[{index}].resources", "resource rules must supply at least one resource")
                )
        return found

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        if hasattr(new, "role_ref") and new.role_ref != old.role_ref:
            return [errors.invalid_value("roleRef", {}, "cannot change roleRef")]
        return []


class LeaseStrategy(Strategy):
    create_on_update = True

    def validate(self, obj: Any) -> list[FieldError]:
        duration = obj.spec.lease_duration_seconds
        if duration is not None and duration <= 0:
            return [errors.invalid_value("spec.leaseDurationSeconds", duration, "must be greater than 0")]
        return []


class IngressStrategy(Strategy):
    generation = True

    def validate(self, obj: Any) -> list[FieldError]:
        if not obj.spec.rules and obj.spec.default_backend is None:
            return [errors.invalid_value("spec", {}, "either `defaultBackend` or `rules` must be specified")]
        found = _backend_errors(obj.spec.default_backend, "spec.defaultBackend")
        for at, rule in enumerate(obj.spec.rules):
            host = rule.host.removeprefix("*.")
            found += [errors.invalid_value(f"spec.rules[{at}].host", rule.host, p) for p in dns_subdomain_errors(host) if host]
            for index, path in enumerate(rule.http.paths if rule.http else ()):
                if path.path_type not in ("Exact", "Prefix", "ImplementationSpecific"):
                    allowed = ("Exact", "ImplementationSpecific", "Prefix")
                    where = f"spec.rules[{at}].http.paths[{index}].pathType"
                    found.append(
                        errors.not_supported(where, path.path_type, allowed)
                        if path.path_type
                        else errors.required(where, "pathType must be specified")
                    )
                one = f"spec.rules[{at}].http.paths[{index}]"
                if path.path_type in ("Exact", "Prefix") and not path.path.startswith("/"):
                    found.append(errors.invalid_value(f"{one}.path", path.path, "must be an absolute path"))
                found += _backend_errors(path.backend, f"{one}.backend")
        return found


def _backend_errors(backend: Any, at: str) -> list[FieldError]:
    if backend is None or backend.resource is not None:
        return []
    if backend.service is None:
        return [errors.required(f"{at}.name")]
    found = checks.given(backend.service.name, f"{at}.service.name")
    port = backend.service.port
    if port is None or not (port.name or port.number):
        found.append(errors.required(at, "port name or number is required"))
    elif port.number:
        found += checks.port(port.number, f"{at}.service.port.number")
    return found


class NetworkPolicyStrategy(Strategy):
    generation = True

    def default(self, obj: Any) -> None:
        if not obj.spec.policy_types:
            obj.spec.policy_types = ["Ingress", "Egress"] if obj.spec.egress else ["Ingress"]
        for rule in [*obj.spec.ingress, *obj.spec.egress]:
            for port in rule.ports:
                port.protocol = port.protocol or "TCP"

    def validate(self, obj: Any) -> list[FieldError]:
        found: list[FieldError] = []
        for index, kind in enumerate(obj.spec.policy_types):
            found += checks.one_of(kind, ("Egress", "Ingress"), f"spec.policyTypes[{index}]")
        for index, rule in enumerate(obj.spec.ingress):
            found += self._rule(rule.ports, rule.from_, f"spec.ingress[{index}]", "from")
        for index, rule in enumerate(obj.spec.egress):
            found += self._rule(rule.ports, rule.to, f"spec.egress[{index}]", "to")
        return found

    @staticmethod
    def _rule(ports: Any, peers: Any, path: str, direction: str) -> list[FieldError]:
        found: list[FieldError] = []
        for index, port in enumerate(ports):
            at = f"{path}.ports[{index}]"
            found += checks.one_of(port.protocol, ("SCTP", "TCP", "UDP"), f"{at}.protocol")
            found += checks.port(port.port, f"{at}.port")
            if port.end_port is not None and isinstance(port.port, int) and port.end_port < port.port:
                why = "must be greater than or equal to `port`"
                found.append(errors.invalid_value(f"{at}.endPort", port.end_port, why))
        for index, peer in enumerate(peers):
            at, block = f"{path}.{direction}[{index}].ipBlock", peer.ip_block
            if block is None:
                continue
            wrong = checks.network(block.cidr, f"{at}.cidr") if block.cidr else [errors.required(f"{at}.cidr")]
            for number, cidr in enumerate(block.except_ if not wrong else ()):
                where = f"{at}.except[{number}]"
                bad = checks.network(cidr, where)
                wrong += bad
                if not bad and not _inside(cidr, block.cidr):
                    wrong.append(errors.invalid_value(where, cidr, "must be a strict subset of `cidr`"))
            found += wrong
        return found


def _inside(inner: str, outer: str) -> bool:
    small, large = (ipaddress.ip_network(text, strict=False) for text in (inner, outer))
    if small.version != large.version or small == large:
        return False
    return small.subnet_of(large)  # type: ignore[arg-type]


class PriorityClassStrategy(Strategy):
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
            return [errors.forbidden_field("value", "maximum allowed value of a user defined priority is 1000000000")]
        return checks.one_of(obj.preemption_policy, ("Never", "PreemptLowerPriority"), "preemptionPolicy")

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return immutable("value", new.value, old.value) + immutable(
            "preemptionPolicy", new.preemption_policy, old.preemption_policy
        )


class StorageClassStrategy(Strategy):
    def default(self, obj: Any) -> None:
        obj.reclaim_policy = obj.reclaim_policy or "Delete"
        obj.volume_binding_mode = obj.volume_binding_mode or "Immediate"

    def validate(self, obj: Any) -> list[FieldError]:
        found = checks.given(obj.provisioner, "provisioner")
        found += checks.one_of(obj.reclaim_policy, ("Delete", "Retain"), "reclaimPolicy")
        return found + checks.one_of(obj.volume_binding_mode, ("Immediate", "WaitForFirstConsumer"), "volumeBindingMode")

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return [
            errors.forbidden_field(name, f"updates to {name} are forbidden.")
            for name, attribute in (
                ("parameters", "parameters"), ("provisioner", "provisioner"), ("reclaimPolicy", "reclaim_policy"),
            )
            if getattr(new, attribute) != getattr(old, attribute)
        ] + immutable("volumeBindingMode", new.volume_binding_mode, old.volume_binding_mode)  # fmt: skip


class CSRStrategy(Strategy):
    fields = ("spec.signerName",)

    def validate(self, obj: Any) -> list[FieldError]:
        from tiphys.apiserver.admission.certificates import request_errors

        return request_errors(obj.spec)

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return immutable("spec", new.spec, old.spec)


class APIServiceStrategy(Strategy):
    """The name says what is served: ``v1.apps``, and ``v1.`` for the group without a name."""

    name_errors = staticmethod(path_segment_errors)

    def default(self, obj: Any) -> None:
        if obj.spec.service is not None:
            obj.spec.service.port = obj.spec.service.port or 443

    def validate(self, obj: Any) -> list[FieldError]:
        spec, found = obj.spec, list[FieldError]()
        wanted = f"{spec.version}.{spec.group}"
        if obj.metadata.name != wanted:
            found.append(
                errors.invalid_value(
                    "metadata.name", obj.metadata.name, f'must be `spec.version+"."+spec.group`: "{wanted}"'
                )
            )
        if not 0 < spec.group_priority_minimum <= 20000:
            found.append(
                errors.invalid_value(
                    "spec.groupPriorityMinimum", spec.group_priority_minimum, "must be positive and less than 20000"
                )
            )
        if not 0 < spec.version_priority <= 1000:
            found.append(
                errors.invalid_value(
                    "spec.versionPriority", spec.version_priority, "must be positive and less than 1000"
                )
            )
        if spec.service is not None:
            if not spec.service.namespace:
                found.append(errors.required("spec.service.namespace"))
            if not spec.service.name:
                found.append(errors.required("spec.service.name"))
            if spec.insecure_skip_tls_verify and spec.ca_bundle:
                found.append(
                    errors.invalid_value("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present")
                )
        elif spec.ca_bundle or spec.insecure_skip_tls_verify:
            found.append(errors.invalid_value("spec.caBundle", "", "local APIServices may not have a caBundle"))
        return found


class GenerationStrategy(Strategy):
    """Nothing of its own but a counted spec."""

    generation = True


class IPAddressStrategy(Strategy):
    name_errors = staticmethod(lambda name: [] if is_ip(name) else ["must be a valid IP address"])


class LabelledStrategy(Strategy):
    def validate(self, obj: Any) -> list[FieldError]:
        return validate_labels(obj.metadata.labels, "metadata.labels")

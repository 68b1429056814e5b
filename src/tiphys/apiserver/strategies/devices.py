"""Devices: what drivers offer in slices, what classes and claims ask for, what was allocated."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tiphys.api import resource_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.apiserver.strategies.base import Strategy, immutable
from tiphys.apiserver.strategies.checks import amounts, driver, given, named, natural, one_of
from tiphys.apiserver.strategies.podplacement import validate_node_selector
from tiphys.machinery import errors, quantity, timestamps
from tiphys.machinery.cel.checker import check, type_of
from tiphys.machinery.cel.parser import parse
from tiphys.machinery.cel.values import CelError
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, dns_subdomain_errors, label_key_errors, label_value_errors
from tiphys.machinery.structural import compile_schema
from tiphys.store.cache import Selectable

ADMIN_LABEL = "resource.kubernetes.io/admin-access"
_MOST_REQUESTS = 32
_MOST_BYTES = 10 * 1024
_MOST_COST = 1_000_000
_EFFECTS = ("NoExecute", "NoSchedule", "None")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_IDENTIFIER_WORDS = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'"
    " (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')"
)
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?\Z"
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_BY_DOMAIN = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": {}}}
_DEVICE = {
    "device": type_of(compile_schema({
        "type": "object",
        "properties": {
            "driver": {"type": "string"}, "attributes": _BY_DOMAIN, "capacity": _BY_DOMAIN,
            "allowMultipleAllocations": {"type": "boolean"},
        },
    }))
}  # fmt: skip
_WIDER = re.compile(r"\bcel\.bind\(|\.includes\(")


# --- parts --------------------------------------------------------------------------------------------------------


def _each(
    items: Sequence[Any],
    at: str,
    rules: Callable[[Any, str], Iterable[FieldError]],
    most: int,
    key: Callable[[Any], Any] | None = None,
    key_name: str = "",
) -> list[FieldError]:
    """Rules of every entry of a list that has `most` entries and, with `key`, none twice."""
    found: list[FieldError] = []
    seen = set()
    for index, item in enumerate(items):
        where = f"{at}[{index}]"
        found += rules(item, where)
        if key is not None:
            if (value := key(item)) in seen:
                found.append(errors.duplicate(f"{where}.{key_name}" if key_name else where, value))
            seen.add(value)
    return found + ([errors.too_many(at, len(items), most)] if len(items) > most else [])


def _itself(value: Any) -> Any:
    return value


def _name(value: str, at: str) -> list[FieldError]:
    return given(value, at) + named(value, dns_label_errors, at)


def _pool(value: str, at: str) -> list[FieldError]:
    if not value:
        return [errors.required(at)]
    found = [errors.too_long(at, 253)] if len(value) > 253 else []
    for part in value.split("/"):
        found += [errors.invalid_value(at, part, why) for why in dns_subdomain_errors(part)]
    return found


def _identifier(value: str, at: str) -> list[FieldError]:
    found = [errors.too_long(at, 32)] if len(value) > 32 else []
    return found + ([] if _IDENTIFIER.match(value) else [errors.invalid_value(at, value, _IDENTIFIER_WORDS)])


def _attribute_name(value: str, at: str) -> list[FieldError]:
    """A C identifier, after the domain of whoever defines it and a slash if that is not the driver."""
    if not value:
        return [errors.required(at, "name required")]
    domain, slash, name = value.partition("/")
    if not slash:
        return _identifier(value, at)
    found = driver(domain, at) if domain else [errors.invalid_value(at, "", "the domain must not be empty")]
    return found + (_identifier(name, at) if name else [errors.invalid_value(at, "", "the name must not be empty")])


def _full_name(value: str, at: str) -> list[FieldError]:
    found = _attribute_name(value, at)
    if value and "/" not in value:
        found.append(errors.invalid_value(at, value, "must include a domain"))
    return found


def _node_selector(value: Any, at: str) -> list[FieldError]:
    found = validate_node_selector(value, at)
    if len(value.node_selector_terms) != 1:
        why = "must have exactly one node selector term"
        found.append(errors.invalid_value(f"{at}.nodeSelectorTerms", to_builtins(value.node_selector_terms), why))
    return found


def _raw(value: Any, at: str, most: int = _MOST_BYTES) -> list[FieldError]:
    if value is None:
        return [errors.required(at)]
    if len(json.dumps(value, separators=(",", ":"))) > most:
        return [errors.too_long(at, most)]
    return [] if isinstance(value, dict) else [errors.invalid_value(at, "<value omitted>", "must be a valid JSON object")]


def _selectors(selectors: list[v1.DeviceSelector], at: str) -> list[FieldError]:
    return _each(selectors, at, _selector, 32)


def _selector(selector: v1.DeviceSelector, at: str) -> list[FieldError]:
    if selector.cel is None:
        return [errors.required(f"{at}.cel")]
    text, where = selector.cel.expression, f"{at}.cel.expression"
    if len(text) > _MOST_BYTES:
        return [errors.too_long(where, _MOST_BYTES)]
    try:
        if _WIDER.search(text):  # functions that only selectors of devices have
            parse(text)
        elif check(text, _DEVICE) > _MOST_COST:
            return [errors.forbidden_field(where, "too complex, exceeds cost limit")]
    except CelError as error:
        return [errors.invalid_value(where, text, f"compilation failed: {error}")]
    return []


def _configuration(config: v1.DeviceConfiguration, at: str) -> list[FieldError]:
    if config.opaque is None:
        return [errors.required(f"{at}.opaque")]
    at = f"{at}.opaque"
    return driver(config.opaque.driver, f"{at}.driver") + _raw(config.opaque.parameters, f"{at}.parameters")


def _toleration(toleration: v1.DeviceToleration, at: str) -> list[FieldError]:
    found = named(toleration.key, label_key_errors, f"{at}.key")
    if not toleration.key and toleration.operator == "Equal":
        why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        found.append(errors.invalid_value(f"{at}.operator", toleration.operator, why))
    if toleration.operator == "Exists":
        if toleration.value:
            found.append(errors.invalid_value(f"{at}.value", toleration.value, "must be empty for operator `Exists`"))
    elif toleration.operator == "Equal":
        found += named(toleration.value, label_value_errors, f"{at}.value")
    found += given(toleration.operator, f"{at}.operator") + one_of(toleration.operator, ("Equal", "Exists"), f"{at}.operator")
    return found + one_of(toleration.effect, _EFFECTS, f"{at}.effect")


# --- claims -------------------------------------------------------------------------------------------------------


def _default_claim(spec: v1.ResourceClaimSpec) -> None:
    for request in spec.devices.requests:
        asked: list[Any] = [*request.first_available, *([request.exactly] if request.exactly is not None else [])]
        for one in asked:
            one.allocation_mode = one.allocation_mode or "ExactCount"
            if one.allocation_mode == "ExactCount":
                one.count = one.count or 1
            for toleration in one.tolerations:
                toleration.operator = toleration.operator or "Equal"


def request_names(spec: v1.ResourceClaimSpec) -> set[str]:
    """What constraints, configurations and results may name: requests, and ``request/subrequest``."""
    found = set()
    for request in spec.devices.requests:
        found.add(request.name)
        found.update(f"{request.name}/{sub.name}" for sub in request.first_available)
    return found


def claim_errors(spec: v1.ResourceClaimSpec, at: str) -> list[FieldError]:
    """What is wrong with what a claim asks for."""
    at, names = f"{at}.devices", request_names(spec)
    found = _each(spec.devices.requests, f"{at}.requests", _request, _MOST_REQUESTS, lambda r: r.name, "name")
    found += _each(spec.devices.constraints, f"{at}.constraints", lambda one, where: _constraint(one, where, names), 32)

    def configuration(config: v1.DeviceClaimConfiguration, where: str) -> list[FieldError]:
        return _named_requests(config.requests, f"{where}.requests", names) + _configuration(config, where)

    return found + _each(spec.devices.config, f"{at}.config", configuration, 32)


def _request(request: v1.DeviceRequest, at: str) -> list[FieldError]:
    found = _name(request.name, f"{at}.name")
    if request.first_available:
        found += _each(request.first_available, f"{at}.firstAvailable", _subrequest, 8, lambda r: r.name, "name")
    if request.exactly is not None:
        found += _asked(request.exactly, f"{at}.exactly")
    kinds = bool(request.first_available) + (request.exactly is not None)
    why = "exactly one of `exactly` or `firstAvailable` is required"
    if kinds == 0:
        found.append(errors.required(at, why))
    elif kinds > 1:
        found.append(errors.invalid_value(at, None, f"{why}, but multiple fields are set"))
    return found


def _subrequest(request: v1.DeviceSubRequest, at: str) -> list[FieldError]:
    return _name(request.name, f"{at}.name") + _asked(request, at)


def _asked(request: v1.ExactDeviceRequest | v1.DeviceSubRequest, at: str) -> list[FieldError]:
    where = f"{at}.deviceClassName"
    found = given(request.device_class_name, where) + named(request.device_class_name, dns_subdomain_errors, where)
    found += _selectors(request.selectors, f"{at}.selectors")
    if request.allocation_mode == "All":
        if request.count:
            why = "must not be specified when allocationMode is 'All'"
            found.append(errors.invalid_value(f"{at}.count", request.count, why))
    elif request.allocation_mode == "ExactCount":
        if request.count <= 0:
            found.append(errors.invalid_value(f"{at}.count", request.count, "must be greater than zero"))
    else:
        found.append(errors.not_supported(f"{at}.allocationMode", request.allocation_mode, ("All", "ExactCount")))
    found += _each(request.tolerations, f"{at}.tolerations", _toleration, 16)
    if request.capacity is not None:
        for name in request.capacity.requests:
            found += _attribute_name(name, f"{at}.capacity.requests[{name}]")
        found += amounts(request.capacity.requests, f"{at}.capacity.requests")
    return found


def _named_requests(names: list[str], at: str, known: set[str]) -> list[FieldError]:
    why = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"

    def rule(name: str, where: str) -> list[FieldError]:
        return [] if name in known else [errors.invalid_value(where, name, why)]

    return _each(names, at, rule, _MOST_REQUESTS, _itself)


def _constraint(constraint: v1.DeviceConstraint, at: str, names: set[str]) -> list[FieldError]:
    found = _named_requests(constraint.requests, f"{at}.requests", names)
    kinds = {"matchAttribute": constraint.match_attribute, "distinctAttribute": constraint.distinct_attribute}
    asked = {name: value for name, value in kinds.items() if value is not None}
    why = "exactly one of `matchAttribute` or `distinctAttribute` is required"
    for name, value in asked.items():
        found += _full_name(value, f"{at}.{name}")
    if not asked:
        found.append(errors.required(at, why))
    elif len(asked) > 1:
        found.append(errors.invalid_value(at, to_builtins(constraint), f"{why}, but multiple fields are set"))
    return found


def _admin_errors(spec: v1.ResourceClaimSpec, namespace: str, registry: Any) -> list[FieldError]:
    """Access past other claims is for namespaces that administrators have marked."""
    asking = (i for i, request in enumerate(spec.devices.requests) if request.exactly and request.exactly.admin_access)
    if (index := next(asking, None)) is None:
        return []
    space = registry.lookup("namespaces", "", namespace)
    if space is not None and space.metadata.labels.get(ADMIN_LABEL) == "true":
        return []
    why = f"admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"
    return [errors.forbidden_field(f"spec.devices.requests[{index}].exactly.adminAccess", why)]


class ResourceClaimStrategy(Strategy):
    def default(self, obj: v1.ResourceClaim) -> None:
        _default_claim(obj.spec)

    def validate(self, obj: v1.ResourceClaim) -> list[FieldError]:
        return claim_errors(obj.spec, "spec")

    def validate_new(self, obj: v1.ResourceClaim, registry: Any) -> list[FieldError]:
        return self.validate(obj) + _admin_errors(obj.spec, obj.metadata.namespace, registry)

    def validate_update(self, new: v1.ResourceClaim, old: v1.ResourceClaim) -> list[FieldError]:
        return immutable("spec", new.spec, old.spec)

    def validate_status(self, new: v1.ResourceClaim, old: v1.ResourceClaim) -> list[FieldError]:
        status, before, names = new.status, old.status, request_names(new.spec)
        found = _each(status.reserved_for, "status.reservedFor", _consumer, 256, lambda one: one.uid, "uid")
        found += _each(status.devices, "status.devices", _device_status, _MOST_REQUESTS * 8, _device_key)
        if status.allocation is None:
            if status.reserved_for:
                why = "may not be specified when `allocated` is not set"
                found.append(errors.forbidden_field("status.reservedFor", why))
        elif new.metadata.deletion_timestamp is not None:
            if {one.uid for one in status.reserved_for} - {one.uid for one in before.reserved_for}:
                why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
                found.append(errors.forbidden_field("status.reservedFor", why))
        if status.allocation is not None and before.allocation is not None:
            found += immutable("status.allocation", status.allocation, before.allocation)
        elif status.allocation is not None:
            found += _allocation(status.allocation, "status.allocation", names)
        return found


class ResourceClaimTemplateStrategy(Strategy):
    def default(self, obj: v1.ResourceClaimTemplate) -> None:
        _default_claim(obj.spec.spec)

    def validate(self, obj: v1.ResourceClaimTemplate) -> list[FieldError]:
        return claim_errors(obj.spec.spec, "spec.spec")

    def validate_new(self, obj: v1.ResourceClaimTemplate, registry: Any) -> list[FieldError]:
        return self.validate(obj) + _admin_errors(obj.spec.spec, obj.metadata.namespace, registry)

    def validate_update(self, new: v1.ResourceClaimTemplate, old: v1.ResourceClaimTemplate) -> list[FieldError]:
        return immutable("spec", new.spec, old.spec)


# --- what was allocated -------------------------------------------------------------------------------------------


def _consumer(one: v1.ResourceClaimConsumerReference, at: str) -> list[FieldError]:
    return given(one.resource, f"{at}.resource") + given(one.name, f"{at}.name") + given(one.uid, f"{at}.uid")


def _device_key(device: Any) -> tuple[str, ...]:
    return device.driver, device.pool, device.device, device.share_id or ""


def _device_reference(device: Any, at: str) -> list[FieldError]:
    found = driver(device.driver, f"{at}.driver") + _pool(device.pool, f"{at}.pool") + _name(device.device, f"{at}.device")
    if device.share_id is not None and not _UUID.match(device.share_id):
        why = "must be a lowercase UUID in 8-4-4-4-12 format"
        found.append(errors.invalid_value(f"{at}.shareID", device.share_id, why))
    return found


def _device_status(device: v1.AllocatedDeviceStatus, at: str) -> list[FieldError]:
    found = _device_reference(device, at)
    if len(device.conditions) > 8:
        found.append(errors.too_many(f"{at}.conditions", len(device.conditions), 8))
    if device.data is not None:
        found += _raw(device.data, f"{at}.data")
    if (network := device.network_data) is not None:
        at = f"{at}.networkData"
        if len(network.interface_name) > 256:
            found.append(errors.too_long(f"{at}.interfaceName", 256))
        if len(network.hardware_address) > 128:
            found.append(errors.too_long(f"{at}.hardwareAddress", 128))
        found += _each(network.ips, f"{at}.ips", lambda value, where: [], 16, _itself)
    return found


def _allocation(result: v1.AllocationResult, at: str, names: set[str]) -> list[FieldError]:
    why = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"

    def allocated(one: v1.DeviceRequestAllocationResult, where: str) -> list[FieldError]:
        found = [] if one.request in names else [errors.invalid_value(f"{where}.request", one.request, why)]
        return found + _device_reference(one, where) + _each(one.tolerations, f"{where}.tolerations", _toleration, 16)

    def configuration(one: v1.DeviceAllocationConfiguration, where: str) -> list[FieldError]:
        found = given(one.source, f"{where}.source") + one_of(one.source, ("FromClaim", "FromClass"), f"{where}.source")
        return found + _named_requests(one.requests, f"{where}.requests", names) + _configuration(one, where)

    found = _each(result.devices.results, f"{at}.devices.results", allocated, _MOST_REQUESTS)
    found += _each(result.devices.config, f"{at}.devices.config", configuration, 64)
    return found + (_node_selector(result.node_selector, f"{at}.nodeSelector") if result.node_selector is not None else [])


# --- classes and slices -------------------------------------------------------------------------------------------


class DeviceClassStrategy(Strategy):
    generation = True

    def validate(self, obj: v1.DeviceClass) -> list[FieldError]:
        found = _selectors(obj.spec.selectors, "spec.selectors") + _each(obj.spec.config, "spec.config", _configuration, 32)
        name, at = obj.spec.extended_resource_name, "spec.extendedResourceName"
        if name is None:
            return found
        if "/" not in name:
            why = "a name must be a domain-prefixed path, such as 'example.com/my-prop'"
            found.append(errors.invalid_value(at, name, why))
        elif "kubernetes.io/" in name:
            found.append(errors.invalid_value(at, name, 'must not have "kubernetes.io/" domain'))
        if name.startswith("requests."):
            found.append(errors.invalid_value(at, name, 'must not have "requests." prefix'))
        return found + [errors.invalid_value(at, name, why) for why in label_key_errors(f"requests.{name}")]


class ResourceSliceStrategy(Strategy):
    generation = True
    fields = (Selectable("spec.nodeName"), Selectable("spec.driver"))

    def default(self, obj: v1.ResourceSlice) -> None:
        for device in obj.spec.devices:
            for taint in device.taints:
                taint.time_added = taint.time_added or timestamps.rfc3339(time.time())

    def validate(self, obj: v1.ResourceSlice) -> list[FieldError]:
        spec = obj.spec
        found = driver(spec.driver, "spec.driver") + _pool(spec.pool.name, "spec.pool.name")
        if spec.pool.resource_slice_count <= 0:
            count = spec.pool.resource_slice_count
            found.append(errors.invalid_value("spec.pool.resourceSliceCount", count, "must be greater than zero"))
        found += natural(spec.pool.generation, "spec.pool.generation")
        where, wrong = _where(spec, "spec")
        found += wrong
        why = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
        if not where:
            found.append(errors.required("spec", why))
        elif len(where) > 1:
            shown = "{" + ", ".join(where) + "}"
            found.append(errors.invalid_value("spec", shown, f"{why}, but multiple fields are set"))
        if spec.devices and spec.shared_counters:
            why = "only one of `sharedCounters` or `devices` is allowed"
            found.append(errors.invalid_value("spec", "{`sharedCounters`, `devices`}", why))
        wide = any(d.taints or d.consumes_counters or _lists(d) for d in spec.devices)
        per_device = bool(spec.per_device_node_selection)
        found += _each(
            spec.devices, "spec.devices", lambda d, at: _device(d, at, per_device), 64 if wide else 128,
            lambda device: device.name, "name",
        )  # fmt: skip
        return found + _each(spec.shared_counters, "spec.sharedCounters", _counter_set, 8, lambda one: one.name, "name")

    def validate_update(self, new: v1.ResourceSlice, old: v1.ResourceSlice) -> list[FieldError]:
        return [
            *immutable("spec.pool.name", new.spec.pool.name, old.spec.pool.name),
            *immutable("spec.driver", new.spec.driver, old.spec.driver),
            *immutable("spec.nodeName", new.spec.node_name, old.spec.node_name),
        ]


def _where(spec: v1.ResourceSliceSpec | v1.Device, at: str) -> tuple[list[str], list[FieldError]]:
    """(the fields that say where devices are, what is wrong with them)."""
    told, found = [], list[FieldError]()
    if spec.node_name is not None:
        if spec.node_name:
            told.append("`nodeName`")
            found += named(spec.node_name, dns_subdomain_errors, f"{at}.nodeName")
        else:
            why = "must be either unset or set to a non-empty string"
            found.append(errors.invalid_value(f"{at}.nodeName", "", why))
    if spec.node_selector is not None:
        told.append("`nodeSelector`")
        found += _node_selector(spec.node_selector, f"{at}.nodeSelector")
    flags = {"allNodes": spec.all_nodes}
    if isinstance(spec, v1.ResourceSliceSpec):
        flags["perDeviceNodeSelection"] = spec.per_device_node_selection
    for name, value in flags.items():
        if value:
            told.append(f"`{name}`")
        elif value is not None:
            found.append(errors.invalid_value(f"{at}.{name}", value, "must be either unset or set to true"))
    return told, found


def _lists(device: v1.Device) -> bool:
    return any(a.ints or a.bools or a.strings or a.versions for a in device.attributes.values())


def _device(device: v1.Device, at: str, per_device: bool) -> list[FieldError]:
    found = _name(device.name, f"{at}.name")
    total = len(device.attributes) + len(device.capacity)
    if total > 32:
        why = "the total number of attributes and capacities must not exceed 32"
        found.append(errors.invalid_value(at, total, why))
    for name, attribute in device.attributes.items():
        where = f"{at}.attributes[{name}]"
        found += _attribute_name(name, where) + _attribute(attribute, where)
    for name, capacity in device.capacity.items():
        where = f"{at}.capacity[{name}]"
        found += _attribute_name(name, where)
        if capacity.request_policy is not None:
            if device.allow_multiple_allocations:
                found += _request_policy(capacity, f"{where}.requestPolicy")
            else:
                why = "allowMultipleAllocations must be true"
                found.append(errors.forbidden_field(f"{where}.requestPolicy", why))
    found += _each(device.taints, f"{at}.taints", _taint, 16)

    def consumption(one: v1.DeviceCounterConsumption, where: str) -> list[FieldError]:
        return _name(one.counter_set, f"{where}.counterSet") + _counters(one.counters, f"{where}.counters")

    key = "counterSet"
    found += _each(device.consumes_counters, f"{at}.consumesCounters", consumption, 2, lambda one: one.counter_set, key)
    told, wrong = _where(device, at)
    found += wrong
    why = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required"
    if per_device and not told:
        found.append(errors.required(at, f"{why} when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"))
    elif per_device and len(told) > 1:
        shown = "{" + ", ".join(told) + "}"
        found.append(errors.invalid_value(at, shown, f"{why} when `perDeviceNodeSelection` is set to true"))
    elif told and not per_device:
        why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true"
        found.append(errors.invalid_value(at, None, why))
    for name in ("bindingConditions", "bindingFailureConditions"):
        values = device.binding_conditions if name == "bindingConditions" else device.binding_failure_conditions
        found += _each(values, f"{at}.{name}", lambda v, where: named(v, label_key_errors, where), 4, _itself)
    return found


def _attribute(attribute: v1.DeviceAttribute, at: str) -> list[FieldError]:
    found, values = list[FieldError](), to_builtins(attribute)
    texts = [("string", attribute.string), *((f"strings[{i}]", s) for i, s in enumerate(attribute.strings))]
    versions = [("version", attribute.version), *((f"versions[{i}]", s) for i, s in enumerate(attribute.versions))]
    for name, text in (*texts, *versions):
        if text is not None and len(text) > 64:
            found.append(errors.too_long(f"{at}.{name}", 64))
    for name, version in versions:
        if version is not None and not _SEMVER.match(version):
            why = "must be a string compatible with semver.org spec 2.0.0"
            found.append(errors.invalid_value(f"{at}.{name}", version, why))
    if not values:
        found.append(errors.required(at, "exactly one value must be specified"))
    elif len(values) > 1:
        found.append(errors.invalid_value(at, values, "exactly one value must be specified"))
    return found


def _request_policy(capacity: v1.DeviceCapacity, at: str) -> list[FieldError]:
    """What a part of a shared device's capacity may be."""
    policy, whole, found = capacity.request_policy, quantity.nano(capacity.value), list[FieldError]()
    assert policy is not None
    default = policy.default
    if (policy.valid_values or policy.valid_range is not None) and default is None:
        found.append(errors.required(f"{at}.default", "required when validValues or validRange is defined"))
    if default is not None and quantity.nano(default) > whole:
        found.append(errors.invalid_value(f"{at}.default", default, f"default is larger than capacity value: {capacity.value}"))
    if policy.valid_values and policy.valid_range is not None:
        found.append(errors.forbidden_field(at, "exactly one policy can be specified, cannot specify `validValues` and `validRange` at the same time"))  # fmt: skip
    values = [quantity.nano(value) for value in policy.valid_values]
    if len(values) > 10:
        found.append(errors.too_many(f"{at}.validValues", len(values), 10))
    for index, value in enumerate(values):
        where, shown = f"{at}.validValues[{index}]", policy.valid_values[index]
        if index and value <= values[index - 1]:
            found.append(errors.invalid_value(where, shown, "values must be sorted in ascending order"))
        if value > whole:
            found.append(errors.invalid_value(where, shown, f"option is larger than capacity value: {capacity.value}"))
    if values and default is not None and quantity.nano(default) not in values:
        found.append(errors.invalid_value(f"{at}.validValues", default, "default value is not valid according to the requestPolicy"))
    if (bounds := policy.valid_range) is not None:
        found += _range(bounds, default, capacity.value, f"{at}.validRange")
    return found


def _range(bounds: v1.CapacityRequestPolicyRange, default: str | None, whole: str, at: str) -> list[FieldError]:
    if bounds.min is None:
        return [errors.required(f"{at}.min", "required when validRange is defined")]
    found, least, most = list[FieldError](), quantity.nano(bounds.min), quantity.nano(bounds.max or whole)
    if least > quantity.nano(whole):
        found.append(errors.invalid_value(f"{at}.min", bounds.min, f"min is larger than capacity value: {whole}"))
    if bounds.max is not None:
        if least > most:
            found.append(errors.invalid_value(f"{at}.min", bounds.min, f"min is larger than max value: {bounds.max}"))
        if most > quantity.nano(whole):
            found.append(errors.invalid_value(f"{at}.max", bounds.max, f"max is larger than capacity value: {whole}"))
    wanted = quantity.nano(default) if default is not None else least
    if wanted < least:
        found.append(errors.invalid_value(f"{at}.min", default, f"default is less than min: {bounds.min}"))
    if wanted > most and bounds.max is not None:
        found.append(errors.invalid_value(f"{at}.max", default, f"default is more than max: {bounds.max}"))
    if bounds.step is not None and (step := quantity.nano(bounds.step)) > 0:
        if least + step > quantity.nano(whole):
            found.append(errors.invalid_value(f"{at}.step", bounds.step, f"one step is larger than capacity value: {whole}"))
        for value, shown in ((most, bounds.max), (wanted, default)):
            if shown is not None and (value - least) % step:
                found.append(errors.invalid_value(f"{at}.step", shown, f"value is not a multiple of a given step ({bounds.step}) from ({bounds.min})"))  # fmt: skip
    return found


def _taint(taint: v1.DeviceTaint, at: str) -> list[FieldError]:
    found = [errors.invalid_value(f"{at}.key", taint.key, why) for why in label_key_errors(taint.key)]
    found += named(taint.value, label_value_errors, f"{at}.value")
    return found + given(taint.effect, f"{at}.effect") + one_of(taint.effect, _EFFECTS, f"{at}.effect")


def _counter_set(counters: v1.CounterSet, at: str) -> list[FieldError]:
    return _name(counters.name, f"{at}.name") + _counters(counters.counters, f"{at}.counters")


def _counters(counters: dict[str, v1.Counter], at: str) -> list[FieldError]:
    found = given(counters, at)
    for name in counters:
        found += [errors.invalid_value(at, name, why) for why in dns_label_errors(name)]
    return found + ([errors.too_many(at, len(counters), 32)] if len(counters) > 32 else [])

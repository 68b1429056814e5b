"""Devices that claims ask for, and what was allocated to them. What drivers offer is in `deviceslices`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tiphys.api import resource_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.checks import amounts, driver, given, named, one_of
from tiphys.apiserver.resources.podplacement import validate_node_selector
from tiphys.machinery import errors
from tiphys.machinery.cel.checker import check, type_of
from tiphys.machinery.cel.declared import Declared
from tiphys.machinery.cel.parser import parse
from tiphys.machinery.cel.values import CelError
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import (
    dns_label_errors,
    dns_subdomain_errors,
    label_key_errors,
    label_value_errors,
)
from tiphys.machinery.structural import compile_schema

ADMIN_LABEL = "resource.kubernetes.io/admin-access"
_MOST_REQUESTS = 32
_MOST_BYTES = 10 * 1024
_MOST_COST = 1_000_000
EFFECTS = ("NoExecute", "NoSchedule", "None")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_IDENTIFIER_WORDS = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'"
    " (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')"
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_WHATEVER = {"x-kubernetes-int-or-string": True}  # of a type that only its value tells
_BY_DOMAIN = {
    "type": "object",
    "additionalProperties": {"type": "object", "additionalProperties": _WHATEVER},
}
_DEVICE = {
    "device": type_of(
        compile_schema(
            {
                "type": "object",
                "properties": {
                    "driver": {"type": "string"},
                    "attributes": _BY_DOMAIN,
                    "capacity": _BY_DOMAIN,
                    "allowMultipleAllocations": {"type": "boolean"},
                },
            }
        )
    )
}


def _sizes() -> Declared:
    """How large what selectors see may be: as upstream declares it, by its limits of ResourceSlices."""
    attribute = Declared(64)  # the longest value
    inner = Declared(32, lookup=lambda name: attribute, item=lambda: attribute, key=Declared(32))
    outer = Declared(32, item=lambda: inner, key=Declared(63))
    amounts = Declared(32, item=lambda: Declared(), key=Declared(32))
    capacity = Declared(32, item=lambda: amounts, key=Declared(63))
    fields = {
        "driver": Declared(63),
        "attributes": outer,
        "capacity": capacity,
        "allowMultipleAllocations": Declared(1),
    }
    return Declared(lookup=fields.get)


_SIZES = {"device": _sizes()}
_WIDER = re.compile(r"\bcel\.bind\(|\.includes\(")


# --- parts --------------------------------------------------------------------------------------------------------


def each(
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


def itself(value: Any) -> Any:
    return value


def label(value: str, at: str) -> list[FieldError]:
    return given(value, at) + named(value, dns_label_errors, at)


def pool_name(value: str, at: str) -> list[FieldError]:
    if not value:
        return [errors.required(at)]
    found = [errors.too_long(at, 253)] if len(value) > 253 else []
    for part in value.split("/"):
        found += [errors.invalid_value(at, part, why) for why in dns_subdomain_errors(part)]
    return found


def _identifier(value: str, at: str) -> list[FieldError]:
    found = [errors.too_long(at, 32)] if len(value) > 32 else []
    return found + (
        [] if _IDENTIFIER.match(value) else [errors.invalid_value(at, value, _IDENTIFIER_WORDS)]
    )


def attribute_name(value: str, at: str) -> list[FieldError]:
    """A C identifier, after the domain of whoever defines it and a slash if that is not the driver."""
    if not value:
        return [errors.required(at, "name required")]
    domain, slash, name = value.partition("/")
    if not slash:
        return _identifier(value, at)
    found = (
        driver(domain, at)
        if domain
        else [errors.invalid_value(at, "", "the domain must not be empty")]
    )
    return found + (
        _identifier(name, at)
        if name
        else [errors.invalid_value(at, "", "the name must not be empty")]
    )


def _full_name(value: str, at: str) -> list[FieldError]:
    found = attribute_name(value, at)
    if value and "/" not in value:
        found.append(errors.invalid_value(at, value, "must include a domain"))
    return found


def one_term(value: Any, at: str) -> list[FieldError]:
    found = validate_node_selector(value, at)
    if len(value.node_selector_terms) != 1:
        why = "must have exactly one node selector term"
        found.append(
            errors.invalid_value(
                f"{at}.nodeSelectorTerms", to_builtins(value.node_selector_terms), why
            )
        )
    return found


def _raw(value: Any, at: str, most: int = _MOST_BYTES) -> list[FieldError]:
    if value is None:
        return [errors.required(at)]
    if len(json.dumps(value, separators=(",", ":"))) > most:
        return [errors.too_long(at, most)]
    return (
        []
        if isinstance(value, dict)
        else [errors.invalid_value(at, "<value omitted>", "must be a valid JSON object")]
    )


def selectors(selectors: list[v1.DeviceSelector], at: str) -> list[FieldError]:
    return each(selectors, at, _selector, 32)


def _selector(selector: v1.DeviceSelector, at: str) -> list[FieldError]:
    if selector.cel is None:
        return [errors.required(f"{at}.cel")]
    text, where = selector.cel.expression, f"{at}.cel.expression"
    if len(text) > _MOST_BYTES:
        return [errors.too_long(where, _MOST_BYTES)]
    try:
        if _WIDER.search(text):  # functions that only selectors of devices have
            parse(text)
        elif check(text, _DEVICE, sizes=_SIZES) > _MOST_COST:
            return [errors.forbidden_field(where, "too complex, exceeds cost limit")]
    except CelError as error:
        return [errors.invalid_value(where, text, f"compilation failed: {error}")]
    return []


def configuration(config: v1.DeviceConfiguration, at: str) -> list[FieldError]:
    if config.opaque is None:
        return [errors.required(f"{at}.opaque")]
    at = f"{at}.opaque"
    return driver(config.opaque.driver, f"{at}.driver") + _raw(
        config.opaque.parameters, f"{at}.parameters"
    )


def _toleration(toleration: v1.DeviceToleration, at: str) -> list[FieldError]:
    found = named(toleration.key, label_key_errors, f"{at}.key")
    if not toleration.key and toleration.operator == "Equal":
        why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        found.append(errors.invalid_value(f"{at}.operator", toleration.operator, why))
    if toleration.operator == "Exists":
        if toleration.value:
            found.append(
                errors.invalid_value(
                    f"{at}.value", toleration.value, "must be empty for operator `Exists`"
                )
            )
    elif toleration.operator == "Equal":
        found += named(toleration.value, label_value_errors, f"{at}.value")
    found += given(toleration.operator, f"{at}.operator") + one_of(
        toleration.operator, ("Equal", "Exists"), f"{at}.operator"
    )
    return found + one_of(toleration.effect, EFFECTS, f"{at}.effect")


# --- claims -------------------------------------------------------------------------------------------------------


def _default_claim(spec: v1.ResourceClaimSpec) -> None:
    for request in spec.devices.requests:
        asked: list[Any] = [
            *request.first_available,
            *([request.exactly] if request.exactly is not None else []),
        ]
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
    found = each(
        spec.devices.requests, f"{at}.requests", _request, _MOST_REQUESTS, lambda r: r.name, "name"
    )
    found += each(
        spec.devices.constraints,
        f"{at}.constraints",
        lambda one, where: _constraint(one, where, names),
        32,
    )

    def for_requests(config: v1.DeviceClaimConfiguration, where: str) -> list[FieldError]:
        return _named_requests(config.requests, f"{where}.requests", names) + configuration(
            config, where
        )

    return found + each(spec.devices.config, f"{at}.config", for_requests, 32)


def _request(request: v1.DeviceRequest, at: str) -> list[FieldError]:
    found = label(request.name, f"{at}.name")
    if request.first_available:
        found += each(
            request.first_available,
            f"{at}.firstAvailable",
            _subrequest,
            8,
            lambda r: r.name,
            "name",
        )
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
    return label(request.name, f"{at}.name") + _asked(request, at)


def _asked(request: v1.ExactDeviceRequest | v1.DeviceSubRequest, at: str) -> list[FieldError]:
    where = f"{at}.deviceClassName"
    found = given(request.device_class_name, where) + named(
        request.device_class_name, dns_subdomain_errors, where
    )
    found += selectors(request.selectors, f"{at}.selectors")
    if request.allocation_mode == "All":
        if request.count:
            why = "must not be specified when allocationMode is 'All'"
            found.append(errors.invalid_value(f"{at}.count", request.count, why))
    elif request.allocation_mode == "ExactCount":
        if request.count <= 0:
            found.append(
                errors.invalid_value(f"{at}.count", request.count, "must be greater than zero")
            )
    else:
        found.append(
            errors.not_supported(
                f"{at}.allocationMode", request.allocation_mode, ("All", "ExactCount")
            )
        )
    found += each(request.tolerations, f"{at}.tolerations", _toleration, 16)
    if request.capacity is not None:
        for name in request.capacity.requests:
            found += attribute_name(name, f"{at}.capacity.requests[{name}]")
        found += amounts(request.capacity.requests, f"{at}.capacity.requests")
    return found


def _named_requests(names: list[str], at: str, known: set[str]) -> list[FieldError]:
    why = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"

    def rule(name: str, where: str) -> list[FieldError]:
        return [] if name in known else [errors.invalid_value(where, name, why)]

    return each(names, at, rule, _MOST_REQUESTS, itself)


def _constraint(constraint: v1.DeviceConstraint, at: str, names: set[str]) -> list[FieldError]:
    found = _named_requests(constraint.requests, f"{at}.requests", names)
    kinds = {
        "matchAttribute": constraint.match_attribute,
        "distinctAttribute": constraint.distinct_attribute,
    }
    asked = {name: value for name, value in kinds.items() if value is not None}
    why = "exactly one of `matchAttribute` or `distinctAttribute` is required"
    for name, value in asked.items():
        found += _full_name(value, f"{at}.{name}")
    if not asked:
        found.append(errors.required(at, why))
    elif len(asked) > 1:
        found.append(
            errors.invalid_value(at, to_builtins(constraint), f"{why}, but multiple fields are set")
        )
    return found


def _admin_errors(spec: v1.ResourceClaimSpec, namespace: str, registry: Any) -> list[FieldError]:
    """Access past other claims is for namespaces that administrators have marked."""
    asking = (
        i
        for i, request in enumerate(spec.devices.requests)
        if request.exactly and request.exactly.admin_access
    )
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
        found = each(
            status.reserved_for, "status.reservedFor", _consumer, 256, lambda one: one.uid, "uid"
        )
        found += each(
            status.devices, "status.devices", _device_status, _MOST_REQUESTS * 8, _device_key
        )
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

    def validate_update(
        self, new: v1.ResourceClaimTemplate, old: v1.ResourceClaimTemplate
    ) -> list[FieldError]:
        return immutable("spec", new.spec, old.spec)


# --- what was allocated -------------------------------------------------------------------------------------------


def _consumer(one: v1.ResourceClaimConsumerReference, at: str) -> list[FieldError]:
    return (
        given(one.resource, f"{at}.resource")
        + given(one.name, f"{at}.name")
        + given(one.uid, f"{at}.uid")
    )


def _device_key(device: Any) -> tuple[str, ...]:
    return device.driver, device.pool, device.device, device.share_id or ""


def _device_reference(device: Any, at: str) -> list[FieldError]:
    found = (
        driver(device.driver, f"{at}.driver")
        + pool_name(device.pool, f"{at}.pool")
        + label(device.device, f"{at}.device")
    )
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
        found += each(network.ips, f"{at}.ips", lambda value, where: [], 16, itself)
    return found


def _allocation(result: v1.AllocationResult, at: str, names: set[str]) -> list[FieldError]:
    why = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"

    def allocated(one: v1.DeviceRequestAllocationResult, where: str) -> list[FieldError]:
        found = (
            []
            if one.request in names
            else [errors.invalid_value(f"{where}.request", one.request, why)]
        )
        return (
            found
            + _device_reference(one, where)
            + each(one.tolerations, f"{where}.tolerations", _toleration, 16)
        )

    def for_requests(one: v1.DeviceAllocationConfiguration, where: str) -> list[FieldError]:
        found = given(one.source, f"{where}.source") + one_of(
            one.source, ("FromClaim", "FromClass"), f"{where}.source"
        )
        return (
            found
            + _named_requests(one.requests, f"{where}.requests", names)
            + configuration(one, where)
        )

    found = each(result.devices.results, f"{at}.devices.results", allocated, _MOST_REQUESTS)
    found += each(result.devices.config, f"{at}.devices.config", for_requests, 64)
    return found + (
        one_term(result.node_selector, f"{at}.nodeSelector")
        if result.node_selector is not None
        else []
    )

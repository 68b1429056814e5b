"""Devices that drivers offer in slices, and the classes of them."""

from __future__ import annotations

import re
import time

from tiphys.api import resource_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.checks import driver, given, named, natural, one_of
from tiphys.apiserver.resources.devices import (
    EFFECTS,
    attribute_name,
    configuration,
    each,
    itself,
    label,
    one_term,
    pool_name,
    selectors,
)
from tiphys.machinery import errors, quantity, timestamps
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import (
    dns_label_errors,
    dns_subdomain_errors,
    label_key_errors,
    label_value_errors,
)
from tiphys.store.cache import Selectable

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?\Z"
)


class DeviceClassStrategy(Strategy):
    generation = True

    def validate(self, obj: v1.DeviceClass) -> list[FieldError]:
        found = selectors(obj.spec.selectors, "spec.selectors") + each(
            obj.spec.config, "spec.config", configuration, 32
        )
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
        return found + [
            errors.invalid_value(at, name, why) for why in label_key_errors(f"requests.{name}")
        ]


class ResourceSliceStrategy(Strategy):
    generation = True
    fields = (Selectable("spec.nodeName"), Selectable("spec.driver"))

    def default(self, obj: v1.ResourceSlice) -> None:
        for device in obj.spec.devices:
            for taint in device.taints:
                taint.time_added = taint.time_added or timestamps.rfc3339(time.time())

    def validate(self, obj: v1.ResourceSlice) -> list[FieldError]:
        spec = obj.spec
        found = driver(spec.driver, "spec.driver") + pool_name(spec.pool.name, "spec.pool.name")
        if spec.pool.resource_slice_count <= 0:
            count = spec.pool.resource_slice_count
            found.append(
                errors.invalid_value(
                    "spec.pool.resourceSliceCount", count, "must be greater than zero"
                )
            )
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
        found += each(
            spec.devices,
            "spec.devices",
            lambda d, at: _device(d, at, per_device),
            64 if wide else 128,
            lambda device: device.name,
            "name",
        )
        return found + each(
            spec.shared_counters,
            "spec.sharedCounters",
            _counter_set,
            8,
            lambda one: one.name,
            "name",
        )

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
        found += one_term(spec.node_selector, f"{at}.nodeSelector")
    flags = {"allNodes": spec.all_nodes}
    if isinstance(spec, v1.ResourceSliceSpec):
        flags["perDeviceNodeSelection"] = spec.per_device_node_selection
    for name, value in flags.items():
        if value:
            told.append(f"`{name}`")
        elif value is not None:
            found.append(
                errors.invalid_value(f"{at}.{name}", value, "must be either unset or set to true")
            )
    return told, found


def _lists(device: v1.Device) -> bool:
    return any(a.ints or a.bools or a.strings or a.versions for a in device.attributes.values())


def _device(device: v1.Device, at: str, per_device: bool) -> list[FieldError]:
    found = label(device.name, f"{at}.name")
    total = len(device.attributes) + len(device.capacity)
    if total > 32:
        why = "the total number of attributes and capacities must not exceed 32"
        found.append(errors.invalid_value(at, total, why))
    for name, attribute in device.attributes.items():
        where = f"{at}.attributes[{name}]"
        found += attribute_name(name, where) + _attribute(attribute, where)
    for name, capacity in device.capacity.items():
        where = f"{at}.capacity[{name}]"
        found += attribute_name(name, where)
        if capacity.request_policy is not None:
            if device.allow_multiple_allocations:
                found += _request_policy(capacity, f"{where}.requestPolicy")
            else:
                why = "allowMultipleAllocations must be true"
                found.append(errors.forbidden_field(f"{where}.requestPolicy", why))
    found += each(device.taints, f"{at}.taints", _taint, 16)

    def consumption(one: v1.DeviceCounterConsumption, where: str) -> list[FieldError]:
        return label(one.counter_set, f"{where}.counterSet") + _counters(
            one.counters, f"{where}.counters"
        )

    key = "counterSet"
    found += each(
        device.consumes_counters,
        f"{at}.consumesCounters",
        consumption,
        2,
        lambda one: one.counter_set,
        key,
    )
    told, wrong = _where(device, at)
    found += wrong
    why = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required"
    if per_device and not told:
        found.append(
            errors.required(
                at, f"{why} when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
            )
        )
    elif per_device and len(told) > 1:
        shown = "{" + ", ".join(told) + "}"
        found.append(
            errors.invalid_value(at, shown, f"{why} when `perDeviceNodeSelection` is set to true")
        )
    elif told and not per_device:
        why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true"
        found.append(errors.invalid_value(at, None, why))
    for name in ("bindingConditions", "bindingFailureConditions"):
        values = (
            device.binding_conditions
            if name == "bindingConditions"
            else device.binding_failure_conditions
        )
        found += each(
            values, f"{at}.{name}", lambda v, where: named(v, label_key_errors, where), 4, itself
        )
    return found


def _attribute(attribute: v1.DeviceAttribute, at: str) -> list[FieldError]:
    found, values = list[FieldError](), to_builtins(attribute)
    texts = [
        ("string", attribute.string),
        *((f"strings[{i}]", s) for i, s in enumerate(attribute.strings)),
    ]
    versions = [
        ("version", attribute.version),
        *((f"versions[{i}]", s) for i, s in enumerate(attribute.versions)),
    ]
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
    policy, whole, found = (
        capacity.request_policy,
        quantity.nano(capacity.value),
        list[FieldError](),
    )
    assert policy is not None
    default = policy.default
    if (policy.valid_values or policy.valid_range is not None) and default is None:
        found.append(
            errors.required(f"{at}.default", "required when validValues or validRange is defined")
        )
    if default is not None and quantity.nano(default) > whole:
        found.append(
            errors.invalid_value(
                f"{at}.default", default, f"default is larger than capacity value: {capacity.value}"
            )
        )
    if policy.valid_values and policy.valid_range is not None:
        found.append(
            errors.forbidden_field(
                at,
                "exactly one policy can be specified, cannot specify `validValues` and `validRange` at the same time",
            )
        )
    values = [quantity.nano(value) for value in policy.valid_values]
    if len(values) > 10:
        found.append(errors.too_many(f"{at}.validValues", len(values), 10))
    for index, value in enumerate(values):
        where, shown = f"{at}.validValues[{index}]", policy.valid_values[index]
        if index and value <= values[index - 1]:
            found.append(
                errors.invalid_value(where, shown, "values must be sorted in ascending order")
            )
        if value > whole:
            found.append(
                errors.invalid_value(
                    where, shown, f"option is larger than capacity value: {capacity.value}"
                )
            )
    if values and default is not None and quantity.nano(default) not in values:
        found.append(
            errors.invalid_value(
                f"{at}.validValues",
                default,
                "default value is not valid according to the requestPolicy",
            )
        )
    if (bounds := policy.valid_range) is not None:
        found += _range(bounds, default, capacity.value, f"{at}.validRange")
    return found


def _range(
    bounds: v1.CapacityRequestPolicyRange, default: str | None, whole: str, at: str
) -> list[FieldError]:
    if bounds.min is None:
        return [errors.required(f"{at}.min", "required when validRange is defined")]
    found, least, most = (
        list[FieldError](),
        quantity.nano(bounds.min),
        quantity.nano(bounds.max or whole),
    )
    if least > quantity.nano(whole):
        found.append(
            errors.invalid_value(
                f"{at}.min", bounds.min, f"min is larger than capacity value: {whole}"
            )
        )
    if bounds.max is not None:
        if least > most:
            found.append(
                errors.invalid_value(
                    f"{at}.min", bounds.min, f"min is larger than max value: {bounds.max}"
                )
            )
        if most > quantity.nano(whole):
            found.append(
                errors.invalid_value(
                    f"{at}.max", bounds.max, f"max is larger than capacity value: {whole}"
                )
            )
    wanted = quantity.nano(default) if default is not None else least
    if wanted < least:
        found.append(
            errors.invalid_value(f"{at}.min", default, f"default is less than min: {bounds.min}")
        )
    if wanted > most and bounds.max is not None:
        found.append(
            errors.invalid_value(f"{at}.max", default, f"default is more than max: {bounds.max}")
        )
    if bounds.step is not None and (step := quantity.nano(bounds.step)) > 0:
        if least + step > quantity.nano(whole):
            found.append(
                errors.invalid_value(
                    f"{at}.step", bounds.step, f"one step is larger than capacity value: {whole}"
                )
            )
        for value, shown in ((most, bounds.max), (wanted, default)):
            if shown is not None and (value - least) % step:
                found.append(
                    errors.invalid_value(
                        f"{at}.step",
                        shown,
                        f"value is not a multiple of a given step ({bounds.step}) from ({bounds.min})",
                    )
                )
    return found


def _taint(taint: v1.DeviceTaint, at: str) -> list[FieldError]:
    found = [
        errors.invalid_value(f"{at}.key", taint.key, why) for why in label_key_errors(taint.key)
    ]
    found += named(taint.value, label_value_errors, f"{at}.value")
    return (
        found + given(taint.effect, f"{at}.effect") + one_of(taint.effect, EFFECTS, f"{at}.effect")
    )


def _counter_set(counters: v1.CounterSet, at: str) -> list[FieldError]:
    return label(counters.name, f"{at}.name") + _counters(counters.counters, f"{at}.counters")


def _counters(counters: dict[str, v1.Counter], at: str) -> list[FieldError]:
    found = given(counters, at)
    for name in counters:
        found += [errors.invalid_value(at, name, why) for why in dns_label_errors(name)]
    return found + ([errors.too_many(at, len(counters), 32)] if len(counters) > 32 else [])

"""Resource slices: the devices that drivers offer."""

from __future__ import annotations

import re
import time

from tiphys.api import resource_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.checks import driver, named, natural, one_of, required
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.devices import (
    EFFECTS,
    attribute_name,
    check_items,
    itself,
    label,
    one_term,
    pool_name,
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


class ResourceSliceStrategy(Strategy[v1.ResourceSlice]):
    columns = (
        NAME,
        Column("Node", lambda o: o.spec.node_name or ""),
        Column("Driver", lambda o: o.spec.driver),
        Column("Pool", lambda o: o.spec.pool.name),
        AGE,
    )

    generation = True
    fields = (Selectable("spec.nodeName"), Selectable("spec.driver"))

    def default(self, obj: v1.ResourceSlice) -> None:
        for device in obj.spec.devices:
            for taint in device.taints:
                taint.time_added = taint.time_added or timestamps.rfc3339(time.time())

    def validate(self, obj: v1.ResourceSlice) -> list[FieldError]:
        spec = obj.spec
        violations = driver(spec.driver, "spec.driver") + pool_name(
            spec.pool.name, "spec.pool.name"
        )
        if spec.pool.resource_slice_count <= 0:
            count = spec.pool.resource_slice_count
            violations.append(
                errors.invalid_value(
                    "spec.pool.resourceSliceCount", count, "must be greater than zero"
                )
            )
        violations += natural(spec.pool.generation, "spec.pool.generation")
        chosen, misplaced = _location(spec, "spec")
        violations += misplaced
        detail = (
            "exactly one of `nodeName`, `nodeSelector`, `allNodes`,"
            " `perDeviceNodeSelection` is required"
        )
        if not chosen:
            violations.append(errors.required("spec", detail))
        elif len(chosen) > 1:
            shown = "{" + ", ".join(chosen) + "}"
            violations.append(
                errors.invalid_value("spec", shown, f"{detail}, but multiple fields are set")
            )
        if spec.devices and spec.shared_counters:
            detail = "only one of `sharedCounters` or `devices` is allowed"
            violations.append(errors.invalid_value("spec", "{`sharedCounters`, `devices`}", detail))
        wide = any(d.taints or d.consumes_counters or _lists(d) for d in spec.devices)
        per_device = bool(spec.per_device_node_selection)
        violations += check_items(
            spec.devices,
            "spec.devices",
            lambda d, path: _device(d, path, per_device),
            64 if wide else 128,
            lambda device: device.name,
            "name",
        )
        return violations + check_items(
            spec.shared_counters,
            "spec.sharedCounters",
            _counter_set,
            8,
            lambda counter_set: counter_set.name,
            "name",
        )

    def validate_update(self, new: v1.ResourceSlice, old: v1.ResourceSlice) -> list[FieldError]:
        return [
            *immutable("spec.pool.name", new.spec.pool.name, old.spec.pool.name),
            *immutable("spec.driver", new.spec.driver, old.spec.driver),
            *immutable("spec.nodeName", new.spec.node_name, old.spec.node_name),
        ]


def _location(
    spec: v1.ResourceSliceSpec | v1.Device, path: str
) -> tuple[list[str], list[FieldError]]:
    """(the fields of where devices are, what is wrong with them)."""
    chosen = []
    violations: list[FieldError] = []
    if spec.node_name is not None:
        if spec.node_name:
            chosen.append("`nodeName`")
            violations += named(spec.node_name, dns_subdomain_errors, f"{path}.nodeName")
        else:
            detail = "must be either unset or set to a non-empty string"
            violations.append(errors.invalid_value(f"{path}.nodeName", "", detail))
    if spec.node_selector is not None:
        chosen.append("`nodeSelector`")
        violations += one_term(spec.node_selector, f"{path}.nodeSelector")
    flags = {"allNodes": spec.all_nodes}
    if isinstance(spec, v1.ResourceSliceSpec):
        flags["perDeviceNodeSelection"] = spec.per_device_node_selection
    for name, value in flags.items():
        if value:
            chosen.append(f"`{name}`")
        elif value is not None:
            violations.append(
                errors.invalid_value(f"{path}.{name}", value, "must be either unset or set to true")
            )
    return chosen, violations


def _lists(device: v1.Device) -> bool:
    return any(a.ints or a.bools or a.strings or a.versions for a in device.attributes.values())


def _device(device: v1.Device, path: str, per_device: bool) -> list[FieldError]:
    violations = label(device.name, f"{path}.name")
    total = len(device.attributes) + len(device.capacity)
    if total > 32:
        detail = "the total number of attributes and capacities must not exceed 32"
        violations.append(errors.invalid_value(path, total, detail))
    for name, attribute in device.attributes.items():
        field = f"{path}.attributes[{name}]"
        violations += attribute_name(name, field) + _attribute(attribute, field)
    for name, capacity in device.capacity.items():
        field = f"{path}.capacity[{name}]"
        violations += attribute_name(name, field)
        if capacity.request_policy is not None:
            if device.allow_multiple_allocations:
                violations += _request_policy(capacity, f"{field}.requestPolicy")
            else:
                detail = "allowMultipleAllocations must be true"
                violations.append(errors.forbidden_field(f"{field}.requestPolicy", detail))
    violations += check_items(device.taints, f"{path}.taints", _taint, 16)

    def consumption(consumed: v1.DeviceCounterConsumption, field: str) -> list[FieldError]:
        return label(consumed.counter_set, f"{field}.counterSet") + _counters(
            consumed.counters, f"{field}.counters"
        )

    key = "counterSet"
    violations += check_items(
        device.consumes_counters,
        f"{path}.consumesCounters",
        consumption,
        2,
        lambda consumed: consumed.counter_set,
        key,
    )
    chosen, misplaced = _location(device, path)
    violations += misplaced
    detail = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required"
    if per_device and not chosen:
        violations.append(
            errors.required(
                path,
                f"{detail} when `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
            )
        )
    elif per_device and len(chosen) > 1:
        shown = "{" + ", ".join(chosen) + "}"
        violations.append(
            errors.invalid_value(
                path, shown, f"{detail} when `perDeviceNodeSelection` is set to true"
            )
        )
    elif chosen and not per_device:
        detail = (
            "`nodeName`, `nodeSelector` and `allNodes` can only be set if"
            " `perDeviceNodeSelection` is set to true"
        )
        violations.append(errors.invalid_value(path, None, detail))
    for name, values in (
        ("bindingConditions", device.binding_conditions),
        ("bindingFailureConditions", device.binding_failure_conditions),
    ):
        violations += check_items(
            values, f"{path}.{name}", lambda v, field: named(v, label_key_errors, field), 4, itself
        )
    return violations


def _attribute(attribute: v1.DeviceAttribute, path: str) -> list[FieldError]:
    violations: list[FieldError] = []
    values = to_builtins(attribute)
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
            violations.append(errors.too_long(f"{path}.{name}", 64))
    for name, version in versions:
        if version is not None and not _SEMVER.match(version):
            detail = "must be a string compatible with semver.org spec 2.0.0"
            violations.append(errors.invalid_value(f"{path}.{name}", version, detail))
    if not values:
        violations.append(errors.required(path, "exactly one value must be specified"))
    elif len(values) > 1:
        violations.append(errors.invalid_value(path, values, "exactly one value must be specified"))
    return violations


def _request_policy(capacity: v1.DeviceCapacity, path: str) -> list[FieldError]:
    """What a part of a shared device's capacity may be."""
    policy = capacity.request_policy
    total = quantity.nano(capacity.value)
    violations: list[FieldError] = []
    assert policy is not None
    default = policy.default
    if (policy.valid_values or policy.valid_range is not None) and default is None:
        violations.append(
            errors.required(f"{path}.default", "required when validValues or validRange is defined")
        )
    if default is not None and quantity.nano(default) > total:
        violations.append(
            errors.invalid_value(
                f"{path}.default",
                default,
                f"default is larger than capacity value: {capacity.value}",
            )
        )
    if policy.valid_values and policy.valid_range is not None:
        violations.append(
            errors.forbidden_field(
                path,
                (
                    "exactly one policy can be specified, cannot specify `validValues` and"
                    " `validRange` at the same time"
                ),
            )
        )
    values = [quantity.nano(value) for value in policy.valid_values]
    if len(values) > 10:
        violations.append(errors.too_many(f"{path}.validValues", len(values), 10))
    for index, value in enumerate(values):
        field = f"{path}.validValues[{index}]"
        shown = policy.valid_values[index]
        if index and value <= values[index - 1]:
            violations.append(
                errors.invalid_value(field, shown, "values must be sorted in ascending order")
            )
        if value > total:
            violations.append(
                errors.invalid_value(
                    field, shown, f"option is larger than capacity value: {capacity.value}"
                )
            )
    if values and default is not None and quantity.nano(default) not in values:
        violations.append(
            errors.invalid_value(
                f"{path}.validValues",
                default,
                "default value is not valid according to the requestPolicy",
            )
        )
    if (bounds := policy.valid_range) is not None:
        violations += _range(bounds, default, capacity.value, f"{path}.validRange")
    return violations


def _range(
    bounds: v1.CapacityRequestPolicyRange, default: str | None, total: str, path: str
) -> list[FieldError]:
    if bounds.min is None:
        return [errors.required(f"{path}.min", "required when validRange is defined")]
    violations: list[FieldError] = []
    least = quantity.nano(bounds.min)
    most = quantity.nano(bounds.max or total)
    if least > quantity.nano(total):
        violations.append(
            errors.invalid_value(
                f"{path}.min", bounds.min, f"min is larger than capacity value: {total}"
            )
        )
    if bounds.max is not None:
        if least > most:
            violations.append(
                errors.invalid_value(
                    f"{path}.min", bounds.min, f"min is larger than max value: {bounds.max}"
                )
            )
        if most > quantity.nano(total):
            violations.append(
                errors.invalid_value(
                    f"{path}.max", bounds.max, f"max is larger than capacity value: {total}"
                )
            )
    wanted = quantity.nano(default) if default is not None else least
    if wanted < least:
        violations.append(
            errors.invalid_value(f"{path}.min", default, f"default is less than min: {bounds.min}")
        )
    if wanted > most and bounds.max is not None:
        violations.append(
            errors.invalid_value(f"{path}.max", default, f"default is more than max: {bounds.max}")
        )
    if bounds.step is not None and (step := quantity.nano(bounds.step)) > 0:
        if least + step > quantity.nano(total):
            violations.append(
                errors.invalid_value(
                    f"{path}.step", bounds.step, f"one step is larger than capacity value: {total}"
                )
            )
        for value, shown in ((most, bounds.max), (wanted, default)):
            if shown is not None and (value - least) % step:
                violations.append(
                    errors.invalid_value(
                        f"{path}.step",
                        shown,
                        (
                            f"value is not a multiple of a given step ({bounds.step}) from"
                            f" ({bounds.min})"
                        ),
                    )
                )
    return violations


def _taint(taint: v1.DeviceTaint, path: str) -> list[FieldError]:
    violations = [
        errors.invalid_value(f"{path}.key", taint.key, detail)
        for detail in label_key_errors(taint.key)
    ]
    violations += named(taint.value, label_value_errors, f"{path}.value")
    return (
        violations
        + required(taint.effect, f"{path}.effect")
        + one_of(taint.effect, EFFECTS, f"{path}.effect")
    )


def _counter_set(counters: v1.CounterSet, path: str) -> list[FieldError]:
    return label(counters.name, f"{path}.name") + _counters(counters.counters, f"{path}.counters")


def _counters(counters: dict[str, v1.Counter], path: str) -> list[FieldError]:
    violations = required(counters, path)
    for name in counters:
        violations += [
            errors.invalid_value(path, name, detail) for detail in dns_label_errors(name)
        ]
    return violations + ([errors.too_many(path, len(counters), 32)] if len(counters) > 32 else [])

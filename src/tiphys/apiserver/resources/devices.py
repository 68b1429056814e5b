"""Rules that claims, classes and slices of devices share."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tiphys.api import resource_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.apiserver.resources.checks import driver, named, one_of, required
from tiphys.apiserver.resources.podspec.placement import validate_node_selector
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

_MOST_BYTES = 10 * 1024
_MOST_COST = 1_000_000
EFFECTS = ("NoExecute", "NoSchedule", "None")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_IDENTIFIER_WORDS = (
    "a valid C identifier must start with alphabetic character or '_', followed"
    " by a string of alphanumeric characters or '_'"
    " (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation"
    " is '[A-Za-z_][A-Za-z0-9_]*')"
)
_WHATEVER = {"x-kubernetes-int-or-string": True}  # of a type that only its value shows
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
    """How large what selectors see may be: as upstream declares it, by its limits of
    ResourceSlices."""
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


def check_items(
    items: Sequence[Any],
    path: str,
    rules: Callable[[Any, str], Iterable[FieldError]],
    most: int,
    key: Callable[[Any], Any] | None = None,
    key_name: str = "",
) -> list[FieldError]:
    """Rules of every entry of a list that has `most` entries and, with `key`, none twice."""
    violations: list[FieldError] = []
    seen = set()
    for index, item in enumerate(items):
        field = f"{path}[{index}]"
        violations += rules(item, field)
        if key is not None:
            if (value := key(item)) in seen:
                violations.append(
                    errors.duplicate(f"{field}.{key_name}" if key_name else field, value)
                )
            seen.add(value)
    return violations + ([errors.too_many(path, len(items), most)] if len(items) > most else [])


def itself(value: Any) -> Any:
    return value


def label(value: str, path: str) -> list[FieldError]:
    return required(value, path) + named(value, dns_label_errors, path)


def pool_name(value: str, path: str) -> list[FieldError]:
    if not value:
        return [errors.required(path)]
    violations = [errors.too_long(path, 253)] if len(value) > 253 else []
    for part in value.split("/"):
        violations += [
            errors.invalid_value(path, part, detail) for detail in dns_subdomain_errors(part)
        ]
    return violations


def _identifier(value: str, path: str) -> list[FieldError]:
    violations = [errors.too_long(path, 32)] if len(value) > 32 else []
    return violations + (
        [] if _IDENTIFIER.match(value) else [errors.invalid_value(path, value, _IDENTIFIER_WORDS)]
    )


def attribute_name(value: str, path: str) -> list[FieldError]:
    """A C identifier, after the domain of its vendor and a slash if that is not the
    driver."""
    if not value:
        return [errors.required(path, "name required")]
    domain, slash, name = value.partition("/")
    if not slash:
        return _identifier(value, path)
    violations: list[FieldError] = []
    if domain:
        violations += driver(domain, path)
    else:
        violations.append(errors.invalid_value(path, "", "the domain must not be empty"))
    if name:
        violations += _identifier(name, path)
    else:
        violations.append(errors.invalid_value(path, "", "the name must not be empty"))
    return violations


def full_name(value: str, path: str) -> list[FieldError]:
    violations = attribute_name(value, path)
    if value and "/" not in value:
        violations.append(errors.invalid_value(path, value, "must include a domain"))
    return violations


def one_term(value: Any, path: str) -> list[FieldError]:
    violations = validate_node_selector(value, path)
    if len(value.node_selector_terms) != 1:
        detail = "must have exactly one node selector term"
        violations.append(
            errors.invalid_value(
                f"{path}.nodeSelectorTerms", to_builtins(value.node_selector_terms), detail
            )
        )
    return violations


def parameter_errors(value: Any, path: str, most: int = _MOST_BYTES) -> list[FieldError]:
    if value is None:
        return [errors.required(path)]
    if len(json.dumps(value, separators=(",", ":"))) > most:
        return [errors.too_long(path, most)]
    if isinstance(value, dict):
        return []
    return [errors.invalid_value(path, "<value omitted>", "must be a valid JSON object")]


def selectors(selectors: list[v1.DeviceSelector], path: str) -> list[FieldError]:
    return check_items(selectors, path, _selector, 32)


def _selector(selector: v1.DeviceSelector, path: str) -> list[FieldError]:
    if selector.cel is None:
        return [errors.required(f"{path}.cel")]
    text = selector.cel.expression
    field = f"{path}.cel.expression"
    if len(text) > _MOST_BYTES:
        return [errors.too_long(field, _MOST_BYTES)]
    try:
        if _WIDER.search(text):  # functions that only selectors of devices have
            parse(text)
        elif check(text, _DEVICE, sizes=_SIZES) > _MOST_COST:
            return [errors.forbidden_field(field, "too complex, exceeds cost limit")]
    except CelError as error:
        return [errors.invalid_value(field, text, f"compilation failed: {error}")]
    return []


def configuration(config: v1.DeviceConfiguration, path: str) -> list[FieldError]:
    if config.opaque is None:
        return [errors.required(f"{path}.opaque")]
    path = f"{path}.opaque"
    return driver(config.opaque.driver, f"{path}.driver") + parameter_errors(
        config.opaque.parameters, f"{path}.parameters"
    )


def toleration_errors(toleration: v1.DeviceToleration, path: str) -> list[FieldError]:
    violations = named(toleration.key, label_key_errors, f"{path}.key")
    if not toleration.key and toleration.operator == "Equal":
        detail = (
            'operator must be Exists when `key` is empty, which means "match all values'
            ' and all keys"'
        )
        violations.append(errors.invalid_value(f"{path}.operator", toleration.operator, detail))
    if toleration.operator == "Exists":
        if toleration.value:
            violations.append(
                errors.invalid_value(
                    f"{path}.value", toleration.value, "must be empty for operator `Exists`"
                )
            )
    elif toleration.operator == "Equal":
        violations += named(toleration.value, label_value_errors, f"{path}.value")
    violations += required(toleration.operator, f"{path}.operator") + one_of(
        toleration.operator, ("Equal", "Exists"), f"{path}.operator"
    )
    return violations + one_of(toleration.effect, EFFECTS, f"{path}.effect")

"""Checks that rules of many types have in common. Each gives the errors of one value."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tiphys.apiserver.registry.metadata import validate_labels
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import (
    dns_subdomain_errors,
    is_ip,
    label_key_errors,
    label_value_errors,
    path_segment_errors,
)

PORT_RANGE = "must be between 1 and 65535, inclusive"
NATURAL = "must be greater than or equal to 0"
IP_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_PATH_WORDS = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_PATH = re.compile(_PATH_WORDS + r"\Z")


def natural(value: int | None, at: str) -> list[FieldError]:
    return [errors.invalid_value(at, value, NATURAL)] if value is not None and value < 0 else []


def one_of(value: Any, allowed: Iterable[str], at: str) -> list[FieldError]:
    """What is absent is no error."""
    return [] if not value or value in allowed else [errors.not_supported(at, value, allowed)]


def given(value: Any, at: str, why: str = "") -> list[FieldError]:
    return [] if value else [errors.required(at, why)]


def within(value: int | None, least: int, most: int, at: str) -> list[FieldError]:
    bad = value is not None and not least <= value <= most
    return (
        [errors.invalid_value(at, value, f"must be between {least} and {most}, inclusive")]
        if bad
        else []
    )


def port(value: Any, at: str) -> list[FieldError]:
    """A number; names are not looked at."""
    bad = isinstance(value, int) and not 0 < value < 65536
    return [errors.invalid_value(at, value, PORT_RANGE)] if bad else []


def named(value: str, problems: Callable[[str], list[str]], at: str) -> list[FieldError]:
    """A name that is absent is no error."""
    return (
        [errors.invalid_value(at, value, problem) for problem in problems(value)] if value else []
    )


def qualified_name(value: str, at: str) -> list[FieldError]:
    """A name that has to be there, with, maybe, a domain before it; one that is absent is wrong in every way."""
    return [errors.invalid_value(at, value, problem) for problem in label_key_errors(value)]


def qualified(value: str | None, at: str) -> list[FieldError]:
    """A name with, maybe, a domain before it. What is absent is no error."""
    return named(value or "", label_key_errors, at)


def subdomain(value: str | None, at: str) -> list[FieldError]:
    return named(value or "", dns_subdomain_errors, at)


def segment(value: str, at: str) -> list[FieldError]:
    """What can stand between the slashes of a path."""
    return given(value, at) + named(value, path_segment_errors, at)


def driver(value: str, at: str) -> list[FieldError]:
    """The name of a driver of volumes or of devices."""
    found = given(value, at) + [
        errors.invalid_value(at, value, why) for why in dns_subdomain_errors(value.lower())
    ]
    return found + ([errors.too_long(at, 63)] if len(value) > 63 else [])


def domain_path(value: str, at: str) -> list[FieldError]:
    if not value:
        return [errors.required(at)]
    host, slash, path = value.partition("/")
    if not (host and slash and path):
        return [
            errors.invalid_value(
                at, value, 'must be a domain-prefixed path (such as "acme.io/foo")'
            )
        ]
    found = [errors.invalid_value(at, host, why) for why in dns_subdomain_errors(host)]
    if not _PATH.match(path):
        why = f"Invalid path (regex used for validation is '{_PATH_WORDS}')"
        found.append(errors.invalid_value(at, path, why))
    return found


def address(value: str, at: str) -> list[FieldError]:
    return [] if is_ip(value) else [errors.invalid_value(at, value, IP_ADDRESS)]


def network(value: str, at: str) -> list[FieldError]:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return [errors.invalid_value(at, value, CIDR)]
    return [] if "/" in value else [errors.invalid_value(at, value, CIDR)]


def file_mode(value: int | None, at: str) -> list[FieldError]:
    why = "must be a number between 0 and 0777 (octal), both inclusive"
    return (
        [errors.invalid_value(at, value, why)]
        if value is not None and not 0 <= value <= 0o777
        else []
    )


def local_path(path: str, at: str) -> list[FieldError]:
    """A path below something: not absolute, and never up."""
    if not path:
        return [errors.required(at)]
    if path.startswith("/"):
        return [errors.invalid_value(at, path, "must be a relative path")]
    return (
        []
        if ".." not in path.split("/")
        else [errors.invalid_value(at, path, "must not contain '..'")]
    )


def unreserved_path(path: str, at: str) -> list[FieldError]:
    """A path of a file in a volume that the node fills: names that begin with two dots are the node's own."""
    found = local_path(path, at)
    if path.startswith("..") and not path.startswith("../"):
        found.append(errors.invalid_value(at, path, "must not start with '..'"))
    return found


def amounts(
    values: Mapping[str, str], at: str, whole: Callable[[str], bool] = lambda name: False
) -> list[FieldError]:
    """Quantities that are not negative, and whole numbers where they have to be."""
    found = []
    for name, value in values.items():
        if quantity.nano(value) < 0:
            found.append(errors.invalid_value(f"{at}[{name}]", value, NATURAL))
        elif whole(name) and quantity.nano(value) % quantity.NANO:
            found.append(errors.invalid_value(f"{at}[{name}]", value, "must be an integer"))
    return found


_LABEL_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def requirement(
    e: Any,
    at: str,
    found: list[FieldError],
    operators: tuple[str, ...] = _LABEL_OPERATORS,
    strict: bool = True,
) -> None:
    """One requirement of a selector; `strict`: its values must be such as labels have."""
    if e.operator not in operators:
        found.append(
            errors.invalid_value(f"{at}.operator", e.operator, "not a valid selector operator")
        )
    elif e.operator in ("In", "NotIn") and not e.values:
        found.append(
            errors.required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        )
    elif e.operator in ("Exists", "DoesNotExist") and e.values:
        found.append(
            errors.forbidden_field(
                f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
        )
    elif e.operator in ("Gt", "Lt") and len(e.values) != 1:
        found.append(
            errors.required(
                f"{at}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'"
            )
        )
    found += [
        errors.invalid_value(f"{at}.key", e.key, problem) for problem in label_key_errors(e.key)
    ]
    if strict:
        for index, value in enumerate(e.values):
            found += named(value, label_value_errors, f"{at}.values[{index}]")


def label_selector(selector: Any, at: str) -> list[FieldError]:
    """What is absent is no error."""
    if selector is None:
        return []
    found = validate_labels(selector.match_labels, f"{at}.matchLabels")
    for index, e in enumerate(selector.match_expressions):
        requirement(e, f"{at}.matchExpressions[{index}]", found)
    return found

"""Checks that rules of many types have in common. Each gives the errors of one value at its
`path`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.labelrules import label_selector as label_selector
from tiphys.machinery.labelrules import requirement as requirement
from tiphys.machinery.names import (
    dns_subdomain_errors,
    is_ip,
    label_key_errors,
    path_segment_errors,
)

PORT_RANGE = "must be between 1 and 65535, inclusive"
NATURAL = "must be greater than or equal to 0"
IP_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_LONGEST_DRIVER = 63
_LEAST_TOKEN_SECONDS = 600
_MOST_TOKEN_SECONDS = 1 << 32
_PATH_PATTERN = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_PATH = re.compile(_PATH_PATTERN + r"\Z")

Rule = Callable[[str], list[str]]
"""Gives the problems of a text (`machinery.names`)."""

# --- presence and choice ---


def required(value: Any, path: str, detail: str = "") -> list[FieldError]:
    """The value must be set."""
    return [] if value else [errors.required(path, detail)]


def one_of(value: Any, allowed: Iterable[str], path: str) -> list[FieldError]:
    """Absence is no error."""
    if not value or value in allowed:
        return []
    return [errors.not_supported(path, value, allowed)]


# --- numbers ---


def natural(value: int | None, path: str) -> list[FieldError]:
    if value is None or value >= 0:
        return []
    return [errors.invalid_value(path, value, NATURAL)]


def within(value: int | None, least: int, most: int, path: str) -> list[FieldError]:
    if value is None or least <= value <= most:
        return []
    detail = f"must be between {least} and {most}, inclusive"
    return [errors.invalid_value(path, value, detail)]


def port(value: Any, path: str) -> list[FieldError]:
    """A number; names of ports are not checked."""
    if isinstance(value, int) and not 0 < value < 65536:
        return [errors.invalid_value(path, value, PORT_RANGE)]
    return []


def file_mode(value: int | None, path: str) -> list[FieldError]:
    if value is None or 0 <= value <= 0o777:
        return []
    return [errors.invalid_value(path, value, _FILE_MODE)]


def amounts(
    values: Mapping[str, str], path: str, is_integral: Callable[[str], bool] | None = None
) -> list[FieldError]:
    """Quantities that are not negative, and integers where `is_integral` is true of the name."""
    violations = []
    for name, value in values.items():
        nano = quantity.nano(value)
        if nano < 0:
            violations.append(errors.invalid_value(f"{path}[{name}]", value, NATURAL))
        elif is_integral is not None and is_integral(name) and nano % quantity.NANO:
            detail = "must be an integer"
            violations.append(errors.invalid_value(f"{path}[{name}]", value, detail))
    return violations


# --- names ---


def obeys(value: str, rule: Rule, path: str) -> list[FieldError]:
    """Every problem that a rule has with a text, "" included."""
    return [errors.invalid_value(path, value, problem) for problem in rule(value)]


def named(value: str, rule: Rule, path: str) -> list[FieldError]:
    """A name that is absent is no error."""
    return obeys(value, rule, path) if value else []


def qualified_name(value: str, path: str) -> list[FieldError]:
    """A name that has to be there, perhaps with a domain before it; one that is absent is wrong
    in every way."""
    return obeys(value, label_key_errors, path)


def qualified(value: str | None, path: str) -> list[FieldError]:
    """A name, perhaps with a domain before it. What is absent is no error."""
    return named(value or "", label_key_errors, path)


def subdomain(value: str | None, path: str) -> list[FieldError]:
    """Absence is no error."""
    return named(value or "", dns_subdomain_errors, path)


def segment(value: str, path: str) -> list[FieldError]:
    """What can stand between the slashes of a URL's path. It must be there."""
    return required(value, path) + named(value, path_segment_errors, path)


def driver(value: str, path: str) -> list[FieldError]:
    """The name of a driver of volumes or of devices. It must be there."""
    violations = required(value, path)
    for problem in dns_subdomain_errors(value.lower()):
        violations.append(errors.invalid_value(path, value, problem))
    if len(value) > _LONGEST_DRIVER:
        violations.append(errors.too_long(path, _LONGEST_DRIVER))
    return violations


def domain_path(value: str, path: str) -> list[FieldError]:
    """A domain and a path: ``acme.io/foo``. It must be there."""
    if not value:
        return [errors.required(path)]
    host, slash, rest = value.partition("/")
    if not (host and slash and rest):
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        return [errors.invalid_value(path, value, detail)]
    violations = obeys(host, dns_subdomain_errors, path)
    if not _PATH.match(rest):
        detail = f"Invalid path (regex used for validation is '{_PATH_PATTERN}')"
        violations.append(errors.invalid_value(path, rest, detail))
    return violations


# --- addresses ---


def address(value: str, path: str) -> list[FieldError]:
    return [] if is_ip(value) else [errors.invalid_value(path, value, IP_ADDRESS)]


def network(value: str, path: str) -> list[FieldError]:
    """A range of addresses: ``10.0.0.0/8``."""
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return [errors.invalid_value(path, value, CIDR)]
    # A single address is a network to Python.
    return [] if "/" in value else [errors.invalid_value(path, value, CIDR)]


# --- paths of files ---


def local_path(value: str, path: str) -> list[FieldError]:
    """A path below something: not absolute, and never up. It must be there."""
    if not value:
        return [errors.required(path)]
    if value.startswith("/"):
        return [errors.invalid_value(path, value, "must be a relative path")]
    if ".." in value.split("/"):
        return [errors.invalid_value(path, value, "must not contain '..'")]
    return []


def unreserved_path(value: str, path: str) -> list[FieldError]:
    """A path of a file in a volume that the node fills: names that start with two dots are the
    node's own."""
    violations = local_path(value, path)
    if value.startswith("..") and not value.startswith("../"):
        violations.append(errors.invalid_value(path, value, "must not start with '..'"))
    return violations


# --- tokens ---


def token_seconds(value: int | None, path: str) -> list[FieldError]:
    """How long a token is to last. Absence is no error."""
    if value is not None and value < _LEAST_TOKEN_SECONDS:
        detail = "may not specify a duration less than 10 minutes"
        return [errors.invalid_value(path, value, detail)]
    if value is not None and value > _MOST_TOKEN_SECONDS:
        detail = "may not specify a duration larger than 2^32 seconds"
        return [errors.invalid_value(path, value, detail)]
    return []

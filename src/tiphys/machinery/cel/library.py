"""The functions of CEL and of Kubernetes' libraries by name: those of other files, and optionals,
quantities, versions and formats."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tiphys.machinery.cel import addresses, conversions, lists, texts, times
from tiphys.machinery.cel.addresses import parse_cidr, parse_ip, parse_url
from tiphys.machinery.cel.frames import Function
from tiphys.machinery.cel.values import (
    NONE,
    CelError,
    Optional,
    QuantityValue,
    Semver,
    parse_semver,
)


def _valid(parse: Callable[[str], Any]) -> Function:
    def check(text: str, *rest: Any) -> bool:
        try:
            parse(text, *rest)
        except CelError:
            return False
        return True

    return check


def _quantity_sum(sign: int) -> Function:
    def run(a: QuantityValue, b: Any) -> QuantityValue:
        return QuantityValue(
            a.nano + sign * (b.nano if isinstance(b, QuantityValue) else int(b) * 10**9)
        )

    return run


def _key(value: Any) -> Any:
    if isinstance(value, QuantityValue):
        return value.nano
    if isinstance(value, Semver):
        return value.key()
    raise CelError("no such overload")


def _as_integer(value: QuantityValue) -> int:
    if value.nano % 10**9:
        raise CelError("cannot convert value to integer")
    return value.nano // 10**9


def _unwrap(value: Optional) -> Any:
    if not value.present:
        raise CelError("optional.none() dereference")
    return value.value


def _or_value(value: Optional, other: Any) -> Any:
    return value.value if value.present else other


def _of_non_zero(value: Any) -> Optional:
    if value is None or value in (0, "", b"", False) or value == [] or value == {}:
        return NONE
    return Optional(True, value)


class NamedFormat:
    """What `format.named("dns1123Label")` gives."""

    def __init__(self, check: Callable[[str], list[str]]) -> None:
        self.check = check

    def validate(self, text: str) -> Optional:
        problems = self.check(text)
        return Optional(True, problems) if problems else NONE


def _formats() -> dict[str, Callable[[str], list[str]]]:
    from tiphys.machinery import names
    from tiphys.machinery.formats import FORMATS

    def matching(name: str) -> Callable[[str], list[str]]:
        def check(text: str) -> list[str]:
            try:
                return [] if FORMATS[name](text) else [f"invalid {name}"]
            except ValueError:
                return [f"invalid {name}"]

        return check

    def prefix(check: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
        return lambda text: check(text[:-1] + "a" if text.endswith("-") else text)

    return {
        "dns1123Label": names.dns_label_errors,
        "dns1123LabelPrefix": prefix(names.dns_label_errors),
        "dns1123Subdomain": names.dns_subdomain_errors,
        "dns1123SubdomainPrefix": prefix(names.dns_subdomain_errors),
        "dns1035Label": names.dns1035_errors,
        "dns1035LabelPrefix": prefix(names.dns1035_errors),
        "qualifiedName": names.label_key_errors,
        "labelValue": names.label_value_errors,
        **{name: matching(name) for name in ("uri", "uuid", "byte", "date", "datetime")},
    }


_FORMATS = (
    "dns1123Label",
    "dns1123LabelPrefix",
    "dns1123Subdomain",
    "dns1123SubdomainPrefix",
    "dns1035Label",
    "dns1035LabelPrefix",
    "qualifiedName",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
)


def _named_format(name: str) -> Optional:
    format_check = _formats().get(name)
    return Optional(True, NamedFormat(format_check)) if format_check else NONE


FUNCTIONS: dict[str, Function] = {
    **conversions.FUNCTIONS,
    **texts.FUNCTIONS,
    **lists.FUNCTIONS,
    "optional.of": lambda v: Optional(True, v),
    "optional.none": lambda: NONE,
    "optional.ofNonZeroValue": _of_non_zero,
    "optional.unwrap": lambda v: [item.value for item in v if item.present],
    "sign": lambda v: (v.nano > 0) - (v.nano < 0),
    "ip": parse_ip,
    "isIP": _valid(parse_ip),
    "ip.isCanonical": lambda t: str(parse_ip(t).address) == t,
    "cidr": parse_cidr,
    "isCIDR": _valid(parse_cidr),
    "url": parse_url,
    "isURL": _valid(parse_url),
    "quantity": QuantityValue.parse,
    "isQuantity": _valid(QuantityValue.parse),
    "semver": parse_semver,
    "isSemver": _valid(parse_semver),
    "format.named": _named_format,
    **{
        f"format.{name}": functools.partial(lambda name: _named_format(name).value, name)
        for name in _FORMATS
    },
}

METHODS: dict[str, Function] = {
    **conversions.METHODS,
    **texts.METHODS,
    **lists.METHODS,
    **times.METHODS,
    **addresses.METHODS,
    "hasValue": lambda v: v.present,
    "value": _unwrap,
    "orValue": _or_value,
    "or": lambda a, b: a if a.present else b,
    "isGreaterThan": lambda a, b: _key(a) > _key(b),
    "isLessThan": lambda a, b: _key(a) < _key(b),
    "compareTo": lambda a, b: (_key(a) > _key(b)) - (_key(a) < _key(b)),
    "isInteger": lambda v: v.nano % 10**9 == 0,
    "asInteger": _as_integer,
    "asApproximateFloat": lambda v: v.nano / 1e9,
    "add": _quantity_sum(1),
    "sub": _quantity_sum(-1),
    "unwrapOpt": FUNCTIONS["optional.unwrap"],
    "major": lambda v: v.parts[0],
    "minor": lambda v: v.parts[1],
    "patch": lambda v: v.parts[2],
    "validate": lambda v, t: v.validate(t),
}

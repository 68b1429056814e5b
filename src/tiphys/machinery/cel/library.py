"""The functions of CEL and of Kubernetes' libraries: strings, lists, numbers, times, sets, addresses, quantities."""

from __future__ import annotations

import datetime
import functools
import ipaddress
import itertools
import math
import re
import urllib.parse
from collections.abc import Callable
from typing import Any

from tiphys.machinery import regexp
from tiphys.machinery.cel.values import (
    CIDR,
    IP,
    NONE,
    URL,
    CelError,
    CostExceeded,
    Optional,
    QuantityValue,
    Semver,
    TypeValue,
    Uint,
    equal,
    is_number,
    less,
    parse_semver,
    type_name,
)

Function = Callable[..., Any]
UTC = datetime.UTC


# --- arithmetic beyond + on numbers -------------------------------------------------------------------------------


def divide(a: int, b: int) -> int:
    if b == 0:
        raise CelError("division by zero")
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def modulo(a: int, b: int) -> int:
    if b == 0:
        raise CelError("modulus by zero")
    return a - b * divide(a, b)


def plus(operator: str, a: Any, b: Any) -> Any:
    """+ and - on what is not a number."""
    time, span = datetime.datetime, datetime.timedelta
    try:
        if operator == "+":
            for kind in (str, bytes, list):
                if isinstance(a, kind) and isinstance(b, kind):
                    return a + b  # type: ignore[operator]
            if (
                isinstance(a, time | span)
                and isinstance(b, time | span)
                and not (isinstance(a, time) and isinstance(b, time))
            ):
                return a + b  # type: ignore[operator]
        if operator == "-" and isinstance(a, time | span) and isinstance(b, time | span):
            if isinstance(a, time) or isinstance(b, span):
                return a - b  # type: ignore[operator]
    except OverflowError:
        raise CelError("timestamp overflow") from None
    raise CelError("no such overload")


# --- conversions --------------------------------------------------------------------------------------------------


def _size(value: Any) -> int:
    return len(value)


def _int(value: Any) -> int:
    if isinstance(value, bool):
        raise CelError("no such overload")
    if isinstance(value, datetime.datetime):
        return int(value.timestamp())
    if isinstance(value, datetime.timedelta):
        return value // datetime.timedelta(microseconds=1) * 1000
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?\d+", value):
            raise CelError(f'strconv.ParseInt: parsing "{value}": invalid syntax')
        number = int(value)
    elif isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            raise CelError("integer overflow")
        number = int(value)
    else:
        number = int(value)
    if not -(2**63) <= number < 2**63:
        raise CelError("integer overflow")
    return number


def _uint(value: Any) -> Uint:
    if isinstance(value, str) and not re.fullmatch(r"\d+", value):
        raise CelError(f'strconv.ParseUint: parsing "{value}": invalid syntax')
    if isinstance(value, float) and not 0 <= value < 2**64:
        raise CelError("unsigned integer overflow")
    number = int(value)
    if not 0 <= number < 2**64:
        raise CelError("unsigned integer overflow")
    return Uint(number)


def _double(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise CelError(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None
    if is_number(value):
        return float(value)
    raise CelError("no such overload")


_LONGEST = 1_000_000  # elements of a list made from nothing: more would cost more than any expression may
_EXPONENT = 6  # from which on Go writes a double with one


def _float_text(value: float) -> str:
    """A double as Go prints it in its shortest form."""
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    mantissa, _, power = f"{value:.17e}".partition("e")
    for precision in range(17):
        text = f"{value:.{precision}e}"
        if float(text) == value:
            mantissa, _, power = text.partition("e")
            break
    exponent = int(power)
    if -4 <= exponent < _EXPONENT:
        return f"{value:.{max(len(mantissa.lstrip('-').replace('.', '')) - 1 - exponent, 0)}f}"
    return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, datetime.datetime):
        text = value.isoformat().replace("+00:00", "Z")
        return re.sub(r"(\.\d*?)0+(?=[Z+-])", r"\1", text) if value.microsecond else text
    if isinstance(value, datetime.timedelta):
        seconds = value.total_seconds()
        return f"{int(seconds)}s" if seconds == int(seconds) else f"{seconds:g}s"
    if isinstance(value, IP):
        return str(value.address)
    if isinstance(value, CIDR):
        return value.text
    raise CelError("no such overload")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise CelError(f'strconv.ParseBool: parsing "{value}": invalid syntax')


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(memoryview(value))


_SPAN = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def parse_duration(value: Any) -> datetime.timedelta:
    if isinstance(value, datetime.timedelta):
        return value
    text = value.lstrip("+-")
    if text == "0":
        return datetime.timedelta()
    if not text or _SPAN.sub("", text):
        raise CelError(f'time: invalid duration "{value}"')
    total = sum(float(number) * _UNITS[unit] for number, unit in _SPAN.findall(text))
    return datetime.timedelta(seconds=-total if value.startswith("-") else total)


def parse_timestamp(value: Any) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    if isinstance(value, int):
        if not -62135596800 <= value <= 253402300799:
            raise CelError("timestamp overflow")
        return datetime.datetime.fromtimestamp(value, UTC)
    try:
        made = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise CelError(f'parsing time "{value}"') from None
    return made if made.tzinfo else made.replace(tzinfo=UTC)


# --- strings ------------------------------------------------------------------------------------------------------


def _regex(pattern: str) -> Any:
    try:
        return regexp.compiled(pattern)
    except regexp.RegexpError as error:
        raise CelError(str(error)) from None


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    return text.replace(old, new, count)


def _substring(text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    if not 0 <= start <= end <= len(text):
        raise CelError(f"index out of range: {start if not 0 <= start <= len(text) else end}")
    return text[start:end]


def _char_at(text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise CelError(f"index out of range: {at}")
    return text[at : at + 1]


def _split(text: str, by: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    parts = text.split(by) if by else list(text)
    if 0 < limit < len(parts):
        parts = [*parts[: limit - 1], by.join(parts[limit - 1 :])]
    return parts


def _join(items: list[str], by: str = "") -> str:
    return by.join(items)


def _index(value: Any, item: Any, start: int = 0) -> int:
    if isinstance(value, str):
        if item == "" and start >= 0:
            return min(start, len(value))
        return value.find(item, _within(start))
    return next((n for n, other in enumerate(value) if equal(other, item)), -1)


def _within(at: int) -> int:
    if at < 0:
        raise CelError(f"index out of range: {at}")
    return at


def _last_index(value: Any, item: Any, last: int | None = None) -> int:
    if isinstance(value, str):
        if last is None:
            return value.rfind(item)
        return value.rfind(item, 0, last + len(item)) if _within(last) <= len(value) else -1
    return next((n for n in range(len(value) - 1, -1, -1) if equal(value[n], item)), -1)


def _format(template: str, values: list[Any]) -> str:
    given = iter(values)

    def fill(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        try:
            value = next(given)
        except StopIteration:
            raise CelError("index out of range") from None
        return _clause(match[2], match[1], value)

    return re.sub(r"%(?:%|(\.\d+)?([sdfexXob]))", fill, template)


def _clause(verb: str, precision: str | None, value: Any) -> str:
    if verb == "s":
        return _shown(value)
    if verb == "d":
        return str(int(value))
    if verb in "fe":
        return f"{float(value):{precision or '.6'}{verb}}"
    if verb == "b":
        return f"{int(value):b}"
    if verb == "o":
        return f"{int(value):o}"
    if isinstance(value, str | bytes):
        raw = value.encode() if isinstance(value, str) else value
        return raw.hex() if verb == "x" else raw.hex().upper()
    return f"{int(value):{verb}}"


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_shown(k)}: {_shown(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, TypeValue):
        return value.name
    return _string(value)


def _find(text: str, pattern: str) -> str:
    match = _regex(pattern).search(text)
    return match[0] if match else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [match[0] for match in _regex(pattern).finditer(text)]
    return found if limit < 0 else found[:limit]


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


# --- lists and sets -----------------------------------------------------------------------------------------------


def _sum(items: list[Any]) -> Any:
    if not items:
        return 0
    total = items[0]
    for item in items[1:]:
        total = total + item
    return total


def _least(items: list[Any]) -> Any:
    return _foremost(items, "min", less)


def _greatest(items: list[Any]) -> Any:
    return _foremost(items, "max", lambda a, b: less(b, a))


def _foremost(items: list[Any], name: str, before: Callable[[Any, Any], bool]) -> Any:
    if not items:
        raise CelError(f"{name} called on empty list")
    best = items[0]
    for item in items[1:]:
        best = item if before(item, best) else best
    return best


def _is_sorted(items: list[Any]) -> bool:
    return all(not less(b, a) for a, b in itertools.pairwise(items))


def _distinct(items: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if not any(equal(item, other) for other in found):
            found.append(item)
    return found


def _flatten(items: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise CelError("level must be non-negative")
    made: list[Any] = []
    for item in items:
        made += (_flatten(item, depth - 1) if depth > 1 else item) if isinstance(item, list) else [item]
    return made


def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    if start < 0 or end < 0:
        raise CelError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise CelError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if end > len(items):
        raise CelError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return items[start:end]


def _range(size: int) -> list[int]:
    if size < 0:
        raise CelError(f"lists.range: size must be non-negative, got {size}")
    if size > _LONGEST:
        raise CostExceeded("operation cancelled: actual cost limit exceeded")
    return list(range(size))


def sorted_list(pairs: list[tuple[Any, Any]]) -> list[Any]:
    """Items sorted by the key that stands beside each."""
    def compare(a: tuple[Any, Any], b: tuple[Any, Any]) -> int:
        return -1 if less(a[1], b[1]) else 1 if less(b[1], a[1]) else 0

    return [item for item, _ in sorted(pairs, key=functools.cmp_to_key(compare))]


def _has_all(left: list[Any], right: list[Any]) -> bool:
    return all(any(equal(item, other) for other in left) for item in right)


def _first(items: Any) -> Any:
    return Optional(True, items[0]) if items else NONE


def _last(items: Any) -> Any:
    return Optional(True, items[-1]) if items else NONE


# --- times --------------------------------------------------------------------------------------------------------


def _zone(name: str) -> datetime.tzinfo:
    if not name:
        return UTC
    match = re.fullmatch(r"([+-]?)(\d\d):(\d\d)", name)
    if match:
        span = datetime.timedelta(hours=int(match[2]), minutes=int(match[3]))
        return datetime.timezone(-span if match[1] == "-" else span)
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise CelError(f"unknown time zone {name}") from None


def _part(of_time: Callable[[datetime.datetime], int], of_span: Callable[[float], int] | None = None) -> Function:
    def read(value: Any, zone: str = "UTC") -> int:
        if isinstance(value, datetime.timedelta):
            if of_span is None:
                raise CelError("no such overload")
            return of_span(value.total_seconds())
        return of_time(value.astimezone(UTC if zone == "UTC" else _zone(zone)))

    return read


# --- addresses, URLs, quantities, versions ------------------------------------------------------------------------


def parse_ip(text: str) -> IP:
    try:
        return IP(ipaddress.ip_address(text))
    except ValueError:
        raise CelError(f'IP Address "{text}" is not a valid IP address') from None


def parse_cidr(text: str) -> CIDR:
    try:
        if "/" not in text:
            raise ValueError
        return CIDR(ipaddress.ip_network(text, strict=False), text)
    except ValueError:
        raise CelError(f'network address parse error during conversion from string: "{text}"') from None


def parse_url(text: str) -> URL:
    try:
        parts = urllib.parse.urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
    except ValueError as error:
        raise CelError(f"URL parse error during conversion from string: {error}") from None
    if not parts.scheme and not text.startswith("/"):
        raise CelError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return URL(parts.scheme, host, parts.path, parts.query)


def _hostname(url: URL) -> str:
    host = url.host
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _port(url: URL) -> str:
    return url.host.rpartition("]")[2].partition(":")[2]


def _query(url: URL) -> dict[str, list[str]]:
    return urllib.parse.parse_qs(url.query, keep_blank_values=True)


def _valid(parse: Callable[[str], Any]) -> Function:
    def check(text: str, *rest: Any) -> bool:
        try:
            parse(text, *rest)
        except CelError:
            return False
        return True

    return check


def _contains_ip(network: CIDR, ip: Any) -> bool:
    address = parse_ip(ip).address if isinstance(ip, str) else ip.address
    return address.version == network.network.version and address in network.network


def _contains_cidr(network: CIDR, other: Any) -> bool:
    inner = parse_cidr(other).network if isinstance(other, str) else other.network
    return inner.version == network.network.version and bool(inner.subnet_of(network.network))  # type: ignore[arg-type]


def _quantity_sum(sign: int) -> Function:
    def run(a: QuantityValue, b: Any) -> QuantityValue:
        return QuantityValue(a.nano + sign * (b.nano if isinstance(b, QuantityValue) else int(b) * 10**9))

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
    return (
        NONE if value is None or value in (0, "", b"", False) or value == [] or value == {} else Optional(True, value)
    )


class NamedFormat:
    """What `format.named("dns1123Label")` gives."""

    def __init__(self, check: Callable[[str], list[str]]) -> None:
        self.check = check

    def validate(self, text: str) -> Optional:
        found = self.check(text)
        return Optional(True, found) if found else NONE


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
        "dns1123Label": names.dns_label_errors, "dns1123LabelPrefix": prefix(names.dns_label_errors),
        "dns1123Subdomain": names.dns_subdomain_errors, "dns1123SubdomainPrefix": prefix(names.dns_subdomain_errors),
        "dns1035Label": names.dns1035_errors, "dns1035LabelPrefix": prefix(names.dns1035_errors),
        "qualifiedName": names.label_key_errors, "labelValue": names.label_value_errors,
        **{name: matching(name) for name in ("uri", "uuid", "byte", "date", "datetime")},
    }  # fmt: skip


_FORMATS = ("dns1123Label", "dns1123LabelPrefix", "dns1123Subdomain", "dns1123SubdomainPrefix", "dns1035Label",
            "dns1035LabelPrefix", "qualifiedName", "labelValue", "uri", "uuid", "byte", "date", "datetime")  # fmt: skip


def _named_format(name: str) -> Optional:
    found = _formats().get(name)
    return Optional(True, NamedFormat(found)) if found else NONE


FUNCTIONS: dict[str, Function] = {
    "size": _size, "int": _int, "uint": _uint, "double": _double, "string": _string, "bool": _bool, "bytes": _bytes,
    "duration": parse_duration, "timestamp": parse_timestamp, "dyn": lambda v: v, "type": lambda v: TypeValue(type_name(v)),
    "matches": lambda text, pattern: _regex(pattern).search(text) is not None,
    "optional.of": lambda v: Optional(True, v), "optional.none": lambda: NONE, "optional.ofNonZeroValue": _of_non_zero,
    "sets.contains": _has_all, "sets.equivalent": lambda a, b: _has_all(a, b) and _has_all(b, a),
    "sets.intersects": lambda a, b: any(equal(x, y) for x in a for y in b),
    "lists.range": _range,
    "strings.quote": _quote, "sign": lambda v: (v.nano > 0) - (v.nano < 0),
    "optional.unwrap": lambda v: [item.value for item in v if item.present],
    "ip": parse_ip, "isIP": _valid(parse_ip), "ip.isCanonical": lambda t: str(parse_ip(t).address) == t,
    "cidr": parse_cidr, "isCIDR": _valid(parse_cidr),
    "url": parse_url, "isURL": _valid(parse_url),
    "quantity": QuantityValue.parse, "isQuantity": _valid(QuantityValue.parse),
    "semver": parse_semver, "isSemver": _valid(parse_semver),
}  # fmt: skip

METHODS: dict[str, Function] = {
    "size": _size, "contains": lambda t, s: s in t if isinstance(t, str) else _has_all(t, [s]),
    "startsWith": lambda t, s: t.startswith(s), "endsWith": lambda t, s: t.endswith(s),
    "matches": FUNCTIONS["matches"], "find": _find, "findAll": _find_all, "replace": _replace, "substring": _substring,
    "charAt": _char_at, "split": _split, "join": _join, "indexOf": _index, "lastIndexOf": _last_index,
    "lowerAscii": lambda t: "".join(c.lower() if c.isascii() else c for c in t),
    "upperAscii": lambda t: "".join(c.upper() if c.isascii() else c for c in t),
    "trim": lambda t: t.strip(), "format": _format, "reverse": lambda v: v[::-1],
    "sum": _sum, "min": _least, "max": _greatest, "isSorted": _is_sorted, "distinct": _distinct, "flatten": _flatten,
    "slice": _slice, "sort": lambda v: sorted_list([(i, i) for i in v]), "first": _first, "last": _last,
    "getFullYear": _part(lambda t: t.year), "getMonth": _part(lambda t: t.month - 1), "getDate": _part(lambda t: t.day),
    "getDayOfMonth": _part(lambda t: t.day - 1), "getDayOfWeek": _part(lambda t: t.isoweekday() % 7),
    "getDayOfYear": _part(lambda t: t.timetuple().tm_yday - 1), "getHours": _part(lambda t: t.hour, lambda s: int(s / 3600)),
    "getMinutes": _part(lambda t: t.minute, lambda s: int(s / 60)), "getSeconds": _part(lambda t: t.second, lambda s: int(s)),
    "getMilliseconds": _part(lambda t: t.microsecond // 1000, lambda s: int(s * 1000)),
    "hasValue": lambda v: v.present, "value": _unwrap, "orValue": _or_value, "or": lambda a, b: a if a.present else b,
    "family": lambda v: v.address.version, "isUnspecified": lambda v: v.address.is_unspecified,
    "isLoopback": lambda v: v.address.is_loopback, "isLinkLocalMulticast": lambda v: v.address.is_multicast and v.address.is_link_local,
    "isLinkLocalUnicast": lambda v: v.address.is_link_local, "isGlobalUnicast": lambda v: not (v.address.is_multicast or v.address.is_loopback or v.address.is_unspecified or v.address.is_link_local),
    "containsIP": _contains_ip, "containsCIDR": _contains_cidr, "prefixLength": lambda v: v.network.prefixlen,
    "masked": lambda v: CIDR(v.network, str(v.network)), "ip": lambda v: parse_ip(v.text.partition("/")[0]),
    "getScheme": lambda v: v.scheme, "getHost": lambda v: v.host, "getHostname": _hostname, "getPort": _port,
    "getEscapedPath": lambda v: urllib.parse.quote(v.path, safe="/%:@!$&'()*+,;=~-._"), "getQuery": _query,
    "isGreaterThan": lambda a, b: _key(a) > _key(b), "isLessThan": lambda a, b: _key(a) < _key(b),
    "compareTo": lambda a, b: (_key(a) > _key(b)) - (_key(a) < _key(b)),
    "isInteger": lambda v: v.nano % 10**9 == 0, "asInteger": _as_integer, "asApproximateFloat": lambda v: v.nano / 1e9,
    "add": _quantity_sum(1), "sub": _quantity_sum(-1),
    "unwrapOpt": FUNCTIONS["optional.unwrap"], "major": lambda v: v.parts[0], "minor": lambda v: v.parts[1], "patch": lambda v: v.parts[2],
    "validate": lambda v, t: v.validate(t),
    # Selectors of devices alone: attributes that may be lists.
    "includes": lambda v, item: any(equal(one, item) for one in (v if isinstance(v, list) else [v])),
}  # fmt: skip
FUNCTIONS["format.named"] = _named_format
FUNCTIONS |= {f"format.{name}": functools.partial(lambda name: _named_format(name).value, name) for name in _FORMATS}

"""The formats that a schema may name for strings, each a test. Source: the formats upstream's
validator knows."""

from __future__ import annotations

import datetime
import email.utils
import functools
import ipaddress
import re
from collections.abc import Callable

from tiphys.machinery.regexp import compiled

Test = Callable[[str], bool]

_HOSTNAME = (
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)"
    r"|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
)
_UUID = "(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?%s-?%s-?[0-9a-f]{12}"
_ANY, _VARIANT = "[0-9a-f]{4}", "[89ab][0-9a-f]{3}"
_BYTE = r"(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])"
_CARD = re.compile(
    r"4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
    r"|(?:2131|1800|35\d{3})\d{11}"
)
_GO_SPAN = re.compile(r"[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|[-+]?0")
_SPAN = re.compile(r"(\d+)\s*([A-Za-zµ]+)")
# The last of each row may also be just a prefix of the unit: days, seconds.
_UNITS = (
    ("ns", "nano"),
    ("us", "µs", "micro"),
    ("ms", "milli"),
    ("s", "sec"),
    ("m", "min"),
    ("h", "hr", "hour"),
    ("d", "day"),
    ("w", "wk", "week"),
)
_CLOCK = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def _matches(expression: str) -> Test:
    pattern = re.compile(expression)
    return lambda text: pattern.fullmatch(text) is not None


def _hostname(text: str) -> bool:
    if len(text.encode()) > 255 or any(len(part.encode()) > 63 for part in text.split(".")):
        return False
    return compiled(_HOSTNAME).search(text) is not None


def _email(text: str) -> bool:
    local, separator, domain = email.utils.parseaddr(text)[1].rpartition("@")
    return bool(local and separator and domain) and not re.search(r"\s", domain)


def _ipv4(text: str) -> bool:
    """Numbers may start with zeros here."""
    parts = text.split(".")
    return len(parts) == 4 and all(
        part.isascii() and part.isdigit() and int(part) < 256 for part in parts
    )


def _ipv6(text: str) -> bool:
    try:
        return "%" not in text and ipaddress.IPv6Address(text) is not None
    except ValueError:
        return False


def _cidr(text: str) -> bool:
    address, _, length = text.partition("/")
    if not length.isascii() or not length.isdigit():
        return False
    if _ipv4(address):
        return int(length) <= 32
    return _ipv6(address) and int(length) <= 128


def _card(text: str) -> bool:
    digits = re.sub(r"[^0-9]+", "", text)
    doubled = [
        sum(divmod(int(d) * 2, 10)) if n % 2 else int(d) for n, d in enumerate(reversed(digits))
    ]
    return _CARD.fullmatch(digits) is not None and sum(doubled) % 10 == 0


def _isbn(length: int, text: str) -> bool:
    digits = re.sub(r"[\s-]+", "", text)
    if length == 10:
        if not re.fullmatch("[0-9]{9}X|[0-9]{10}", digits):
            return False
        values = [10 if d == "X" else int(d) for d in digits]
        return sum((n + 1) * v for n, v in enumerate(values)) % 11 == 0
    if not re.fullmatch("[0-9]{13}", digits):
        return False
    return sum(int(d) * (3 if n % 2 else 1) for n, d in enumerate(digits)) % 10 == 0


def _date(text: str) -> bool:
    try:
        return len(text) == 10 and text[4] == "-" and datetime.date.fromisoformat(text) is not None
    except ValueError:
        return False


def _datetime(text: str) -> bool:
    date, _, rest = text.lower().partition("t")
    clock = _CLOCK.fullmatch(rest)
    return (
        _date(date)
        and clock is not None
        and clock[1] <= "23"
        and clock[2] <= "59"
        and clock[3] <= "59"
    )


def _duration(text: str) -> bool:
    if _GO_SPAN.fullmatch(text):
        return True
    for _, unit in _SPAN.findall(text):
        low = unit.lower()
        if any(low in names or low.startswith(names[-1]) for names in _UNITS):
            return True
    return False


def _long_name(text: str) -> bool:
    return len(text) <= 253 and all(_LABEL.fullmatch(part) for part in text.split("."))


FORMATS: dict[str, Test] = {
    "bsonobjectid": _matches("[0-9a-fA-F]{24}"),
    "uri": _matches(r"[a-zA-Z][a-zA-Z0-9+.-]*:[^\s\x00-\x20\x7f]*|/[^\x00-\x1f\x7f]*"),
    "email": _email,
    "hostname": _hostname,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "cidr": _cidr,
    "mac": _matches(
        "|".join(
            rf"[0-9a-fA-F]{{{digits}}}(?:{sep}[0-9a-fA-F]{{{digits}}}){{{count - 1}}}"
            for sep, digits, counts in (
                (":", 2, (6, 8, 20)),
                ("-", 2, (6, 8, 20)),
                (r"\.", 4, (3, 4, 10)),
            )
            for count in counts
        )
    ),
    "uuid": _matches(_UUID % (_ANY, _ANY)),
    "uuid3": _matches(_UUID % ("3[0-9a-f]{3}", _ANY)),
    "uuid4": _matches(_UUID % ("4[0-9a-f]{3}", _VARIANT)),
    "uuid5": _matches(_UUID % ("5[0-9a-f]{3}", _VARIANT)),
    "isbn": lambda text: _isbn(10, text) or _isbn(13, text),
    "isbn10": functools.partial(_isbn, 10),
    "isbn13": functools.partial(_isbn, 13),
    "creditcard": _card,
    "ssn": _matches(r"(?=.{11}$)\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _matches("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _matches(rf"rgb\(\s*{_BYTE}\s*,\s*{_BYTE}\s*,\s*{_BYTE}\s*\)"),
    "byte": _matches(
        "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})"
    ),
    "password": lambda text: True,
    "date": _date,
    "duration": _duration,
    "datetime": _datetime,
    "date-time": _datetime,
    "k8s-short-name": lambda text: len(text) <= 63 and _LABEL.fullmatch(text) is not None,
    "k8s-long-name": _long_name,
}

"""Names and their formats, with upstream's sentences for what is wrong with them."""

from __future__ import annotations

import ipaddress
import random
import re
import secrets
import uuid

from tiphys.machinery.remembered import remembered

_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL = re.compile(_DNS_LABEL + r"\Z")
_SUBDOMAIN = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*\Z")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")
_DNS1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+\Z")

LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end"
    " with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start"
    " and end with an alphanumeric character (e.g. 'example.com', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
DNS1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character,"
    " and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is"
    " '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
QUALIFIED_MESSAGE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
    " character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
    " '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    " '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
CONFIG_KEY_MESSAGE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME', "
    " or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


TWO_PARTS_MESSAGE = (
    "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
    " character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
    " '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def dns_label_errors(name: str) -> list[str]:
    return ([_too_long(63)] if len(name) > 63 else []) + (
        [] if _LABEL.match(name) else [LABEL_MESSAGE]
    )


def dns_subdomain_errors(name: str) -> list[str]:
    return ([_too_long(253)] if len(name) > 253 else []) + (
        [] if _SUBDOMAIN.match(name) else [SUBDOMAIN_MESSAGE]
    )


def dns1035_errors(name: str) -> list[str]:
    return ([_too_long(63)] if len(name) > 63 else []) + (
        [] if _DNS1035.match(name) else [DNS1035_MESSAGE]
    )


def path_segment_errors(name: str) -> list[str]:
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in name]


def label_key_errors(key: str) -> list[str]:
    """Problems of a qualified name: an optional DNS subdomain, a slash, and a name of up to 63
    bytes."""
    return list(_label_key_errors(key))


@remembered(4096)
def _label_key_errors(key: str) -> list[str]:
    if key.count("/") > 1:
        return [TWO_PARTS_MESSAGE]
    prefix, slash, name = key.rpartition("/")
    problems = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems += [f"prefix part {problem}" for problem in dns_subdomain_errors(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append(f"name part {_too_long(63)}")
    if not _QUALIFIED.match(name):
        problems.append(QUALIFIED_MESSAGE)
    return problems


def label_value_errors(value: str) -> list[str]:
    return ([_too_long(63)] if len(value) > 63 else []) + (
        [] if _VALUE.match(value) else [VALUE_MESSAGE]
    )


def config_key_errors(key: str) -> list[str]:
    if len(key) > 253:
        return [_too_long(253)]
    if key in (".", "..") or key.startswith(".."):
        return [f"must not be '{key}'" if key in (".", "..") else "must not start with '..'"]
    return [] if _CONFIG_KEY.match(key) else [CONFIG_KEY_MESSAGE]


def port_name_errors(name: str) -> list[str]:
    problems = []
    if len(name) > 15:
        problems.append("must be no more than 15 characters")
    if not re.fullmatch(r"[-a-z0-9]+", name):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        problems.append("must contain at least one letter (a-z)")
    if "--" in name:
        problems.append("must not contain consecutive hyphens")
    if name and (name[0] == "-" or name[-1] == "-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def is_ip(text: str) -> bool:
    """Whether the text is an address; one with a zone (``fe80::1%eth0``) is none here, as for
    upstream."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels and no look-alikes, so that no words appear


def random_suffix(length: int = 5) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def generated(prefix: str) -> str:
    """A name for generateName: at most 63 characters with its random suffix."""
    return prefix[:58] + random_suffix()


def safe_encode(text: str) -> str:
    """Maps any text to letters that are safe in names, as upstream does for hashes."""
    return "".join(ALPHABET[ord(char) % len(ALPHABET)] for char in text)


_uids = random.Random()  # seeded by the system once: a uid must be unique, it is no secret


def new_uid() -> str:
    """A random UUID (version 4)."""
    return str(uuid.UUID(int=_uids.getrandbits(128), version=4))

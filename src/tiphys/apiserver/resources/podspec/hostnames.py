"""How a pod is called, and how it finds others by name: hostname, aliases, DNS."""

from __future__ import annotations

import re

from tiphys.api.core_v1 import PodDNSConfig, PodSpec
from tiphys.apiserver.resources import checks
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_subdomain_errors

_MOST_NAMESERVERS = 3
_MOST_SEARCHES = 32
_LONGEST_SEARCH_LIST = 2048
_LONGEST_HOSTNAME = 64
_SEARCH_PART = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SEARCH_PATTERN = rf"{_SEARCH_PART}(\.{_SEARCH_PART})*"
_SEARCH = re.compile(_SEARCH_PATTERN + r"\Z")
_SEARCH_DETAIL = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-'"
    " or '.', and must start and end with an alphanumeric character"
    f" (e.g. 'example.com', regex used for validation is '{_SEARCH_PATTERN}')"
)


def validate_dns(spec: PodSpec, path: str) -> list[FieldError]:
    config = spec.dns_config
    if config is None:
        if spec.dns_policy != "None":
            return []
        detail = "must provide `dnsConfig` when `dnsPolicy` is None"
        return [errors.required(path, detail)]
    violations = []
    if spec.dns_policy == "None":
        detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        violations += checks.required(config.nameservers, f"{path}.nameservers", detail)
    if len(config.nameservers) > _MOST_NAMESERVERS:
        detail = "must not have more than 3 nameservers"
        field = f"{path}.nameservers"
        violations.append(errors.invalid_value(field, config.nameservers, detail))
    for index, server in enumerate(config.nameservers):
        violations += checks.address(server, f"{path}.nameservers[{index}]")
    violations += _searches(config, f"{path}.searches")
    for index, option in enumerate(config.options):
        violations += checks.required(option.name, f"{path}.options[{index}]", "must not be empty")
    return violations


def _searches(config: PodDNSConfig, path: str) -> list[FieldError]:
    searches = config.searches
    violations = []
    if len(searches) > _MOST_SEARCHES:
        detail = "must not have more than 32 search paths"
        violations.append(errors.invalid_value(path, searches, detail))
    if len(" ".join(searches)) > _LONGEST_SEARCH_LIST:
        detail = "must not have more than 2048 characters (including spaces) in the search list"
        violations.append(errors.invalid_value(path, searches, detail))
    for index, search in enumerate(searches):
        name = "" if search == "." else search.removesuffix(".")
        if name and not _SEARCH.match(name):
            violations.append(errors.invalid_value(f"{path}[{index}]", name, _SEARCH_DETAIL))
    return violations


def validate_aliases(spec: PodSpec, path: str) -> list[FieldError]:
    violations = []
    for index, alias in enumerate(spec.host_aliases):
        field = f"{path}[{index}]"
        violations += checks.address(alias.ip, f"{field}.ip")
        for number, name in enumerate(alias.hostnames):
            violations += checks.named(name, dns_subdomain_errors, f"{field}.hostnames[{number}]")
    return violations


def validate_hostname_override(spec: PodSpec, path: str) -> list[FieldError]:
    name = spec.hostname_override
    if name is None:
        return []
    violations = []
    if spec.set_hostname_as_fqdn:
        detail = "may not be specified when setHostnameAsFQDN is true"
        violations.append(errors.forbidden_field(path, detail))
    if spec.host_network:
        detail = "may not be specified when hostNetwork is true"
        violations.append(errors.forbidden_field(path, detail))
    if len(name) > _LONGEST_HOSTNAME:
        violations.append(errors.too_long(path, _LONGEST_HOSTNAME))
    return violations + checks.obeys(name, dns_subdomain_errors, path)

"""The families of addresses that a cluster has, in their order, and its networks in each.

The first family is that of the nodes' own addresses, of the service `kubernetes` and of every
Service that asks for nothing else (upstream: the first of --service-cluster-ip-range).
"""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.machinery.addresses import version_of

DEFAULT = "ipv4"
FAMILIES = {"ipv4": (4,), "ipv6": (6,), "dual": (4, 6), "dual-ipv6": (6, 4)}
"""Versions of IP by the name that `tiphys up --ip-family` has for them."""

# For the pods of machines that join: apart from the ranges of every cluster's first machine.
_JOINED_PODS = ("10.244.128.0/17", "fd10:244:8000::/48")


def in_order(ip_family: str, ipv4: str, ipv6: str) -> list[str]:
    """Of an IPv4 and an IPv6 address or network those that the cluster has a use for."""
    both = {4: ipv4, 6: ipv6}
    return [both[version] for version in FAMILIES[ip_family]]


def named(networks: Iterable[str]) -> str:
    """The name of the families that these networks are of. Raises KeyError for what is none."""
    versions = tuple(version_of(network) for network in networks)
    return {listed: name for name, listed in FAMILIES.items()}[versions]


def joined_pods(ip_family: str) -> list[str]:
    """The networks of which machines that join get a part each, unless the user names others."""
    return in_order(ip_family, *_JOINED_PODS)


def service_networks(ip_family: str, second: int, number: int) -> list[str]:
    """The ranges of services' addresses. Upstream takes no IPv6 range that is larger than a /108:
    the addresses of one are as many as a bitmap of 20 bits has room for."""
    return in_order(ip_family, f"10.{second}.0.0/16", f"fd10:96:{number}::/108")

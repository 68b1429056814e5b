"""The text of a ruleset for nft: the fixed part of the table, and the transaction for what has
changed. Pure.

    spoofed   a packet of a pod under an address that is not that pod's is dropped
    egress    forward hook: what a local pod sends to others; input hook: what it asks the node's
              DNS server
    ingress   forward hook: what others send to a local pod

A packet is looked up once in a map from the pod's address to the chain of the policies that are
about this pod; what no policy is about is not in the map. The two directions are base chains of
their own, for an `accept` ends one base chain, not the other. Both come after the service proxy's
address translation (prerouting) and before its masquerading (postrouting): they see the real pods
at both ends. What the node itself sends leaves through the output hook and is always let in, as
upstream has it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.network.policy.model import LAST_PORT, BlockPeer, PortMatch


class Version(NamedTuple):
    """What the text calls a version of IP, and how long its addresses are."""

    number: int
    ip: str
    address: str
    bits: int


IPV4 = Version(4, "ip", "ipv4_addr", 32)
IPV6 = Version(6, "ip6", "ipv6_addr", 128)

# types of sets, "address" being that of the version
ADDRESSES = "address"
ADDRESS_PORTS = "address . inet_service"

# maps and sets that are always there; the first two are the directions, too
INGRESS = "ingress"
EGRESS = "egress"
SELF = "self"  # each isolated pod's address, twice: a pod always reaches itself
DNS = "dns"  # the addresses of the cluster's DNS servers

_ELEMENTS_PER_COMMAND = 500
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass
class Changes:
    """From one ruleset to the next. Elements are (set, element); those of a map have their verdict
    after a colon."""

    new_sets: dict[str, str] = field(default_factory=dict)  # name → type
    old_sets: list[str] = field(default_factory=list)
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)  # new or changed
    old_chains: list[str] = field(default_factory=list)
    added: dict[str, list[str]] = field(default_factory=dict)
    removed: dict[str, list[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        rows = (
            self.new_sets,
            self.old_sets,
            self.chains,
            self.old_chains,
            self.added,
            self.removed,
        )
        return any(rows)


def base(table: str, version: Version = IPV4) -> str:
    """An empty table in the place of one that there may be, with its fixed chains. Pods' ends of
    CNI's point-to-point links are named veth and something. (IPv6: who looks for an address of its
    own has none yet.)"""
    ip = version.ip
    address = version.address
    has_address = "" if version.number == 4 else "ip6 saddr != :: "
    return f"""
add table {ip} {table}
delete table {ip} {table}
table {ip} {table} {{
  set {SELF} {{ type {address} . {address}; }}
  set {DNS} {{ type {address}; }}
  map {INGRESS} {{ type {address} : verdict; }}
  map {EGRESS} {{ type {address} : verdict; }}
  chain spoofed {{
    type filter hook prerouting priority raw; policy accept;
    iifname "veth*" {has_address}fib saddr . iif oif missing drop
  }}
  chain egress-forward {{
    type filter hook forward priority filter - 10; policy accept;
    ct state established,related accept
    {ip} saddr . {ip} daddr @{SELF} accept
    {ip} saddr vmap @{EGRESS}
  }}
  chain egress-dns {{
    type filter hook input priority filter - 10; policy accept;
    ct state established,related accept
    {ip} daddr @{DNS} meta l4proto {{ tcp, udp }} th dport 53 {ip} saddr vmap @{EGRESS}
  }}
  chain ingress-forward {{
    type filter hook forward priority filter - 9; policy accept;
    ct state established,related accept
    {ip} saddr . {ip} daddr @{SELF} accept
    {ip} daddr vmap @{INGRESS}
  }}
}}
"""


def script(table: str, changes: Changes, version: Version = IPV4) -> str:
    """One transaction. What is referenced is added before what references it, and removed after."""
    t = f"{version.ip} {table}"
    lines = [
        f"add set {t} {name} {{ type {kind.replace('address', version.address)}; }}"
        for name, kind in changes.new_sets.items()
    ]
    lines += [f"add chain {t} {name}" for name in changes.chains]
    lines += _elements("delete", t, changes.removed, set(changes.old_sets))
    for name, rules in changes.chains.items():
        lines.append(f"flush chain {t} {name}")
        lines += [f"add rule {t} {name} {rule}" for rule in rules]
    lines += _elements("add", t, changes.added)
    lines += [f"flush chain {t} {name}" for name in changes.old_chains]
    lines += [f"delete chain {t} {name}" for name in changes.old_chains]
    lines += [f"delete set {t} {name}" for name in changes.old_sets]
    return "\n".join(lines) + "\n" if lines else ""


def _elements(
    verb: str, table: str, rows: dict[str, list[str]], without: set[str] | None = None
) -> Iterator[str]:
    for name, elements in rows.items():
        if without and name in without:
            continue
        for start in range(0, len(elements), _ELEMENTS_PER_COMMAND):
            batch = ", ".join(elements[start : start + _ELEMENTS_PER_COMMAND])
            yield f"{verb} element {table} {name} {{ {batch} }}"


# --- rules ---


def blocks(peers: Iterable[BlockPeer], field: str, version: Version = IPV4) -> list[str]:
    """The matches of networks against a field of the packet: all without exceptions are one set,
    looked up once. Networks of another version match nothing, for no packet here is of it."""
    networks = [peer for peer in peers if _is_of(peer.network, version)]
    plain = _merged(_span(peer.network, version) for peer in networks if not peer.excepted)
    matches = [_within(field, plain, version)] if plain else []
    for peer in networks:
        if peer.excepted:
            inside = _within(field, [_span(peer.network, version)], version)
            parts = (part for part in peer.excepted if _is_of(part, version))
            holes = _merged(_span(part, version) for part in parts)
            outside = f"{version.ip} {field} != {_set(holes, version)}" if holes else ""
            matches.append(f"{inside} {outside}".strip())
    return matches


def _is_of(network: str, version: Version) -> bool:
    return (":" in network) == (version.number == 6)


Span = tuple[int, int]  # the first and the last, both included


def _within(field: str, spans: list[Span], version: Version) -> str:
    """The match of some addresses; that of all is empty."""
    everything = (0, (1 << version.bits) - 1)
    return "" if spans == [everything] else f"{version.ip} {field} {_set(spans, version)}"


def _span(network: str, version: Version) -> Span:
    """The first and the last address of a network, as numbers. A policy may name 30,000 of them:
    `ipaddress` takes 1.2 s to merge those that this and `_merged` take 0.1 s for."""
    address, _, length = network.partition("/")
    size = 1 << (version.bits - int(length or version.bits))
    packed = socket.inet_pton(_FAMILIES[version.number], address)
    first = int.from_bytes(packed, "big") & -size
    return first, first + size - 1


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Without overlaps, which a set of intervals does not take, and in order."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            begin, end = merged[-1]
            merged[-1] = (begin, max(end, last))
        else:
            merged.append((first, last))
    return merged


def _set(spans: list[Span], version: Version) -> str:
    rows = (_written_span(first, last, version) for first, last in spans)
    return f"{{ {', '.join(rows)} }}"


def _written_span(first: int, last: int, version: Version) -> str:
    if first == last:
        return _address(first, version)
    return f"{_address(first, version)}-{_address(last, version)}"


def _address(number: int, version: Version) -> str:
    packed = number.to_bytes(version.bits // 8, "big")
    return socket.inet_ntop(_FAMILIES[version.number], packed)


def port_ranges(ports: Iterable[PortMatch]) -> dict[str, list[Span]]:
    """The numbered ports of each protocol, without overlaps."""
    spans: dict[str, list[Span]] = {}
    for port in ports:
        if not port.name:
            spans.setdefault(port.protocol, []).append((port.first, port.last))
    return {protocol: _merged(rows) for protocol, rows in sorted(spans.items())}


def numbered(protocol: str, ranges: list[Span]) -> str:
    """The match of some ports of a protocol."""
    name = protocol.lower()
    if ranges == [(0, LAST_PORT)]:
        return f"meta l4proto {name}"
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    return f"meta l4proto {name} th dport {{ {', '.join(texts)} }}"

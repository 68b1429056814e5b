"""The text of a ruleset for nft: the fixed part of the table, and the transaction for what has
changed.

    spoofed   a packet of a pod that comes with an address that is not that pod's ends here
    egress    forward hook: what a local pod sends to others; input hook: what it asks the node's DNS server
    ingress   forward hook: what others send to a local pod

A packet is looked up once in a map from the pod's address to the chain of the policies that are
about this pod; what no policy is about is not in the map. The two directions are base chains of
their own, for an `accept` ends one base chain, not the other. Both come after the service proxy's
address translation (prerouting) and before its masquerading (postrouting): they see the real pods
at both ends. What the node itself sends leaves through the output hook and is always let in, as
upstream has it."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tiphys.network.policy.model import BlockPeer, PortMatch

ADDRESSES, ADDRESS_PORTS = "ipv4_addr", "ipv4_addr . inet_service"
INGRESS, EGRESS, SELF, DNS = "ingress", "egress", "self", "dns"
_AT_ONCE = 500  # elements of one command


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


def base(table: str) -> str:
    """An empty table in the place of one that there may be, with its fixed chains. Pods' ends of
    CNI's point-to-point links are named veth and something."""
    return f"""
add table ip {table}
delete table ip {table}
table ip {table} {{
  set {SELF} {{ type ipv4_addr . ipv4_addr; }}
  set {DNS} {{ type ipv4_addr; }}
  map {INGRESS} {{ type ipv4_addr : verdict; }}
  map {EGRESS} {{ type ipv4_addr : verdict; }}
  chain spoofed {{
    type filter hook prerouting priority raw; policy accept;
    iifname "veth*" fib saddr . iif oif missing drop
  }}
  chain egress-forward {{
    type filter hook forward priority filter - 10; policy accept;
    ct state established,related accept
    ip saddr . ip daddr @{SELF} accept
    ip saddr vmap @{EGRESS}
  }}
  chain egress-dns {{
    type filter hook input priority filter - 10; policy accept;
    ct state established,related accept
    ip daddr @{DNS} meta l4proto {{ tcp, udp }} th dport 53 ip saddr vmap @{EGRESS}
  }}
  chain ingress-forward {{
    type filter hook forward priority filter - 9; policy accept;
    ct state established,related accept
    ip saddr . ip daddr @{SELF} accept
    ip daddr vmap @{INGRESS}
  }}
}}
"""


def script(table: str, changes: Changes) -> str:
    """One transaction. Whoever is named comes before whoever names it, and goes after."""
    t = f"ip {table}"
    lines = [f"add set {t} {name} {{ type {kind}; }}" for name, kind in changes.new_sets.items()]
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
        for start in range(0, len(elements), _AT_ONCE):
            some = ", ".join(elements[start : start + _AT_ONCE])
            yield f"{verb} element {table} {name} {{ {some} }}"


# --- rules ---


def blocks(peers: Iterable[BlockPeer], field: str) -> list[str]:
    """The matches of networks against a field of the packet: all without exceptions are one set,
    looked up once. IPv6 matches nothing, for no packet here is of it."""
    peers = [peer for peer in peers if ":" not in peer.network]
    found = []
    if plain := _merged(_span(peer.network) for peer in peers if not peer.excepted):
        found.append("" if plain == [_EVERYTHING] else f"ip {field} {_set(plain)}")
    for peer in peers:
        if not peer.excepted:
            continue
        span = _span(peer.network)
        whole = "" if span == _EVERYTHING else f"ip {field} {_set([span])} "
        holes = _merged(_span(part) for part in peer.excepted if ":" not in part)
        found.append((f"{whole}ip {field} != {_set(holes)}" if holes else whole).rstrip())
    return found


_EVERYTHING = (0, 0xFFFFFFFF)


def _span(network: str) -> tuple[int, int]:
    """The first and the last address of a network, as numbers. A policy may name 30,000 of them:
    `ipaddress` takes 1.2 s to merge those that this and `_merged` take 0.1 s for."""
    address, _, length = network.partition("/")
    size = 1 << (32 - int(length or 32))
    first = int.from_bytes(socket.inet_aton(address), "big") & -size
    return first, first + size - 1


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without overlaps, which a set of intervals does not take."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def _set(spans: list[tuple[int, int]]) -> str:
    rows = (
        _address(first) if first == last else f"{_address(first)}-{_address(last)}"
        for first, last in spans
    )
    return f"{{ {', '.join(rows)} }}"


def _address(number: int) -> str:
    return socket.inet_ntoa(number.to_bytes(4, "big"))


def port_ranges(ports: Iterable[PortMatch]) -> dict[str, list[tuple[int, int]]]:
    """The numbered ports of each protocol, without overlaps."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for port in ports:
        if not port.name:
            spans.setdefault(port.protocol, []).append((port.first, port.last))
    return {protocol: _merged(rows) for protocol, rows in sorted(spans.items())}


def numbered(protocol: str, ranges: list[tuple[int, int]]) -> str:
    """The match of some ports of a protocol."""
    if ranges == [(0, 65535)]:
        return f"meta l4proto {protocol.lower()}"
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    return f"meta l4proto {protocol.lower()} th dport {{ {', '.join(texts)} }}"

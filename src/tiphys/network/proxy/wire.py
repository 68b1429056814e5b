"""Changes of a table as messages to the kernel. Pure.

Registers: 0 has the number that a packet carries. See `rules` for what the chains are for.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tiphys.network import nftables as nf
from tiphys.network.proxy import rules
from tiphys.network.proxy.endpoints import Endpoint
from tiphys.network.proxy.rules import Element, Rule
from tiphys.network.proxy.table import Change, Changes

MASQUERADED = 0x4000  # the bit of the mark by which `postrouting` masquerades
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_NUMBER = struct.Struct("=I")


class Family(NamedTuple):
    """Where a version of IP differs: its number at the kernel, and its header."""

    version: int
    number: int
    source: int  # offset of the source's address in the header
    length: int  # bytes of an address


IPV4 = Family(4, socket.AF_INET, 12, 4)
IPV6 = Family(6, socket.AF_INET6, 8, 16)


def _address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def _port(number: int) -> bytes:
    return struct.pack(">Hxx", number)  # each field of a key begins at a multiple of four bytes


def _number(value: int) -> bytes:
    return _NUMBER.pack(value)


def messages(family: Family, table: str, changes: Changes) -> Iterator[bytes]:
    """One transaction: whatever is named comes before whatever names it, and goes after it."""
    number = family.number
    for name, old, _ in changes.chains:
        if old is None:
            yield nf.new_chain(number, table, name)
    yield from _numbered(family, table, "endpoints", changes.endpoints, _endpoint)
    yield from _numbered(family, table, "members", changes.members, _number)
    yield from _elements_that_go(family, table, changes.elements)
    for name, old, new in changes.chains:
        if old is not None:
            yield nf.flush_chain(number, table, name)
        for rule in new or ():
            yield from _rule(family, table, name, rule)
    yield from _elements_that_come(family, table, changes.elements)
    for name, _, new in changes.chains:
        if new is None:
            yield nf.delete_chain(number, table, name)


# --- elements ---


def _endpoint(endpoint: Endpoint) -> bytes:
    return _address(endpoint.address) + _port(endpoint.port)


def _numbered(
    family: Family,
    table: str,
    name: str,
    changes: list[Change[int, Any]],
    data: Callable[[Any], bytes],
) -> Iterator[bytes]:
    gone = [nf.element(_number(key)) for key, old, _ in changes if old is not None]
    come = [nf.element(_number(key), data(new)) for key, _, new in changes if new is not None]
    yield from nf.delete_elements(family.number, table, name, gone)
    yield from nf.add_elements(family.number, table, name, come)


def _key(element: Element) -> bytes:
    if element.map == rules.HAIRPINS:
        return _address(element.address) * 2
    protocol = bytes([_PROTOCOLS[element.protocol], 0, 0, 0])
    if element.map in (rules.NODE_PORTS, rules.HOST_PORTS, rules.DEAD_PORTS):
        return protocol + _port(element.port)
    return protocol + _address(element.address) + _port(element.port)


def _elements_that_go(
    family: Family, table: str, changes: list[Change[Element, str]]
) -> Iterator[bytes]:
    gone: dict[str, list[bytes]] = {}
    for key, old, _ in changes:
        if old is not None:
            gone.setdefault(key.map, []).append(nf.element(_key(key)))
    for name, elements in gone.items():
        yield from nf.delete_elements(family.number, table, name, elements)


def _elements_that_come(
    family: Family, table: str, changes: list[Change[Element, str]]
) -> Iterator[bytes]:
    come: dict[str, list[bytes]] = {}
    for key, _, new in changes:
        if new is not None:
            come.setdefault(key.map, []).append(nf.leading(_key(key), new))
    for name, elements in come.items():
        yield from nf.add_elements(family.number, table, name, elements)


# --- rules ---


def _rule(family: Family, table: str, chain: str, rule: Rule) -> Iterator[bytes]:
    """A rule of ours is one of the kernel's, but for one."""
    if isinstance(rule, rules.Stick):
        # Where the map of clients is full, the client does not stay, and is led all the same.
        for expressions in (_token(), _remember(family, rule), nf.goto(rules.LEAD)):
            yield nf.add_rule(family.number, table, chain, expressions)
    else:
        expressions = _EXPRESSIONS[type(rule)](family, rule)
        yield nf.add_rule(family.number, table, chain, expressions)


def _source(family: Family, target: int) -> bytes:
    return nf.header(family.source, family.length, target)


def _from_network(family: Family, network: rules.Network) -> bytes:
    address = network.network_address.packed
    return _source(family, 0) + nf.masked(0, network.netmask.packed) + nf.equals(0, address)


def _masquerade(family: Family, rule: rules.Masquerade) -> bytes:
    return nf.add_mark(MASQUERADED, 0)


def _masquerade_node(family: Family, rule: rules.MasqueradeNode) -> bytes:
    return nf.from_local_address(0) + nf.add_mark(MASQUERADED, 0)


def _masquerade_from(family: Family, rule: rules.MasqueradeFrom) -> bytes:
    return _from_network(family, rule.network) + nf.add_mark(MASQUERADED, 0)


def _pods_go(family: Family, rule: rules.PodsGo) -> bytes:
    return _source(family, 0) + nf.member("pods", 0) + nf.goto(rule.chain)


def _node_goes(family: Family, rule: rules.NodeGoes) -> bytes:
    return nf.from_local_address(0) + nf.goto(rule.chain)


def _accept(family: Family, rule: rules.Accept) -> bytes:
    return _from_network(family, rule.network) + nf.verdict(nf.ACCEPT)


def _drop(family: Family, rule: rules.Drop) -> bytes:
    return nf.verdict(nf.DROP)


def _direct(family: Family, rule: rules.Direct) -> bytes:
    address = nf.constant(_address(rule.endpoint.address), 0)
    port = nf.constant(_port(rule.endpoint.port)[:2], 4)
    return address + port + nf.translate(family.number, 0, 4)


def _choose(family: Family, rule: rules.Choose) -> bytes:
    return nf.in_turn(rule.count, rule.first, 0) + nf.carry(0) + nf.goto(rule.chain)


def _recall(family: Family, rule: rules.Recall) -> bytes:
    pool = nf.constant(_number(rule.pool), 0)
    return pool + nf.carry(0) + nf.jump(rules.stuck(rule.seconds))


def _lead(family: Family, rule: rules.Lead) -> bytes:
    """Registers: 0 number, 1 address, then the port. The packet carries nothing any more."""
    endpoint = nf.carried(0) + nf.look_up("endpoints", 0, 1)
    reset = nf.constant(_number(0), 0) + nf.carry(0)
    return endpoint + reset + nf.translate(family.number, 1, 1 + family.length // 4)


# What one map says is never a key or a value of another in the same rule, though the kernel could:
# nft (1.0.6) ends with a failed assertion when it lists that. The packet carries it to a rule that
# goes on with it.


def _stuck(family: Family, rule: rules.Stuck) -> bytes:
    """Registers: 0 pool, 1 to 4 client, 5 token. An update keeps what the map has, and begins its
    time again. An endpoint that is gone has no number; the packet comes back from `lead` then."""
    client = nf.carried(0) + _source(family, 1)
    token = nf.look_up("affinity", 0, 5)
    again = nf.remember("affinity", 0, 0, rule.seconds * 1000)
    return client + token + again + nf.carry(5) + nf.jump(rules.LEAD)


def _token() -> bytes:
    """That of the place that the packet carries."""
    return nf.carried(0) + nf.look_up("members", 0, 1) + nf.carry(1)


def _remember(family: Family, rule: rules.Stick) -> bytes:
    """Registers: 0 token, 1 pool, 2 to 5 client. What the map has of the client is of an endpoint
    that is gone: an update alone would keep it."""
    pool = nf.carried(1) + nf.masked(1, _number(0x100000000 - rule.span))
    key = nf.carried(0) + pool + _source(family, 2)
    return key + nf.forget("affinity", 1, 0) + nf.remember("affinity", 1, 0, rule.seconds * 1000)


_EXPRESSIONS: dict[type[Any], Callable[[Family, Any], bytes]] = {
    rules.Masquerade: _masquerade,
    rules.MasqueradeNode: _masquerade_node,
    rules.MasqueradeFrom: _masquerade_from,
    rules.PodsGo: _pods_go,
    rules.NodeGoes: _node_goes,
    rules.Accept: _accept,
    rules.Drop: _drop,
    rules.Direct: _direct,
    rules.Choose: _choose,
    rules.Recall: _recall,
    rules.Lead: _lead,
    rules.Stuck: _stuck,
}

"""What nf_tables' messages and the expressions of rules are as bytes.

Names and numbers are the kernel's (include/uapi/linux/netfilter/nf_tables.h). Registers are those
of 32 bits: `register(0)` to `register(15)`; an IPv6 address takes four.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from tiphys.network.netlink import attribute, long_number, nested, nf_tables, number, text

NEW_CHAIN = 3
DELETE_CHAIN = 5
NEW_RULE = 6
DELETE_RULE = 8
NEW_ELEMENTS = 12
DELETE_ELEMENTS = 14
_CREATE = 0x400
_APPEND = 0x800
_ELEMENTS_OF_A_MESSAGE = 500  # an attribute has at most 64 KiB

ACCEPT = 1
DROP = 0
_JUMP = -3
_GOTO = -4
_VERDICT_REGISTER = 0
_NETWORK_HEADER = 1
_MARK = 3  # keys of `meta`
_PRIORITY = 2
_ADDRESS_TYPE = 3  # a result of `fib`
_SOURCE = 1  # a flag of `fib`
_LOCAL = 2  # RTN_LOCAL
_DESTINATION_NAT = 1
_INCREMENTAL = 0
_UPDATE = 1
_DELETE = 2


def register(index: int) -> int:
    return 8 + index


# --- expressions of a rule ---


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *attributes))


def _value(kind: int, data: bytes) -> bytes:
    return nested(kind, attribute(1, data))


def constant(data: bytes, target: int) -> bytes:
    return _expression("immediate", number(1, register(target)), _value(2, data))


def verdict(code: int) -> bytes:
    """ACCEPT or DROP."""
    return _expression("immediate", number(1, _VERDICT_REGISTER), nested(2, _verdict(code)))


def goto(chain: str) -> bytes:
    return _lead(_GOTO, chain)


def jump(chain: str) -> bytes:
    return _lead(_JUMP, chain)


def _lead(code: int, chain: str) -> bytes:
    data = nested(2, _verdict(code, chain))
    return _expression("immediate", number(1, _VERDICT_REGISTER), data)


def _verdict(code: int, chain: str = "") -> bytes:
    return nested(2, number(1, code), *([text(2, chain)] if chain else []))


def header(offset: int, length: int, target: int) -> bytes:
    """A part of the IP header."""
    position = number(2, _NETWORK_HEADER), number(3, offset), number(4, length)
    return _expression("payload", number(1, register(target)), *position)


def equals(source: int, data: bytes, op: int = 0) -> bytes:
    return _expression("cmp", number(1, register(source)), number(2, op), _value(3, data))


def masked(source: int, mask: bytes) -> bytes:
    """The register's bits that the mask has."""
    return _bits(source, mask, bytes(len(mask)))


def _bits(source: int, mask: bytes, flip: bytes) -> bytes:
    """(register & mask) ^ flip"""
    both = number(1, register(source)), number(2, register(source))
    return _expression("bitwise", *both, number(3, len(mask)), _value(4, mask), _value(5, flip))


def from_local_address(scratch: int) -> bytes:
    """Whether the packet's source is an address of this node."""
    lookup = number(1, register(scratch)), number(2, _ADDRESS_TYPE), number(3, _SOURCE)
    return _expression("fib", *lookup) + equals(scratch, struct.pack("=I", _LOCAL))


def add_mark(bit: int, scratch: int) -> bytes:
    """Sets a bit of the packet's mark, and keeps the others."""
    load = _expression("meta", number(1, register(scratch)), number(2, _MARK))
    bits = struct.pack("=I", bit)
    others = struct.pack("=I", ~bit & 0xFFFFFFFF)
    store = _expression("meta", number(2, _MARK), number(3, register(scratch)))
    return load + _bits(scratch, others, bits) + store


def carried(target: int) -> bytes:
    """The number that an earlier rule has the packet carry; see `carry`."""
    return _expression("meta", number(1, register(target)), number(2, _PRIORITY))


def carry(source: int) -> bytes:
    """Has the packet carry a register's number to another chain, for registers end with a rule. The
    packet's priority is free for that: the kernel sets that of a forwarded packet afterwards."""
    return _expression("meta", number(2, _PRIORITY), number(3, register(source)))


def in_turn(count: int, first: int, target: int) -> bytes:
    """first, first + 1 ... first + count - 1, the next one for each packet."""
    span = number(2, count), number(3, _INCREMENTAL), number(4, first)
    return _expression("numgen", number(1, register(target)), *span)


def member(name: str, source: int) -> bytes:
    """Whether the set has the register's value."""
    return _expression("lookup", text(1, name), number(2, register(source)))


def look_up(name: str, source: int, target: int) -> bytes:
    """A map's value of the key; without one, the packet goes on to the next rule."""
    both = number(2, register(source)), number(3, register(target))
    return _expression("lookup", text(1, name), *both)


def remember(name: str, key: int, data: int, milliseconds: int) -> bytes:
    """Puts an element into a map, or restarts the timeout of one that is there, with its data as
    it was."""
    both = number(4, register(key)), number(5, register(data))
    seconds = long_number(6, milliseconds)
    return _expression("dynset", text(1, name), number(3, _UPDATE), *both, seconds)


def forget(name: str, key: int, data: int) -> bytes:
    both = number(4, register(key)), number(5, register(data))
    return _expression("dynset", text(1, name), number(3, _DELETE), *both)


def translate(family: int, address: int, port: int) -> bytes:
    """The packet goes to an address and port."""
    where = number(3, register(address)), number(5, register(port))
    return _expression("nat", number(1, _DESTINATION_NAT), number(2, family), *where)


# --- messages ---


def new_chain(family: int, table: str, name: str) -> bytes:
    return nf_tables(NEW_CHAIN, _CREATE, family, text(1, table) + text(3, name))


def touch_chain(family: int, table: str, name: str) -> bytes:
    """Changes nothing; fails where there is no such chain."""
    return nf_tables(NEW_CHAIN, 0, family, text(1, table) + text(3, name))


def delete_chain(family: int, table: str, name: str) -> bytes:
    return nf_tables(DELETE_CHAIN, 0, family, text(1, table) + text(3, name))


def add_rule(family: int, table: str, chain: str, expressions: bytes) -> bytes:
    body = text(1, table) + text(2, chain) + nested(4, expressions)
    return nf_tables(NEW_RULE, _CREATE | _APPEND, family, body)


def flush_chain(family: int, table: str, chain: str) -> bytes:
    return nf_tables(DELETE_RULE, 0, family, text(1, table) + text(2, chain))


def element(key: bytes, data: bytes | None = None) -> bytes:
    return nested(1, _value(1, key), *([] if data is None else [_value(2, data)]))


def leading(key: bytes, chain: str) -> bytes:
    """An element of a verdict map."""
    return nested(1, _value(1, key), nested(2, _verdict(_GOTO, chain)))


def add_elements(family: int, table: str, name: str, elements: Sequence[bytes]) -> Iterable[bytes]:
    return _elements(NEW_ELEMENTS, _CREATE, family, text(1, table) + text(2, name), elements)


def delete_elements(
    family: int, table: str, name: str, elements: Sequence[bytes]
) -> Iterable[bytes]:
    return _elements(DELETE_ELEMENTS, 0, family, text(1, table) + text(2, name), elements)


def _elements(
    kind: int, flags: int, family: int, where: bytes, elements: Sequence[bytes]
) -> Iterable[bytes]:
    for start in range(0, len(elements), _ELEMENTS_OF_A_MESSAGE):
        some = nested(3, *elements[start : start + _ELEMENTS_OF_A_MESSAGE])
        yield nf_tables(kind, flags, family, where + some)

"""The bytes of answers that were given before, until what they say changes.

dnspython takes some 100 µs to read a query and write its reply; most of a cluster's queries are the
same few names. A query that differs from an earlier one only in its id and the case of its
name has the same reply but for these two, which are put in place (decision 0013).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tiphys.addons.dns.codec import HEADER, Query
from tiphys.addons.dns.metrics import Tally

# Replies. When there are more all are forgotten, which costs less than to note which was used last.
_MOST = 8192


class _Bytes(NamedTuple):
    """A reply's bytes around its id and the name of its question."""

    header: bytes
    rest: bytes


class _Replies:
    """What one query is answered with, in turn: addresses come in several orders."""

    __slots__ = ("_next", "_orders", "_tally")

    def __init__(self, orders: list[_Bytes], tally: Tally) -> None:
        self._orders = orders
        self._next = 0
        self._tally = tally

    def take(self) -> _Bytes:
        self._tally.count += 1
        orders = self._orders
        if len(orders) == 1:
            return orders[0]
        self._next = (self._next + 1) % len(orders)
        return orders[self._next]


class EncodedAnswers:
    """Replies over UDP by the bytes of their queries."""

    def __init__(self) -> None:
        self._replies: dict[bytes, _Replies] = {}
        self._by_subject: dict[str, list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._replies)

    def find(self, wire: bytes) -> bytes | None:
        """The reply to a query, or None when it is not cached."""
        end = wire.find(0, HEADER)
        name = wire[HEADER:end]
        replies = self._replies.get(wire[2:HEADER] + name.lower() + wire[end:])
        if replies is None:
            return None
        reply = replies.take()
        return wire[:2] + reply.header + name + reply.rest

    def put(
        self, wire: bytes, query: Query, replies: Sequence[bytes], subject: str, tally: Tally
    ) -> None:
        """Remembers the replies to a query, to be given in turn, until `subject` (see
        `Zone.subject`) changes. `tally` counts them.

        Not one to a query with EDNS options: those differ from query to query (cookies), and would
        push out the others. Nor one to a name that is not written out plainly, whose end is not
        where `find` looks for it."""
        name = query.name.to_wire()
        assert name is not None
        end = HEADER + len(name) - 1
        if query.has_options or wire[HEADER : end + 1] != name or wire.find(0, HEADER) != end:
            return
        if len(self._replies) >= _MOST:
            self.clear()
        key = wire[2:HEADER] + wire[HEADER:end].lower() + wire[end:]
        orders = [_Bytes(reply[2:HEADER], reply[end:]) for reply in replies]
        self._replies[key] = _Replies(orders, tally)
        self._by_subject.setdefault(subject, []).append(key)

    def forget(self, subject: str) -> None:
        """Drops the replies about what has changed."""
        for key in self._by_subject.pop(subject, ()):
            self._replies.pop(key, None)

    def clear(self) -> None:
        self._replies.clear()
        self._by_subject.clear()

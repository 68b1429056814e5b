"""The bytes of answers that were given before, until what they say changes.

dnspython takes some 100 µs to read a query and write its reply; most of a cluster's queries are the
same few names. A query that differs from an earlier one in nothing but its id and the case of its
name has the same reply but for these two, which are put in place (decision 0013).
"""

from __future__ import annotations

from typing import NamedTuple

from tiphys.addons.dns.codec import HEADER, Query

# Replies. When there are more all are forgotten, which costs less than to note which was used last.
_MOST = 8192


class _Reply(NamedTuple):
    """A reply's bytes around its id and the name of its question."""

    header: bytes
    rest: bytes


class EncodedAnswers:
    """Replies over UDP by the bytes of their queries."""

    def __init__(self) -> None:
        self._replies: dict[bytes, _Reply] = {}
        self._by_subject: dict[str, list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._replies)

    def find(self, wire: bytes) -> bytes | None:
        """The reply to a query, or None when nobody has asked the same."""
        end = wire.find(0, HEADER)
        name = wire[HEADER:end]
        reply = self._replies.get(wire[2:HEADER] + name.lower() + wire[end:])
        if reply is None:
            return None
        return wire[:2] + reply.header + name + reply.rest

    def put(self, wire: bytes, query: Query, reply: bytes, subject: str) -> None:
        """Remembers a reply until `subject` (see `Zone.subject`) changes.

        Not one to a query with EDNS options: those differ from query to query (cookies), and would
        push out the others. Nor one to a name that is not written out plainly, whose end is not
        where `find` looks for it."""
        name = query.name.to_wire()
        assert name is not None
        end = HEADER + len(name) - 1
        if query.has_options or wire[HEADER : end + 1] != name or wire.find(0, HEADER) != end:
            return
        if len(self._replies) >= _MOST:
            self._replies.clear()
            self._by_subject.clear()
        key = wire[2:HEADER] + wire[HEADER:end].lower() + wire[end:]
        self._replies[key] = _Reply(reply[2:HEADER], reply[end:])
        self._by_subject.setdefault(subject, []).append(key)

    def forget(self, subject: str) -> None:
        """Drops the replies about what has changed."""
        for key in self._by_subject.pop(subject, ()):
            self._replies.pop(key, None)

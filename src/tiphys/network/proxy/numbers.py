"""Numbers for the endpoints of pools. Pure.

Each pool has a row of consecutive numbers, so that one rule of the kernel takes them in turn, and
each endpoint keeps its number as long as it is in the pool: what changes is few elements of a map.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from tiphys.network.proxy.endpoints import Endpoint

_STICKY = 1 << 31  # where the rows of pools start whose clients stay
_STICKY_ROOM = 1024


@dataclass
class Row:
    """The numbers of one pool, `room` from `first` on, of which the endpoints have the first ones.

    tokens: of a pool whose clients stay (is_sticky): the numbers of its endpoints by which clients
    are remembered, as many again behind the others. An endpoint keeps its token, while its place
    among the first ones may change. Such a row is given once: a client that comes late is led into
    no other service.
    """

    first: int
    room: int
    is_sticky: bool = False
    endpoints: list[Endpoint] = field(default_factory=list)
    tokens: dict[Endpoint, int] = field(default_factory=dict)

    def give_tokens(self, endpoints: Sequence[Endpoint]) -> None:
        """To those that have none; what endpoints had that are gone is free."""
        staying = set(endpoints)
        self.tokens = {
            endpoint: token for endpoint, token in self.tokens.items() if endpoint in staying
        }
        taken = set(self.tokens.values())
        free = (token for token in itertools.count(self.first + self.room) if token not in taken)
        for endpoint in endpoints:
            if endpoint not in self.tokens:
                self.tokens[endpoint] = next(free)


class Numbers:
    """Gives rows out, and takes them back. A row starts at a multiple of its room, which is a power
    of two (where clients stay: of twice that), so that its first number follows from the others."""

    def __init__(self) -> None:
        self._next = 1
        self._next_sticky = _STICKY
        self._free: dict[int, list[int]] = {}  # by room

    def take(self, count: int, is_sticky: bool) -> Row:
        """A row with room for `count` endpoints."""
        room = 1 << max(count - 1, 0).bit_length()
        if is_sticky:
            room = max(room, _STICKY_ROOM)
            first = _rounded_up(self._next_sticky, 2 * room)
            self._next_sticky = first + 2 * room
            return Row(first, room, is_sticky=True)
        free = self._free.get(room)
        if free:
            return Row(free.pop(), room)
        first = _rounded_up(self._next, room)
        self._next = first + room
        return Row(first, room)

    def give_back(self, row: Row) -> None:
        if not row.is_sticky:
            self._free.setdefault(row.room, []).append(row.first)


def _rounded_up(number: int, room: int) -> int:
    return -(-number // room) * room


def arranged(before: Sequence[Endpoint], wanted: Sequence[Endpoint]) -> list[Endpoint]:
    """The wanted endpoints, each at the place it had: new ones, and those whose place is beyond the
    end, go where places are free."""
    staying = set(wanted)
    count = len(wanted)
    places: list[Endpoint | None] = [
        endpoint if endpoint in staying else None for endpoint in before[:count]
    ]
    places += [None] * (count - len(places))
    placed = set(places)
    waiting = iter([endpoint for endpoint in wanted if endpoint not in placed])
    return [next(waiting) if endpoint is None else endpoint for endpoint in places]

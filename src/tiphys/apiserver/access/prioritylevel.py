"""A priority level: its seats, and its queues of those who wait for one. Pure."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tiphys.api import flowcontrol_v1 as v1
from tiphys.machinery import errors

# Requests served at a time, all levels together: upstream's limits for reads, 400, and writes, 200.
SEATS = 600
PER_SEAT = 100  # objects read for each seat that a list takes, as upstream's estimate has it
_MOST_SEATS = 10  # of one request
_MOST_SHARE = 0.15  # of its level's seats, likewise


@dataclass(slots=True)
class Counts:
    """What the requests of one flow schema do at a level. `refused`: by upstream's reason."""

    executing: int = 0
    seats: int = 0
    waiting: int = 0
    served: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1


@dataclass(eq=False)
class Level:
    """`nominal` seats are its own, of which `lendable` may be lent; it may borrow `borrowing`.
    Without queues a request that finds no seat is refused."""

    name: str
    uid: str = ""
    exempt: bool = False
    nominal: int = 0
    lendable: int = 0
    borrowing: int = SEATS
    hand: int = 1
    length: int = 0
    queues: list[deque[Waiter]] = field(default_factory=list)
    used: int = 0
    wide: int = 0  # of the used, those of requests that took more than one
    waiting: int = 0
    served: int = 0
    refused: int = 0
    schemas: dict[str, Counts] = field(default_factory=dict)
    _next: int = 0

    def shard(self, flow: str) -> int:
        """The queue for a flow: of the few that its hash deals to it, the shortest."""
        digest = hashlib.blake2b(flow.encode(), digest_size=16).digest()
        value = int.from_bytes(digest, "big")
        count = len(self.queues)
        dealt: list[int] = []
        for number in range(min(self.hand, count)):
            value, card = divmod(value, count - number)
            for earlier in sorted(dealt):
                card += card >= earlier
            dealt.append(card)
        return min(dealt, key=lambda number: len(self.queues[number]))

    def width(self, objects: int) -> int:
        """How many seats a request takes that reads so many objects: upstream's estimate, and its
        limits."""
        share = math.ceil(self.nominal * _MOST_SHARE)
        most = max(1, min(_MOST_SEATS, share, self.nominal // max(self.hand, 1)))
        return max(1, min(most, math.ceil(objects / PER_SEAT)))

    def in_turn(self) -> Iterator[deque[Waiter]]:
        """The queues, starting after the one that was served last."""
        count = len(self.queues)
        for _ in range(count):
            number = self._next % count
            self._next = number + 1
            yield self.queues[number]

    def take(self, seats: int) -> None:
        self.used += seats
        self.served += 1
        if seats > 1:
            self.wide += seats


@dataclass(slots=True)
class Waiter:
    """A request that waits for its seats."""

    future: asyncio.Future[None]
    seats: int = 1


@dataclass(frozen=True, slots=True)
class Flow:
    """How a request is classified. `headers` are for the client; `key` distinguishes flows of one
    schema apart."""

    schema: str
    level: Level
    key: str
    headers: tuple[tuple[str, str], ...]
    counts: Counts = field(default_factory=Counts)


def shares(configuration: v1.PriorityLevelConfiguration) -> int:
    """Upstream's defaults: none for an exempt level, 30 for a limited one."""
    if configuration.spec.type == "Exempt":
        exempt = configuration.spec.exempt
        return (exempt.nominal_concurrency_shares or 0) if exempt is not None else 0
    limited = configuration.spec.limited
    shares = limited.nominal_concurrency_shares if limited is not None else None
    return 30 if shares is None else shares


def configure(
    level: Level, configuration: v1.PriorityLevelConfiguration, seats: int, total: int
) -> None:
    """Sets a level as it is configured. `total` are the shares of all levels."""
    level.uid = configuration.metadata.uid
    level.exempt = configuration.spec.type == "Exempt"
    level.nominal = math.ceil(seats * shares(configuration) / total)
    limited = configuration.spec.limited
    if limited is None:
        return
    level.lendable = level.nominal * (limited.lendable_percent or 0) // 100
    percent = limited.borrowing_limit_percent
    level.borrowing = seats if percent is None else level.nominal * percent // 100
    response = limited.limit_response
    queuing = response.queuing if response.type == "Queue" else None
    if queuing is None:
        level.hand = 1
        level.length = 0
        _requeue(level, 0)
    else:
        level.hand = queuing.hand_size
        level.length = queuing.queue_length_limit
        _requeue(level, queuing.queues)


def _requeue(level: Level, count: int) -> None:
    """Gives a level `count` queues. Waiting requests are spread over the new ones, or refused when
    there are none."""
    if len(level.queues) == count:
        return
    waiting = [waiter for queue in level.queues for waiter in queue]
    level.queues = [deque() for _ in range(count)]
    for number, waiter in enumerate(waiting):
        if count:
            level.queues[number % count].append(waiter)
        elif not waiter.future.done():
            waiter.future.set_exception(too_many())


def too_many() -> errors.StatusError:
    return errors.too_many_requests("Too many requests, please try again later.", 1)

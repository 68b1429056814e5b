"""Which endpoint a request goes to: pure, with the clock and the dice as arguments.

Power of two choices: of two endpoints by lot the one with less under way, which is all it takes to
leave a slow one alone. An endpoint that is new gets its share over some seconds (slow start), one
that fails gets less for a while (outlier), and the client's own zone comes first as long as it
keeps up.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

SLOW_START = 5.0  # seconds over which a new endpoint comes to its whole share
_LEAST = 0.1  # of its share, which even the newest and the worst endpoint has
_FORGIVEN = 10.0  # seconds after which half of an endpoint's failures are forgotten
# seconds that an endpoint which could not be reached is passed over; doubled each time
_EJECTED = 1.0
_LONGEST = 30.0
SPILL = 32  # requests under way at every endpoint of the zone, from which on other zones help


@dataclass(frozen=True, slots=True)
class Address:
    """``host:port``, and the zone it is in."""

    target: str
    zone: str = ""


@dataclass(slots=True)
class Member:
    """An endpoint as this client knows it. Times are seconds of a steady clock."""

    address: Address
    since: float
    under_way: int = 0
    failures: float = 0.0
    failed_at: float = 0.0
    ejections: int = 0
    ejected_until: float = 0.0

    def weight(self, now: float) -> float:
        """Its share of the requests, from 0.1 to 1."""
        age = max(now - self.since, 0.0)
        started = min(age / SLOW_START, 1.0)
        return max(started / (1.0 + self.faults(now)), _LEAST)

    def faults(self, now: float) -> float:
        """Its failures, each counting half after ten seconds, a quarter after twenty."""
        forgotten: float = 0.5 ** ((now - self.failed_at) / _FORGIVEN)
        return self.failures * forgotten

    def load(self, now: float) -> float:
        return (self.under_way + 1) / self.weight(now)

    def is_reachable(self, now: float) -> bool:
        return now >= self.ejected_until


class Balancer:
    """The endpoints of one service, as one client sees them."""

    def __init__(self, zone: str = "", dice: random.Random | None = None) -> None:
        self._zone = zone
        self._dice = dice or random.Random()
        self._members: dict[Address, Member] = {}
        self._began: float | None = None  # when the first endpoint was known

    @property
    def members(self) -> list[Member]:
        return list(self._members.values())

    def update(self, addresses: Iterable[Address], now: float) -> list[Address]:
        """Takes the endpoints over and returns those that are gone.

        Those that come while all are new need no slow start: there are no others to take their
        share.
        """
        wanted = dict.fromkeys(addresses)
        if self._began is None and wanted:
            self._began = now
        is_new_client = self._began is None or now - self._began < SLOW_START
        since = now - SLOW_START if is_new_client else now
        gone = [address for address in self._members if address not in wanted]
        for address in gone:
            del self._members[address]
        for address in wanted:
            if address not in self._members:
                self._members[address] = Member(address, since)
        return gone

    def pick(self, now: float, tried: frozenset[Address] = frozenset()) -> Member | None:
        """An endpoint that was not `tried` for this request yet; None when there is none.

        When none can be reached, one that was given up is tried all the same: better than to
        refuse.
        """
        untried = [m for m in self._members.values() if m.address not in tried]
        reachable = [member for member in untried if member.is_reachable(now)]
        candidates = self._nearby(reachable) or reachable or untried
        if not candidates:
            return None
        drawn = self._dice.sample(candidates, min(2, len(candidates)))
        return min(drawn, key=lambda member: member.load(now))

    def _nearby(self, members: list[Member]) -> list[Member]:
        """Those of the client's zone, unless every one of them is busy."""
        local = [member for member in members if member.address.zone == self._zone]
        if not self._zone or all(member.under_way >= SPILL for member in local):
            return []
        return local

    def failed(self, member: Member, now: float, reached: bool) -> None:
        """A request failed there. An endpoint that was not `reached` is passed over for a while."""
        member.failures = member.faults(now) + 1.0
        member.failed_at = now
        if not reached:
            pause = min(_EJECTED * 2**member.ejections, _LONGEST)
            member.ejections += 1
            member.ejected_until = now + pause

    def succeeded(self, member: Member) -> None:
        member.ejections = 0
        member.ejected_until = 0.0

"""What the kernel has for all services, and what of it has to change. Pure.

`put` says what one service needs; `take` gives what changed since the last `take`. A service that
did not change costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from tiphys.network.proxy import rules
from tiphys.network.proxy.endpoints import Endpoint
from tiphys.network.proxy.numbers import Numbers, Row, arranged
from tiphys.network.proxy.rules import (
    Choose,
    Element,
    Flow,
    Part,
    Recall,
    Rule,
    Spread,
    Stay,
    Stick,
    Stuck,
)

K = TypeVar("K")
V = TypeVar("V")

Rank = Callable[[str], int]


class Change(NamedTuple, Generic[K, V]):
    """None stands for "not there"."""

    key: K
    old: V | None
    new: V | None


@dataclass(frozen=True)
class Changes:
    """From what the kernel had to what it should have."""

    chains: list[Change[str, tuple[Rule, ...]]] = field(default_factory=list)
    elements: list[Change[Element, str]] = field(default_factory=list)
    endpoints: list[Change[int, Endpoint]] = field(default_factory=list)
    members: list[Change[int, int]] = field(default_factory=list)
    flows: list[Change[Flow, frozenset[Endpoint]]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.chains or self.elements or self.endpoints or self.members)


class _Tracked(Generic[K, V]):
    """Values by key that remember what was there at the last `take`."""

    def __init__(self) -> None:
        self._values: dict[K, V] = {}
        self._taken: dict[K, V | None] = {}  # of the keys that were touched since

    def set(self, key: K, value: V | None) -> None:
        self._taken.setdefault(key, self._values.get(key))
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def take(self) -> list[Change[K, V]]:
        changes = []
        for key, old in self._taken.items():
            new = self._values.get(key)
            if old != new:
                changes.append(Change(key, old, new))
        self._taken.clear()
        return changes

    def forget(self) -> None:
        """As if nothing had been taken ever."""
        self._taken = dict.fromkeys(self._values)


class _Claimed(Generic[K, V]):
    """Values that several may want: the first of the lowest rank has it."""

    def __init__(self, rank: Rank) -> None:
        self.in_force: _Tracked[K, V] = _Tracked()
        self._rank = rank
        self._claims: dict[K, dict[str, V]] = {}

    def update(self, owner: str, old: dict[K, V], new: dict[K, V]) -> None:
        for key in old:
            if key not in new:
                claims = self._claims[key]
                del claims[owner]
                self._decide(key, claims)
        for key, value in new.items():
            if old.get(key) != value:
                claims = self._claims.setdefault(key, {})
                claims[owner] = value
                self._decide(key, claims)

    def _decide(self, key: K, claims: dict[str, V]) -> None:
        if claims:
            self.in_force.set(key, claims[min(claims, key=self._rank)])
        else:
            del self._claims[key]
            self.in_force.set(key, None)


class Table:
    """All parts of one version of IP, by owner. `rank` orders owners that claim the same key."""

    def __init__(self, rank: Rank = lambda owner: 0) -> None:
        self._parts: dict[str, Part] = {}
        self._resolved: dict[str, dict[str, tuple[Rule, ...]]] = {}  # owner → chain → rules
        self._rows: dict[str, Row] = {}  # by pool
        self._numbers = Numbers()
        self._chains: _Claimed[str, tuple[Rule, ...]] = _Claimed(rank)
        self._elements: _Claimed[Element, str] = _Claimed(rank)
        self._flows: _Claimed[Flow, frozenset[Endpoint]] = _Claimed(rank)
        self._endpoints: _Tracked[int, Endpoint] = _Tracked()
        self._members: _Tracked[int, int] = _Tracked()  # place → token
        self.put("", rules.FIXED)

    def put(self, owner: str, part: Part) -> None:
        """What `owner` needs from now on; an empty part is nothing."""
        old = self._parts.get(owner, Part())
        if part == old:
            return
        for pool in old.pools:
            if pool not in part.pools:
                self._drop_row(self._rows.pop(pool))
        for pool, targets in part.pools.items():
            self._set_row(pool, targets, pool in part.sticky)
        resolved = self._resolve(part)
        self._chains.update(owner, self._resolved.get(owner, {}), resolved)
        self._elements.update(owner, old.elements, part.elements)
        self._flows.update(owner, old.flows, part.flows)
        if part == Part():
            del self._parts[owner], self._resolved[owner]
        else:
            self._parts[owner] = part
            self._resolved[owner] = resolved

    def owners(self) -> list[str]:
        return list(self._parts)

    def take(self) -> Changes:
        return Changes(
            self._chains.in_force.take(),
            self._elements.in_force.take(),
            self._endpoints.take(),
            self._members.take(),
            self._flows.in_force.take(),
        )

    def forget(self) -> None:
        """The next `take` gives everything, as for a kernel that has nothing."""
        self._chains.in_force.forget()
        self._elements.in_force.forget()
        self._endpoints.forget()
        self._members.forget()

    # --- pools ---

    def _resolve(self, part: Part) -> dict[str, tuple[Rule, ...]]:
        """The chains with numbers in the place of pools, and those that they go on in, which all
        services share whose clients stay as long."""
        resolved: dict[str, tuple[Rule, ...]] = {}
        for name, chain in part.chains.items():
            numbered: list[Rule] = []
            for rule in chain:
                if isinstance(rule, Spread):
                    row = self._rows[rule.pool]
                    numbered.append(Choose(row.first, len(row.endpoints), rules.LEAD))
                elif isinstance(rule, Stay):
                    row = self._rows[rule.pool]
                    stick = Stick(rule.seconds, 2 * row.room)
                    numbered.append(Recall(row.first, rule.seconds))
                    numbered.append(Choose(row.first, len(row.endpoints), stick.chain))
                    resolved[stick.chain] = (stick,)
                    resolved[rules.stuck(rule.seconds)] = (Stuck(rule.seconds),)
                else:
                    numbered.append(rule)
            resolved[name] = tuple(numbered)
        return resolved

    def _set_row(self, pool: str, targets: tuple[Endpoint, ...], sticky: bool) -> None:
        row = self._rows.get(pool)
        count = len(targets)
        if row is not None and not _fits(row, count, sticky):
            self._drop_row(row)
            row = None
        if row is None:
            row = self._rows[pool] = self._numbers.take(count, sticky)
        endpoints = arranged(row.endpoints, targets)
        if endpoints != row.endpoints:
            self._fill(row, endpoints)

    def _fill(self, row: Row, endpoints: list[Endpoint]) -> None:
        if row.is_sticky:
            self._fill_sticky(row, endpoints)
        else:
            for index, endpoint in enumerate(endpoints):
                if index >= len(row.endpoints) or row.endpoints[index] != endpoint:
                    self._endpoints.set(row.first + index, endpoint)
            for index in range(len(endpoints), len(row.endpoints)):
                self._endpoints.set(row.first + index, None)
        row.endpoints = endpoints

    def _fill_sticky(self, row: Row, endpoints: list[Endpoint]) -> None:
        """Places lead to tokens, and tokens to endpoints."""
        before = row.tokens
        row.give_tokens(endpoints)
        for token in set(before.values()) - set(row.tokens.values()):
            self._endpoints.set(token, None)
        for index, endpoint in enumerate(endpoints):
            token = row.tokens[endpoint]
            if before.get(endpoint) != token:
                self._endpoints.set(token, endpoint)
            self._members.set(row.first + index, token)
        for index in range(len(endpoints), len(row.endpoints)):
            self._members.set(row.first + index, None)

    def _drop_row(self, row: Row) -> None:
        self._fill(row, [])
        self._numbers.give_back(row)


def _fits(row: Row, count: int, sticky: bool) -> bool:
    """Whether a pool keeps its row. One that has become small gives it back; where clients stay, it
    is part of how they are remembered."""
    if row.is_sticky != sticky or count > row.room:
        return False
    return sticky or count > row.room // 4

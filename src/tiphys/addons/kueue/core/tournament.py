"""Whose turn it is within a cycle when queues share fairly.

Source: upstream's fair sharing iterator. Every cohort has the best workload of each of its queues
and cohorts play: the one whose queue, or cohort, has the lowest share of what is lent with the
workload in it. Who needs nothing of others comes first, then priority and time decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tiphys.addons.kueue.core.quota import Node, Slot
from tiphys.addons.kueue.core.shares import share_of
from tiphys.addons.kueue.core.state import Item, Queue, order


class Player(NamedTuple):
    """The workload that is next of a queue, and the usage that it would have."""

    item: Item
    queue: Queue
    usage: Mapping[Slot, int]


class _Rank(NamedTuple):
    """How a workload does in one cohort, the lowest best."""

    borrows: bool
    share: tuple[bool, float]


class Tournament:
    """Gives the players one after the other. Trees do not compete with each other."""

    def __init__(self, players: list[Player]) -> None:
        self._players = {player.queue.name: player for player in players}
        self._ranks: dict[str, dict[int, _Rank]] = {}  # by queue and the identity of a cohort

    def usage_changed(self) -> None:
        self._ranks.clear()

    def next(self) -> Player | None:
        """None: all of them had their turn."""
        if not self._players:
            return None
        name = next(iter(self._players))
        node = self._players[name].queue.node
        if node.parent is not None:
            best = self._best(node.root)
            assert best is not None  # this player is below that root
            name = best
        return self._players.pop(name)

    def _best(self, cohort: Node) -> str | None:
        """The queue that wins a cohort; None: none of its queues takes part."""
        candidates: list[str] = []
        for child in cohort.children:
            player = self._players.get(child.name)
            is_player = player is not None and player.queue.node is child
            best = child.name if is_player else self._best(child)
            if best is not None:
                candidates.append(best)
        return min(candidates, key=lambda name: self._key(name, cohort), default=None)

    def _key(self, name: str, cohort: Node) -> tuple[_Rank, tuple[int, float, str]]:
        player = self._players[name]
        ranks = self._ranks.get(name)
        if ranks is None:
            ranks = self._ranks[name] = _ranks_of(player)
        return ranks[id(cohort)], order(player.item)


def _ranks_of(player: Player) -> dict[int, _Rank]:
    """In each cohort above its queue."""
    child = player.queue.node
    for slot, amount in player.usage.items():
        child.use(slot, amount)
    ranks: dict[int, _Rank] = {}
    for cohort in player.queue.node.ancestors():
        share = share_of(child)
        ranks[id(cohort)] = _Rank(share.borrows_for(player.usage), share.rank)
        child = cohort
    for slot, amount in player.usage.items():
        player.queue.node.release(slot, amount)
    return ranks

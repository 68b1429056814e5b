"""Where a leader and its workers go together: two sets of pods of one group.

Source: upstream's algorithm (KEP 2724, `podset-group-name`). As for one set of pods, but each
domain counts twice: how many workers it has room for, and how many beside the leader. The leader
goes where that costs no room that the workers need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tiphys.addons.kueue.core.placing import Placing, PlacingError, Request
from tiphys.addons.kueue.core.topology import Assignment, Domain, Place, Tree, Used, fitting


class Pair(NamedTuple):
    """Where both sets go."""

    leader: Assignment
    workers: Assignment


def place_pair(
    tree: Tree,
    workers: Request,
    leader: Mapping[str, int],
    assumed: Used | None = None,
    is_empty: bool = False,
) -> Pair:
    """`leader` is what the one pod of the leader takes of a leaf; which nodes do for both, the
    workers say (upstream). Otherwise as `placing.place`."""
    return _Leading(tree, workers, leader).place_pair(assumed, is_empty)


class _Leading(Placing):
    """`beside` is how many workers a domain has room for if the leader is in it, `able` are the
    domains that have room for the leader. Sets of a group are in no slices."""

    def __init__(self, tree: Tree, workers: Request, leader: Mapping[str, int]) -> None:
        super().__init__(tree, workers)
        self._leader = leader
        self._able: set[Domain] = set()
        self._beside: dict[Domain, int] = {}

    def place_pair(self, assumed: Used | None, is_empty: bool) -> Pair:
        self._count(assumed, is_empty)
        for root in self._tree.by_level[0].values():
            self._sum_up_beside(root)
        level, domains = self._domains_for_both(self._level)
        chosen, domains = self._spread_both(domains)
        for _ in range(level + 1, len(self._tree.levels)):
            children = [child for domain in domains for child in domain.children]
            chosen, domains = self._spread_both(self._sorted(children))
        workers = self._assignment(domains)
        place = Place(chosen.values[-len(workers.levels) :], 1)
        return Pair(Assignment(workers.levels, (place,)), workers)

    # --- counting ---

    def _fill(self, leaf: Domain, taking: Mapping[str, int], free: Mapping[str, int]) -> None:
        super()._fill(leaf, taking, free)
        self._beside[leaf] = leaf.pods
        if fitting(self._leader, free):
            left = {name: amount - self._leader.get(name, 0) for name, amount in free.items()}
            self._able.add(leaf)
            self._beside[leaf] = fitting(taking, left)

    def _sum_up_beside(self, domain: Domain) -> None:
        """The leader goes to the child in which it costs the fewest workers."""
        for child in domain.children:
            self._sum_up_beside(child)
        costs = [self._cost(child) for child in domain.children if child in self._able]
        if costs:
            self._able.add(domain)
            self._beside[domain] = domain.pods - min(costs)

    def _room_beside(self, domain: Domain) -> int:
        return self._beside.get(domain, 0)

    def _cost(self, domain: Domain) -> int:
        return domain.pods - self._room_beside(domain)

    # --- finding the level ---

    def _domains_for_both(self, level: int) -> tuple[int, list[Domain]]:
        """The level, and the domains of it that have room for the leader and all workers."""
        domains = sorted(
            self._tree.by_level[level].values(),
            key=lambda one: (one not in self._able, -self._room_beside(one), one.values),
        )
        if not domains:
            raise PlacingError(f"no topology domains at level: {self._tree.levels[level]}")
        needed = self._request.count
        first = domains[0]
        if first in self._able and self._room_beside(first) >= needed:
            return level, [self._closest(domains, needed)]
        if self._request.nearness.required:
            raise PlacingError(self._not_fitting(first.pods, needed, level))
        if level > 0:
            return self._domains_for_both(level - 1)
        return level, self._several_for_both(domains, level)

    def _several_for_both(self, domains: list[Domain], level: int) -> list[Domain]:
        """The leader's domain, and those with room for the most of the other workers."""
        needed = self._request.count
        first, *rest = self._leader_first(domains)
        if first not in self._able:
            raise PlacingError(self._not_fitting(0, needed, level))
        left = needed - self._room_beside(first)
        room = sum(domain.pods for domain in rest)
        if room < left:
            raise PlacingError(self._not_fitting(needed - left + room, needed, level))
        others = self._several(self._sorted(rest), left, level) if rest else []
        return [first, *others]

    def _closest(self, domains: Sequence[Domain], needed: int) -> Domain:
        """Of those that have room for the leader and so many workers, the one with the least."""
        enough = [one for one in domains if one in self._able and self._room_beside(one) >= needed]
        return min(enough, key=self._room_beside)

    def _leader_first(self, domains: list[Domain]) -> list[Domain]:
        """Starts with one in which the leader leaves enough room for all workers."""
        spare = sum(domain.pods for domain in domains) - self._request.count
        for domain in domains:
            if domain in self._able and self._cost(domain) <= spare:
                return [domain, *(one for one in domains if one is not domain)]
        return domains

    # --- going down ---

    def _spread_both(self, domains: list[Domain]) -> tuple[Domain, list[Domain]]:
        """The leader's domain, and all that have pods; each notes how many workers."""
        domains_taken: list[Domain] = []
        left = self._request.count
        domains = self._leader_first(domains)
        for index, domain in enumerate(domains):
            is_able = domain in self._able
            if is_able and self._room_beside(domain) >= left:
                chosen = self._closest(domains[index:], left)
                self._give(chosen, left)
                return chosen, [*domains_taken, chosen]
            share = min(self._room_beside(domain), left)
            self._give(domain, share)
            domains_taken.append(domain)
            left -= share
            if is_able:
                return domain, [*domains_taken, *self._spread(domains[index + 1 :], left, 1)]
        raise PlacingError(f"unexpected remaining pods: {left}")

    def _give(self, domain: Domain, workers: int) -> None:
        domain.pods = domain.slices = workers

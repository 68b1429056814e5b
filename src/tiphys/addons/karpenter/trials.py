"""What would happen if some nodes were not there: tried for one set of nodes after the other, on
what is worked out once for all of them. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from tiphys.addons.karpenter.candidates import Candidate
from tiphys.addons.karpenter.ground import Ground
from tiphys.addons.karpenter.mentions import mentions
from tiphys.addons.karpenter.offers import Left, Offer, left_of
from tiphys.addons.karpenter.planning import Plan, plan_without
from tiphys.addons.karpenter.podstates import blocking_budget
from tiphys.addons.karpenter.state import StateNode, World, unbound, used
from tiphys.api import core_v1
from tiphys.scheduler.podinfo import PodInfo

_MOST_GROUNDS = 8
"""Pods that speak of other labels need another ground; the world's nodes stand on each."""
_Mentioned = frozenset[tuple[str, frozenset[str]]]


class Trials:
    def __init__(self, world: World) -> None:
        self._world = world
        self._standing = world.standing()
        self._kept = [node for node in world.nodes if not node.is_deleting]
        self._sums = used(self._kept)
        self._ready = {n.name for n in world.nodes if n.is_initialized or n.claim is None}
        self._infos: dict[str, PodInfo] = {}  # by uid
        self._waiting = [self._info(pod) for pod in (*world.pending, *world.moving())]
        self._grounds: OrderedDict[_Mentioned, Ground] = OrderedDict()

    def without(self, gone: Sequence[Candidate]) -> Plan:
        """Where pods would go without some nodes. Errors are those of pods that run now: pending
        ones may stay pending. So are pods that would have to wait for a node that is not ready
        yet."""
        moved = [
            self._info(pod)
            for each in gone
            for pod in each.pods
            if not blocking_budget([pod], self._world.budgets)
        ]
        pods = [*self._waiting, *moved]
        left = left_without(self._world.offers, self._sums, [each.state for each in gone])
        result = plan_without(
            {each.name for each in gone},
            pods,
            self._ground(pods),
            left,
            relaxes=self._world.relaxes,
        )
        mine = {pod.key for pod in moved}
        result.errors = {key: error for key, error in result.errors.items() if key in mine}
        for name, placed in result.placed.items():
            for pod in placed if name not in self._ready else ():
                if pod.key in mine:
                    result.errors[pod.key] = f"would schedule against uninitialized node/{name}"
        return result

    def _info(self, pod: core_v1.Pod) -> PodInfo:
        cached = self._infos.get(pod.metadata.uid)
        if cached is None:
            cached = self._infos[pod.metadata.uid] = PodInfo(unbound(pod))
        return cached

    def _ground(self, pods: Sequence[PodInfo]) -> Ground:
        mentioned = mentions([*pods, *self._standing.daemons], self._standing.listers.volumes)
        key = frozenset((label, frozenset(values)) for label, values in mentioned.items())
        ground = self._grounds.get(key)
        if ground is None:
            ground = self._grounds[key] = Ground(self._world.offers, self._standing, mentioned)
            if len(self._grounds) > _MOST_GROUNDS:
                self._grounds.popitem(last=False)
        self._grounds.move_to_end(key)
        return ground


def left_without(
    offers: Sequence[Offer], sums: dict[str, dict[str, int]], gone: Sequence[StateNode]
) -> dict[str, Left]:
    """What the limits of pools leave if some nodes were not there. `sums` is what pools have with
    them."""
    freed = used(gone)
    left = {}
    for offer in offers:
        have = sums.get(offer.name, {})
        own = freed.get(offer.name, {})
        left[offer.name] = left_of(
            offer.pool, {name: amount - own.get(name, 0) for name, amount in have.items()}
        )
    return left

"""Which flavor each resource of a workload comes from.

Source: the concepts "ClusterQueue" (flavor fungibility) and "ResourceFlavor". Flavors of a group
are tried in order; a flavor is fit, needs preemption, or does not do; `whenCanBorrow` and
`whenCanPreempt` say whether a later one that is better is looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from tiphys.addons.kueue.core.nearness import (
    NOT_PLACED,
    UnplaceableError,
    groups_of,
    holdings,
    mismatch,
    placed,
)
from tiphys.addons.kueue.core.preemption import find_targets
from tiphys.addons.kueue.core.quota import Slot, borrowing_height
from tiphys.addons.kueue.core.search import WITHIN, Target
from tiphys.addons.kueue.core.state import (
    PODS,
    Fungibility,
    Group,
    Holding,
    Item,
    PodGroup,
    Queue,
    State,
)
from tiphys.addons.kueue.core.suitability import obstacle_to
from tiphys.addons.kueue.core.topology import Assignment as Topology
from tiphys.api.base import Quantity, format_quantity

EXCEEDS = "ExceedsMaxQuota"
NO_FLAVOR = "NoMatchingFlavor"
WAITING = "WaitingForQuota"
_BORROWS_A_LOT = 1 << 30


class Mode(IntEnum):
    """How a flavor does, the worst first."""

    NO_FIT = 0
    NO_CANDIDATES = 1
    PREEMPT = 2
    RECLAIM = 3
    FIT = 4


class Fit(NamedTuple):
    """How a flavor does, and how far up the quota comes from."""

    mode: Mode
    height: int


class Choice(NamedTuple):
    """The flavor of one resource."""

    flavor: str
    fit: Fit


@dataclass
class Assignment:
    """What a workload would get. `usage` counts all pod sets, `counts` are their pods, `topologies`
    say by pod set where they go; `obstacles` say what is in the way, `reason` is that of the
    condition QuotaReserved."""

    counts: tuple[int, ...]
    flavors: list[dict[str, Choice]] = field(default_factory=list)
    usage: dict[Slot, int] = field(default_factory=dict)
    obstacles: dict[str, list[str]] = field(default_factory=dict)
    reason: str = ""
    targets: list[Target] = field(default_factory=list)
    failed: bool = False
    topologies: dict[int, Topology] = field(default_factory=dict)

    @property
    def mode(self) -> Mode:
        if self.failed:
            return Mode.NO_FIT
        return min((c.fit.mode for c in self._choices()), default=Mode.FIT)

    @property
    def height(self) -> int:
        return max((choice.fit.height for choice in self._choices()), default=0)

    @property
    def message(self) -> str:
        return "; ".join(
            f"couldn't assign flavors to pod set {pod_set}: {', '.join(dict.fromkeys(obstacles))}"
            for pod_set, obstacles in self.obstacles.items()
        )

    @property
    def chosen(self) -> list[dict[str, str]]:
        """Flavors by resource, of each pod set."""
        return [{resource: choice.flavor for resource, choice in of.items()} for of in self.flavors]

    def holdings(self, item: Item) -> tuple[Holding, ...]:
        return holdings(item, self.chosen, self.topologies)

    def place(self, state: State, item: Item, is_empty: bool = False) -> None:
        """Finds places as the state is now. Raises UnplaceableError."""
        self.topologies = placed(state, item, self.counts, self.chosen, is_empty)

    def can_be_placed(self, state: State, item: Item) -> bool:
        try:
            placed(state, item, self.counts, self.chosen)
        except UnplaceableError:
            return False
        return True

    def weaken(self, index: int) -> None:
        """A pod set for which there is quota, and no place unless others go."""
        self.flavors[index] = {
            resource: choice
            if choice.fit.mode is not Mode.FIT
            else Choice(choice.flavor, Fit(Mode.PREEMPT, choice.fit.height))
            for resource, choice in self.flavors[index].items()
        }

    def slots_to_free(self) -> frozenset[Slot]:
        return frozenset(
            Slot(choice.flavor, resource)
            for chosen in self.flavors
            for resource, choice in chosen.items()
            if choice.fit.mode is not Mode.FIT
        )

    def _choices(self) -> list[Choice]:
        return [choice for chosen in self.flavors for choice in chosen.values()]


def assign(state: State, item: Item, counts: Sequence[int] | None = None) -> Assignment:
    """Flavors for every pod set of a workload, in its queue as it is. With `counts`, for fewer
    pods."""
    return _Assigner(state, item, counts).assignment()


def shown(resource: str, amount: int) -> Quantity:
    """An amount as a quantity of the API."""
    if resource == "cpu":
        return format_quantity(amount * 10**6)
    binary = resource == "memory" or resource.startswith(("hugepages-", "ephemeral-storage"))
    return format_quantity(amount * 10**9, "binary" if binary else "decimal")


class _Assigner:
    def __init__(self, state: State, item: Item, counts: Sequence[int] | None) -> None:
        self._state = state
        self._item = item
        self._queue: Queue = state.queues[item.queue]
        full_counts = tuple(pod_set.count for pod_set in item.pod_sets)
        self._result = Assignment(tuple(counts) if counts is not None else full_counts)
        self._obstacles: list[str] = []  # of the current group

    def assignment(self) -> Assignment:
        result = self._result
        result.flavors = [{} for _ in self._item.pod_sets]
        for group in groups_of(self._item.pod_sets):
            self._assign(group)
            if result.failed:
                return result
        self._place()
        if result.mode not in (Mode.FIT, Mode.NO_FIT):
            result.reason = WAITING
        return result

    def _assign(self, group: Sequence[int]) -> None:
        """Sets of pods that go together have one flavor of each resource."""
        result = self._result
        pod_sets = [self._item.pod_sets[index] for index in group]
        requests = [self._requests(index) for index in group]
        is_alone = len(group) == 1
        obstacles: list[str] = []
        group_requests = requests[0] if is_alone else summed(requests)
        chosen = self._flavors_of(pod_sets, group_requests, obstacles)
        if obstacles:
            result.obstacles.update((pods.name, list(obstacles)) for pods in pod_sets)
        if chosen is None:
            result.failed = True
            return
        for index, own in zip(group, requests, strict=True):
            result.flavors[index] = chosen if is_alone else self._share(chosen, own)
            for resource, choice in chosen.items():
                if resource in own:
                    slot = Slot(choice.flavor, resource)
                    result.usage[slot] = result.usage.get(slot, 0) + own[resource]

    def _requests(self, index: int) -> dict[str, int]:
        """What the pods of a set take of quotas in all."""
        count = self._result.counts[index]
        requests = self._item.pod_sets[index].total(count)
        requests.pop(PODS, None)
        if self._queue.group_of(PODS) is not None:
            requests[PODS] = count
        return requests

    def _share(self, chosen: Mapping[str, Choice], own: Mapping[str, int]) -> dict[str, Choice]:
        """Of a group's flavors those that a set requests something of. One that requests nothing
        has its place by those with a topology (upstream)."""
        if own:
            return {resource: choice for resource, choice in chosen.items() if resource in own}
        flavors = self._state.flavors
        return {
            resource: choice
            for resource, choice in chosen.items()
            if choice.flavor in flavors and flavors[choice.flavor].topology_name
        }

    def _place(self) -> None:
        """Pods that fit the quota have to fit their topologies, too, if need be without others."""
        result = self._result
        item = self._item
        if result.mode is Mode.NO_FIT:
            return
        if result.mode is Mode.FIT:
            try:
                return result.place(self._state, item)
            except UnplaceableError as error:
                name = item.pod_sets[error.index].name
                result.obstacles.setdefault(name, []).append(str(error))
                result.weaken(error.index)
        try:
            result.place(self._state, item, is_empty=True)
        except UnplaceableError as error:
            name = item.pod_sets[error.index].name
            result.obstacles.setdefault(name, []).append(str(error))
            result.reason = NOT_PLACED
            result.failed = True
            return
        for index in result.topologies:
            result.weaken(index)

    def _flavors_of(
        self, pod_sets: Sequence[PodGroup], requests: Mapping[str, int], obstacles: list[str]
    ) -> dict[str, Choice] | None:
        """None when some resource cannot be had; what is in the way is added to `obstacles`."""
        chosen: dict[str, Choice] = {}
        for resource, amount in requests.items():
            if resource in chosen:
                continue  # it came with another one of its group
            group = self._queue.group_of(resource)
            if group is None:
                if not amount:
                    continue
                obstacles.append(f"resource {resource} unavailable in ClusterQueue")
                self._result.reason = NO_FLAVOR
                return None
            self._obstacles = []
            best = self._best(pod_sets, group, requests)
            obstacles += self._obstacles
            if not best:
                return None
            chosen.update(best)
        return chosen

    def _best(
        self, pod_sets: Sequence[PodGroup], group: Group, requests: Mapping[str, int]
    ) -> dict[str, Choice]:
        """The best flavor of a group, or the first that is good enough. Empty: none does."""
        wanted = {name: requests[name] for name in requests if name in group.resources}
        fungibility = self._queue.fungibility
        best: dict[str, Choice] = {}
        best_fit = Fit(Mode.NO_FIT, _BORROWS_A_LOT)
        reasons: list[str] = []
        for name in group.flavors:
            obstacle = self._against(pod_sets, name, group)
            if obstacle:
                self._obstacles.append(obstacle)
                reasons.append(NO_FLAVOR)
                continue
            choices, fit, reason = self._tried(name, wanted)
            reasons.append(reason)
            good_enough = not _tries_next(fit, fungibility)
            if good_enough or is_better(fit, best_fit, fungibility):
                best = choices
                best_fit = fit
            if good_enough:
                break
        if best_fit.mode is Mode.NO_FIT:
            self._result.reason = _mildest(reasons)
            return {}
        if best_fit.mode is Mode.FIT:
            self._obstacles.clear()
        return best

    def _against(self, pod_sets: Sequence[PodGroup], name: str, group: Group) -> str:
        """Why a flavor is not for these pods; empty: it is."""
        for pods in pod_sets:
            obstacle = mismatch(self._state, self._queue, pods, name, group)
            obstacle = obstacle or obstacle_to(name, self._state.flavors.get(name), pods.spec)
            if obstacle:
                return obstacle
        return ""

    def _tried(self, flavor: str, wanted: Mapping[str, int]) -> tuple[dict[str, Choice], Fit, str]:
        """How a flavor does for all resources, as badly as for the worst of them."""
        choices: dict[str, Choice] = {}
        worst = Fit(Mode.FIT, 0)
        reason = ""
        for resource, amount in wanted.items():
            fit, obstacle = self._fits(Slot(flavor, resource), amount)
            choices[resource] = Choice(flavor, fit)
            if is_better(worst, fit, self._queue.fungibility):
                worst = fit
            if fit.mode is Mode.NO_FIT:
                return {}, Fit(Mode.NO_FIT, fit.height), obstacle
            reason = reason or obstacle
        return choices, worst, reason

    def _fits(self, slot: Slot, amount: int) -> tuple[Fit, str]:
        """How a slot does for `amount` more, after the pod sets before, and the reason if not
        well."""
        node = self._queue.node
        before = self._result.usage.get(slot, 0)
        needed = before + amount
        most = node.potential(slot)
        if needed > most:
            self._obstacles.append(
                f"insufficient quota for {slot.resource} in flavor {slot.flavor}, previously "
                f"considered podsets requests ({shown(slot.resource, before)}) + current podset "
                f"request ({shown(slot.resource, amount)}) > maximum capacity "
                f"({shown(slot.resource, most)})"
            )
            return Fit(Mode.NO_FIT, 0), EXCEEDS
        height, is_more_around = borrowing_height(node, slot, needed)
        available = node.available(slot)
        if needed <= available:
            return Fit(Mode.FIT, height), ""
        lacking = shown(slot.resource, needed - available)
        self._obstacles.append(
            f"insufficient unused quota for {slot.resource} in flavor {slot.flavor}, "
            f"{lacking} more needed"
        )
        nominal = node.subtree.get(slot, 0)
        if needed <= nominal or is_more_around or self._preempts_while_borrowing():
            return self._by_preemption(slot, needed), WAITING
        return Fit(Mode.NO_FIT, height), WAITING

    def _preempts_while_borrowing(self) -> bool:
        preemption = self._queue.preemption
        shares_fairly = bool(self._state.strategies) and preemption.reclaim != "Never"
        return preemption.borrow or shares_fairly

    def _by_preemption(self, slot: Slot, needed: int) -> Fit:
        """What preempting for this slot alone would come to."""
        node = self._queue.node
        targets = find_targets(self._state, self._item, {slot: needed}, frozenset({slot}))
        if not targets:
            return Fit(Mode.NO_CANDIDATES, borrowing_height(node, slot, needed)[0])
        for target in targets:
            self._state.suspend(target.item)
        height, _ = borrowing_height(node, slot, needed)
        for target in targets:
            self._state.restore(target.item)
        is_own = any(target.reason == WITHIN for target in targets)
        return Fit(Mode.PREEMPT if is_own else Mode.RECLAIM, height)


def summed(requests: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """What several sets of pods take together."""
    total: dict[str, int] = {}
    for pod_requests in requests:
        for resource, amount in pod_requests.items():
            total[resource] = total.get(resource, 0) + amount
    return total


_MILDEST_FIRST = ("", WAITING, NO_FLAVOR, EXCEEDS)


def _mildest(reasons: Sequence[str]) -> str:
    """Of flavors, any of which would do, the one that is the least in the way."""
    return min(reasons, key=_MILDEST_FIRST.index, default=NO_FLAVOR)


def is_better(fit: Fit, other: Fit, fungibility: Fungibility) -> bool:
    """Whether a flavor is to be preferred."""
    if fit.mode is Mode.NO_FIT or other.mode is Mode.NO_FIT:
        return fit.mode is not Mode.NO_FIT and other.mode is Mode.NO_FIT
    if (fit.mode is Mode.NO_CANDIDATES) != (other.mode is Mode.NO_CANDIDATES):
        return other.mode is Mode.NO_CANDIDATES
    if fungibility.prefers_preempting and fit.height != other.height:
        return fit.height < other.height
    if fit.mode is not other.mode:
        return fit.mode > other.mode
    return fit.height < other.height


def _tries_next(fit: Fit, fungibility: Fungibility) -> bool:
    if fit.mode in (Mode.NO_FIT, Mode.NO_CANDIDATES):
        return True
    if fit.mode in (Mode.PREEMPT, Mode.RECLAIM) and fungibility.next_before_preempting:
        return True
    return fit.height > 0 and fungibility.next_before_borrowing

"""One cycle of admission: the first of every queue is tried, and what may start does.

Source: upstream's scheduler. Within a cycle each queue puts forward one workload; those that fit
their own quota come before those that borrow, then by priority and time. Each is checked again
after the ones before it, so that quota is never given twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tiphys.addons.kueue.core.flavors import WAITING, Assignment, Mode, assign
from tiphys.addons.kueue.core.nearness import UnplaceableError
from tiphys.addons.kueue.core.preemption import find_targets
from tiphys.addons.kueue.core.quota import Slot
from tiphys.addons.kueue.core.search import Target
from tiphys.addons.kueue.core.state import Holding, Item, Queue, State, order
from tiphys.addons.kueue.core.tournament import Player, Tournament

SUSPENDED = "Suspended"
MISCONFIGURED = "Misconfigured"
PREEMPTING = "WaitingForPreemptedWorkloads"


class Admission(NamedTuple):
    """A workload that gets quota."""

    item: Item
    assignment: Assignment


class Preempting(NamedTuple):
    """A workload that others have to make room for."""

    item: Item
    targets: tuple[Target, ...]
    message: str


class Refusal(NamedTuple):
    """A workload that has to wait. Until something changes there is no use in trying again,
    unless `again`: it was overtaken within the cycle."""

    item: Item
    reason: str
    message: str
    again: bool = False


class Decisions(NamedTuple):
    """The result of a cycle; nothing in it: there was no workload to try. What is `kept` for
    preemptors is in the state still, unless all cycles are over."""

    admitted: list[Admission]
    preempting: list[Preempting]
    refused: list[Refusal]
    kept: list[_Kept]


class _Entry(NamedTuple):
    item: Item
    assignment: Assignment


class _Kept(NamedTuple):
    """What is kept for who has to wait: in this cycle alone, or for a preemptor until all have had
    their turn, so that no other workload takes what is preempted for it."""

    queue: str
    usage: Mapping[Slot, int] = {}
    holdings: tuple[Holding, ...] = ()
    is_for_preemptor: bool = False


def run(state: State) -> Decisions:
    """One cycle. Takes who is admitted or refused out of `state.waiting`, which is in order; who is
    admitted is in its queue afterwards."""
    decisions = Decisions([], [], [], [])
    entries: list[_Entry] = []
    for head in list(_heads(state)):
        refusal = _inadmissible(state, head)
        if refusal is not None:
            decisions.refused.append(refusal)
            _drop(state, head)
            continue
        entries.append(_Entry(head, _assigned(state, head)))
    kept: list[_Kept] = []
    preempted: dict[str, Item] = {}
    for entry in _in_order(state, entries):
        kept.append(_process(state, entry, decisions, preempted))
    for overtaken in kept:
        if overtaken.is_for_preemptor:
            decisions.kept.append(overtaken)
        else:
            state.let_go(state.queues[overtaken.queue], overtaken.usage, overtaken.holdings)
    return decisions


def _in_order(state: State, entries: list[_Entry]) -> Iterator[_Entry]:
    """The next workload to try; where queues share fairly, by the shares as they are then."""
    if not state.strategies:
        yield from sorted(entries, key=lambda one: (one.assignment.height, *order(one.item)))
        return
    by_key = {entry.item.key: entry for entry in entries}
    tournament = Tournament(
        [Player(one.item, state.queues[one.item.queue], one.assignment.usage) for one in entries]
    )
    while (player := tournament.next()) is not None:
        before = dict(player.queue.node.usage)
        yield by_key[player.item.key]
        if player.queue.node.usage != before:
            tournament.usage_changed()


def decide(state: State) -> Decisions:
    """Cycles until no workload is left to try."""
    decisions = Decisions([], [], [], [])
    for waiting in state.waiting.values():
        waiting.sort(key=order)
    while any(rows for name, rows in state.waiting.items() if name not in state.blocked):
        pass_decisions = run(state)
        decisions.admitted.extend(pass_decisions.admitted)
        decisions.preempting.extend(pass_decisions.preempting)
        decisions.kept.extend(pass_decisions.kept)
        decisions.refused.extend(one for one in pass_decisions.refused if not one.again)
        if (
            pass_decisions.admitted
            or pass_decisions.preempting
            or not all(one.again for one in pass_decisions.refused)
        ):
            continue
        # What keeps these out does not go away in this pass: the first of a strict queue.
        for overtaken in pass_decisions.refused:
            decisions.refused.append(overtaken._replace(again=False))
            _drop(state, overtaken.item)
    for kept in decisions.kept:
        state.let_go(state.queues[kept.queue], kept.usage, kept.holdings)
    return decisions


def _heads(state: State) -> Iterator[Item]:
    for waiting in state.waiting.values():
        if waiting:
            yield waiting[0]


def _drop(state: State, item: Item) -> None:
    state.waiting[item.queue].remove(item)


def _inadmissible(state: State, item: Item) -> Refusal | None:
    queue = state.queues.get(item.queue)
    if queue is None:
        return Refusal(item, MISCONFIGURED, f"ClusterQueue {item.queue} doesn't exist")
    if queue.inactive:
        return Refusal(item, SUSPENDED, f"ClusterQueue {item.queue} is inactive")
    if not queue.admits_namespace(item.namespace):
        message = "Workload namespace doesn't match ClusterQueue selector"
        return Refusal(item, MISCONFIGURED, message)
    return None


# --- one workload ---


def _assigned(state: State, item: Item) -> Assignment:
    """Flavors for all pods of a workload or, where it may run with fewer and does not fit as it
    is, for as many as fit."""
    assignment = assign(state, item)
    if assignment.mode is Mode.FIT:
        return assignment
    _find(state, item, assignment)
    if assignment.targets or not any(pod_set.least is not None for pod_set in item.pod_sets):
        return assignment
    return _partial(state, item) or assignment


def _find(state: State, item: Item, assignment: Assignment) -> None:
    if assignment.mode in (Mode.NO_FIT, Mode.FIT):
        return
    slots = assignment.slots_to_free()
    assignment.targets = find_targets(
        state,
        item,
        assignment.usage,
        slots,
        lambda: assignment.can_be_placed(state, item),
    )
    if not assignment.topologies:
        return
    for target in assignment.targets:
        state.suspend(target.item)
    assignment.place(state, item, is_empty=not assignment.targets)
    for target in assignment.targets:
        state.restore(target.item)


def _partial(state: State, item: Item) -> Assignment | None:
    """The most pods that fit: pod sets shrink together towards their least counts."""
    spare = [one.count - (one.count if one.least is None else one.least) for one in item.pod_sets]
    steps = sum(spare)
    largest: Assignment | None = None
    low = 1
    high = steps
    while low <= high:
        step = (low + high) // 2
        counts = [
            one.count - spared * step // steps
            for one, spared in zip(item.pod_sets, spare, strict=True)
        ]
        tried = assign(state, item, counts)
        _find(state, item, tried)
        if tried.mode is Mode.FIT or tried.targets:
            largest = tried
            high = step - 1
        else:
            low = step + 1
    return largest


def _process(
    state: State, entry: _Entry, decisions: Decisions, preempted: dict[str, Item]
) -> _Kept:
    """Decides about one workload. Returns what is kept for it until the cycle ends."""
    item, assignment = entry
    queue = state.queues[item.queue]
    if assignment.mode is Mode.NO_FIT:
        _refuse(state, entry, decisions, assignment.reason)
    elif assignment.mode is Mode.FIT:
        _admit(state, entry, decisions)
    elif not assignment.targets:
        _refuse(state, entry, decisions, WAITING)
        reserved = _reservation(queue, assignment)
        state.hold(queue, reserved, assignment.holdings(item))
        return _Kept(queue.name, reserved, assignment.holdings(item))
    elif any(target.item.key in preempted for target in assignment.targets):
        message = "Workload has overlapping preemption targets with another workload"
        decisions.refused.append(Refusal(item, WAITING, message, again=True))
    elif not _fits_without(state, entry, preempted.values()):
        message = "Workload no longer fits after processing another workload"
        decisions.refused.append(Refusal(item, WAITING, message, again=True))
    else:
        for target in assignment.targets:
            target.item.evicted = True
            preempted[target.item.key] = target.item
        message = (
            f"{assignment.message}. Pending the preemption of {len(assignment.targets)} workload(s)"
        )
        decisions.preempting.append(Preempting(item, tuple(assignment.targets), message))
        if queue.strict:
            state.waiting[item.queue].clear()
        else:
            _drop(state, item)
        state.hold(queue, assignment.usage, assignment.holdings(item))
        return _Kept(queue.name, assignment.usage, assignment.holdings(item), True)
    return _Kept(queue.name)


def _admit(state: State, entry: _Entry, decisions: Decisions) -> None:
    item, assignment = entry
    node = state.queues[item.queue].node
    fits = all(amount <= node.available(slot) for slot, amount in assignment.usage.items())
    if not (fits and _has_places(state, entry)):
        message = "Workload no longer fits after processing another workload"
        decisions.refused.append(Refusal(item, WAITING, message, again=True))
        return
    _drop(state, item)
    state.blocked.discard(item.queue)
    item.holdings = assignment.holdings(item)
    state.admit(item, assignment.usage)
    decisions.admitted.append(Admission(item, assignment))


def _has_places(state: State, entry: _Entry) -> bool:
    """Whether its places are free still, or there are others."""
    item, assignment = entry
    if state.has_room(assignment.holdings(item)):
        return True
    try:
        assignment.place(state, item)
    except UnplaceableError:
        return False
    return True


def _refuse(state: State, entry: _Entry, decisions: Decisions, reason: str) -> None:
    """The workload waits. In a strict queue it stays the first, and those behind it wait, too; in
    others those do that are like it."""
    item, assignment = entry
    message = assignment.message
    waiting = state.waiting[item.queue]
    if state.queues[item.queue].strict:
        if item.queue not in state.blocked:
            decisions.refused.append(Refusal(item, reason, message))
        state.blocked.add(item.queue)
        return
    decisions.refused.append(Refusal(item, reason, message))
    waiting.remove(item)
    for other in [one for one in waiting if item.shape and one.shape == item.shape]:
        waiting.remove(other)
        decisions.refused.append(Refusal(other, reason, message))


def _fits_without(state: State, entry: _Entry, leaving: Iterable[Item]) -> bool:
    """Whether it still fits once its targets are gone, after those before it in the cycle, and once
    those are gone that are `leaving` for them (upstream: fits)."""
    assignment = entry.assignment
    node = state.queues[entry.item.queue].node
    gone = [*leaving, *(target.item for target in assignment.targets)]
    for item in gone:
        state.suspend(item)
    fits = all(amount <= node.available(slot) for slot, amount in assignment.usage.items())
    fits = fits and _has_places(state, entry)
    for item in gone:
        state.restore(item)
    return fits


def _reservation(queue: Queue, assignment: Assignment) -> dict[Slot, int]:
    """A workload that waits for its queue's own quota, which the queue cannot take back by force,
    keeps it from others in this cycle (upstream: resourcesToReserve)."""
    reserved: dict[Slot, int] = {}
    if queue.preemption.reclaim == "Any":
        return reserved
    for slot, amount in assignment.usage.items():
        quota = queue.node.quotas.get(slot)
        if quota is None:
            continue
        room = quota.nominal - queue.node.usage.get(slot, 0)
        if assignment.height > 0:
            room = amount if quota.borrowing is None else room + quota.borrowing
        reserved[slot] = max(0, min(amount, room))
    return reserved

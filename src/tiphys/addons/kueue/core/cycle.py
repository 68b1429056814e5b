"""One cycle of admission: the first of every queue is tried, and what may start does.

Source: upstream's scheduler. Within a cycle each queue puts forward one workload; those that fit
their own quota come before those that borrow, then by priority and time. Each is looked at again
after the ones before it, so that quota is never given twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tiphys.addons.kueue.core.flavors import WAITING, Assignment, Mode, assign
from tiphys.addons.kueue.core.preemption import find_targets
from tiphys.addons.kueue.core.quota import Slot
from tiphys.addons.kueue.core.search import Target
from tiphys.addons.kueue.core.state import Item, Queue, State, order
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
    """What a cycle has come to; nothing in it: there was nobody to try."""

    admitted: list[Admission]
    preempting: list[Preempting]
    refused: list[Refusal]


class _Entry(NamedTuple):
    item: Item
    assignment: Assignment


def run(state: State) -> Decisions:
    """One cycle. Takes who is admitted or refused out of `state.waiting`, which is in order; who is
    admitted is in its queue afterwards."""
    decisions = Decisions([], [], [])
    entries: list[_Entry] = []
    for head in list(_heads(state)):
        refusal = _inadmissible(state, head)
        if refusal is not None:
            decisions.refused.append(refusal)
            _drop(state, head)
            continue
        entries.append(_Entry(head, _assigned(state, head)))
    kept: list[tuple[Queue, dict[Slot, int]]] = []  # for who has to wait, in this cycle alone
    preempted: set[str] = set()
    for entry in _in_order(state, entries):
        held = _process(state, entry, decisions, preempted)
        kept.append((state.queues[entry.item.queue], held))
    for queue, held in kept:
        for slot, amount in held.items():
            queue.node.release(slot, amount)
    return decisions


def _in_order(state: State, entries: list[_Entry]) -> Iterator[_Entry]:
    """Who is looked at next; where queues share fairly, by the shares as they are then."""
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
    """Cycles until nobody is left to try."""
    whole = Decisions([], [], [])
    for waiting in state.waiting.values():
        waiting.sort(key=order)
    while any(rows for name, rows in state.waiting.items() if name not in state.blocked):
        made = run(state)
        whole.admitted.extend(made.admitted)
        whole.preempting.extend(made.preempting)
        whole.refused.extend(one for one in made.refused if not one.again)
        if made.admitted or made.preempting or not all(one.again for one in made.refused):
            continue
        # What keeps these out does not go away in this pass: the first of a strict queue.
        for overtaken in made.refused:
            whole.refused.append(overtaken._replace(again=False))
            _drop(state, overtaken.item)
    return whole


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
    whole = assign(state, item)
    if whole.mode is Mode.FIT:
        return whole
    _find(state, item, whole)
    if whole.targets or not any(pod_set.least is not None for pod_set in item.pod_sets):
        return whole
    return _partial(state, item) or whole


def _find(state: State, item: Item, assignment: Assignment) -> None:
    if assignment.mode in (Mode.NO_FIT, Mode.FIT):
        return
    slots = assignment.slots_to_free()
    assignment.targets = find_targets(state, item, assignment.usage, slots)


def _partial(state: State, item: Item) -> Assignment | None:
    """The most pods that fit: pod sets shrink together towards their least counts."""
    spare = [one.count - (one.count if one.least is None else one.least) for one in item.pod_sets]
    steps = sum(spare)
    found: Assignment | None = None
    low, high = 1, steps
    while low <= high:
        step = (low + high) // 2
        counts = [
            one.count - spared * step // steps
            for one, spared in zip(item.pod_sets, spare, strict=True)
        ]
        tried = assign(state, item, counts)
        _find(state, item, tried)
        if tried.mode is Mode.FIT or tried.targets:
            found, high = tried, step - 1
        else:
            low = step + 1
    return found


def _process(
    state: State, entry: _Entry, decisions: Decisions, preempted: set[str]
) -> dict[Slot, int]:
    """Decides about one workload. Returns what is kept for it until the cycle ends."""
    item, assignment = entry
    queue = state.queues[item.queue]
    if assignment.mode is Mode.NO_FIT:
        _refuse(state, entry, decisions, assignment.reason)
    elif assignment.mode is Mode.FIT:
        _admit(state, entry, decisions)
    elif not assignment.targets:
        _refuse(state, entry, decisions, WAITING)
        return _hold(queue, _reservation(queue, assignment))
    elif any(target.item.key in preempted for target in assignment.targets):
        message = "Workload has overlapping preemption targets with another workload"
        decisions.refused.append(Refusal(item, WAITING, message, again=True))
    elif not _fits_without(state, queue, assignment):
        message = "Workload no longer fits after processing another workload"
        decisions.refused.append(Refusal(item, WAITING, message, again=True))
    else:
        for target in assignment.targets:
            target.item.evicted = True
            preempted.add(target.item.key)
        message = (
            f"{assignment.message}. Pending the preemption of {len(assignment.targets)} workload(s)"
        )
        decisions.preempting.append(Preempting(item, tuple(assignment.targets), message))
        if queue.strict:
            state.waiting[item.queue].clear()
        else:
            _drop(state, item)
        return _hold(queue, assignment.usage)
    return {}


def _hold(queue: Queue, usage: dict[Slot, int]) -> dict[Slot, int]:
    for slot, amount in usage.items():
        queue.node.use(slot, amount)
    return usage


def _admit(state: State, entry: _Entry, decisions: Decisions) -> None:
    item, assignment = entry
    node = state.queues[item.queue].node
    if any(amount > node.available(slot) for slot, amount in assignment.usage.items()):
        message = "Workload no longer fits after processing another workload"
        decisions.refused.append(Refusal(item, WAITING, message, again=True))
        return
    _drop(state, item)
    state.blocked.discard(item.queue)
    state.admit(item, assignment.usage)
    decisions.admitted.append(Admission(item, assignment))


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


def _fits_without(state: State, queue: Queue, assignment: Assignment) -> bool:
    """Whether it still fits once its targets are gone, after those before it in the cycle."""
    for target in assignment.targets:
        state.suspend(target.item)
    fits = all(amount <= queue.node.available(slot) for slot, amount in assignment.usage.items())
    for target in assignment.targets:
        state.restore(target.item)
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

"""What is to be disrupted next, and what must be there before: the first of five methods that finds
something, as Karpenter orders them. Pure.

Emptiness removes nodes without pods. Drift replaces nodes that are not what their pool or class
says any more, of static pools first. Consolidation removes several nodes, or one, whose pods fit
elsewhere or on one cheaper node. What emptiness and consolidation propose is validated again after
a while (`still_holds`) before anything happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.budgets import Allowance, left
from tiphys.addons.karpenter.candidates import (
    Candidate,
    Candidates,
    Note,
    candidates,
    consolidatable,
)
from tiphys.addons.karpenter.offers import NODES, Offer, Option
from tiphys.addons.karpenter.planning import NewNode
from tiphys.addons.karpenter.state import World
from tiphys.addons.karpenter.trials import Trials
from tiphys.addons.karpenter.types import NodePool
from tiphys.machinery import conditions
from tiphys.machinery.footprint import units
from tiphys.scheduler.podinfo import PodInfo

_MOST_AT_ONCE = 100  # candidates of one look at several
_SPOT_CHOICE = 15  # cheaper types that must be left to move from spot to spot

EMPTINESS = "empty"
STATIC_DRIFT = "static-drift"
DRIFT = "drift"
MULTI = "multi"
SINGLE = "single"
REASON_OF = {
    EMPTINESS: names.EMPTY,
    STATIC_DRIFT: names.DRIFT,
    DRIFT: names.DRIFT,
    MULTI: names.UNDERUTILIZED,
    SINGLE: names.UNDERUTILIZED,
}
VALIDATED = frozenset((EMPTINESS, MULTI, SINGLE))
"""Methods whose commands are validated again before they are executed."""


@dataclass
class Command:
    """Nodes that go together, after `replacements` are ready."""

    method: str
    candidates: list[Candidate]
    replacements: list[NewNode] = field(default_factory=list)
    placed: dict[str, list[PodInfo]] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        return REASON_OF[self.method]

    @property
    def decision(self) -> str:
        return "replace" if self.replacements else "delete"

    @property
    def savings(self) -> float:
        """Dollars an hour."""
        gone = sum(each.price or 0.0 for each in self.candidates)
        return gone - sum(new.price for new in self.replacements)


@dataclass
class Look:
    """One look at the cluster. `held` are pools whose budgets kept a candidate from going, with
    what they say. `skipped`: not every node was tried by itself, as budgets had no room for it."""

    commands: list[Command] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    held: dict[tuple[str, str], Allowance] = field(default_factory=dict)
    skipped: bool = False


@dataclass(frozen=True)
class Options:
    """Features that are off by default (upstream's feature gate of that name)."""

    spot_to_spot: bool = False


class Allowances:
    """What budgets leave for one reason; `take` uses it up."""

    def __init__(self, world: World, reason: str, look: Look) -> None:
        self._left, self._says = left(world.pools, world.counts(), reason, world.now)
        self._reason = reason
        self._look = look

    def left(self, pool: str) -> int:
        return self._left.get(pool, 0)

    def take(self, candidate: Candidate) -> bool:
        if not self.has_room(candidate):
            return False
        self._left[candidate.pool.name] -= 1
        return True

    def has_room(self, candidate: Candidate) -> bool:
        if self.left(candidate.pool.name) > 0:
            return True
        self._look.held[candidate.pool.name, self._reason] = self._says[candidate.pool.name]
        return False


_FIRST_CONSOLIDATION = 3  # of the methods: those before it cost little


def look(world: World, options: Options | None = None, consolidates: bool = True) -> Look:
    """What to do now, if anything. Who knows that there is nothing to consolidate says so: that
    takes most of the time, for every node is tried."""
    options = options or Options()
    outcome = Look()
    graceful = candidates(world)
    eventual = candidates(world, eventually=True)
    trials = Trials(world)
    methods: tuple[tuple[str, Callable[[Allowances], Iterable[Command]]], ...] = (
        (EMPTINESS, lambda allow: _emptiness(graceful, allow)),
        (STATIC_DRIFT, lambda allow: _static_drift(world, eventual, allow)),
        (DRIFT, lambda allow: _drift(trials, eventual, allow, outcome)),
        (MULTI, lambda allow: _multi(world, trials, graceful, allow, options)),
        (SINGLE, lambda allow: _single(world, trials, graceful, allow, options, outcome)),
    )
    for name, method in methods if consolidates else methods[:_FIRST_CONSOLIDATION]:
        outcome.commands = list(method(Allowances(world, REASON_OF[name], outcome)))
        if outcome.commands:
            break
    outcome.notes = [*eventual.notes, *graceful.notes, *outcome.notes]
    return outcome


def still_holds(command: Command, world: World, options: Options | None = None) -> Command | None:
    """The command as it is to be carried out now, None if what it rests on has changed: its nodes
    are no candidates any more, budgets are used up, or the pods would go elsewhere."""
    current = candidates(world)
    now = {c.name: c for c in consolidatable(current, empty=command.method == EMPTINESS)}
    allow = Allowances(world, command.reason, Look())
    wanted = [now[each.name] for each in command.candidates if each.name in now]
    valid = [each for each in wanted if allow.take(each)]
    if command.method == EMPTINESS:
        return replace(command, candidates=valid) if valid else None
    if len(valid) < len(command.candidates):
        return None
    again = _consolidation(Trials(world), valid, options or Options(), Look())
    if again is None or len(again.replacements) != len(command.replacements):
        return None
    for before, after in zip(command.replacements, again.replacements, strict=True):
        if not _types(before) <= _types(after):
            return None
    return replace(command, candidates=valid, placed=again.placed)


def _types(new: NewNode) -> set[str]:
    return {type_.name for type_, _ in new.options}


# --- the methods ---


def _by_worth(eligible: Iterable[Candidate]) -> list[Candidate]:
    return sorted(eligible, key=lambda each: (-each.worth, each.name))


def _emptiness(graceful: Candidates, allow: Allowances) -> Iterator[Command]:
    empty = _by_worth(consolidatable(graceful, empty=True))
    taken = [each for each in empty if allow.take(each)]
    if taken:
        yield Command(EMPTINESS, taken)


def _drifted(eventual: Candidates, *, static: bool) -> list[Candidate]:
    """The longest drifted first."""
    drifted = [
        candidate
        for candidate in eventual.nodes
        if candidate.pool.is_static == static and candidate.claim.is_(names.DRIFTED)
    ]
    return sorted(drifted, key=lambda candidate: (_drifted_since(candidate), candidate.name))


def _drifted_since(candidate: Candidate) -> str:
    condition = conditions.find(candidate.claim.status.conditions, names.DRIFTED)
    return (condition.last_transition_time or "") if condition is not None else ""


def _static_drift(world: World, eventual: Candidates, allow: Allowances) -> Iterator[Command]:
    """One for one, within the pool's limit of nodes, and not before surplus nodes have gone."""
    counts: dict[str, int] = {}
    for state in world.nodes:
        if state.claim is not None:
            counts[state.pool] = counts.get(state.pool, 0) + 1
    for candidate in _drifted(eventual, static=True):
        pool = candidate.pool
        going = sum(1 for n in world.nodes if n.pool == pool.name and n.is_deleting)
        room = _node_limit(pool) - counts[pool.name]
        surplus = counts[pool.name] - going > (pool.spec.replicas or 0)
        if surplus or room < 1 or not allow.take(candidate):
            continue
        counts[pool.name] += 1
        offer = next((o for o in world.offers if o.name == pool.name), None)
        if offer is not None and offer.options:
            yield Command(STATIC_DRIFT, [candidate], [bare(offer)])


def _node_limit(pool: NodePool) -> int:
    limit = pool.spec.limits.get(NODES)
    return units(NODES, limit) if limit is not None else 2**31


def bare(offer: Offer) -> NewNode:
    """A node of a pool for no pod in particular."""
    return NewNode(offer, list(offer.options), {}, {}, [], dict(offer.least))


def _drift(
    trials: Trials, eventual: Candidates, allow: Allowances, outcome: Look
) -> Iterator[Command]:
    """One node: an empty one sooner than others."""
    drifted = _drifted(eventual, static=False)
    drifted.sort(key=lambda each: bool(each.pods))
    for candidate in drifted:
        if not allow.has_room(candidate):
            continue
        result = trials.without([candidate])
        if result.errors:
            reasons = "; ".join(f"{key}: {error}" for key, error in result.errors.items())
            outcome.notes.append(Note(candidate.name, "DisruptionBlocked", reasons))
            continue
        yield Command(DRIFT, [candidate], result.new, result.placed)
        return


def _multi(
    world: World, trials: Trials, graceful: Candidates, allow: Allowances, options: Options
) -> Iterator[Command]:
    """As many as possible of those that are worth most, found by halving."""
    ordered = _by_worth(consolidatable(graceful, empty=False))
    taken = [each for each in ordered if allow.take(each)][:_MOST_AT_ONCE]
    best: Command | None = None
    low = 2
    high = len(taken)
    while low <= high:
        middle = (low + high) // 2
        command = _consolidation(trials, taken[:middle], options, Look())
        if command is not None and _is_better(command) and approved(command, world):
            best = command
            low = middle + 1
        else:
            high = middle - 1
    if best is not None:
        best.method = MULTI
        yield best


def _single(
    world: World,
    trials: Trials,
    graceful: Candidates,
    allow: Allowances,
    options: Options,
    outcome: Look,
) -> Iterator[Command]:
    """One of each pool in turn."""
    for candidate in _in_turn(_by_worth(consolidatable(graceful, empty=False))):
        if not allow.has_room(candidate):
            outcome.skipped = True
            continue
        command = _consolidation(trials, [candidate], options, outcome)
        if command is not None and approved(command, world):
            yield command
            return


def _in_turn(ordered: Iterable[Candidate]) -> list[Candidate]:
    counts: dict[str, int] = {}
    turns: list[tuple[int, Candidate]] = []
    for candidate in ordered:
        turn = counts.get(candidate.pool.name, 0)
        counts[candidate.pool.name] = turn + 1
        turns.append((turn, candidate))
    return [each for _, each in sorted(turns, key=lambda one: one[0])]


# --- consolidation ---


def _consolidation(
    trials: Trials, gone: list[Candidate], options: Options, outcome: Look
) -> Command | None:
    """Removes nodes whose pods fit on what is there, or on one node that costs less."""

    def no(message: str) -> None:
        if len(gone) == 1:
            outcome.notes.append(Note(gone[0].name, "Unconsolidatable", message))

    result = trials.without(gone)
    if result.errors:
        no("; ".join(f"{key}: {error}" for key, error in result.errors.items()))
        return None
    if not result.new:
        return Command(SINGLE, gone, [], result.placed)
    if len(result.new) > 1:
        no(f"Can't remove without creating {len(result.new)} candidates")
        return None
    (new,) = result.new
    price = sum(each.price or 0.0 for each in gone)
    is_spot = any(offering.capacity_type == names.SPOT for _, offering in new.options)
    was_spot = all(each.capacity_type == names.SPOT for each in gone)
    if is_spot and was_spot and not options.spot_to_spot:
        no("SpotToSpotConsolidation is disabled, can't replace a spot node with a spot node")
        return None
    new.options = cheaper(new, price)
    if not new.options:
        no("Can't replace with a cheaper node")
        return None
    if is_spot and was_spot and len(gone) == 1:
        if len(_types(new)) < _SPOT_CHOICE:
            no(
                f"SpotToSpotConsolidation requires {_SPOT_CHOICE} cheaper instance type options "
                f"than the current candidate to consolidate, got {len(_types(new))}"
            )
            return None
        kept = list(dict.fromkeys(type_.name for type_, _ in new.options))[:_SPOT_CHOICE]
        new.options = [option for option in new.options if option[0].name in kept]
    return Command(SINGLE, gone, [new], result.placed)


def cheaper(new: NewNode, price: float) -> list[Option]:
    """Options of types that cost less than `price` however they turn out: on spot alone where there
    is spot, for what is launched must not be dearer. None where too few are left to choose from."""
    has_spot = any(offering.capacity_type == names.SPOT for _, offering in new.options)
    kind = names.SPOT if has_spot else names.ON_DEMAND
    mine = [option for option in new.options if option[1].capacity_type == kind]
    worst: dict[str, float] = {}
    for type_, offering in mine:
        worst[type_.name] = max(worst.get(type_.name, 0.0), offering.price)
    kept = [option for option in mine if worst[option[0].name] < price]
    for key, least in new.least.items():
        if len({_label(option, key) for option in kept} - {None}) < least:
            return []
    return kept


def _label(option: Option, key: str) -> str | None:
    type_, offering = option
    return type_.labels_of(offering, "").get(key)


def _is_better(command: Command) -> bool:
    """Several nodes are not replaced by one of a type that some of them have already, unless it is
    cheaper than those: keeping one of them would do as well."""
    if not command.replacements:
        return True
    (new,) = command.replacements
    have: dict[str, float] = {}
    for candidate in command.candidates:
        price = candidate.price or 0.0
        have[candidate.type] = min(have.get(candidate.type, price), price)
    same = [have[type_.name] for type_, _ in new.options if type_.name in have]
    if same:
        new.options = cheaper(new, min(same))
    return bool(new.options)


_BALANCE = 2
"""Of the policy Balanced: a move passes whose share of the savings is at least half its share of
the disruption (upstream's `BalancedK`)."""


def approved(command: Command, world: World) -> bool:
    """Whether the policies of the pools like a move. All but Balanced do."""
    pools = {candidate.pool.name for candidate in command.candidates}
    balanced = {
        name
        for name in pools
        if world.pools[name].spec.disruption.consolidation_policy == "Balanced"
    }
    if not balanced:
        return True
    everyone = [candidate for candidate in candidates(world).nodes if candidate.pool.name in pools]
    cost = sum(candidate.price or 0.0 for candidate in everyone)
    trouble = sum(candidate.cost for candidate in everyone)
    own = sum(candidate.cost for candidate in command.candidates)
    if command.savings <= 0 or not cost or not trouble:
        return False
    return (command.savings / cost) / (own / trouble) >= 1 / _BALANCE

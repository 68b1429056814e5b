"""Which devices a node could give to some claims: a search that tries devices in their order and steps back."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.base import Quantity, format_quantity, parse_quantity
from tiphys.machinery.devices import qualified, values_of
from tiphys.machinery.nodes import tolerated
from tiphys.machinery.quantity import nano
from tiphys.scheduler.devices.inventory import DeviceID, Offer, Pool, SelectorError

STEPS = 20_000  # devices that are tried on one node before the search is given up
MOST = 32  # devices of one claim
Amounts = dict[str, int]  # in nano units


class Unfit(Exception):
    """Why a node cannot give what is asked; the text is for the user."""


class AllocationError(Exception):
    """Something is wrong with a claim, a class or a pool, so that nobody knows what a node can give. Upstream gives the
    scheduling of the pod up then, whatever other nodes have."""


@dataclass
class Used:
    """What is taken of a device: how many claims have all of it or a share, and how much the shares take."""

    whole: int = 0
    shares: int = 0
    amounts: Amounts = field(default_factory=dict)


@dataclass
class _Ask:
    """A request, or one of its alternatives."""

    name: str
    selectors: list[tuple[str, str]]  # (whose it is, as errors name it; expression)
    claim: str  # namespace/name
    mode: str
    count: int
    admin: bool
    tolerations: list[v1.DeviceToleration]
    capacity: Mapping[str, Quantity]
    kind: v1.DeviceClass


@dataclass
class _Grant:
    ask: _Ask
    offer: Offer
    consumed: Amounts | None  # of a device that several claims may have


class Allocator:
    """Allocates on one node. `used`: what claims that are not among those asked for have; `kind` looks a class up."""

    def __init__(
        self,
        pools: Sequence[Pool],
        used: Mapping[DeviceID, Used],
        spent: Callable[[Pool], Mapping[tuple[str, str], int]],
        kind: Callable[[str], v1.DeviceClass | None],
    ) -> None:
        self._pools, self._used, self._kind = pools, used, kind
        self._spent = spent
        self._left: dict[
            tuple[str, str], dict[tuple[str, str], int]
        ] = {}  # pool → (counter set, counter) → amount
        self._taken: dict[DeviceID, list[_Grant]] = {}
        self._steps = STEPS
        self._grants: list[list[_Grant]] = []
        self._rules: list[list[_Rule]] = []
        self._choices: list[list[tuple[v1.DeviceRequest, list[_Ask]]]] = []

    def allocate(self, claims: Sequence[v1.ResourceClaim]) -> list[v1.AllocationResult] | None:
        """What each claim gets; None: the node does not have it. Once for each Allocator. Raises Unfit,
        AllocationError."""
        if not self.possible(claims):
            return None
        return [
            self._result(claim, grants) for claim, grants in zip(claims, self._grants, strict=True)
        ]

    def possible(self, claims: Sequence[v1.ResourceClaim]) -> bool:
        """Whether the node has what the claims ask for. Raises Unfit, AllocationError."""
        for claim in claims:
            self._choices.append(
                [
                    (request, list(self._asks(claim, request)))
                    for request in claim.spec.devices.requests
                ]
            )
            self._rules.append([_Rule(one) for one in claim.spec.devices.constraints])
            self._grants.append([])
        return self._claim(0, 0)

    def _asks(self, claim: v1.ResourceClaim, request: v1.DeviceRequest) -> Iterator[_Ask]:
        key = f"{claim.metadata.namespace}/{claim.metadata.name}"
        alternatives: list[tuple[str, Any]]
        if request.exactly is not None:
            alternatives = [(request.name, request.exactly)]
        else:
            alternatives = [(f"{request.name}/{sub.name}", sub) for sub in request.first_available]
        for name, said in alternatives:
            kind = self._kind(said.device_class_name)
            if kind is None:
                raise Unfit(f"request {name}: device class {said.device_class_name} does not exist")
            whose = (
                (f"class {kind.metadata.name}", kind.spec.selectors),
                (f"claim {key}", said.selectors),
            )
            selectors = [
                (f"{owner}: selector #{number}", selector.cel.expression)
                for owner, rows in whose
                for number, selector in enumerate(rows)
                if selector.cel is not None
            ]
            yield _Ask(
                name,
                selectors,
                key,
                said.allocation_mode or "ExactCount",
                said.count or 1,
                bool(getattr(said, "admin_access", None)),
                said.tolerations,
                said.capacity.requests if said.capacity is not None else {},
                kind,
            )

    # --- the search ---

    def _claim(self, at: int, number: int) -> bool:
        """Whether request `number` of claim `at`, and everything behind it, can be met."""
        if at == len(self._choices):
            return True
        if number == len(self._choices[at]):
            return self._claim(at + 1, 0)
        for ask in self._choices[at][number][1]:
            if ask.mode == "All":
                if self._all(at, number, ask):
                    return True
            elif self._some(at, number, ask, _Lazy(self._candidates(ask)), 0, ask.count):
                return True
        return False

    def _candidates(self, ask: _Ask) -> Iterator[tuple[Pool, Offer]]:
        for pool in self._pools:
            if pool.complete and not pool.wrong:
                for offer in pool.offers:
                    free = (
                        offer.id not in self._used
                        or ask.admin
                        or offer.device.allow_multiple_allocations
                    )
                    if free and self._suits(ask, offer):
                        yield pool, offer

    def _suits(self, ask: _Ask, offer: Offer) -> bool:
        for selector, expression in ask.selectors:
            try:
                if not offer.chosen_by(expression):
                    return False
            except SelectorError as error:
                raise AllocationError(f"{selector}: CEL runtime error: {error}") from None
        return True

    def _some(
        self, at: int, number: int, ask: _Ask, candidates: _Lazy, start: int, count: int
    ) -> bool:
        if count == 0:
            return self._claim(at, number + 1)
        index = start
        while (candidate := candidates.get(index)) is not None:
            pool, offer = candidate
            index += 1
            if self._take(at, ask, pool, offer):
                if self._some(at, number, ask, candidates, index, count - 1):
                    return True
                self._give_back(at, pool)
            elif self._steps < 0:
                return False
        return False

    def _all(self, at: int, number: int, ask: _Ask) -> bool:
        wanted = []
        for pool in self._pools:
            if pool.wrong or not pool.complete:
                state = "being updated" if not pool.complete else "invalid"
                raise AllocationError(
                    f"claim {ask.claim}, request {ask.name}: asks for all devices, but resource pool "
                    f"{pool.driver}/{pool.name} is currently {state}"
                )
            wanted += [(pool, offer) for offer in pool.offers if self._suits(ask, offer)]
        done: list[Pool] = []
        for pool, offer in wanted:
            if not self._take(at, ask, pool, offer):
                break
            done.append(pool)
        if wanted and len(done) == len(wanted) and self._claim(at, number + 1):
            return True
        for pool in reversed(done):
            self._give_back(at, pool)
        return False

    def _take(self, at: int, ask: _Ask, pool: Pool, offer: Offer) -> bool:
        """Gives a device to a claim, if nothing speaks against that."""
        self._steps -= 1
        if self._steps < 0 or len(self._grants[at]) == MOST:
            return False
        if not all(_bears(ask, taint) for taint in offer.device.taints):
            return False
        possible, consumed = self._share(ask, offer)
        grant = _Grant(ask, offer, consumed)
        if not possible or not self._count(pool, grant, -1):
            return False
        for index, rule in enumerate(self._rules[at]):
            if not rule.add(ask, offer):
                for before in self._rules[at][:index]:
                    before.remove(ask)
                self._count(pool, grant, 1)
                return False
        self._grants[at].append(grant)
        self._taken.setdefault(offer.id, []).append(grant)
        return True

    def _give_back(self, at: int, pool: Pool) -> None:
        """Takes back what a claim was given last."""
        grant = self._grants[at].pop()
        self._taken[grant.offer.id].remove(grant)
        for rule in self._rules[at]:
            rule.remove(grant.ask)
        self._count(pool, grant, 1)

    def _share(self, ask: _Ask, offer: Offer) -> tuple[bool, Amounts | None]:
        """(whether the device can be had, what a share of it takes; None: all of it is had)."""
        device, given = offer.device, self._taken.get(offer.id, ())
        if not _ample(ask, device, offer.id.driver) or any(grant.ask is ask for grant in given):
            return False, None
        if device.allow_multiple_allocations:
            consumed = _consumption(ask, device, offer.id.driver)
            return consumed is not None and (ask.admin or self._roomy(offer, consumed)), consumed
        free = offer.id not in self._used and all(grant.ask.admin for grant in given)
        return ask.admin or free, None

    def _roomy(self, offer: Offer, consumed: Amounts) -> bool:
        used = self._used.get(offer.id, Used())
        if used.whole:
            return False
        others = [
            used.amounts,
            *(g.consumed or {} for g in self._taken.get(offer.id, ()) if not g.ask.admin),
        ]
        return all(
            amount + sum(o.get(name, 0) for o in others) <= nano(offer.device.capacity[name].value)
            for name, amount in consumed.items()
        )

    def _count(self, pool: Pool, grant: _Grant, sign: int) -> bool:
        """Takes what a device needs of the counters of its pool (-1), or gives it back (1). False: too little is left,
        and nothing was taken."""
        consumes, id_ = grant.offer.device.consumes_counters, grant.offer.id
        shared = id_ in self._used or any(not g.ask.admin for g in self._taken.get(id_, ()))
        if not consumes or grant.ask.admin or shared:
            return True
        key = (pool.driver, pool.name)
        left = self._left.get(key)
        if left is None:
            spent = self._spent(pool)
            left = self._left[key] = {
                (name, counter): nano(value.value) - spent.get((name, counter), 0)
                for name, counters in pool.counters.items()
                for counter, value in counters.items()
            }
        needed = {
            (one.counter_set, name): nano(c.value)
            for one in consumes
            for name, c in one.counters.items()
        }
        if sign < 0 and any(left.get(name, 0) < amount for name, amount in needed.items()):
            return False
        for name, amount in needed.items():
            left[name] += sign * amount
        return True

    # --- the result ---

    def _result(self, claim: v1.ResourceClaim, grants: list[_Grant]) -> v1.AllocationResult:
        made = v1.AllocationResult()
        for grant in grants:
            ask, offer = grant.ask, grant.offer
            one = v1.DeviceRequestAllocationResult(
                request=ask.name,
                driver=offer.id.driver,
                pool=offer.id.pool,
                device=offer.id.device,
                admin_access=True if ask.admin else None,
                tolerations=list(ask.tolerations),
                binding_conditions=list(offer.device.binding_conditions),
                binding_failure_conditions=list(offer.device.binding_failure_conditions),
            )
            if grant.consumed is not None:
                one.share_id = str(uuid.uuid4())
                for name, amount in grant.consumed.items():
                    form = parse_quantity(offer.device.capacity[name].value)[1]
                    one.consumed_capacity[name] = format_quantity(amount, form)
            made.devices.results.append(one)
        made.devices.config = list(_configuration(claim, grants))
        made.node_selector = _reach(grants)
        return made


class _Lazy:
    """Candidates, looked for as far as they are needed."""

    def __init__(self, source: Iterator[tuple[Pool, Offer]]) -> None:
        self._source, self._found = source, list[tuple[Pool, Offer]]()

    def get(self, index: int) -> tuple[Pool, Offer] | None:
        while len(self._found) <= index:
            if (more := next(self._source, None)) is None:
                return None
            self._found.append(more)
        return self._found[index]


class _Rule:
    """A constraint of a claim over the devices that it has been given so far."""

    def __init__(self, constraint: v1.DeviceConstraint) -> None:
        self._requests = frozenset(constraint.requests)
        self._name = constraint.match_attribute or constraint.distinct_attribute or ""
        self._same = constraint.match_attribute is not None
        self._stack: list[tuple[str, frozenset[Any]]] = []

    def _applies(self, ask: _Ask) -> bool:
        return (
            not self._requests
            or ask.name in self._requests
            or ask.name.partition("/")[0] in self._requests
        )

    def add(self, ask: _Ask, offer: Offer) -> bool:
        if not self._applies(ask):
            return True
        attribute = _attribute(offer, self._name)
        if attribute is None:
            return False
        kind, found = values_of(attribute)
        values = frozenset(found)
        if self._same:
            if self._stack:
                kind_before, before = self._stack[-1]
                values &= before
                if kind != kind_before:
                    return False
            if not values:
                return False
        elif any(kind == other and values & seen for other, seen in self._stack):
            return False
        self._stack.append((kind, values))
        return True

    def remove(self, ask: _Ask) -> None:
        if self._applies(ask):
            self._stack.pop()


def _attribute(offer: Offer, name: str) -> v1.DeviceAttribute | None:
    found = offer.device.attributes.get(name)
    domain, _, short = name.partition("/")
    return (
        offer.device.attributes.get(short) if found is None and domain == offer.id.driver else found
    )


def _bears(ask: _Ask, taint: v1.DeviceTaint) -> bool:
    if taint.effect not in ("NoSchedule", "NoExecute"):
        return True
    plain = core_v1.Taint(key=taint.key, value=taint.value, effect=taint.effect)
    rows = (
        core_v1.Toleration(key=t.key, operator=t.operator, value=t.value, effect=t.effect)
        for t in ask.tolerations
    )
    return tolerated(plain, rows)


def _asked(ask: _Ask, name: str, driver: str) -> Quantity | None:
    return next(
        (q for n, q in ask.capacity.items() if qualified(n, driver) == qualified(name, driver)),
        None,
    )


def _ample(ask: _Ask, device: v1.Device, driver: str) -> bool:
    """Whether a device has the capacity that is asked for."""
    has = {
        qualified(name, driver): nano(capacity.value) for name, capacity in device.capacity.items()
    }
    return all(
        has.get(qualified(name, driver), -1) >= nano(amount)
        for name, amount in ask.capacity.items()
    )


def _consumption(ask: _Ask, device: v1.Device, driver: str) -> Amounts | None:
    """What a share of a device takes of each of its capacities; None: it cannot be had like that."""
    found: Amounts = {}
    for name, capacity in device.capacity.items():
        asked, policy = _asked(ask, name, driver), capacity.request_policy
        if policy is None:
            found[name] = nano(asked if asked is not None else capacity.value)
            continue
        wanted = asked if asked is not None else policy.default
        amount = _rounded(nano(wanted if wanted is not None else capacity.value), policy)
        if amount is None:
            return None
        found[name] = amount
    return found


def _rounded(amount: int, policy: v1.CapacityRequestPolicy) -> int | None:
    """The next amount that a policy allows."""
    if policy.valid_values:
        return min(
            (value for value in map(nano, policy.valid_values) if value >= amount), default=None
        )
    if (bounds := policy.valid_range) is not None and bounds.min is not None:
        least = nano(bounds.min)
        amount = max(amount, least)
        if bounds.step is not None and (step := nano(bounds.step)):
            amount = least + -(-(amount - least) // step) * step
        if bounds.max is not None and amount > nano(bounds.max):
            return None
    return amount


def _configuration(
    claim: v1.ResourceClaim, grants: list[_Grant]
) -> Iterator[v1.DeviceAllocationConfiguration]:
    """What drivers are told, first by the classes, then by the claim: later ones win."""
    asks = list({grant.ask.name: grant.ask for grant in grants}.values())
    for ask in asks:
        for by_class in ask.kind.spec.config:
            yield v1.DeviceAllocationConfiguration(
                source="FromClass", requests=[ask.name], opaque=by_class.opaque
            )
    names = {name for ask in asks for name in (ask.name, ask.name.partition("/")[0])}
    for by_claim in claim.spec.devices.config:
        if not by_claim.requests or names & set(by_claim.requests):
            yield v1.DeviceAllocationConfiguration(
                source="FromClaim", requests=list(by_claim.requests), opaque=by_claim.opaque
            )


def _reach(grants: list[_Grant]) -> core_v1.NodeSelector | None:
    """The nodes from which all of the devices can be used; None: all."""
    term = core_v1.NodeSelectorTerm()
    for grant in grants:
        name, selector, _ = grant.offer.place()
        if name:
            here = core_v1.NodeSelectorRequirement(
                key="metadata.name", operator="In", values=[name]
            )
            return core_v1.NodeSelector(
                node_selector_terms=[core_v1.NodeSelectorTerm(match_fields=[here])]
            )
        if selector is not None:
            [wanted] = selector.node_selector_terms
            for kept, rows in (
                (term.match_expressions, wanted.match_expressions),
                (term.match_fields, wanted.match_fields),
            ):
                kept += [row for row in rows if row not in kept]
    if not (term.match_expressions or term.match_fields):
        return None
    return core_v1.NodeSelector(node_selector_terms=[term])

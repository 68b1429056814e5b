"""Which devices a node could give to some claims: a search that tries devices in order, and steps
back. Pure.

The search is depth first: over claims, over their requests, over the alternatives of a request, and
over the devices of an alternative. `_allocate_rest` continues it where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import resource_v1 as v1
from tiphys.machinery.quantity import nano
from tiphys.scheduler.devices.constraints import Constraint
from tiphys.scheduler.devices.inventory import DeviceID, Offer, Pool, PoolID
from tiphys.scheduler.devices.requests import (
    AllocationError,
    ClassLister,
    RequestData,
    alternatives_of,
)
from tiphys.scheduler.devices.results import Grant, allocation_result, preference
from tiphys.scheduler.devices.sharing import Used, consumption, has_capacity

MAX_STEPS = 20_000  # devices that are tried on one node before the search is given up
MAX_DEVICES_PER_CLAIM = 32  # upstream's AllocationResultsMaxSize

CounterAmounts = Mapping[tuple[str, str], int]  # (counter set, counter) → nano-units


class _Candidate(NamedTuple):
    pool: Pool
    offer: Offer


@dataclass
class _ClaimState:
    """A claim, and what it was given so far."""

    claim: v1.ResourceClaim
    requests: list[list[RequestData]]  # the alternatives of each
    constraints: list[Constraint]
    grants: list[Grant] = field(default_factory=list)


class _Position(NamedTuple):
    """Where the search stands: at a request of a claim."""

    claim: int
    request: int


class Allocator:
    """Allocates once, on one node. `used` has the devices that other claims have,
    `consumed_counters` what these take of a pool's counters."""

    def __init__(
        self,
        pools: Sequence[Pool],
        used: Mapping[DeviceID, Used],
        consumed_counters: Callable[[Pool], CounterAmounts],
        classes: ClassLister,
    ) -> None:
        self._pools = pools
        self._used = used
        self._consumed_counters = consumed_counters
        self._classes = classes
        self._claims: list[_ClaimState] = []
        self._grants_of_device: dict[DeviceID, list[Grant]] = {}
        self._counters_left: dict[PoolID, dict[tuple[str, str], int]] = {}
        self._steps_left = MAX_STEPS

    def allocate(self, claims: Sequence[v1.ResourceClaim]) -> list[v1.AllocationResult] | None:
        """What each claim gets; None: the node cannot give it. Raises Unallocatable,
        AllocationError."""
        if not self.can_allocate(claims):
            return None
        return [allocation_result(state.claim, state.grants) for state in self._claims]

    def preference(self) -> int:
        """How much the claims prefer what they were given; after `can_allocate`."""
        return sum(
            preference(state.claim, (grant.request.name for grant in state.grants))
            for state in self._claims
        )

    def can_allocate(self, claims: Sequence[v1.ResourceClaim]) -> bool:
        """Whether the node can give what the claims ask for. Raises Unallocatable,
        AllocationError."""
        for claim in claims:
            devices = claim.spec.devices
            requests = [
                alternatives_of(claim, request, self._classes) for request in devices.requests
            ]
            constraints = [Constraint(constraint) for constraint in devices.constraints]
            self._claims.append(_ClaimState(claim, requests, constraints))
        return self._allocate_rest(_Position(0, 0))

    # --- the search ---

    def _allocate_rest(self, position: _Position) -> bool:
        """Whether the request at the position, and all behind it, can be given devices."""
        if position.claim == len(self._claims):
            return True
        requests = self._claims[position.claim].requests
        if position.request == len(requests):
            return self._allocate_rest(_Position(position.claim + 1, 0))
        for request in requests[position.request]:
            if request.allocation_mode == "All":
                allocated = self._allocate_all(position, request)
            else:
                candidates = _LazyList(self._candidates(request))
                allocated = self._allocate_count(position, request, candidates, 0, request.count)
            if allocated:
                return True
        return False

    def _candidates(self, request: RequestData) -> Iterator[_Candidate]:
        """The devices that the request may be given, as far as can be said before the search."""
        for pool in self._pools:
            if not pool.is_usable:
                continue
            for offer in pool.offers:
                may_be_shared = request.admin_access or offer.device.allow_multiple_allocations
                is_free = offer.id not in self._used
                if (is_free or may_be_shared) and request.selects(offer):
                    yield _Candidate(pool, offer)

    def _allocate_count(
        self,
        position: _Position,
        request: RequestData,
        candidates: _LazyList,
        start: int,
        count: int,
    ) -> bool:
        """Gives the request `count` more devices, of the candidates from `start` on."""
        if count == 0:
            return self._allocate_rest(position._replace(request=position.request + 1))
        state = self._claims[position.claim]
        index = start
        while (candidate := candidates.get(index)) is not None:
            index += 1
            if self._take(state, request, candidate):
                if self._allocate_count(position, request, candidates, index, count - 1):
                    return True
                self._put_back(state, candidate.pool)
            elif self._steps_left < 0:
                return False
        return False

    def _allocate_all(self, position: _Position, request: RequestData) -> bool:
        state = self._claims[position.claim]
        wanted = self._all_devices(request)
        taken = []
        for candidate in wanted:
            if not self._take(state, request, candidate):
                break
            taken.append(candidate)
        if wanted and len(taken) == len(wanted):
            if self._allocate_rest(position._replace(request=position.request + 1)):
                return True
        for candidate in reversed(taken):
            self._put_back(state, candidate.pool)
        return False

    def _all_devices(self, request: RequestData) -> list[_Candidate]:
        """The devices that "All" means. Raises AllocationError when a pool does not say for
        sure."""
        candidates = []
        for pool in self._pools:
            if not pool.is_usable:
                state = "invalid" if pool.complete else "being updated"
                raise AllocationError(
                    f"claim {request.claim}, request {request.name}: asks for all devices, "
                    f"but resource pool {pool.id.driver}/{pool.id.pool} is currently {state}"
                )
            candidates += [
                _Candidate(pool, offer) for offer in pool.offers if request.selects(offer)
            ]
        return candidates

    # --- taking a device, and putting it back ---

    def _take(self, state: _ClaimState, request: RequestData, candidate: _Candidate) -> bool:
        """Assigns a device to a claim, if it may have it."""
        pool, offer = candidate
        self._steps_left -= 1
        if self._steps_left < 0 or len(state.grants) == MAX_DEVICES_PER_CLAIM:
            return False
        if not all(request.tolerates(taint) for taint in offer.device.taints):
            return False
        grant = self._possible_grant(request, offer)
        if grant is None or not self._take_counters(pool, grant):
            return False
        if not _add_to_all(state.constraints, grant):
            self._put_back_counters(pool, grant)
            return False
        state.grants.append(grant)
        self._grants_of_device.setdefault(offer.id, []).append(grant)
        return True

    def _put_back(self, state: _ClaimState, pool: Pool) -> None:
        """Takes back what the claim was given last."""
        grant = state.grants.pop()
        self._grants_of_device[grant.offer.id].remove(grant)
        for constraint in state.constraints:
            constraint.remove(grant.request)
        self._put_back_counters(pool, grant)

    def _possible_grant(self, request: RequestData, offer: Offer) -> Grant | None:
        """The device, or a share of it, for a request; None: it cannot be had."""
        device = offer.device
        driver = offer.id.driver
        granted = self._grants_of_device.get(offer.id, ())
        if any(grant.request is request for grant in granted):
            return None
        if not has_capacity(request, device, driver):
            return None
        if not device.allow_multiple_allocations:
            is_free = offer.id not in self._used
            is_free = is_free and all(grant.request.admin_access for grant in granted)
            return Grant(request, offer, None) if is_free or request.admin_access else None
        consumed = consumption(request, device, driver)
        if consumed is None:
            return None
        grant = Grant(request, offer, consumed)
        return grant if request.admin_access or self._has_share(grant) else None

    def _has_share(self, grant: Grant) -> bool:
        """Whether enough of each capacity of a shared device is left."""
        offer = grant.offer
        used = self._used.get(offer.id, Used())
        if used.exclusive:
            return False
        taken = [used.amounts]
        for other in self._grants_of_device.get(offer.id, ()):
            if other.consumed is not None and not other.request.admin_access:
                taken.append(other.consumed)
        for name, amount in (grant.consumed or {}).items():
            total = amount + sum(amounts.get(name, 0) for amounts in taken)
            if total > nano(offer.device.capacity[name].value):
                return False
        return True

    # --- counters that devices of a pool share ---

    def _take_counters(self, pool: Pool, grant: Grant) -> bool:
        """Takes what the device consumes. False: too little is left, and nothing was taken."""
        if not self._consumes_counters(grant):
            return True
        left = self._counters_left_in(pool)
        needed = _needed_counters(grant)
        if any(left.get(counter, 0) < amount for counter, amount in needed.items()):
            return False
        for counter, amount in needed.items():
            left[counter] -= amount
        return True

    def _put_back_counters(self, pool: Pool, grant: Grant) -> None:
        if not self._consumes_counters(grant):
            return
        left = self._counters_left_in(pool)
        for counter, amount in _needed_counters(grant).items():
            left[counter] += amount

    def _consumes_counters(self, grant: Grant) -> bool:
        """A device consumes once, however many claims share it, and not for administrators. Asked
        when the grant is not yet, or no longer, among those of its device."""
        offer = grant.offer
        if not offer.device.consumes_counters or grant.request.admin_access:
            return False
        others = self._grants_of_device.get(offer.id, ())
        is_shared = any(not other.request.admin_access for other in others)
        return not is_shared and offer.id not in self._used

    def _counters_left_in(self, pool: Pool) -> dict[tuple[str, str], int]:
        left = self._counters_left.get(pool.id)
        if left is None:
            consumed = self._consumed_counters(pool)
            left = self._counters_left[pool.id] = {
                (set_name, name): nano(counter.value) - consumed.get((set_name, name), 0)
                for set_name, counters in pool.counters.items()
                for name, counter in counters.items()
            }
        return left


def _needed_counters(grant: Grant) -> CounterAmounts:
    return {
        (consumption.counter_set, name): nano(counter.value)
        for consumption in grant.offer.device.consumes_counters
        for name, counter in consumption.counters.items()
    }


def _add_to_all(constraints: Sequence[Constraint], grant: Grant) -> bool:
    """Adds the device to all constraints, or to none if one does not allow it."""
    for index, constraint in enumerate(constraints):
        if not constraint.add(grant.request, grant.offer):
            for added in constraints[:index]:
                added.remove(grant.request)
            return False
    return True


class _LazyList:
    """Candidates, worked out as far as they are asked for: selectors cost time."""

    def __init__(self, source: Iterator[_Candidate]) -> None:
        self._source = source
        self._known: list[_Candidate] = []

    def get(self, index: int) -> _Candidate | None:
        while len(self._known) <= index:
            candidate = next(self._source, None)
            if candidate is None:
                return None
            self._known.append(candidate)
        return self._known[index]

"""All that the scheduler knows of devices: what is offered, what claims have, and what it has promised them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.base import encode
from tiphys.machinery.devices import MOST_USERS, NotMade, belongs_to, claims_of, is_reserved_for
from tiphys.machinery.nodes import matches_term
from tiphys.machinery.quantity import nano
from tiphys.scheduler.devices.allocator import AllocationError, Allocator, Unfit, Used
from tiphys.scheduler.devices.inventory import DeviceID, Inventory, Pool

CANNOT = "cannot allocate all claims"
_REMEMBERED = 64  # kinds of claims whose verdicts are kept


def _nothing(key: str) -> Any:
    return None


class Devices:
    """`claim` looks a ResourceClaim up by ``namespace/name``, `kind` a DeviceClass by name; None: missing."""

    def __init__(
        self,
        claim: Callable[[str], v1.ResourceClaim | None] = _nothing,
        kind: Callable[[str], v1.DeviceClass | None] = _nothing,
    ) -> None:
        self._claim, self._kind = claim, kind
        self.inventory = Inventory()
        self._held: dict[str, v1.AllocationResult] = {}  # claim's uid → what it has
        self._promised: dict[
            str, tuple[str, v1.AllocationResult]
        ] = {}  # claim's uid → (pod's uid, what it will have)
        self._used: dict[tuple[str, str], dict[DeviceID, Used]] = {}  # by pool
        self._changes: dict[tuple[str, str], int] = {}  # how often the use of a pool has changed
        self._verdicts: OrderedDict[bytes, dict[str, tuple[list[Pool], int, str]]] = OrderedDict()

    # --- what is known ---

    def note(self, claim: v1.ResourceClaim, gone: bool = False) -> None:
        """A claim came, changed or went."""
        uid, allocation = claim.metadata.uid, claim.status.allocation
        if gone:
            allocation = None
        if allocation is not None or gone:
            self._break_promise(uid)
        before = self._held.pop(uid, None)
        if before is not None:
            self._count(before, -1)
        if allocation is not None:
            self._held[uid] = allocation
            self._count(allocation, 1)

    def kinds_changed(self) -> None:
        self._verdicts.clear()

    def _break_promise(self, uid: str) -> None:
        promised = self._promised.pop(uid, None)
        if promised is not None:
            self._count(promised[1], -1)

    def _count(self, allocation: v1.AllocationResult, sign: int) -> None:
        """A claim takes what was allocated (1), or gives it back (-1)."""
        for result in allocation.devices.results:
            if result.admin_access:
                continue
            pool, id_ = (
                (result.driver, result.pool),
                DeviceID(result.driver, result.pool, result.device),
            )
            self._changes[pool] = self._changes.get(pool, 0) + 1
            there = self._used.setdefault(pool, {})
            found = there.setdefault(id_, Used())
            if result.share_id is None:
                found.whole += sign
            else:
                found.shares += sign
            for name, amount in result.consumed_capacity.items():
                found.amounts[name] = found.amounts.get(name, 0) + sign * nano(amount)
            if not found.whole and not found.shares:
                del there[id_]

    def allocation(self, claim: v1.ResourceClaim) -> v1.AllocationResult | None:
        """What a claim has, or will have when all goes well."""
        if claim.status.allocation is not None:
            return claim.status.allocation
        promised = self._promised.get(claim.metadata.uid)
        return promised[1] if promised else None

    def _spent(self, pool: Pool) -> dict[tuple[str, str], int]:
        """What the devices in use take of a pool's counters."""
        found: dict[tuple[str, str], int] = {}
        for id_ in self._used.get((pool.driver, pool.name), ()):
            if (offer := self.inventory.offer(id_)) is not None:
                for consumed in offer.device.consumes_counters:
                    for name, counter in consumed.counters.items():
                        key = (consumed.counter_set, name)
                        found[key] = found.get(key, 0) + nano(counter.value)
        return found

    # --- pods ---

    def made(self, pod: core_v1.Pod) -> bool:
        """Whether every claim of a pod is there, so that it makes sense to look for a node."""
        try:
            return all(
                self._claim(f"{pod.metadata.namespace}/{name}") is not None
                for _, name in claims_of(pod)
            )
        except NotMade:
            return False

    def claims(self, pod: core_v1.Pod) -> list[v1.ResourceClaim]:
        """The claims of a pod. Raises Unfit when one cannot be used by it."""
        found = []
        try:
            for entry, name in claims_of(pod):
                claim = self._claim(f"{pod.metadata.namespace}/{name}")
                if claim is None:
                    raise Unfit(f'resourceclaim.resource.k8s.io "{name}" not found')
                if claim.metadata.deletion_timestamp:
                    raise Unfit(f'resourceclaim "{name}" is being deleted')
                template = next(
                    (
                        e.resource_claim_template_name
                        for e in pod.spec.resource_claims
                        if e.name == entry
                    ),
                    "",
                )
                if template and not belongs_to(claim, pod):
                    raise Unfit(
                        f"ResourceClaim {name} was not created for pod {pod.metadata.name} (pod is not owner)"
                    )
                found.append(claim)
        except NotMade:
            raise Unfit(
                f'pod "{pod.metadata.namespace}/{pod.metadata.name}": ResourceClaim not created yet'
            ) from None
        return found

    def refusal(self, pod: core_v1.Pod) -> str:
        """Why no node will do; empty: one may."""
        try:
            for claim in self.claims(pod):
                if self.allocation(claim) is not None:
                    if len(claim.status.reserved_for) >= MOST_USERS and not is_reserved_for(
                        claim, pod
                    ):
                        return "resourceclaim in use"
                    continue
                for request in claim.spec.devices.requests:
                    for name, kind in _classes(request):
                        if self._kind(kind) is None:
                            return f"request {name}: device class {kind} does not exist"
        except Unfit as error:
            return str(error)
        return ""

    def survey(
        self, claims: Sequence[v1.ResourceClaim], nodes: Iterable[tuple[int, core_v1.Node]]
    ) -> dict[str, list[int]]:
        """Which of the nodes, given with their rows, cannot give claims without devices what they ask for: rows by why
        not. What was found out for claims that are alike holds as long as nothing of a node's pools was taken or given
        back. Raises AllocationError."""
        key, why = encode([claim.spec for claim in claims]), dict[str, list[int]]()
        known = self._verdicts.setdefault(key, {})
        self._verdicts.move_to_end(key)
        if len(self._verdicts) > _REMEMBERED:
            self._verdicts.popitem(last=False)
        for row, node in nodes:
            name, pools = node.metadata.name, self.inventory.pools(node)
            changes = sum(self._changes.get((pool.driver, pool.name), 0) for pool in pools)
            verdict = known.get(name)
            if verdict is None or verdict[0] is not pools or verdict[1] != changes:
                verdict = known[name] = pools, changes, self._unfit(claims, pools)
            if verdict[2]:
                why.setdefault(verdict[2], []).append(row)
        return why

    def _unfit(self, claims: Sequence[v1.ResourceClaim], pools: list[Pool]) -> str:
        try:
            return "" if self._allocator(pools).possible(claims) else CANNOT
        except Unfit as error:
            return str(error)

    def _allocator(self, pools: list[Pool]) -> Allocator:
        used: dict[DeviceID, Used] = {}
        for pool in pools:
            used |= self._used.get((pool.driver, pool.name), {})
        return Allocator(pools, used, self._spent, self._kind)

    def allocate(
        self, claims: Sequence[v1.ResourceClaim], node: core_v1.Node
    ) -> list[v1.AllocationResult] | None:
        """What claims without devices would get on a node; None: it does not have that. Raises Unfit,
        AllocationError."""
        return self._allocator(self.inventory.pools(node)).allocate(claims)

    def promise(self, pod: core_v1.Pod, node: core_v1.Node) -> bool:
        """Sets devices of a node aside for a pod, until its claims say so themselves. False: there are none any more."""
        try:
            waiting = [claim for claim in self.claims(pod) if self.allocation(claim) is None]
            found = self.allocate(waiting, node)
        except (Unfit, AllocationError):
            return False
        if found is None:
            return False
        for claim, allocation in zip(waiting, found, strict=True):
            self._promised[claim.metadata.uid] = pod.metadata.uid, allocation
            self._count(allocation, 1)
        return True

    def forget(self, pod: core_v1.Pod) -> None:
        """The pod did not get its node: what was set aside for it is free."""
        for uid in [uid for uid, (owner, _) in self._promised.items() if owner == pod.metadata.uid]:
            self._break_promise(uid)


def _classes(request: v1.DeviceRequest) -> list[tuple[str, str]]:
    """(name of a request or alternative, its class)."""
    if request.exactly is not None:
        return [(request.name, request.exactly.device_class_name)]
    return [
        (f"{request.name}/{sub.name}", sub.device_class_name) for sub in request.first_available
    ]


def usable_from(allocation: v1.AllocationResult, node: core_v1.Node) -> bool:
    selector = allocation.node_selector
    return selector is None or any(
        matches_term(term, node) for term in selector.node_selector_terms
    )

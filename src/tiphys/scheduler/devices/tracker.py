"""The device tracker: what is offered, what claims have, and what is reserved for them in this
process. Pure."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.base import encode
from tiphys.machinery.devices import MOST_USERS, NotMade, belongs_to, claims_of, is_reserved_for
from tiphys.machinery.quantity import nano
from tiphys.scheduler.devices.allocator import Allocator
from tiphys.scheduler.devices.extended import ExtendedClaims
from tiphys.scheduler.devices.inventory import DeviceID, Inventory, Pool, PoolID, selects
from tiphys.scheduler.devices.requests import (
    AllocationError,
    ClassLister,
    Unallocatable,
    classes_of,
)
from tiphys.scheduler.devices.sharing import Used
from tiphys.scheduler.podinfo import PodInfo

CANNOT_ALLOCATE = "cannot allocate all claims"

_REMEMBERED_SPECS = 64

ClaimLister = Callable[[str], v1.ResourceClaim | None]


class _Reservation(NamedTuple):
    """An allocation that is not in its claim's status yet."""

    pod_uid: str
    allocation: v1.AllocationResult


class _NodeAnswer(NamedTuple):
    """Why a node cannot give something (empty: it can, and `score` says how much is preferred of
    that), while it sees these pools at this state of use."""

    pools: list[Pool]
    changes: int
    reason: str
    score: int = 0


def _get_nothing(key: str) -> Any:
    return None


class DeviceTracker:
    """`claim` looks a ResourceClaim up by ``namespace/name``, `device_class` a DeviceClass by name;
    None: missing. `now` gives seconds since the epoch."""

    def __init__(
        self,
        claim: ClaimLister = _get_nothing,
        device_class: ClassLister = _get_nothing,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.now = now
        self._claim = claim
        self._device_class = device_class
        self.inventory = Inventory()
        self.claims_changed = asyncio.Event()  # set whenever one has
        self._allocated: dict[str, v1.AllocationResult] = {}  # by the claim's uid
        self._reserved: dict[str, _Reservation] = {}  # by the claim's uid
        self.extended = ExtendedClaims()
        self._used: dict[PoolID, dict[DeviceID, Used]] = {}
        self._changes: dict[PoolID, int] = {}  # how often the use of a pool has changed
        # By the specs of claims: what each node says to them.
        self._answers: OrderedDict[bytes, dict[str, _NodeAnswer]] = OrderedDict()

    # --- what claims have ---

    def put_claim(self, claim: v1.ResourceClaim) -> None:
        """A claim was added or changed."""
        self.claims_changed.set()
        allocation = claim.status.allocation
        if allocation is not None:
            self._drop_reservation(claim.metadata.uid)
        self._set_allocated(claim.metadata.uid, allocation)
        self.extended.put(claim)

    def remove_claim(self, claim: v1.ResourceClaim) -> None:
        self.claims_changed.set()
        self._drop_reservation(claim.metadata.uid)
        self._set_allocated(claim.metadata.uid, None)
        self.extended.remove(claim)

    def put_class(self, device_class: v1.DeviceClass) -> None:
        """A class was added or changed."""
        self.extended.classes.put(device_class)
        self._answers.clear()

    def remove_class(self, name: str) -> None:
        self.extended.classes.remove(name)
        self._answers.clear()

    def allocation_of(self, claim: v1.ResourceClaim) -> v1.AllocationResult | None:
        """What a claim has, or what is reserved for it."""
        if claim.status.allocation is not None:
            return claim.status.allocation
        reservation = self._reserved.get(claim.metadata.uid)
        return reservation.allocation if reservation is not None else None

    def _set_allocated(self, uid: str, allocation: v1.AllocationResult | None) -> None:
        old = self._allocated.pop(uid, None)
        if old is not None:
            self._count(old, -1)
        if allocation is not None:
            self._allocated[uid] = allocation
            self._count(allocation, 1)

    def _drop_reservation(self, uid: str) -> None:
        reservation = self._reserved.pop(uid, None)
        if reservation is not None:
            self._count(reservation.allocation, -1)

    def _count(self, allocation: v1.AllocationResult, sign: int) -> None:
        """The devices of an allocation are taken (1) or free again (-1). Administrators take
        nothing."""
        for result in allocation.devices.results:
            if result.admin_access:
                continue
            pool_id = PoolID(result.driver, result.pool)
            device_id = DeviceID(result.driver, result.pool, result.device)
            self._changes[pool_id] = self._changes.get(pool_id, 0) + 1
            used_of_pool = self._used.setdefault(pool_id, {})
            used = used_of_pool.setdefault(device_id, Used())
            if result.share_id is None:
                used.exclusive += sign
            else:
                used.shares += sign
            for name, amount in result.consumed_capacity.items():
                used.amounts[name] = used.amounts.get(name, 0) + sign * nano(amount)
            if not used.exclusive and not used.shares:
                del used_of_pool[device_id]

    def _consumed_counters(self, pool: Pool) -> dict[tuple[str, str], int]:
        """What the devices in use take of a pool's counters."""
        consumed: dict[tuple[str, str], int] = {}
        for device_id in self._used.get(pool.id, ()):
            offer = self.inventory.offer(device_id)
            if offer is None:
                continue
            for consumption in offer.device.consumes_counters:
                for name, counter in consumption.counters.items():
                    key = (consumption.counter_set, name)
                    consumed[key] = consumed.get(key, 0) + nano(counter.value)
        return consumed

    # --- the claims of a pod ---

    def concerns(self, pod: PodInfo) -> bool:
        """Whether a pod needs devices, for claims or for extended resources."""
        return bool(pod.spec.resource_claims) or any(
            map(self.extended.classes.class_of, pod.extended_resources)
        )

    def claims_exist(self, pod: core_v1.Pod) -> bool:
        """Whether every claim of a pod exists. A pod is not scheduled before (upstream's
        PreEnqueue)."""
        try:
            return all(
                self._claim(f"{pod.metadata.namespace}/{name}") is not None
                for _, name in claims_of(pod)
            )
        except NotMade:
            return False

    def claims_of(self, pod: core_v1.Pod) -> list[v1.ResourceClaim]:
        """Raises Unallocatable when the pod cannot use one of its claims."""
        try:
            return [
                self._usable_claim(pod, pod_claim_name, name)
                for pod_claim_name, name in claims_of(pod)
            ]
        except NotMade:
            key = f"{pod.metadata.namespace}/{pod.metadata.name}"
            raise Unallocatable(f'pod "{key}": ResourceClaim not created yet') from None

    def _usable_claim(self, pod: core_v1.Pod, pod_claim_name: str, name: str) -> v1.ResourceClaim:
        claim = self._claim(f"{pod.metadata.namespace}/{name}")
        if claim is None:
            raise Unallocatable(f'resourceclaim.resource.k8s.io "{name}" not found')
        if claim.metadata.deletion_timestamp:
            raise Unallocatable(f'resourceclaim "{name}" is being deleted')
        is_from_template = any(
            entry.name == pod_claim_name and entry.resource_claim_template_name
            for entry in pod.spec.resource_claims
        )
        if is_from_template and not belongs_to(claim, pod):
            raise Unallocatable(
                f"ResourceClaim {name} was not created for pod {pod.metadata.name} "
                "(pod is not owner)"
            )
        return claim

    def pre_filter(self, pod: core_v1.Pod) -> str:
        """Why no node can give the pod's claims what they ask for; empty: one may."""
        try:
            for claim in self.claims_of(pod):
                reason = self._reject_everywhere(pod, claim)
                if reason:
                    return reason
        except Unallocatable as error:
            return str(error)
        return ""

    def _reject_everywhere(self, pod: core_v1.Pod, claim: v1.ResourceClaim) -> str:
        if self.allocation_of(claim) is not None:
            is_full = len(claim.status.reserved_for) >= MOST_USERS
            return "resourceclaim in use" if is_full and not is_reserved_for(claim, pod) else ""
        for request in claim.spec.devices.requests:
            for name, class_name in classes_of(request):
                if self._device_class(class_name) is None:
                    return f"request {name}: device class {class_name} does not exist"
        return ""

    # --- allocation ---

    def rejections(
        self, claims: Sequence[v1.ResourceClaim], nodes: Iterable[tuple[int, core_v1.Node]]
    ) -> dict[str, list[int]]:
        """Which of the nodes, given with their rows, cannot give unallocated claims what they ask
        for: rows by reason. Raises AllocationError."""
        rows_by_reason: dict[str, list[int]] = {}
        for row, answer in self._ask(claims, nodes):
            if answer.reason:
                rows_by_reason.setdefault(answer.reason, []).append(row)
        return rows_by_reason

    def scores(
        self, claims: Sequence[v1.ResourceClaim], nodes: Iterable[tuple[int, core_v1.Node]]
    ) -> Iterator[tuple[int, int]]:
        """(row, score) of nodes: the more preferred the alternatives are that the claims would
        get, the higher. Raises AllocationError."""
        for row, answer in self._ask(claims, nodes):
            yield row, answer.score

    def _ask(
        self, claims: Sequence[v1.ResourceClaim], nodes: Iterable[tuple[int, core_v1.Node]]
    ) -> Iterator[tuple[int, _NodeAnswer]]:
        """Answers to equal specs are kept until a pool of the node, or the use of its devices,
        changes. Raises AllocationError."""
        key = encode([claim.spec for claim in claims])
        known = self._answers.setdefault(key, {})
        self._answers.move_to_end(key)
        if len(self._answers) > _REMEMBERED_SPECS:
            self._answers.popitem(last=False)
        for row, node in nodes:
            name = node.metadata.name
            pools = self.inventory.pools_of(node)
            changes = sum(self._changes.get(pool.id, 0) for pool in pools)
            answer = known.get(name)
            if answer is None or answer.pools is not pools or answer.changes != changes:
                answer = self._answer(claims, pools, changes)
                known[name] = answer
            yield row, answer

    def _answer(
        self, claims: Sequence[v1.ResourceClaim], pools: list[Pool], changes: int
    ) -> _NodeAnswer:
        allocator = self._allocator(pools)
        try:
            if not allocator.can_allocate(claims):
                return _NodeAnswer(pools, changes, CANNOT_ALLOCATE)
        except Unallocatable as error:
            return _NodeAnswer(pools, changes, str(error))
        return _NodeAnswer(pools, changes, "", allocator.preference())

    def _allocator(self, pools: list[Pool]) -> Allocator:
        used: dict[DeviceID, Used] = {}
        for pool in pools:
            used |= self._used.get(pool.id, {})
        return Allocator(pools, used, self._consumed_counters, self._device_class)

    def allocate(
        self, claims: Sequence[v1.ResourceClaim], node: core_v1.Node
    ) -> list[v1.AllocationResult] | None:
        """What unallocated claims would get on a node; None: it cannot give that. Raises
        Unallocatable, AllocationError."""
        return self._allocator(self.inventory.pools_of(node)).allocate(claims)

    # --- reserve and unreserve ---

    def reserve(self, pod: core_v1.Pod, node: core_v1.Node) -> bool:
        """Keeps devices of a node for the claims of a pod, until their status says so. False: the
        node cannot give them any more."""
        try:
            claims = self.claims_of(pod)
            unallocated = [claim for claim in claims if self.allocation_of(claim) is None]
            special = self.extended.wanted(pod, node)
            if special is not None:
                unallocated.append(special.claim)
            allocations = self.allocate(unallocated, node)
        except (Unallocatable, AllocationError):
            return False
        if allocations is None:
            return False
        if special is not None:
            self.extended.reserve(pod, special)
        for claim, allocation in zip(unallocated, allocations, strict=True):
            self._reserved[claim.metadata.uid] = _Reservation(pod.metadata.uid, allocation)
            self._count(allocation, 1)
        return True

    def unreserve(self, pod: core_v1.Pod) -> None:
        """The pod does not get its node: what was reserved for it is free."""
        uids = [
            uid
            for uid, reservation in self._reserved.items()
            if reservation.pod_uid == pod.metadata.uid
        ]
        for uid in uids:
            self._drop_reservation(uid)
        self.extended.forget(pod)

    def special_created(self, pod: core_v1.Pod, created: v1.ResourceClaim) -> None:
        """The API server has made the special claim that is reserved for a pod."""
        special = self.extended.reserved(pod)
        if special is None:
            return
        self.extended.reserve(pod, special._replace(claim=created))
        reservation = self._reserved.pop(special.claim.metadata.uid, None)
        if reservation is not None:
            self._reserved[created.metadata.uid] = reservation

    def special_of(self, pod: core_v1.Pod) -> v1.ResourceClaim | None:
        """The special claim that was made for a pod, as it is known now."""
        special = self.extended.reserved(pod)
        if special is None or not special.claim.metadata.name:
            return None
        meta = special.claim.metadata
        known = self._claim(f"{meta.namespace}/{meta.name}")
        return known if known is not None and known.metadata.uid == meta.uid else special.claim


def is_usable_from(allocation: v1.AllocationResult, node: core_v1.Node) -> bool:
    """Whether the devices of an allocation can be used from a node."""
    return allocation.node_selector is None or selects(allocation.node_selector, node)

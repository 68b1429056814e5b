"""The node as the cluster sees it: its Node object, its conditions, its heartbeat."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tiphys.api import coordination_v1, core_v1
from tiphys.api.base import canonical_quantity
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.client.client import Client, Unreachable
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import (
    StatusError,
    is_already_exists,
    is_not_found,
    is_server_busy,
)
from tiphys.machinery.nodes import matches_node
from tiphys.node.abilities import HandlerAbilities, RuntimeAbilities
from tiphys.node.machine import architecture, system_info

log = logging.getLogger(__name__)

Health = Callable[[], Awaitable[tuple[bool, str]]]  # (ready, why not)

BEAT = 10.0  # seconds between renewals of the node's lease
# Seconds between status updates that change nothing; as upstream, half as long to half as long
# again, so that nodes which came together do not go on reporting together.
REPORT = 300.0
_READ_FIRST = 0.5  # seconds in which answers that have come are read
_LEASES = "kube-node-lease"  # namespace
_LEASE_SECONDS = 40
_FIRST_PAUSE = 0.1  # seconds until a node registers again, doubled each time, as upstream
_LONGEST_PAUSE = 7.0
_MOST_IMAGES = 50  # in the node's status, as upstream

# Conditions of a node that is, or is not, short of something: (type, status) -> reason, message.
_PRESSURES = {
    ("MemoryPressure", "False"): (
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
    ),
    ("MemoryPressure", "True"): (
        "KubeletHasInsufficientMemory",
        "kubelet has insufficient memory available",
    ),
    ("DiskPressure", "False"): ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("DiskPressure", "True"): ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    ("PIDPressure", "False"): (
        "KubeletHasSufficientPID",
        "kubelet has sufficient PID available",
    ),
    ("PIDPressure", "True"): (
        "KubeletHasInsufficientPID",
        "kubelet has insufficient PID available",
    ),
}


@dataclass(frozen=True)
class NodeFacts:
    """What a node's object says of it. `runtime` as ``containerd://1.6.20``, `port` of the
    streaming server, `capacity` by resource in canonical quantities, `allocatable` what of it is
    for pods: all where it says nothing. `taints` are those of a node that is new (upstream's
    `registerWithTaints`)."""

    name: str
    addresses: tuple[str, ...]
    port: int
    runtime: str
    capacity: dict[str, Any]
    pod_cidr: str = ""  # or several with commas, one of each family
    allocatable: dict[str, Any] = field(default_factory=dict)
    taints: tuple[core_v1.Taint, ...] = ()
    provider_id: str = ""
    abilities: RuntimeAbilities = field(default_factory=RuntimeAbilities)


class DeviceCount(Protocol):
    """Devices of one resource."""

    @property
    def capacity(self) -> int: ...

    @property
    def allocatable(self) -> int: ...


class Registration:
    """Keeps the Node object and its lease.

    images: those on the node: (names, bytes)
    pressures: the conditions that say that it is short of something
    devices: gives how many devices the node has of each extended resource that is its own
    volumes_in_use: gives the attached volumes that the node uses; None where it is not known
    """

    def __init__(
        self,
        client: Client,
        facts: NodeFacts,
        labels: dict[str, str],
        beside: Sequence[Client] = (),
    ) -> None:
        """`beside` are clients whose connections lead where those of `client` do."""
        self._client = client
        self._clients = (client, *beside)
        self._facts = facts
        self._labels = {**_default_labels(facts.name), **labels}
        self.images: list[tuple[list[str], int]] = []
        self.pressures: tuple[str, ...] = ()
        self.volumes_in_use: Callable[[], list[str]] | None = None
        self.devices: Callable[[], Mapping[str, DeviceCount]] = dict
        self._uid = ""
        self._lease_version = ""  # of the last heartbeat, or none
        self._node = core_v1.Node()
        self._report_wanted = asyncio.Event()

    async def register(self) -> core_v1.Node:
        """Creates the Node object, or brings the one that exists up to date."""
        facts = self._facts
        node = core_v1.Node(metadata=ObjectMeta(name=facts.name, labels=self._labels))
        if facts.pod_cidr:
            node.spec.pod_cidrs = facts.pod_cidr.split(",")
            node.spec.pod_cidr = node.spec.pod_cidrs[0]
        node.spec.taints = list(facts.taints)
        node.spec.provider_id = facts.provider_id
        self._fill(node, True, "")
        try:
            registered = await self._client.create(node)
        except StatusError as error:
            if not is_already_exists(error):
                raise
            registered = await self._update_existing()
        self._uid = registered.metadata.uid
        self._node = registered
        return registered

    async def register_when_reachable(self) -> None:
        """Registers as soon as a server answers. Raises StatusError for what it refuses."""
        pause = _FIRST_PAUSE
        while True:
            try:
                await self.register()
                return
            except (StatusError, Unreachable) as error:
                if isinstance(error, StatusError) and not is_server_busy(error):
                    raise
                log.warning("Node %s cannot be registered: %s", self._facts.name, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _update_existing(self) -> core_v1.Node:
        node = await self._client.get(core_v1.Node, self._facts.name)
        if not self._labels.items() <= node.metadata.labels.items():
            changes = {"metadata": {"labels": self._labels}}
            await self._client.patch(core_v1.Node, self._facts.name, changes)
        return await self.report(True)

    def node_changed(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        """For an informer. Responds at once when something else changed the capacity or deleted the
        Node, or when the node controller has given the node up."""
        if new is None:
            self._report_wanted.set()  # there is nothing to report to: it registers again
            return
        self._node = new
        ready = conditions.find(new.status.conditions, "Ready")
        is_given_up = ready is not None and ready.status == "Unknown"
        _, expected = self._resources(new.status.capacity)
        if is_given_up or new.status.allocatable != expected:
            self._report_wanted.set()

    def report_soon(self) -> None:
        """What the node's status says has changed."""
        self._report_wanted.set()

    def _resources(self, before: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """(capacity, allocatable). Extended resources that others have added stay `before`. What
        can be allocated is the capacity without what is reserved and devices that are not well."""
        devices = self.devices()
        counts = {
            name: canonical_quantity(str(resource.capacity)) for name, resource in devices.items()
        }
        capacity = {**before, **self._facts.capacity, **counts}
        usable = {
            name: canonical_quantity(str(resource.allocatable))
            for name, resource in devices.items()
        }
        return capacity, {**capacity, **self._facts.allocatable, **usable}

    @property
    def node(self) -> core_v1.Node:
        """As it was last seen."""
        return self._node

    def show_pressures(self, pressures: tuple[str, ...]) -> None:
        """Reports at once when they have changed."""
        if pressures != self.pressures:
            self.pressures = pressures
            self._report_wanted.set()

    async def suits(self, spec: core_v1.PodSpec) -> bool:
        """Whether the node has the labels that a pod selects."""
        has_affinity = spec.affinity is not None and spec.affinity.node_affinity is not None
        if not spec.node_selector and not has_affinity:
            return True
        if not matches_node(spec, self._node):  # the labels may have changed
            self._node = await self._client.get(core_v1.Node, self._facts.name)
        return matches_node(spec, self._node)

    async def report(self, ready: bool, reason: str = "") -> core_v1.Node:
        """Writes the node's status. `reason` is why it is not ready."""
        node = await self._client.get(core_v1.Node, self._facts.name)
        changed = copy.deepcopy(node)
        self._fill(changed, ready, reason)
        self._node = await self._client.update_status(changed)
        return self._node

    def _fill(self, node: core_v1.Node, ready: bool, reason: str) -> None:
        facts = self._facts
        status = node.status
        status.capacity, status.allocatable = self._resources(status.capacity)
        status.addresses = [
            *(
                core_v1.NodeAddress(type="InternalIP", address=address)
                for address in facts.addresses
            ),
            core_v1.NodeAddress(type="Hostname", address=facts.name),
        ]
        status.node_info = system_info(facts.runtime)
        status.runtime_handlers = [
            _handler(name, abilities) for name, abilities in facts.abilities.handlers.items()
        ]
        if facts.abilities.strict_groups is not None:
            strict = facts.abilities.strict_groups
            status.features = core_v1.NodeFeatures(supplemental_groups_policy=strict)
        endpoint = core_v1.DaemonEndpoint(port=facts.port)
        status.daemon_endpoints = core_v1.NodeDaemonEndpoints(kubelet_endpoint=endpoint)
        status.conditions = node_conditions(
            status.conditions, ready, reason, time.time(), self.pressures
        )
        if self.volumes_in_use is not None:
            status.volumes_in_use = self.volumes_in_use()
        largest_first = sorted(self.images, key=lambda image: image[1], reverse=True)
        status.images = [
            core_v1.ContainerImage(names=names, size_bytes=size)
            for names, size in largest_first[:_MOST_IMAGES]
        ]

    async def beat(self) -> None:
        """Renews the node's lease."""
        name = self._facts.name
        spec = coordination_v1.LeaseSpec(
            holder_identity=name,
            lease_duration_seconds=_LEASE_SECONDS,
            renew_time=timestamps.rfc3339_micro(time.time()),
        )
        owner = OwnerReference(api_version="v1", kind="Node", name=name, uid=self._uid)
        meta = ObjectMeta(name=name, namespace=_LEASES, owner_references=[owner])
        meta.resource_version = self._lease_version or await self._stored_lease_version()
        self._lease_version = ""  # until it is known again
        lease = await self._client.update(coordination_v1.Lease(metadata=meta, spec=spec))
        self._lease_version = lease.metadata.resource_version

    async def _stored_lease_version(self) -> str:
        """That of the node's lease; none where there is none, which a PUT creates."""
        try:
            lease = await self._client.get(coordination_v1.Lease, self._facts.name, _LEASES)
        except StatusError as error:
            if is_not_found(error):
                return ""
            raise
        return lease.metadata.resource_version

    async def run(self, health: Health, beat: float = BEAT) -> None:
        """Heartbeats until cancelled, every `beat` seconds."""
        heart = _Heart(self._clients, beat)
        while True:
            try:
                await heart.within(self.beat())
                ready, reason = await health()
                if self._report_wanted.is_set() or heart.must_report(ready):
                    self._report_wanted.clear()
                    await heart.within(self.report(ready, reason))
                    heart.reported(ready)
                pause = beat
            except StatusError as error:
                pause = await self._refused(error, heart)
            except Unreachable as error:
                log.info("Heartbeat of node %s failed: %s", self._facts.name, error)
                pause = heart.failed()
            if pause < beat:  # after a failure: who wants a report waits for the next try, too
                await asyncio.sleep(pause)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._report_wanted.wait(), pause)

    async def _refused(self, error: StatusError, heart: _Heart) -> float:
        """Registers again if the Node object is gone; seconds until the next heartbeat."""
        if not is_not_found(error):
            log.info("Heartbeat of node %s was refused: %s", self._facts.name, error)
            return heart.failed()
        try:
            await heart.within(self.register())
        except (StatusError, Unreachable) as failure:
            log.info("Node %s cannot be registered: %s", self._facts.name, failure)
            return heart.failed()
        return heart.beat


def _handler(name: str, abilities: HandlerAbilities) -> core_v1.NodeRuntimeHandler:
    features = core_v1.NodeRuntimeHandlerFeatures(
        recursive_read_only_mounts=abilities.recursive_read_only,
        user_namespaces=abilities.user_namespaces,
    )
    return core_v1.NodeRuntimeHandler(name=name, features=features)


def node_conditions(
    before: list[core_v1.NodeCondition],
    ready: bool,
    reason: str,
    now: float,
    pressures: Collection[str] = (),
) -> list[core_v1.NodeCondition]:
    """The node's own conditions after those of others. `reason` is why it is not ready, `now` in
    seconds since the epoch, `pressures` the types of what it is short of."""
    rows = [
        (type, status, *explanation)
        for (type, status), explanation in _PRESSURES.items()
        if (status == "True") == (type in pressures)
    ]
    if ready:
        rows.append(("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
    else:
        rows.append(("Ready", "False", "KubeletNotReady", reason))
    stamp = timestamps.rfc3339(now)
    others = {condition.type: condition for condition in before}
    own = []
    for type, status, row_reason, text in rows:
        old = others.pop(type, None)
        own.append(
            core_v1.NodeCondition(
                type=type,
                status=status,
                reason=row_reason,
                message=text,
                last_heartbeat_time=stamp,
                last_transition_time=conditions.transition_time(old, status, now),
            )
        )
    return [*others.values(), *own]


def _default_labels(name: str) -> dict[str, str]:
    arch = architecture()
    return {
        "beta.kubernetes.io/arch": arch,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
    }


def _next_report() -> float:
    return time.monotonic() + REPORT * random.uniform(0.5, 1.5)


class _Heart:
    """What was reported when, and how long to wait after a failure.

    A node whose writes failed may be taken for dead by now: it tries again soon, and reports as
    soon as a write succeeds (upstream's kubelet patches its status every ten seconds).
    """

    def __init__(self, clients: Sequence[Client], beat: float) -> None:
        self._clients = clients
        self.beat = beat
        self._report_at = _next_report()
        self._ready = True
        self._failures = 0

    def must_report(self, ready: bool) -> bool:
        is_due = time.monotonic() > self._report_at
        return self._failures > 0 or ready != self._ready or is_due

    def reported(self, ready: bool) -> None:
        self._report_at = _next_report()
        self._ready = ready
        self._failures = 0

    def failed(self) -> float:
        """Seconds until the next try: a tenth of a beat, growing up to four."""
        self._failures += 1
        return self.beat * min(0.1 * self._failures, 0.4) * random.uniform(0.75, 1.0)

    async def within(self, call: Coroutine[Any, Any, Any]) -> None:
        """Waits for an answer for one beat at most. Raises Unreachable after that.

        Connections on which nothing was answered meanwhile are dropped then, all of them: a broken
        route cannot be distinguished from a slow one, and the system would wait on it for many
        minutes.
        """
        try:
            async with asyncio.timeout(self.beat):
                await call
        except TimeoutError:
            # What came while this process stood still itself has not been read yet.
            await asyncio.sleep(_READ_FIRST)
            for client in self._clients:
                await client.drop_if_silent(self.beat + _READ_FIRST)
            raise Unreachable(f"no answer for {self.beat:g} s") from None

"""What a fleet comes to at a time: labels, taints, capacity and devices of nodes. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tiphys.addons.accelerators import DRIVER, GROUP, RESOURCE
from tiphys.addons.accelerators.types import FleetSpec, Pool
from tiphys.api import core_v1, resource_v1
from tiphys.api.base import Quantity
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.quantity import ceil_units

INTERRUPTION = f"{GROUP}/interruption"
POOL = f"{GROUP}/pool"
_FAILED = f"{GROUP}/failed"
_MIB = 1 << 20


@dataclass
class NodePlan:
    """What a node is to look like. `healthy` GPUs can be used, and `taint` is none while the node
    is not about to go."""

    node: str
    pool: Pool
    index: int
    labels: dict[str, str]
    devices: list[resource_v1.Device]
    healthy: int
    taint: core_v1.Taint | None = None

    @property
    def is_gone(self) -> bool:
        return self.taint is not None and self.taint.effect == "NoExecute"


@dataclass
class Plan:
    """`missing` counts nodes that there are not; `again` is the number of seconds after which
    something else is so."""

    nodes: list[NodePlan] = field(default_factory=list)
    missing: int = 0
    again: float | None = None

    @property
    def gpus(self) -> int:
        return sum(len(one.devices) for one in self.nodes)

    @property
    def healthy(self) -> int:
        return sum(one.healthy for one in self.nodes)


def plan_of(spec: FleetSpec, names: Iterable[str], age: float) -> Plan:
    """For nodes of those names, `age` seconds after the fleet was made."""
    plan = Plan()
    free = sorted(names, key=_natural)
    for pool in spec.pools:
        taken = free[: pool.nodes]
        free = free[pool.nodes :]
        plan.missing += pool.nodes - len(taken)
        plan.nodes += [_node(spec, pool, index, name, age) for index, name in enumerate(taken)]
    later = [moment - age for moment in _moments(spec) if moment > age]
    plan.again = min(later, default=None)
    return plan


def _natural(name: str) -> list[tuple[int, str]]:
    """node-2 comes before node-10."""
    return [
        (int(part), "") if part.isdecimal() and len(part) < 19 else (-1, part)
        for part in re.split(r"(\d+)", name)
    ]


def _moments(spec: FleetSpec) -> Iterator[float]:
    """When something happens, in seconds of the fleet's age."""
    for failure in spec.failures:
        yield failure.after
        if failure.repaired_after is not None:
            yield failure.after + failure.repaired_after
    for interruption in spec.interruptions:
        yield interruption.after
        yield interruption.after + interruption.notice
        if interruption.returns_after is not None:
            yield interruption.after + interruption.notice + interruption.returns_after


def _node(spec: FleetSpec, pool: Pool, index: int, name: str, age: float) -> NodePlan:
    failed = _failed(spec, pool, index, age)
    domain = f"{pool.name}-{index // pool.domain}" if pool.domain else ""
    # Nodes of one domain are in one zone.
    zone = pool.zones[(index // max(pool.domain, 1)) % len(pool.zones)]
    devices = [
        _device(pool, name, number, domain, zone, failed.get(number, ""))
        for number in range(pool.gpus)
    ]
    taint = _taint(spec, pool, index, age)
    is_gone = taint is not None and taint.effect == "NoExecute"
    healthy = 0 if is_gone else pool.gpus - len(failed)
    return NodePlan(name, pool, index, _labels(pool, zone, domain), devices, healthy, taint)


def _labels(pool: Pool, zone: str, domain: str) -> dict[str, str]:
    """As NVIDIA's feature discovery writes them."""
    clique = {"nvidia.com/gpu.clique": f"{domain}.0"} if domain else {}
    return {
        POOL: pool.name,
        f"{GROUP}/capacity-type": pool.capacity_type,
        "topology.kubernetes.io/zone": zone,
        "node.kubernetes.io/instance-type": pool.instance_type or pool.name,
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": pool.product,
        "nvidia.com/gpu.count": str(pool.gpus),
        "nvidia.com/gpu.memory": str(ceil_units(pool.memory) // _MIB),
        "nvidia.com/gpu.family": pool.architecture.lower(),
        **clique,
    }


def _device(
    pool: Pool, node: str, number: int, domain: str, zone: str, failure: str
) -> resource_v1.Device:
    """As NVIDIA's DRA driver publishes them, with the domain and zone besides."""
    digest = hashlib.sha256(f"{node}/{number}".encode()).hexdigest()
    uuid = "-".join(("GPU", digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
    text = {
        "type": "gpu",
        "uuid": uuid,
        "productName": pool.product.replace("-", " "),
        "brand": "Nvidia",
        "architecture": pool.architecture,
        "zone": zone,
        **({"nvlinkDomain": domain} if domain else {}),
    }
    attributes = {name: resource_v1.DeviceAttribute(string=value) for name, value in text.items()}
    attributes["index"] = resource_v1.DeviceAttribute(int_=number)
    taints = (
        [resource_v1.DeviceTaint(key=_FAILED, value=failure, effect="NoExecute")] if failure else []
    )
    return resource_v1.Device(
        name=f"gpu-{number}",
        attributes=attributes,
        capacity={"memory": resource_v1.DeviceCapacity(value=pool.memory)},
        taints=taints,
    )


def _failed(spec: FleetSpec, pool: Pool, index: int, age: float) -> dict[int, str]:
    """The GPUs of a node that do not work, and why."""
    return {
        one.device: one.reason
        for one in spec.failures
        if (one.pool, one.node) == (pool.name, index)
        and one.device < pool.gpus
        and one.after <= age
        and (one.repaired_after is None or age < one.after + one.repaired_after)
    }


def _taint(spec: FleetSpec, pool: Pool, index: int, age: float) -> core_v1.Taint | None:
    """From the notice on nothing is put on a node; when it is over, nothing stays."""
    for interruption in spec.interruptions:
        if (interruption.pool, interruption.node) != (pool.name, index) or age < interruption.after:
            continue
        gone = interruption.after + interruption.notice
        if interruption.returns_after is not None and age >= gone + interruption.returns_after:
            continue
        effect = "NoExecute" if age >= gone else "NoSchedule"
        value = "gone" if age >= gone else "notice"
        return core_v1.Taint(key=INTERRUPTION, value=value, effect=effect)
    return None


def slice_of(plan: NodePlan) -> resource_v1.ResourceSlice:
    """The devices of a node, as a driver on it would publish them. Of one that is gone, none."""
    spec = resource_v1.ResourceSliceSpec(
        driver=DRIVER,
        node_name=plan.node,
        pool=resource_v1.ResourcePool(name=plan.node, generation=1, resource_slice_count=1),
        devices=[] if plan.is_gone else plan.devices,
    )
    return resource_v1.ResourceSlice(metadata=ObjectMeta(name=f"{plan.node}-{DRIVER}"), spec=spec)


def node_changes(node: core_v1.Node, plan: NodePlan) -> dict[str, object]:
    """A merge patch for the node, empty if it is as it should be."""
    changes: dict[str, object] = {}
    labels = {k: v for k, v in plan.labels.items() if node.metadata.labels.get(k) != v}
    if labels:
        changes["metadata"] = {"labels": labels}
    others = [taint for taint in node.spec.taints if taint.key != INTERRUPTION]
    own = [taint for taint in node.spec.taints if taint.key == INTERRUPTION]
    wanted = [plan.taint] if plan.taint is not None else []
    if [(t.effect, t.value) for t in own] != [(t.effect, t.value) for t in wanted]:
        changes["spec"] = {"taints": [*others, *wanted]}
    return changes


def capacity_changes(node: core_v1.Node, plan: NodePlan) -> dict[str, object]:
    """The same for its status: what the node's agent takes over as what can be allocated."""
    wanted = Quantity(str(plan.healthy))
    if node.status.capacity.get(RESOURCE) == wanted:
        return {}
    return {"status": {"capacity": {RESOURCE: wanted}, "allocatable": {RESOURCE: wanted}}}

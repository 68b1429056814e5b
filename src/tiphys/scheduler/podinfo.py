"""What the scheduler needs to know of a pod, worked out once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from tiphys.api import core_v1
from tiphys.api.base import encode
from tiphys.machinery.extendedresources import requested_by
from tiphys.machinery.footprint import CPU, MEMORY, Port, occupied, ports_of
from tiphys.machinery.volumes import claims_of
from tiphys.scheduler.gangs import Gang, gang_of
from tiphys.scheduler.podrules import PodRules, rules_of

EPHEMERAL_STORAGE = "ephemeral-storage"
PODS = "pods"

# The most of a resource that is counted, of pods and of nodes: sums fit into 64 bits. A larger
# request fits no node, and any user may write ``9000E`` into a pod.
MOST = 1 << 55
# What a container that requests nothing counts as when nodes are scored (upstream's
# DefaultMilliCPURequest and DefaultMemoryRequest).
_NONZERO_DEFAULTS = {CPU: 100, MEMORY: 200 << 20}


class Disk(NamedTuple):
    """A disk that a volume names itself, without a claim. One that is `read_only` everywhere may be
    shared."""

    id: str
    read_only: bool


class NonZeroRequests(NamedTuple):
    """Requests as they count when nodes are scored, where no container counts as nothing."""

    milli_cpu: int
    memory: int


class PodInfo:
    """A pod as plugins see it. Derived facts are worked out on first use and kept."""

    def __init__(self, pod: core_v1.Pod) -> None:
        self.pod = pod
        meta = pod.metadata
        self.key = f"{meta.namespace}/{meta.name}"
        self.uid = meta.uid
        self.namespace = meta.namespace
        self.labels = meta.labels
        self.priority = pod.spec.priority or 0

    @property
    def spec(self) -> core_v1.PodSpec:
        return self.pod.spec

    @cached_property
    def requests(self) -> dict[str, int]:
        """What the pod takes of its node, by resource: milli-units of cpu, whole units of
        others."""
        return {name: min(amount, MOST) for name, amount in occupied(self.pod).items()}

    @cached_property
    def nonzero_requests(self) -> NonZeroRequests:
        amounts = occupied(self.pod, _NONZERO_DEFAULTS)
        return NonZeroRequests(min(amounts[CPU], MOST), min(amounts[MEMORY], MOST))

    @cached_property
    def extended_resources(self) -> tuple[str, ...]:
        """The resources that it requests and a device class may stand for."""
        return requested_by(self.pod)

    @cached_property
    def gang(self) -> Gang | None:
        """The pods with which it is placed together or not at all; None: it is placed by
        itself."""
        return gang_of(self.namespace, self.labels)

    @cached_property
    def claims(self) -> tuple[str, ...]:
        """Names of the PersistentVolumeClaims that the pod mounts."""
        return tuple(claims_of(self.pod))

    @cached_property
    def disks(self) -> tuple[Disk, ...]:
        return tuple(_disks(self.pod))

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        """The host ports."""
        return ports_of(self.pod.spec)

    @cached_property
    def static_key(self) -> bytes:
        """Pods with equal keys are alike to every plugin that looks at nodes alone."""
        spec = self.pod.spec
        node_affinity = spec.affinity.node_affinity if spec.affinity else None
        return encode([spec.node_selector, node_affinity, spec.tolerations, spec.node_name])

    @cached_property
    def rules(self) -> PodRules:
        return rules_of(self.pod)


class PlacedPod(NamedTuple):
    """A pod, and the row of its node in the snapshot."""

    row: int
    pod: PodInfo


def _disks(pod: core_v1.Pod) -> Iterator[Disk]:
    for volume in pod.spec.volumes:
        if (gce := volume.gce_persistent_disk) is not None:
            yield Disk(f"gce/{gce.pd_name}", bool(gce.read_only))
        if (aws := volume.aws_elastic_block_store) is not None:
            # Upstream never shares these, read-only or not.
            yield Disk(f"aws/{aws.volume_id}", False)
        if (iscsi := volume.iscsi) is not None:
            yield Disk(f"iscsi/{iscsi.iqn}", bool(iscsi.read_only))
        if (rbd := volume.rbd) is not None:
            for monitor in rbd.monitors:
                yield Disk(f"rbd/{monitor}/{rbd.pool}/{rbd.image}", bool(rbd.read_only))

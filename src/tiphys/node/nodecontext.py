"""What the workers of a node's pods share: the node's name and address, and its services."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from tiphys.api import core_v1
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.node.devices.nodedevices import NodeDevices, NoDevices
from tiphys.node.images.collection import PulledImages
from tiphys.node.images.pullrecords import PullRecords
from tiphys.node.isolation import Isolation, NoIsolation
from tiphys.node.managers.placement import Placement
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.naming import ClusterDNS, Resolver
from tiphys.node.profiles import UNCONFINED
from tiphys.node.quiet import Quiet
from tiphys.node.references import References
from tiphys.node.resources.admission import Footprint, Rejection
from tiphys.node.resources.usernamespaces import UserNamespaces
from tiphys.node.runtime import PodVolumes, Runtime
from tiphys.node.startqueue import StartQueue


def _no_shortage(uid: str, wanted: Footprint) -> Rejection | None:
    return None


@dataclass
class NodeContext:
    """
    services: the services that containers get environment variables of
    resolver: the machine's own
    allocatable: by resource, in canonical quantities
    quiet: when what pods have left behind is removed
    starting: which sandboxes and containers are started, so many at the same time
    now: seconds since the epoch
    shortage: why the pod of a uid cannot grow to a footprint; None if it can
    metrics: what the node counts
    pulled: the images that the node has pulled; None where they are not used
    pull_records: with whose secrets; None where they are not used
    devices: what gives pods their devices
    seccomp_default: the type of profile where a pod says none
    seccomp_place: gives the path of a profile's file on the machine
    users: who gives pods users and groups of their own
    placement: which cores and NUMA nodes containers may use
    """

    name: str
    address: str
    runtime: Runtime
    client: Client
    recorder: EventRecorder
    references: References
    volumes: PodVolumes
    services: Callable[[], list[core_v1.Service]]
    dns: ClusterDNS
    resolver: Resolver
    allocatable: dict[str, str]
    starting: StartQueue
    quiet: Quiet = field(default_factory=Quiet)
    addresses: tuple[str, ...] = ()  # `address`, and one of the other family
    now: Callable[[], float] = time.time
    isolation: Isolation = field(default_factory=NoIsolation)
    shortage: Callable[[str, Footprint], Rejection | None] = _no_shortage
    metrics: KubeletMetrics = field(default_factory=lambda: KubeletMetrics(CollectorRegistry()))
    pulled: PulledImages | None = None
    pull_records: PullRecords | None = None
    devices: NodeDevices = field(default_factory=NoDevices)
    placement: Placement = field(default_factory=Placement)
    seccomp_default: str = UNCONFINED
    seccomp_place: Callable[[str], str] = str
    users: UserNamespaces = field(default_factory=lambda: UserNamespaces(Path, 0))

    def __post_init__(self) -> None:
        self.addresses = self.addresses or (self.address,)

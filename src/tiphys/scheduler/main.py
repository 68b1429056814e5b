"""`tiphys scheduler`: wires the parts of the scheduler together. What they do in which order is in
`cycle`."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from tiphys.api import core_v1, storage_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.policy_v1 import PodDisruptionBudget
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informer, Informers
from tiphys.client.tasks import TaskGroup
from tiphys.scheduler.active_profile import ActiveProfile
from tiphys.scheduler.binding import Binder
from tiphys.scheduler.configuration import Profile
from tiphys.scheduler.cycle import SchedulingCycle
from tiphys.scheduler.default_selector import DefaultSelector
from tiphys.scheduler.devices.binder import DeviceBinder
from tiphys.scheduler.devices.claim_gate import ClaimGate
from tiphys.scheduler.devices.tracker import DeviceTracker
from tiphys.scheduler.event_handlers import EventHandlers
from tiphys.scheduler.eviction import Evictor
from tiphys.scheduler.extenders.chain import ExtenderChain
from tiphys.scheduler.framework import Framework
from tiphys.scheduler.metrics import SchedulerMetrics
from tiphys.scheduler.plugins.registry import Listers, plugins_of
from tiphys.scheduler.plugins.volume_lister import VolumeLister
from tiphys.scheduler.postfilter import PostFilter
from tiphys.scheduler.reporting import Reporter
from tiphys.scheduler.state import SchedulerState


class Scheduler:
    """Schedules the pods that name one of its profiles. Raises ConfigurationError for a profile
    that cannot be run.

    In a process with other components it may share their `informers`. Its metrics go to
    `registry`.
    """

    def __init__(
        self,
        client: Client,
        tasks: TaskGroup,
        profiles: Sequence[Profile] = (Profile(),),
        informers: Informers | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        informers = informers or Informers(client, tasks)
        self._informers = informers
        self._tasks = tasks
        self._namespaces = informers.of(core_v1.Namespace)
        self._nodes = informers.of(core_v1.Node)
        self._pods = informers.of(core_v1.Pod)

        metrics = SchedulerMetrics(registry if registry is not None else CollectorRegistry())
        state = SchedulerState(time.monotonic, metrics)
        claims = informers.of(v1.ResourceClaim)
        classes = informers.of(v1.DeviceClass)
        slices = informers.of(v1.ResourceSlice)
        devices = DeviceTracker(claims.get, classes.get, time.time)
        claim_gate = ClaimGate(devices, on_ready=state.queue.add)
        device_binder = DeviceBinder(client, devices)

        # Profiles.
        storage = _StorageInformers(informers)
        listers = Listers(
            volumes=storage.lister(),
            devices=devices,
            default_selector=DefaultSelector(informers).selector_of,
        )
        self._profiles = {
            profile.name: ActiveProfile(
                framework=Framework(state.snapshot, plugins_of(profile, listers)),
                extenders=ExtenderChain(profile.extenders),
                recorder=EventRecorder(client, profile.name, socket.gethostname()),
            )
            for profile in profiles
        }

        # What the cycle does through the API server.
        reporter = Reporter(client, tasks, self._pods, self._profiles, time.time)
        evictor = Evictor(client, tasks, state, reporter)
        budgets = informers.of(PodDisruptionBudget)
        post_filter = PostFilter(state, evictor, device_binder, budgets, tasks)
        binder = Binder(
            client, state, self._profiles, listers.volumes, devices, device_binder, reporter
        )
        self._cycle = SchedulingCycle(
            state, self._profiles, devices, post_filter, binder, reporter, tasks
        )

        self._handlers = EventHandlers(state, devices, claim_gate, scheduler_names=self._profiles)
        self._handlers.follow_storage(storage.all(), on_change=binder.storage_changed)
        self._handlers.follow_devices(claims, classes, slices)

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await self._informers.synced()
        self._handlers.follow_cluster(self._namespaces, self._nodes, self._pods)
        for profile in self._profiles.values():
            self._tasks.start(profile.recorder.run(), "events")
        await self._cycle.run()


class _StorageInformers:
    """The informers behind the volume lister."""

    def __init__(self, informers: Informers) -> None:
        self._claims = informers.of(core_v1.PersistentVolumeClaim)
        self._volumes = informers.of(core_v1.PersistentVolume)
        self._classes = informers.of(storage_v1.StorageClass)
        self._csi_nodes = informers.of(storage_v1.CSINode)
        self._csi_drivers = informers.of(storage_v1.CSIDriver)
        self._capacities = informers.of(storage_v1.CSIStorageCapacity)

    def lister(self) -> VolumeLister:
        return VolumeLister(
            claim=self._claims.get,
            volume=self._volumes.get,
            storage_class=self._classes.get,
            csi_node=self._csi_nodes.get,
            csi_driver=self._csi_drivers.get,
            volumes=lambda: self._volumes,
            capacities=lambda: self._capacities,
        )

    def all(self) -> list[Informer[Any]]:
        return [
            self._claims,
            self._volumes,
            self._classes,
            self._csi_nodes,
            self._csi_drivers,
            self._capacities,
        ]

"""The agent of one node: a worker for each pod bound to it, the node's registration and heartbeat,
and the streaming server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from tiphys.api import core_v1
from tiphys.api.base import canonical_quantity
from tiphys.client.client import Client
from tiphys.client.events import EventBudget, EventRecorder
from tiphys.client.tasks import TaskGroup
from tiphys.node.csi.nodevolumes import NodeVolumes
from tiphys.node.devices.nodedevices import DriverDevices, NoDevices
from tiphys.node.drivers import GatheredReports, NodeDrivers
from tiphys.node.images.collection import PulledImages, forget_removed, reclaim
from tiphys.node.images.pullrecords import PullRecords
from tiphys.node.isolation import Isolation, NoIsolation
from tiphys.node.managers.discovery import discover
from tiphys.node.managers.placement import Placement, place
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.naming import ClusterDNS
from tiphys.node.nodecontext import NodeContext
from tiphys.node.options import NodeOptions, configuration_of
from tiphys.node.pod.evictor import Evictor, Senses
from tiphys.node.pod.orphans import OrphanCollector
from tiphys.node.pod.placing import PodPlacer
from tiphys.node.pod.workers import PodWorkers
from tiphys.node.podadmission import PodAdmission
from tiphys.node.podresources.listing import PodResourceLists
from tiphys.node.podresources.server import PodResourcesServer
from tiphys.node.podrunner import PodRunner
from tiphys.node.profiles import RUNTIME_DEFAULT, UNCONFINED
from tiphys.node.quiet import PAUSE, Quiet
from tiphys.node.references import References
from tiphys.node.registration import BEAT, NodeFacts, Registration
from tiphys.node.resources.eviction import is_limited
from tiphys.node.resources.observation import observe
from tiphys.node.resources.reservation import allocatable, kept_back
from tiphys.node.resources.sysctls import SysctlAllowlist
from tiphys.node.resources.usernamespaces import UserNamespaces
from tiphys.node.runtime import Runtime, RuntimeFault
from tiphys.node.server.access import Access
from tiphys.node.server.streaming import StreamingServer
from tiphys.node.shutdown.logind import Logind, LogindWatch
from tiphys.node.shutdown.nodeshutdown import NOT_READY, Announcements, NodeShutdown
from tiphys.node.startqueue import StartQueue
from tiphys.node.states import CREATED, EXITED, RUNNING, PodState, Usage, VolumeUsage
from tiphys.node.staticpods.folder import ManifestFolder
from tiphys.node.staticpods.manifests import PodReader, static_pod
from tiphys.node.staticpods.staticpods import StaticPods
from tiphys.node.volumes.growth import VolumeGrowth
from tiphys.node.volumes.kubeletfolder import KubeletFolder
from tiphys.node.volumes.nodrivers import NoDrivers

log = logging.getLogger(__name__)

_HOUSEKEEPING = 10.0  # seconds between checks of logs and disks, as upstream
_RELIST_PAUSE = 0.02  # seconds in which events of the runtime are gathered to one look


class Agent:
    """Runs the pods of one node on a runtime, and shows the node and them to the API server."""

    def __init__(
        self,
        client: Client,
        runtime: Runtime,
        options: NodeOptions,
        services: Callable[[], list[core_v1.Service]],
        tasks: TaskGroup,
        events: EventBudget | None = None,
        isolation: Isolation | None = None,
        metrics: KubeletMetrics | None = None,
        heart: Client | None = None,
    ) -> None:
        """`services` gives those that containers get variables of; agents of one process share
        `events`. `heart` is a client for heartbeats alone, which wait behind nothing else."""
        self.metrics = metrics or KubeletMetrics(CollectorRegistry())
        self.name = options.name
        self.runtime = runtime
        self.answers_log_queries = options.configuration.log_queries
        self._client = client
        self._heart = heart or client
        self._options = options
        self._tasks = tasks
        self._capacity: dict[str, Any] = dict(
            options.capacity or runtime.capacity(options.data_dir)
        )
        self._capacity["pods"] = canonical_quantity(str(options.configuration.max_pods))
        kept = self._kept_back()
        self._allocatable = allocatable(self._capacity, kept)
        self._recorder = EventRecorder(client, "kubelet", options.name, budget=events)
        self._growth = VolumeGrowth(client, self._recorder)
        references = References(client)
        self._kubelet = KubeletFolder(options.data_dir / "kubelet")
        self._workers = PodWorkers()
        self._knows_pods = False  # whether all pods of the node have been seen
        devices = self._make_devices() if runtime.runs_processes else None
        placement = self._make_placement(kept, devices)
        self._drivers = (
            self._make_drivers(references, devices, placement) if devices is not None else None
        )
        volumes = runtime.volumes(
            options.data_dir,
            references,
            self._allocatable,
            self._drivers.volumes if self._drivers is not None else NoDrivers(),
            self._growth,
        )
        confines = options.configuration.seccomp_default
        self._node = NodeContext(
            name=options.name,
            address=options.address,
            addresses=options.addresses,
            runtime=runtime,
            client=client,
            recorder=self._recorder,
            references=references,
            volumes=volumes,
            services=services,
            dns=ClusterDNS(list(options.dns_servers), options.domain),
            resolver=options.resolver,
            allocatable=self._allocatable,
            starting=StartQueue(runtime.parallel_starts),
            quiet=Quiet(PAUSE if runtime.runs_processes else 0),
            isolation=isolation or NoIsolation(),
            shortage=lambda uid, wanted: self._admission.shortage(uid, wanted),
            metrics=self.metrics,
            pulled=PulledImages(options.data_dir / "pulled-images.json"),
            pull_records=self._make_pull_records() if runtime.runs_processes else None,
            devices=devices or NoDevices(),
            placement=placement,
            seccomp_default=RUNTIME_DEFAULT if confines else UNCONFINED,
            seccomp_place=self._kubelet.seccomp_profile,
            users=UserNamespaces(volumes.folder, options.configuration.max_pods),
        )
        self._orphans: dict[str, PodState] = {}  # what ran here unclaimed, and did not end
        self._placer = PodPlacer(
            placement, runtime, self._workers.managed, lambda: self._workers.unclaimed
        )
        self._server = StreamingServer(self, Access(client, options.name))
        self._evictor = self._make_evictor()
        self._shutdown = self._make_shutdown()
        self._admission = PodAdmission(
            self._node,
            self._workers,
            SysctlAllowlist(options.configuration.sysctls),
            self._placer,
            self._evictor,
            self._shutdown,
            lambda spec: self._registration.suits(spec),
        )
        self._logind = LogindWatch(Logind(), self._shutdown)
        self._runner = PodRunner(self._node, self._workers, self._placer, self._admission, tasks)
        self._static_pods = self._make_static_pods() if runtime.runs_processes else None
        self._runner.static_pods = self._static_pods
        self._stale = asyncio.Event()
        self._show_metrics(placement)

    def _show_metrics(self, placement: Placement) -> None:
        """What is counted when it is asked for, and how pods get their cores."""
        metrics, workers = self.metrics, self._workers
        states = (CREATED, RUNNING, EXITED)
        counts = {state: partial(workers.count_containers, state) for state in states}
        metrics.show_node(self.name, workers.count_running, counts)
        metrics.pods.show_pods(workers.count_pods, workers.count_mirrors, workers.count_ephemeral)
        placement.admitted = metrics.placed
        if placement.pins:
            metrics.show_cores(placement.count_shared_cpus, placement.count_exclusive_cpus)
        if self._drivers is not None:
            metrics.show_volumes(self.volume_usage)

    def _make_devices(self) -> DriverDevices:
        devices = DriverDevices(
            self._client,
            self.name,
            self._options.data_dir,
            self._kubelet,
            self._workers.active,
            GatheredReports(self._report_soon).changed,
            self._workers.wake,
        )
        devices.applies_cdi = self.runtime.applies_cdi
        return devices

    def _make_drivers(
        self, references: References, devices: DriverDevices, placement: Placement
    ) -> NodeDrivers:
        volumes = NodeVolumes(
            self._client,
            self.name,
            self._kubelet,
            references,
            self._growth,
            lambda: self._registration.node,
            self._report_soon,
        )
        lists = PodResourceLists(self.pods, devices, placement)
        return NodeDrivers(volumes, devices, PodResourcesServer(self._kubelet, lists))

    def _report_soon(self) -> None:
        self._registration.report_soon()

    def _kept_back(self) -> dict[str, int]:
        """What pods do not get of the machine. Nothing is evicted where nothing runs."""
        configuration = self._options.configuration
        thresholds = configuration.eviction_hard if self.runtime.runs_processes else ()
        return kept_back(self._capacity, configuration.managers.reserved(), thresholds)

    def _make_placement(self, kept: dict[str, int], devices: DriverDevices | None) -> Placement:
        """Raises ValueError, CheckpointError, OSError; see `place`."""
        if devices is None:
            return Placement()
        settings = self._options.configuration.managers
        return place(settings, discover(), kept, self._options.data_dir, devices.plugins)

    def _make_evictor(self) -> Evictor:
        options = self._options
        images = options.images or options.data_dir
        configuration = options.configuration
        return Evictor(
            (*configuration.eviction_hard, *configuration.eviction_soft),
            Senses(
                partial(observe, options.data_dir, images),
                self.runtime.usage,
                self._reclaim_images,
                self._node.now,
                self.runtime.processes,
                partial(self._node_event, "Warning"),
                lambda signal: self.metrics.evictions.labels(signal).inc(),
            ),
            configuration.eviction_transition,
            configuration.eviction_max_grace,
        )

    def _make_shutdown(self) -> NodeShutdown:
        announcements = Announcements(
            self._report_soon, partial(self._node_event, "Normal"), self.metrics, self._node.now
        )
        return NodeShutdown(
            self._options.configuration.shutdown,
            self._workers.managed,
            announcements,
            self._options.data_dir,
        )

    def _node_event(self, kind: str, reason: str, message: str) -> None:
        self._recorder.record(self._registration.node, kind, reason, message)

    def _make_pull_records(self) -> PullRecords:
        options = self._options
        return PullRecords(options.data_dir / "image_manager", options.configuration.pulls)

    def _make_static_pods(self) -> StaticPods:
        folder = None
        options = self._options
        if options.configuration.static_pods and options.pod_reader is not None:
            read = partial(_read_static_pod, self.name, options.pod_reader)
            folder = ManifestFolder(Path(options.configuration.static_pods), read)
        return StaticPods(folder, self._client, lambda: self._registration.node, self._runner.run)

    async def _reclaim_images(self) -> int:
        """Removes pulled images that no pod names. Raises RuntimeFault, TimeoutError."""
        assert self._node.pulled is not None
        in_use = self._workers.images_in_use()
        freed = await reclaim(self.runtime, self._node.pulled, in_use)
        if freed and self._node.pull_records is not None:
            await forget_removed(self.runtime, self._node.pull_records)
        return freed

    # --- start and end ---

    async def start(self) -> None:
        """Registers the node. Raises RuntimeFault, TimeoutError while the runtime is not there."""
        await self.runtime.start(self._runtime_event)
        options = self._options
        port = options.port
        if self.runtime.runs_processes:
            port = await self._server.start(
                options.address, options.port, options.certificate, options.key, options.ca
            )
        facts = NodeFacts(
            options.name,
            self._node.addresses,
            port,
            self.runtime.name,
            self._capacity,
            options.pod_cidr,
            self._allocatable,
            options.taints,
            options.provider_id,
            self.runtime.abilities,
        )
        self._registration = Registration(
            self._heart, facts, options.labels or {}, beside=[self._client]
        )
        if self._drivers is not None:
            await self._drivers.load(self._registration)
        self._workers.unclaimed = await self.runtime.pods()
        self._node.users.load(self._workers.unclaimed)
        self._registration.images = await self.runtime.images()
        await self._registration.register_when_reachable()
        if self._drivers is not None:
            await self._drivers.start()
        self._tasks.start(self._registration.run(self._health), "heartbeat", vital=True)
        self._tasks.start(self._recorder.run(), "events")
        self._tasks.start(self._relist(), "relist", vital=True)
        if self.runtime.runs_processes:
            self._tasks.start(self._keep_house(), "housekeeping", vital=True)
            period = options.configuration.managers.reconcile
            self._tasks.start(self._placer.run(period), "placing")
        if self._shutdown.periods:
            self._tasks.start(self._logind.run(), "logind")
        log.info("Node %s is registered with runtime %s", options.name, self.runtime.name)

    async def shut_down(self) -> None:
        """The machine is about to be switched off, as far as this process knows: ends the pods in
        the order of their priority, where the node's configuration gives them time. Where there is
        logind, that knows better."""
        if self._shutdown.periods and not self._logind.is_active:
            await self._shutdown.begin()

    async def stop(self) -> None:
        """Leaves the pods running."""
        await self._server.stop()
        if self._drivers is not None:
            await self._drivers.stop()
        await self.runtime.close()

    async def _health(self) -> tuple[bool, str]:
        if self._shutdown.is_under_way:
            return False, NOT_READY
        try:
            async with asyncio.timeout(BEAT):
                self._registration.images = await self.runtime.images()
        except (RuntimeFault, TimeoutError) as error:
            return False, f"container runtime is down: {error}"
        return True, ""

    def node_changed(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        """For an informer of this node's object."""
        self._registration.node_changed(old, new)

    async def start_static_pods(self) -> None:
        """After the node's pods have been seen, mirrors among them."""
        if self._static_pods is None:
            return
        await self._static_pods.look()
        self._tasks.start(self._static_pods.watch(), "static-pods", vital=True)
        self._tasks.start(self._static_pods.run(), "mirror-pods", vital=True)

    async def remove_orphaned_pods(self, known: set[str]) -> None:
        """Ends what runs here of pods that are not among the uids `known` to the cluster, and
        removes what they have on disk. What does not end is tried again every now and then."""
        if self._static_pods is not None:
            known = known | self._static_pods.uids
        orphans = self._workers.unclaimed
        self._workers.unclaimed = {}
        self._knows_pods = True
        collector = OrphanCollector(self.runtime, self._node.volumes)
        self._orphans = await collector.collect(orphans, known)

    # --- pods ---

    def pod_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        """For the informer of pods bound to this node."""
        self._runner.pod_changed(old, new)

    # --- what the runtime reports ---

    def _runtime_event(self, id: str) -> None:
        """A container changed; or, without an id, any may have: one look at all of them shows."""
        if id:
            self._workers.container_changed(id)
        else:
            self._stale.set()

    async def _relist(self) -> None:
        """Lists once for all workers, however many events there were."""
        while True:
            await self._stale.wait()
            await asyncio.sleep(_RELIST_PAUSE)
            self._stale.clear()
            began = time.time()
            try:
                listed = await self.runtime.pods()
            except (RuntimeFault, TimeoutError) as error:
                log.info("Containers of node %s cannot be listed: %s", self.name, error)
                continue
            self.metrics.pods.relisted(began, time.time())
            self._workers.resync(listed)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING)
            if self._knows_pods and self._drivers is not None:
                await self._drivers.keep_house(
                    {uid: managed.pod for uid, managed in self._workers.items()}
                )
            workers = list(self._workers.values())
            used: dict[str, dict[str, Usage]] = {}
            try:
                if any(is_limited(worker.pod.spec) for worker in workers):
                    used = await self.runtime.usage()
                for worker in workers:
                    await worker.keep_house(used.get(worker.pod.metadata.uid, {}))
                await self._evictor.look(self._workers.managed())
                self._registration.show_pressures(self._evictor.conditions)
                if self._orphans:
                    collector = OrphanCollector(self.runtime, self._node.volumes)
                    self._orphans = await collector.end(self._orphans)
            except (RuntimeFault, TimeoutError, OSError) as error:
                log.info("Housekeeping of node %s is put off: %s", self.name, error)

    # --- metrics ---

    def volume_usage(self) -> dict[str, list[VolumeUsage]]:
        """How full volumes of drivers are, by pod uid."""
        return self._drivers.volumes.usage if self._drivers is not None else {}

    # --- for the streaming server ---

    def find(self, namespace: str, name: str) -> tuple[core_v1.Pod, PodState] | None:
        return self._workers.find(namespace, name)

    def pods(self) -> list[core_v1.Pod]:
        return self._workers.pods()

    def configuration(self) -> dict[str, Any]:
        """As a KubeletConfiguration of upstream."""
        return configuration_of(self._options)


def _read_static_pod(node: str, reader: PodReader, text: bytes, source: str) -> core_v1.Pod:
    """Raises ManifestError."""
    return static_pod(text, source, node, reader)

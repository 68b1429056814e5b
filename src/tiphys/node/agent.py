"""The agent of one node: a worker for each pod bound here, the heartbeat, the streaming server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiphys.api import core_v1
from tiphys.client.client import Client, Unreachable
from tiphys.client.events import EventBudget, EventRecorder
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError
from tiphys.node.access import Access
from tiphys.node.admission import MISPLACED, Footprint, refusal, unfit
from tiphys.node.eviction import is_limited
from tiphys.node.isolation import Isolation, NoIsolation
from tiphys.node.references import References
from tiphys.node.registration import BEAT, PODS, Registration, capacity
from tiphys.node.resize import shortage
from tiphys.node.runtime import PodState, Runtime, RuntimeFault, Usage
from tiphys.node.streaming import StreamingServer
from tiphys.node.volumes import Volumes
from tiphys.node.worker import Node, PodWorker

log = logging.getLogger(__name__)

_HOUSEKEEPING = 10.0  # seconds between looks at logs and disks, as upstream


@dataclass(frozen=True)
class NodeOptions:
    """`address` is where the node and its streaming server are reached; `port` 0 lets the system choose."""

    name: str
    address: str
    data_dir: Path
    certificate: Path
    key: Path
    ca: Path
    port: int = 10250
    dns_servers: tuple[str, ...] = ()
    domain: str = "cluster.local"
    pod_cidr: str = ""
    labels: dict[str, str] | None = None
    resolver: tuple[list[str], list[str], list[str]] = (
        [],
        [],
        [],
    )  # the node's own: servers, searches, options


class Agent:
    def __init__(
        self,
        client: Client,
        runtime: Runtime,
        options: NodeOptions,
        services: Callable[[], list[core_v1.Service]],
        tasks: TaskGroup,
        events: EventBudget | None = None,
        isolation: Isolation | None = None,
    ) -> None:
        self.name, self.runtime = options.name, runtime
        self._options, self._tasks = options, tasks
        hollow = runtime.name.startswith("hollow")
        self._resources = capacity(hollow, options.data_dir)
        references = References(client)
        self._recorder = EventRecorder(client, "kubelet", options.name, budget=events)
        volumes = (
            Volumes(options.data_dir, references, self._resources) if not hollow else _NoVolumes()
        )
        self._node = Node(
            options.name,
            options.address,
            runtime,
            client,
            self._recorder,
            references,
            volumes,  # type: ignore[arg-type]
            services,
            (list(options.dns_servers), options.domain),
            options.resolver,
            self._resources,
            starting=asyncio.Semaphore(64 if hollow else 6),
            shortage=self._shortage,
            isolation=isolation or NoIsolation(),
        )
        self._client = client
        self._workers: dict[str, PodWorker] = {}
        self._found: dict[str, PodState] = {}
        self._server = StreamingServer(self, Access(client, options.name))
        self._stale = asyncio.Event()

    # --- start and end ---

    async def start(self) -> None:
        await self.runtime.start(self._runtime_event)
        options = self._options
        port = options.port
        if not self.runtime.name.startswith("hollow"):
            port = await self._server.start(
                options.address, options.port, options.certificate, options.key, options.ca
            )
        self._registration = Registration(
            self._client,
            options.name,
            options.address,
            port,
            self.runtime.name,
            self._resources,
            options.labels or {},
            options.pod_cidr,
        )
        self._found = await self.runtime.pods()
        self._registration.images = await self.runtime.images()
        await self._registration.register()
        self._tasks.start(self._registration.run(self._health), "heartbeat", vital=True)
        self._tasks.start(self._recorder.run(), "events")
        self._tasks.start(self._relist(), "relist", vital=True)
        if not self.runtime.name.startswith("hollow"):
            self._tasks.start(self._keep_house(), "housekeeping", vital=True)
        log.info("node %s registered, runtime %s", options.name, self.runtime.name)

    async def stop(self) -> None:
        """Leaves the pods running."""
        await self._server.stop()
        await self.runtime.close()

    async def _health(self) -> tuple[bool, str]:
        try:
            async with asyncio.timeout(BEAT):
                self._registration.images = await self.runtime.images()
        except (RuntimeFault, TimeoutError) as error:
            return False, f"container runtime is down: {error}"
        return True, ""

    def node_changed(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        """For an informer of this node's object."""
        self._registration.node_changed(old, new)

    # --- pods ---

    def pod_changed(self, old: Any, new: Any) -> None:
        """For the informer of pods bound to this node."""
        uid = (new or old).metadata.uid  # type: ignore[union-attr]
        worker = self._workers.get(uid)
        if new is None:
            if worker is not None:
                worker.holds_room = False
                self._tasks.start(self._evict(worker), "evict")
        elif worker is not None:
            worker.update(new)
        elif (
            new.status.phase in ("Succeeded", "Failed")
            and not new.metadata.deletion_timestamp
            and uid not in self._found
        ):
            return
        else:
            found = self._found.pop(uid, None)
            worker = self._workers[uid] = PodWorker(self._node, new, found)
            worker.holds_room = found is not None
            self._tasks.start(self._work(worker), f"pod-{new.metadata.name}")

    async def _work(self, worker: PodWorker) -> None:
        try:
            if worker.holds_room or await self._admitted(worker):
                await worker.run()
        finally:
            if self._workers.get(worker.pod.metadata.uid) is worker:
                del self._workers[worker.pod.metadata.uid]
            self._room_made()

    async def _admitted(self, worker: PodWorker) -> bool:
        while True:
            try:
                return await self._admit(worker)
            except (StatusError, Unreachable) as error:
                log.info("admitting %s: %s", worker.pod.metadata.name, error)
                await asyncio.sleep(1.0)

    async def _admit(self, worker: PodWorker) -> bool:
        """Whether there is room for a pod, which it then holds. One that is to go needs none."""
        if worker.pod.metadata.deletion_timestamp:
            return True
        others = [other.footprint for other in self._workers.values() if other.holds_room]
        refused = unfit(worker.pod.spec) or refusal(worker.footprint, others, self._resources)
        if refused is None:
            worker.holds_room = True
            if await self._registration.suits(worker.pod.spec):
                return True
            refused, worker.holds_room = MISPLACED, False
        await worker.reject(*refused)
        return bool(worker.pod.metadata.deletion_timestamp)

    def _shortage(self, worker: PodWorker, wanted: Footprint) -> tuple[str, str] | None:
        """Why a pod cannot be so large."""
        others = [
            other.footprint
            for other in self._workers.values()
            if other.holds_room and other is not worker
        ]
        return shortage(wanted, others, self._resources)

    def _room_made(self) -> None:
        """Pods that wait to be larger look again."""
        for worker in self._workers.values():
            if worker.resources.pending is not None:
                worker.look()

    async def _evict(self, worker: PodWorker) -> None:
        """The pod's object is gone without us: whatever still runs ends now."""
        if not worker.gone:
            worker.gone = True
            worker.look()
            for task in list(worker._starting.values()):
                task.cancel()
            worker.state = await self.runtime.pod(worker.pod.metadata.uid)
            await worker._kill(1.0)
            await worker._clean_up()

    async def remove_strangers(self, known: set[str]) -> None:
        """Ends what runs here although no pod of the cluster says so, and clears away what such pods left on disk."""
        left = (
            self._node.volumes.left() - known
        )  # before any pod that comes meanwhile has something there
        for uid, state in self._found.items():
            if uid in known or not uid:
                continue
            log.info("removing %s/%s, which the cluster does not know", state.namespace, state.name)
            for container in state.containers.values():
                await self.runtime.stop_container(container.id, 0)
            for id in [*state.old_sandboxes, *([state.sandbox.id] if state.sandbox else [])]:
                await self.runtime.stop_sandbox(id)
                await self.runtime.remove_sandbox(id)
        for uid in left | ({uid for uid in self._found if uid} - known):
            await asyncio.to_thread(self._node.volumes.tear_down, uid)
            await self.runtime.release_images(uid)
        for uid in await asyncio.to_thread(self.runtime.log_folders) - known:
            try:
                await asyncio.to_thread(self.runtime.remove_logs, uid)
            except OSError as error:
                log.warning("logs of pod %s stay: %s", uid, error)
        self._found = {}

    def _runtime_event(self, id: str) -> None:
        """Something happened: to a container that is known by its id, or one look at everything will tell."""
        if not id:
            self._stale.set()
            return
        for worker in self._workers.values():
            if any(c.id == id for c in worker.state.containers.values()):
                worker.look()

    async def _relist(self) -> None:
        """One list for all workers, however many events there were: only those it concerns look closer."""
        while True:
            await self._stale.wait()
            await asyncio.sleep(0.02)
            self._stale.clear()
            try:
                seen = await self.runtime.pods()
            except (RuntimeFault, TimeoutError) as error:
                log.info("listing containers: %s", error)
                continue
            for uid, worker in list(self._workers.items()):
                if worker.differs(seen.get(uid)):
                    worker.look()

    async def _keep_house(self) -> None:
        """Looks after logs and what pods have on disk."""
        while True:
            await asyncio.sleep(_HOUSEKEEPING)
            workers = list(self._workers.values())
            used: dict[str, dict[str, Usage]] = {}
            try:
                if any(is_limited(worker.pod.spec) for worker in workers):
                    used = await self.runtime.usage()
                for worker in workers:
                    await worker.keep_house(used.get(worker.pod.metadata.uid, {}))
            except (RuntimeFault, TimeoutError, OSError) as error:
                log.info("keeping house: %s", error)

    # --- for the streaming server ---

    def find(self, namespace: str, name: str) -> tuple[core_v1.Pod, PodState] | None:
        for worker in self._workers.values():
            if (worker.pod.metadata.namespace, worker.pod.metadata.name) == (namespace, name):
                return worker.pod, worker.state
        return None

    def pods(self) -> list[core_v1.Pod]:
        return [worker.pod for worker in self._workers.values()]

    def configuration(self) -> dict[str, Any]:
        options = self._options
        return {
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "address": options.address,
            "port": options.port,
            "podCIDR": options.pod_cidr,
            "clusterDomain": options.domain,
            "clusterDNS": list(options.dns_servers),
            "maxPods": PODS,
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}},
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "containerLogMaxSize": "10Mi",
            "containerLogMaxFiles": 5,
            "serializeImagePulls": False,
        }

    async def port_forward_url(self, sandbox: str, ports: list[int]) -> str:
        return await self.runtime.port_forward_url(sandbox, ports)  # type: ignore[attr-defined, no-any-return]


class _NoVolumes:
    """A hollow node has no files."""

    async def set_up(self, pod: core_v1.Pod) -> dict[str, str]:
        return {}

    async def refresh(self, pod: core_v1.Pod) -> None: ...

    def mounts(self, *_: Any) -> list[Any]:
        return []

    def write_hosts(self, *_: Any) -> None: ...

    def folder(self, uid: str) -> Path:
        return Path("/nonexistent")

    def tear_down(self, uid: str) -> None: ...

    def left(self) -> set[str]:
        return set()


def resolver() -> tuple[list[str], list[str], list[str]]:
    """(name servers, searches, options) of the machine itself."""
    servers, searches, options = [], [], []
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            servers.append(words[1])
        elif words and words[0] == "search":
            searches = words[1:]
        elif words and words[0] == "options":
            options += words[1:]
    return servers, searches, options

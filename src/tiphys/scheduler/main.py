"""`tiphys scheduler`: watches pods and nodes, places pods, writes bindings."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from tiphys.api import core_v1, storage_v1
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.policy_v1 import PodDisruptionBudget
from tiphys.api.storage_v1 import StorageClass
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informer, Informers
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import timestamps, volumes
from tiphys.machinery.errors import StatusError
from tiphys.scheduler import changes, preemption
from tiphys.scheduler.changes import NAMESPACES, POD_GONE, VOLUMES, Change
from tiphys.scheduler.configuration import Profile
from tiphys.scheduler.devices.binder import DeviceBinder
from tiphys.scheduler.extenders import Extender, ExtenderError
from tiphys.scheduler.kinship import Kinship
from tiphys.scheduler.placement import Placement, Placer
from tiphys.scheduler.plugins import plugins
from tiphys.scheduler.plugins.base import Plugin
from tiphys.scheduler.plugins.devices import ELSEWHERE, DynamicResources
from tiphys.scheduler.plugins.volumes import Stock
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.queue import SchedulingQueue
from tiphys.scheduler.snapshot import Snapshot

log = logging.getLogger(__name__)

_BINDING = 64  # bindings on their way at once
_PATIENCE = 600.0  # seconds for the volumes of a pod to be made and bound
_SLICE = 0.01  # seconds of placing before the event loop gets its turn
_PODS = resource_of(core_v1.Pod)


class Scheduler:
    """Places the pods that name one of its profiles. Raises ConfigurationError for a profile that cannot be.
    In a process with others it may share their `informers`."""

    def __init__(
        self,
        client: Client,
        tasks: TaskGroup,
        profiles: Sequence[Profile] = (Profile(),),
        informers: Informers | None = None,
    ) -> None:
        self._client = client
        self._tasks = tasks
        self._informers = informers or Informers(client, tasks)
        self._profiles = profiles
        self._extenders: dict[str, tuple[Extender, ...]] = {profile.name: profile.extenders for profile in profiles}
        self._recorders = {profile.name: EventRecorder(client, profile.name) for profile in profiles}
        self.view = Snapshot()
        self._stock = Stock()
        self._kinship: Kinship | None = None
        self._devices: DeviceBinder | None = None
        self._placers = self._make_placers()
        self._claim_moved = asyncio.Event()
        self._queue = SchedulingQueue(time.monotonic)
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(_BINDING)
        self._assumed: set[str] = set()
        self._nominated: dict[str, str] = {}  # pods that room is being made for: uid → node
        self._budgets: Any = ()
        self.scheduled = 0

    async def run(self) -> None:
        informers = self._informers
        nodes, pods = informers.of(core_v1.Node), informers.of(core_v1.Pod)
        self._kinship = Kinship(informers)
        self._devices = DeviceBinder(self._client, informers, self._changed, self._enqueue)
        self._follow_volumes(informers)
        namespaces = informers.of(core_v1.Namespace)
        self._budgets = informers.of(PodDisruptionBudget)
        await informers.synced()
        namespaces.on_change(self._namespace_changed)
        nodes.on_change(self._node_changed)
        pods.on_change(self._pod_changed)
        for recorder in self._recorders.values():
            self._tasks.start(recorder.run(), "events")
        while True:
            await self._drain()
            self._wake.clear()
            pause = self._queue.next_wake()
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                pass

    def _follow_volumes(self, informers: Informers) -> None:
        claims, found = informers.of(core_v1.PersistentVolumeClaim), informers.of(core_v1.PersistentVolume)
        kinds, nodes = informers.of(StorageClass), informers.of(storage_v1.CSINode)
        drivers, capacities = informers.of(storage_v1.CSIDriver), informers.of(storage_v1.CSIStorageCapacity)
        self._stock = Stock(
            claims.get, found.get, kinds.get, nodes.get, drivers.get, lambda: found, lambda: capacities
        )
        self._placers = self._make_placers()

        def moved(old: Any, new: Any) -> None:
            self._claim_moved.set()
            self._changed(Change(VOLUMES, stored=new if new is not None else old))

        stores: tuple[Informer[Any], ...] = (claims, found, kinds, nodes, drivers, capacities)
        for informer in stores:
            informer.on_change(moved)

    def _make_placers(self) -> dict[str, Placer]:
        alike = self._kinship.selector if self._kinship is not None else lambda pod: None
        devices = self._devices.devices if self._devices is not None else None
        return {
            profile.name: Placer(self.view, plugins(self._stock, profile, alike, devices)) for profile in self._profiles
        }

    def _enqueue(self, pod: PodInfo) -> None:
        self._queue.put(pod)
        self._wake.set()

    def _say(self, pod: PodInfo, kind: str, reason: str, message: str, about: PodInfo | None = None) -> None:
        self._recorders[pod.pod.spec.scheduler_name].record((about or pod).pod, kind, reason, message)

    # --- what the informers say ---

    def _namespace_changed(self, old: Any, new: Any) -> None:
        if new is None:
            self.view.namespaces.pop(old.metadata.name, None)
        elif old is None or old.metadata.labels != new.metadata.labels:
            self.view.namespaces[new.metadata.name] = new.metadata.labels
            self._changed(Change(NAMESPACES))

    def _node_changed(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if new is not None:
            self.view.put_node(new)
        elif old is not None:
            self.view.remove_node(old.metadata.name)
        for change in changes.of_node(old, new):
            self._changed(change)

    def _pod_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        if new is None or changes.ended(new):
            uid = (new or old).metadata.uid  # type: ignore[union-attr]
            self._queue.remove(uid)
            self._assumed.discard(uid)
            self.view.remove_pod(uid)
            self._release(uid)
            self._nominated.pop(uid, None)
            if self._devices is not None:
                self._devices.drop(new or old)  # type: ignore[arg-type]
        elif new.spec.node_name:
            self._queue.remove(new.metadata.uid)
            self._assumed.discard(new.metadata.uid)
            self.view.put_pod(PodInfo(new), new.spec.node_name)
        elif (
            new.spec.scheduler_name in self._placers
            and not new.metadata.deletion_timestamp
            and not new.spec.scheduling_gates
        ):
            if new.metadata.uid not in self._assumed and (
                old is None
                or old.spec != new.spec
                or old.metadata.labels != new.metadata.labels
                or old.status.resource_claim_statuses != new.status.resource_claim_statuses
            ):
                info = PodInfo(new)
                if self._devices is None or not self._devices.hold_back(info):
                    self._enqueue(info)
        if self._queue.stuck:
            for change in changes.of_pod(old, new):
                self._changed(change)

    def _changed(self, change: Change) -> None:
        self._queue.something_changed(change)
        self._wake.set()

    # --- placing ---

    async def _drain(self) -> None:
        started = time.monotonic()
        while (pod := self._queue.pop()) is not None:
            self._release(pod.uid)
            placement = await self._place(pod)
            if placement.node:
                if not self._set_aside(pod, placement.node):
                    self._queue.again(pod)
                    continue
                await self._slots.acquire()
                self._assumed.add(pod.uid)
                self.view.put_pod(pod, placement.node)
                self._tasks.start(self._bind(pod, placement.node), "bind")
            else:
                objectors = tuple(placement.objectors)
                self._queue.failed(pod, partial(self._helped, pod, objectors) if objectors else None)
                eviction = await self._make_room(pod, placement)
                self._say_of_claims(pod, placement)
                self._tasks.start(self._tell(pod, placement, eviction.node if eviction else ""), "tell")
                if eviction is not None:
                    self._tasks.start(self._evict(pod, eviction), "preempt")
            if time.monotonic() - started > _SLICE:
                await asyncio.sleep(0)
                started = time.monotonic()

    def _helped(self, pod: PodInfo, objectors: tuple[Plugin, ...], change: Change) -> bool:
        return any(change.kind in plugin.hints and plugin.helps(change, self.view, pod) for plugin in objectors)

    async def _place(self, pod: PodInfo) -> Placement:
        """Where the plugins, and then the extenders, would have the pod."""
        name = pod.pod.spec.scheduler_name
        placer, asked = self._placers[name], [e for e in self._extenders.get(name, ()) if e.wants(pod.pod)]
        if not asked:
            return placer.place(pod)
        placement, feasible, scores = placer.survey(pod)
        if scores is None:
            return placement
        nodes = [node for node, fits in zip(list(self.view.nodes), feasible, strict=True) if fits and node is not None]
        points: dict[str, float] = {}
        for extender in asked:
            try:
                passed, failed = await extender.filter(pod.pod, nodes)
            except ExtenderError as error:
                log.warning("extender %s: %s", extender.url, error)
                passed, failed = set(), {node.metadata.name: f"extender failed: {error}" for node in nodes}
            for node in nodes:
                if node.metadata.name not in passed:
                    why = failed.get(node.metadata.name, "node(s) were refused by an extender")
                    placement.reasons[why] = placement.reasons.get(why, 0) + 1
            nodes = [node for node in nodes if node.metadata.name in passed]
            if not nodes:
                placement.objectors.clear()  # nobody knows what would help an extender
                return placement
            for host, more in (await extender.prioritize(pod.pod, nodes)).items():
                points[host] = points.get(host, 0.0) + more
        rows = {self.view.row[n.metadata.name] for n in nodes if n.metadata.name in self.view.row}
        if len(scores) < len(self.view.names) or not rows:  # nodes came or went meanwhile
            return await self._place(pod) if rows else placement
        for row in range(len(feasible)):
            feasible[row] = row in rows and self.view.alive[row]
        for host, more in points.items():
            if host in self.view.row:
                scores[self.view.row[host]] += more
        placement.node = self.view.names[placer.best(feasible, scores)]
        return placement

    # --- devices ---

    def _set_aside(self, pod: PodInfo, node: str) -> bool:
        """Keeps the devices that a pod needs on its node from others. False: somebody has had them meanwhile."""
        if self._devices is None or not pod.pod.spec.resource_claims:
            return True
        found = self.view.nodes[self.view.row[node]] if node in self.view.row else None
        return found is not None and self._devices.devices.promise(pod.pod, found)

    def _say_of_claims(self, pod: PodInfo, placement: Placement) -> None:
        """What can be done about claims comes before what can be done about other pods."""
        if DynamicResources.name not in self._placers[pod.pod.spec.scheduler_name].names or not placement.preemption:
            return
        said = "no new claims to deallocate"
        if pod.pod.spec.resource_claims:
            said = "still not schedulable"
            if ELSEWHERE in placement.reasons and self._devices is not None:
                self._tasks.start(self._give_back(self._devices, pod), "give back devices")
        placement.preemption = f"{said}, {placement.preemption}"

    async def _give_back(self, devices: DeviceBinder, pod: PodInfo) -> None:
        try:
            if await devices.give_back(pod):
                log.info("%s: its claims may have devices elsewhere", pod.key)
        except (StatusError, Unreachable) as error:
            log.info("%s: %s", pod.key, error)

    # --- making room ---

    async def _make_room(self, pod: PodInfo, placement: Placement) -> preemption.Eviction | None:
        """Looks for pods of lower priority that could go. Room that is made is kept for the pod meanwhile."""
        nominated = self._nominated.get(pod.uid)
        if nominated is not None and any(
            view.pod.metadata.deletion_timestamp
            and row == self.view.row.get(nominated)
            and view.priority < pod.priority
            for row, view in self.view.pods.values()
        ):
            self._reserve(pod, nominated)
            return None  # those who were asked to go are still going
        if not preemption.may_preempt(pod):
            placement.preemption = "preemption: not eligible due to preemptionPolicy=Never."
            return None
        placer = self._placers[pod.pod.spec.scheduler_name]
        outcome = preemption.find(self.view, placer, pod, list(self._budgets))
        await self._agree(pod, outcome)
        eviction = outcome.eviction
        if eviction is None:
            placement.preemption = outcome.message
            self._nominated.pop(pod.uid, None)
            return None
        self._reserve(pod, eviction.node)
        return eviction

    async def _agree(self, pod: PodInfo, outcome: preemption.Outcome) -> None:
        """Leaves of the ways to make room those that every extender agrees with."""
        for extender in self._extenders.get(pod.pod.spec.scheduler_name, ()):
            if not (extender.preempt_verb and outcome.candidates and extender.wants(pod.pod)):
                continue
            victims = {e.node: ([v.pod for v in e.victims], e.violations) for e in outcome.candidates}
            try:
                left = await extender.preempt(pod.pod, victims)
            except ExtenderError as error:
                log.warning("extender %s: %s", extender.url, error)
                left = {}
            agreed = [
                preemption.Eviction(e.node, [v for v in e.victims if v.uid in left[e.node][0]], left[e.node][1])
                for e in outcome.candidates if e.node in left and left[e.node][0]
            ]  # fmt: skip
            outcome.no_victims += len(outcome.candidates) - len(agreed)
            outcome.candidates = agreed

    def _reserve(self, pod: PodInfo, node: str) -> None:
        """The pod counts on the node as if it were there, once the victims are gone."""
        self._nominated[pod.uid] = node
        held = PodInfo(pod.pod)
        held.uid = preemption.NOMINATED + pod.uid
        self.view.put_pod(held, node)

    def _release(self, uid: str) -> None:
        if uid in self._nominated:
            self.view.remove_pod(preemption.NOMINATED + uid)

    async def _evict(self, pod: PodInfo, eviction: preemption.Eviction) -> None:
        text = f"{pod.pod.spec.scheduler_name}: preempting to accommodate a higher priority pod"
        for victim in eviction.victims:
            meta = victim.pod.metadata
            mark = {
                "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": text,
                "lastTransitionTime": timestamps.rfc3339(time.time()),
            }  # fmt: skip
            change = {"metadata": {"uid": meta.uid}, "status": {"conditions": [mark]}}
            try:
                await self._client.patch(core_v1.Pod, meta.name, change, meta.namespace, "status")
                await self._client.delete(core_v1.Pod, meta.name, meta.namespace, uid=meta.uid)
            except (StatusError, Unreachable) as error:
                log.info("preempting %s: %s", victim.key, error)
                continue
            said = f"Preempted by pod {pod.uid} on node {eviction.node}"
            self._say(pod, "Normal", "Preempted", said, victim)

    # --- binding ---

    async def _bind(self, pod: PodInfo, node: str) -> None:
        meta = pod.pod.metadata
        target = core_v1.ObjectReference(api_version="v1", kind="Node", name=node)
        binding = core_v1.Binding(
            metadata=ObjectMeta(name=meta.name, namespace=meta.namespace, uid=meta.uid), target=target
        )
        try:
            await self._bind_claims(pod, node)
            if self._devices is not None and pod.pod.spec.resource_claims:
                await self._devices.bind(pod)
            binder = next((e for e in self._extenders.get(pod.pod.spec.scheduler_name, ()) if e.bind_verb), None)
            if binder is not None and binder.wants(pod.pod):
                await binder.bind(pod.pod, node)
            else:
                await self._client.post(_PODS, meta.namespace, meta.name, "binding", binding)
            self.scheduled += 1
            self._nominated.pop(pod.uid, None)
            self._say(pod, "Normal", "Scheduled", f"Successfully assigned {pod.key} to {node}")
        except (StatusError, Unreachable, ExtenderError) as error:
            self._assumed.discard(pod.uid)
            self.view.remove_pod(pod.uid)
            if self._devices is not None:
                self._devices.devices.forget(pod.pod)
            if not (isinstance(error, StatusError) and error.code == 404):
                log.info("binding %s to %s: %s", pod.key, node, error)
                self._queue.again(pod)
            self._changed(Change(POD_GONE, pod=pod))  # what it would have taken is free
        finally:
            self._slots.release()

    async def _bind_claims(self, pod: PodInfo, node: str) -> None:
        """Says on which node the claims that wait for the pod are needed, and waits until they have their volumes."""
        waiting = self._stock.waiting_claims(pod.pod) if pod.pod.spec.volumes else []
        for claim in waiting:
            change = {"metadata": {"annotations": {volumes.SELECTED_NODE: node}}}
            meta = claim.metadata
            await self._client.patch(core_v1.PersistentVolumeClaim, meta.name, change, meta.namespace, media=MERGE)
        if not waiting:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                while self._stock.waiting_claims(pod.pod):
                    self._claim_moved.clear()
                    await self._claim_moved.wait()
        except TimeoutError:
            raise Unreachable(f"the volumes of {pod.key} were not bound in time") from None

    async def _tell(self, pod: PodInfo, placement: Placement, nominated: str) -> None:
        """Says in the pod and in an event why it waits."""
        self._say(pod, "Warning", "FailedScheduling", placement.message)
        stamp = timestamps.rfc3339(time.time())
        standing = next((c for c in pod.pod.status.conditions if c.type == "PodScheduled"), None)
        if standing is not None and standing.message == placement.message and not nominated:
            return
        since = standing.last_transition_time if standing is not None and standing.status == "False" else stamp
        change = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": placement.message,
            "lastTransitionTime": since,
        }
        status: dict[str, Any] = {"conditions": [change]}
        if nominated:
            status["nominatedNodeName"] = nominated
        meta = pod.pod.metadata
        try:
            await self._client.patch(
                core_v1.Pod,
                meta.name,
                {"metadata": {"uid": meta.uid}, "status": status},
                meta.namespace,
                "status",
            )
        except (StatusError, Unreachable) as error:
            log.debug("%s: %s", pod.key, error)

"""`tiphys scheduler`: watches pods and nodes, places pods, writes bindings."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

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
from tiphys.scheduler.nominations import Nominations
from tiphys.scheduler.placement import Placement, Placer
from tiphys.scheduler.plugins import plugins
from tiphys.scheduler.plugins.base import Plugin, PluginError
from tiphys.scheduler.plugins.devices import ELSEWHERE, DynamicResources
from tiphys.scheduler.plugins.volumes import Stock, VolumeBinding
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.queue import SchedulingQueue
from tiphys.scheduler.snapshot import Snapshot

log = logging.getLogger(__name__)

_BINDING = 64  # bindings on their way at once
_PATIENCE = 600.0  # seconds for the volumes of a pod to be made and bound
_SLICE = 0.01  # seconds of placing before the event loop gets its turn
_PODS = resource_of(core_v1.Pod)
UNSCHEDULABLE, SCHEDULER_ERROR = (
    "Unschedulable",
    "SchedulerError",
)  # reasons why a pod is not scheduled


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
        self._extenders: dict[str, tuple[Extender, ...]] = {
            profile.name: profile.extenders for profile in profiles
        }
        self._recorders = {
            profile.name: EventRecorder(client, profile.name) for profile in profiles
        }
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
        self._nominations = Nominations(self.view)
        self._evicting: set[str] = set()  # pods that others are just being asked to make room for
        self._budgets: Any = ()
        self._pods: Informer[core_v1.Pod] | None = None
        self.scheduled = 0

    async def run(self) -> None:
        informers = self._informers
        nodes, pods = informers.of(core_v1.Node), informers.of(core_v1.Pod)
        self._pods = pods
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
        claims, found = (
            informers.of(core_v1.PersistentVolumeClaim),
            informers.of(core_v1.PersistentVolume),
        )
        kinds, nodes = informers.of(StorageClass), informers.of(storage_v1.CSINode)
        drivers, capacities = (
            informers.of(storage_v1.CSIDriver),
            informers.of(storage_v1.CSIStorageCapacity),
        )
        self._stock = Stock(
            claims.get,
            found.get,
            kinds.get,
            nodes.get,
            drivers.get,
            lambda: found,
            lambda: capacities,
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
            profile.name: Placer(self.view, plugins(self._stock, profile, alike, devices))
            for profile in self._profiles
        }

    def _enqueue(self, pod: PodInfo) -> None:
        self._queue.put(pod)
        self._wake.set()

    def _say(
        self, pod: PodInfo, kind: str, reason: str, message: str, about: PodInfo | None = None
    ) -> None:
        self._recorders[pod.pod.spec.scheduler_name].record(
            (about or pod).pod, kind, reason, message
        )

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
            self._nominations.withdraw(uid)
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
            if new.metadata.uid not in self._assumed:
                self._nominations.follow(old, new)
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
            self._nominations.release(pod.uid)
            with self._nominations.without_lesser(pod):
                placement = await self._place(pod)
            if placement.error:
                self._queue.again(pod)
                self._nominations.withdraw(pod.uid)
                self._tasks.start(
                    self._tell(pod, placement.error, SCHEDULER_ERROR, nominated=""), "tell"
                )
            elif placement.node:
                if not self._set_aside(pod, placement.node):
                    self._nominations.hold(pod)
                    self._queue.again(pod)
                    continue
                await self._slots.acquire()
                self._assumed.add(pod.uid)
                self.view.put_pod(pod, placement.node)
                self._tasks.start(self._bind(pod, placement.node), "bind")
            else:
                objectors = tuple(placement.objectors)
                self._queue.failed(
                    pod, partial(self._helped, pod, objectors) if objectors else None
                )
                eviction = await self._make_room(pod, placement) if placement.total else None
                self._say_of_claims(pod, placement)
                nominated = self._nominations.node_of(pod.uid)
                self._tasks.start(
                    self._tell(pod, placement.message, UNSCHEDULABLE, nominated), "tell"
                )
                if eviction is not None:
                    self._evicting.add(pod.uid)
                    self._tasks.start(self._evict(pod, eviction), "preempt")
            if time.monotonic() - started > _SLICE:
                await asyncio.sleep(0)
                started = time.monotonic()

    def _helped(self, pod: PodInfo, objectors: tuple[Plugin, ...], change: Change) -> bool:
        return any(
            change.kind in plugin.hints and plugin.helps(change, self.view, pod)
            for plugin in objectors
        )

    async def _place(self, pod: PodInfo) -> Placement:
        """Where the plugins, and then the extenders, would have the pod."""
        name = pod.pod.spec.scheduler_name
        placer, asked = (
            self._placers[name],
            [e for e in self._extenders.get(name, ()) if e.wants(pod.pod)],
        )
        nominated = self._nominations.node_of(pod.uid)
        if not asked:
            return placer.place(pod, nominated)
        placement, feasible, scores = placer.survey(pod, reasons=True)
        if scores is None:
            return placement
        feasible = feasible.copy()
        nodes = [
            node
            for node, fits in zip(list(self.view.nodes), feasible, strict=True)
            if fits and node is not None
        ]
        points: dict[str, float] = {}
        for extender in asked:
            try:
                verdict = await extender.filter(pod.pod, nodes)
            except ExtenderError as error:
                log.warning("extender %s: %s", extender.url, error)
                placement.error = str(error)
                return placement
            for reason in verdict.failed.values():
                placement.reasons[reason] = placement.reasons.get(reason, 0) + 1
            hopeless = [
                self.view.row[name] for name in verdict.unresolvable if name in self.view.row
            ]
            if hopeless:
                rows = np.zeros(len(self.view.alive), np.bool_)
                rows[hopeless] = True
                known = placement.unresolvable
                placement.unresolvable = (
                    rows if known is None or len(known) != len(rows) else known | rows
                )
            nodes = [node for node in nodes if node.metadata.name in verdict.passed]
            if not nodes:
                placement.objectors.clear()  # nobody knows what would help an extender
                return placement
            for host, more in (await extender.prioritize(pod.pod, nodes)).items():
                points[host] = points.get(host, 0.0) + more
        left = {self.view.row[n.metadata.name] for n in nodes if n.metadata.name in self.view.row}
        if len(scores) < len(self.view.names) or not left:  # nodes came or went meanwhile
            return await self._place(pod) if left else placement
        for row in range(len(feasible)):
            feasible[row] = row in left and self.view.alive[row]
        for host, more in points.items():
            if host in self.view.row:
                scores[self.view.row[host]] += more
        row = self.view.row.get(nominated, -1)
        placement.node = self.view.names[row if row in left else placer.best(feasible, scores)]
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
        if (
            DynamicResources.name not in self._placers[pod.pod.spec.scheduler_name].names
            or not placement.preemption
        ):
            return
        said = "no new claims to deallocate"
        if pod.pod.spec.resource_claims and not placement.refused:
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
        if not preemption.may_preempt(pod):
            placement.preemption = "preemption: not eligible due to preemptionPolicy=Never."
            self._nominations.hold(pod)
            return None
        if self._waits_for_victims(pod, placement):
            placement.preemption = (
                "preemption: not eligible due to a terminating pod on the nominated node."
            )
            self._nominations.hold(pod)
            return None
        outcome = await self._search(pod, placement)
        if not outcome.candidates:
            placement.preemption = outcome.message
            if outcome.error:
                self._nominations.hold(pod)
            else:
                self._nominations.withdraw(pod.uid)
            return None
        await self._agree(pod, outcome)
        eviction = outcome.eviction
        if eviction is None:
            placement.preemption = (
                f"preemption: {outcome.error or 'no candidate node for preemption'}"
            )
            self._nominations.hold(pod)
            return None
        self._nominations.reserve(pod, eviction.node)
        return eviction

    async def _search(self, pod: PodInfo, placement: Placement) -> preemption.Outcome:
        """Whose going would make room; other tasks have their turn between nodes."""
        placer, outcome = (
            self._placers[pod.pod.spec.scheduler_name],
            preemption.Outcome(total=placement.total),
        )
        started = time.monotonic()
        try:
            with self._nominations.without_lesser(pod):
                steps = preemption.search(
                    self.view, placer, pod, list(self._budgets), placement, outcome
                )
                for _ in steps:
                    if time.monotonic() - started > _SLICE:
                        await asyncio.sleep(0)
                        started = time.monotonic()
        except PluginError as error:
            return preemption.Outcome(total=placement.total, error=str(error))
        return outcome

    def _waits_for_victims(self, pod: PodInfo, placement: Placement) -> bool:
        """Whether those who were asked to go from the pod's node are still going, and their going can help."""
        if pod.uid in self._evicting:
            return True
        row = self.view.row.get(self._nominations.node_of(pod.uid))
        if row is None or not placement.resolvable(self.view)[row]:
            return False
        return any(
            o.priority < pod.priority and preemption.going(o) for o in self.view.pods_on(row)
        )

    async def _agree(self, pod: PodInfo, outcome: preemption.Outcome) -> None:
        """Leaves of the ways to make room those that every extender agrees with."""
        for extender in self._extenders.get(pod.pod.spec.scheduler_name, ()):
            if not (extender.preempt_verb and outcome.candidates and extender.wants(pod.pod)):
                continue
            victims = {
                e.node: ([v.pod for v in e.victims], e.violations) for e in outcome.candidates
            }
            try:
                left = await extender.preempt(pod.pod, victims)
            except ExtenderError as error:
                log.warning("extender %s: %s", extender.url, error)
                outcome.candidates, outcome.error = [], str(error)
                return
            outcome.candidates = [
                preemption.Eviction(
                    e.node, [v for v in e.victims if v.uid in left[e.node][0]], left[e.node][1]
                )
                for e in outcome.candidates
                if e.node in left and left[e.node][0]
            ]

    def _try_now(self, uid: str) -> None:
        self._queue.retry(uid)
        self._wake.set()

    async def _displace(self, pod: PodInfo, node: str) -> None:
        """Pods of lower priority that the node was promised to look for another one."""
        for held in self._nominations.lesser(pod, node):
            uid = held.pod.metadata.uid
            self._nominations.withdraw(uid)
            self._try_now(uid)
            await self._patch_status(held.pod, {"nominatedNodeName": None})

    async def _evict(self, pod: PodInfo, eviction: preemption.Eviction) -> None:
        try:
            await self._displace(pod, eviction.node)
            await self._ask_to_go(pod, eviction)
        finally:
            self._evicting.discard(pod.uid)

    async def _ask_to_go(self, pod: PodInfo, eviction: preemption.Eviction) -> None:
        text = f"{pod.pod.spec.scheduler_name}: preempting to accommodate a higher priority pod"
        for victim in eviction.victims:
            meta = victim.pod.metadata
            if meta.deletion_timestamp:
                continue
            try:
                mark = _condition(
                    victim.pod, "DisruptionTarget", "True", preemption.BY_SCHEDULER, text
                )
                if mark is not None:
                    change = {"metadata": {"uid": meta.uid}, "status": {"conditions": [mark]}}
                    await self._client.patch(
                        core_v1.Pod, meta.name, change, meta.namespace, "status"
                    )
                await self._client.delete(core_v1.Pod, meta.name, meta.namespace, uid=meta.uid)
            except (StatusError, Unreachable) as error:
                log.info("preempting %s: %s", victim.key, error)
                if not (isinstance(error, StatusError) and error.code == 404):
                    self._try_now(pod.uid)  # nothing else would happen that has it tried again
                    return
                continue
            said = f"Preempted by pod {pod.uid} on node {eviction.node}"
            self._say(pod, "Normal", "Preempted", said, victim)

    # --- binding ---

    async def _bind(self, pod: PodInfo, node: str) -> None:
        meta = pod.pod.metadata
        target = core_v1.ObjectReference(api_version="v1", kind="Node", name=node)
        binding = core_v1.Binding(
            metadata=ObjectMeta(name=meta.name, namespace=meta.namespace, uid=meta.uid),
            target=target,
        )
        stage = f'PreBind plugin "{VolumeBinding.name}"'
        try:
            await self._announce(pod, node)
            await self._bind_claims(pod, node)
            if self._devices is not None and pod.pod.spec.resource_claims:
                stage = f'PreBind plugin "{DynamicResources.name}"'
                await self._devices.bind(pod)
            stage = 'Bind plugin "DefaultBinder"'
            binder = next(
                (e for e in self._extenders.get(pod.pod.spec.scheduler_name, ()) if e.bind_verb),
                None,
            )
            if binder is not None and binder.wants(pod.pod):
                await binder.bind(pod.pod, node)
            else:
                await self._client.post(_PODS, meta.namespace, meta.name, "binding", binding)
            self.scheduled += 1
            self._nominations.withdraw(pod.uid)
            self._say(pod, "Normal", "Scheduled", f"Successfully assigned {pod.key} to {node}")
        except (StatusError, Unreachable, ExtenderError) as error:
            self._assumed.discard(pod.uid)
            self.view.remove_pod(pod.uid)
            self._nominations.withdraw(pod.uid)
            if self._devices is not None:
                self._devices.devices.forget(pod.pod)
            if not (isinstance(error, StatusError) and error.code == 404):
                log.info("binding %s to %s: %s", pod.key, node, error)
                self._queue.again(pod)
                self._tasks.start(
                    self._tell(pod, f"running {stage}: {error}", SCHEDULER_ERROR, nominated=""),
                    "tell",
                )
            self._changed(Change(POD_GONE, pod=pod))  # what it would have taken is free
        finally:
            self._slots.release()

    async def _announce(self, pod: PodInfo, node: str) -> None:
        """Says where a pod will be whose claims have to be bound first, so that others count on it."""
        spec = pod.pod.spec
        if spec.resource_claims or (spec.volumes and self._stock.waiting_claims(pod.pod)):
            await self._patch_status(pod.pod, {"nominatedNodeName": node})

    async def _bind_claims(self, pod: PodInfo, node: str) -> None:
        """Says on which node the claims that wait for the pod are needed, and waits until they have their volumes."""
        waiting = self._stock.waiting_claims(pod.pod) if pod.pod.spec.volumes else []
        for claim in waiting:
            change = {"metadata": {"annotations": {volumes.SELECTED_NODE: node}}}
            meta = claim.metadata
            await self._client.patch(
                core_v1.PersistentVolumeClaim, meta.name, change, meta.namespace, media=MERGE
            )
        if not waiting:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                while self._stock.waiting_claims(pod.pod):
                    self._claim_moved.clear()
                    await self._claim_moved.wait()
        except TimeoutError:
            raise Unreachable(f"the volumes of {pod.key} were not bound in time") from None

    async def _tell(self, pod: PodInfo, message: str, reason: str, nominated: str) -> None:
        """Says in the pod and in an event why it waits, and on which node room is made for it."""
        self._say(pod, "Warning", "FailedScheduling", message)
        found = self._pods.get(pod.key) if self._pods is not None else None
        if found is None or found.metadata.uid != pod.uid or found.spec.node_name:
            return
        status: dict[str, Any] = {}
        if (change := _condition(found, "PodScheduled", "False", reason, message)) is not None:
            status["conditions"] = [change]
        if (found.status.nominated_node_name or "") != nominated:
            status["nominatedNodeName"] = nominated or None
        if status:
            await self._patch_status(found, status)

    async def _patch_status(self, pod: core_v1.Pod, status: dict[str, Any]) -> None:
        meta = pod.metadata
        change = {"metadata": {"uid": meta.uid}, "status": status}
        try:
            await self._client.patch(core_v1.Pod, meta.name, change, meta.namespace, "status")
        except (StatusError, Unreachable) as error:
            log.debug("status of %s/%s: %s", meta.namespace, meta.name, error)


def _condition(
    pod: core_v1.Pod, kind: str, value: str, reason: str, message: str
) -> dict[str, Any] | None:
    """A condition as the pod is to have it; None when it has it already."""
    standing = next((c for c in pod.status.conditions if c.type == kind), None)
    generation = pod.metadata.generation
    since = (
        standing.last_transition_time if standing is not None and standing.status == value else None
    )
    if since and standing is not None:
        if (standing.reason, standing.message, standing.observed_generation) == (
            reason,
            message,
            generation,
        ):
            return None
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since or timestamps.rfc3339(time.time()),
    }

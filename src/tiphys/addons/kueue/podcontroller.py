"""Keeps pods and their workloads in step: a pod is ungated while its workload is admitted, and
deleted when it has to give way."""

from __future__ import annotations

from typing import Any

from tiphys.addons.kueue import names, statuses
from tiphys.addons.kueue.jobs.workloads import placements_of
from tiphys.addons.kueue.pods import Pods, is_gated, is_going, placement_for, ungating
from tiphys.addons.kueue.priorities import Priorities
from tiphys.addons.kueue.serving import group_of
from tiphys.addons.kueue.types.quotas import ResourceFlavor
from tiphys.addons.kueue.types.workloads import ReclaimablePod, Workload, WorkloadSpec
from tiphys.addons.kueue.writing import Workloads
from tiphys.api import apps_v1, core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import JSON_PATCH, STRATEGIC
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Controller
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.finished import pod_finished

_BY_GROUP = "group"


class PodController(Controller):
    """Keys are ``namespace/pod/NAME`` and ``namespace/group/NAME``."""

    name = "kueue-pods"
    event_source = "kueue"

    def watch(self) -> None:
        self._pods = Informer(self.client, core_v1.Pod, labels=f"{names.MANAGED}=true")
        self._pods.index(_BY_GROUP, _group_key)
        self._pods.on_change(self._pod_changed)
        self.context.tasks.start(self._pods.run(), "informer-queued-pods", vital=True)
        informer: Informer[Workload] = self.informer(Workload)
        informer.on_change(self._workload_changed)
        self._workloads = Workloads(self.client, informer)
        self._flavors: Informer[ResourceFlavor] = self.informer(ResourceFlavor)
        self._priorities = Priorities(self.context.informers)
        self._sets: Informer[apps_v1.StatefulSet] = self.informer(apps_v1.StatefulSet)
        self._sets.index(_BY_GROUP, _set_keys)
        self._sets.on_change(self._set_changed)

    def _set_changed(
        self, old: apps_v1.StatefulSet | None, new: apps_v1.StatefulSet | None
    ) -> None:
        for key in _set_keys(new if new is not None else old):
            namespace, _, name = key.partition("/")
            self.queue.add(f"{namespace}/group/{name}")

    def _pod_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        for pod in (old, new):
            if pod is not None:
                self.queue.add(_key(pod))

    def _workload_changed(self, old: Workload | None, new: Workload | None) -> None:
        workload = new if new is not None else old
        assert workload is not None
        namespace = workload.metadata.namespace
        owners = [one for one in workload.metadata.owner_references if one.kind == "Pod"]
        if workload.metadata.annotations.get(names.IS_GROUP):
            self.queue.add(f"{namespace}/group/{workload.metadata.name}")
        elif owners:
            self.queue.add(f"{namespace}/pod/{owners[0].name}")

    async def reconcile(self, key: str) -> float | None:
        namespace, kind, name = key.split("/")
        if kind == "group":
            members = self._pods.by(_BY_GROUP, f"{namespace}/{name}")
            pods = Pods(namespace, name, members)
        else:
            pod = self._pods.get(f"{namespace}/{name}")
            pods = Pods(namespace, "", [pod] if pod is not None else [])
        if pods.members and pods.queue:
            await self._bring_together(pods)
        elif kind == "group":
            await self._forget(key, f"{namespace}/{name}")
        return None

    async def _forget(self, key: str, workload_key: str) -> None:
        """A StatefulSet of no pods needs no quota. One whose pods are on their way keeps it."""
        workload = self._workloads.informer.get(workload_key)
        if workload is None or not workload.metadata.annotations.get(names.POD_GROUP_SERVING):
            return
        known = self._sets.by(_BY_GROUP, workload_key)
        if not any(one.spec.replicas != 0 for one in known):
            await self.delete(workload)

    async def _bring_together(self, pods: Pods) -> None:
        workload = self._workloads.informer.get(f"{pods.namespace}/{pods.workload_name}")
        if workload is not None and workload.metadata.deletion_timestamp:
            return
        excess = pods.excess(workload.spec.pod_sets if workload is not None else ())
        for pod in excess:
            self.event(pod, "Normal", "ExcessPodDeleted", "Excess pod deleted")
            await self.delete(pod)
        pods.members = [pod for pod in pods.members if pod not in excess]
        if workload is None:
            if pods.is_complete() and pods.finish() is None and not pods.is_prepared:
                await self._begin(pods)
            return
        if statuses.has(workload, statuses.FINISHED):
            return
        finish = pods.finish()
        now = self.context.now()
        if finish is not None:
            await self._workloads.change(
                workload, lambda one: statuses.finish(one, finish.succeeded, finish.message, now)
            )
        elif statuses.has(workload, statuses.EVICTED):
            await self._stop(pods, workload)
        elif statuses.has(workload, statuses.ADMITTED):
            await self._start(pods, workload)

    async def _begin(self, pods: Pods) -> None:
        pod_sets = pods.pod_sets()
        priority = self._priorities.of(pods.first.metadata.labels, pod_sets)
        if isinstance(priority, str):
            message = f"WorkloadPriorityClass {priority!r} not found"
            self.event(pods.first, "Warning", "WorkloadPriorityClassNotFound", message)
            raise LookupError(message)
        workload = Workload(
            metadata=ObjectMeta(
                name=pods.workload_name,
                namespace=pods.namespace,
                labels={} if pods.group else {names.JOB_UID: pods.first.metadata.uid},
                annotations=_annotations(pods),
                owner_references=pods.owners(),
            ),
            spec=WorkloadSpec(
                pod_sets=pod_sets,
                queue_name=pods.queue,
                priority=priority.value,
                priority_class_ref=priority.reference,
            ),
        )
        if key := await self._workloads.create(workload):
            self.event(pods.first, "Normal", "CreatedWorkload", f"Created Workload: {key}")

    async def _start(self, pods: Pods, workload: Workload) -> None:
        flavors = {one.metadata.name: one for one in self._flavors}
        placements = placements_of(workload, flavors)
        queue = workload.status.admission.cluster_queue if workload.status.admission else ""
        for pod in pods.active():
            placement = placement_for(pod, placements)
            if not is_gated(pod) or placement is None:
                continue
            patch = ungating(pod, placement, workload.metadata.name)
            meta = pod.metadata
            await self.client.patch(core_v1.Pod, meta.name, patch, meta.namespace, media=JSON_PATCH)
            self.event(pod, "Normal", "Started", f"Admitted by clusterQueue {queue}")
        await self._note(pods, workload)

    async def _note(self, pods: Pods, workload: Workload) -> None:
        free = pods.reclaimable()
        known = {one.uid for one in workload.metadata.owner_references}
        owners = pods.owners()
        if any(one.uid not in known for one in owners):  # replacements
            patch = {"metadata": {"ownerReferences": [_plain(one) for one in owners]}}
            await self.client.patch(
                {"apiVersion": workload.api_version, "kind": workload.kind},
                workload.metadata.name,
                patch,
                pods.namespace,
            )
            return
        await self._workloads.change(workload, lambda one: _reclaim(one, free))

    async def _stop(self, pods: Pods, workload: Workload) -> None:
        """Ungated pods are deleted, with a condition; then the quota is free."""
        evicted = conditions.find(workload.status.conditions, statuses.EVICTED)
        assert evicted is not None
        now = self.context.now()
        for pod in pods.members:
            if is_going(pod) or pod_finished(pod) or is_gated(pod):
                continue
            await self._say(pod, evicted.message, now)
            await self.delete(pod)
            self.event(pod, "Normal", "Stopped", evicted.message)
        runs = [pod for pod in pods.members if not is_gated(pod) and not pod_finished(pod)]
        if runs or workload.status.admission is None:
            return

        def free(current: Workload) -> None:
            is_requeued = evicted.reason == "Preempted" and bool(pods.group)
            statuses.set_condition(
                current, statuses.REQUEUED, is_requeued, evicted.reason, evicted.message, now
            )
            statuses.unreserve(current, statuses.PENDING_EVALUATION, evicted.message, now)

        await self._workloads.change(workload, free)

    async def _say(self, pod: core_v1.Pod, message: str, now: float) -> None:
        condition = {
            "type": "TerminationTarget",
            "status": "True",
            "reason": "WorkloadEvicted",
            "message": message,
            "lastTransitionTime": timestamps.rfc3339(now),
        }
        patch = {"status": {"conditions": [condition]}}
        meta = pod.metadata
        try:
            await self.client.patch(
                core_v1.Pod, meta.name, patch, meta.namespace, "status", media=STRATEGIC
            )
        except StatusError as error:
            if not is_not_found(error):
                raise


def _annotations(pods: Pods) -> dict[str, str]:
    serving = {names.POD_GROUP_SERVING: "true"} if pods.is_serving else {}
    return {names.IS_GROUP: "true", **serving} if pods.group else {}


def _set_keys(stateful_set: apps_v1.StatefulSet | None) -> list[str]:
    """The group of a StatefulSet that is in a queue."""
    if stateful_set is None or not stateful_set.metadata.labels.get(names.QUEUE):
        return []
    return [f"{stateful_set.metadata.namespace}/{group_of(stateful_set.metadata.name)}"]


def _reclaim(workload: Workload, free: dict[str, int]) -> None:
    workload.status.reclaimable_pods = [
        ReclaimablePod(name=name, count=count) for name, count in sorted(free.items())
    ]


def _plain(reference: Any) -> dict[str, Any]:
    return {
        "apiVersion": reference.api_version,
        "kind": reference.kind,
        "name": reference.name,
        "uid": reference.uid,
    }


def _group_key(pod: core_v1.Pod) -> list[str]:
    group = pod.metadata.labels.get(names.POD_GROUP, "")
    return [f"{pod.metadata.namespace}/{group}"] if group else []


def _key(pod: core_v1.Pod) -> str:
    group = pod.metadata.labels.get(names.POD_GROUP, "")
    kind, name = ("group", group) if group else ("pod", pod.metadata.name)
    return f"{pod.metadata.namespace}/{kind}/{name}"

"""Starts a worker for each pod that is bound to a node, and follows the pod's object for it."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.podrefs import MIRROR
from tiphys.node.nodecontext import NodeContext
from tiphys.node.pod.mirrorpod import MirrorPod
from tiphys.node.pod.placing import PodPlacer
from tiphys.node.pod.worker import PodWorker
from tiphys.node.pod.workers import PodWorkers
from tiphys.node.podadmission import PodAdmission
from tiphys.node.staticpods.staticpods import StaticPods


class PodRunner:
    """static_pods: those of the node; None where it cannot have any"""

    def __init__(
        self,
        node: NodeContext,
        workers: PodWorkers,
        placer: PodPlacer,
        admission: PodAdmission,
        tasks: TaskGroup,
    ) -> None:
        self._node = node
        self._workers = workers
        self._placer = placer
        self._admission = admission
        self._tasks = tasks
        self.static_pods: StaticPods | None = None

    def pod_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        """For the informer of pods bound to this node."""
        pod = new or old
        if self.static_pods is not None and pod is not None and MIRROR in pod.metadata.annotations:
            self.static_pods.mirror_changed(old, new)
        elif new is not None:
            self._updated(new)
        elif old is not None:
            self._removed(old)

    def _removed(self, pod: core_v1.Pod) -> None:
        worker = self._workers.get(pod.metadata.uid)
        if worker is not None:
            worker.managed.holds_room = False
            self._tasks.start(self._abandon(worker), "abandon")

    async def _abandon(self, worker: PodWorker) -> None:
        uid = worker.pod.metadata.uid
        self._workers.abandoned.add(uid)
        try:
            await worker.abandon()
        finally:
            self._workers.abandoned.discard(uid)

    def _updated(self, pod: core_v1.Pod) -> None:
        uid = pod.metadata.uid
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(pod)
            return
        has_ended = pod_finished(pod) and not pod.metadata.deletion_timestamp
        if has_ended and uid not in self._workers.unclaimed:
            return
        self.run(pod)

    def run(self, pod: core_v1.Pod, mirror: MirrorPod | None = None) -> PodWorker:
        """Starts a worker for a pod; see there."""
        state = self._workers.unclaimed.pop(pod.metadata.uid, None)
        worker = PodWorker(self._node, pod, state, mirror)
        worker.managed.holds_room = state is not None
        self._workers.add(worker)
        self._tasks.start(self._work(worker), f"pod-{pod.metadata.name}")
        return worker

    async def _work(self, worker: PodWorker) -> None:
        try:
            if worker.managed.holds_room:
                await self._placer.place_again(worker.pod)
            if worker.managed.holds_room or await self._admission.is_admitted(worker):
                await worker.run()
        finally:
            worker.managed.close()
            self._workers.remove(worker)
            self._placer.release(worker.pod.metadata.uid)
            self._admission.retry_resizes()
            if self.static_pods is not None:
                self.static_pods.worker_ended(worker)

"""Lets pods go to the places that their workload's admission has for them."""

from __future__ import annotations

from tiphys.addons.kueue import names, statuses
from tiphys.addons.kueue.types.workloads import Workload
from tiphys.addons.kueue.ungating import Letting, letting
from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import JSON_PATCH
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Controller
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.finished import pod_finished

_BY_WORKLOAD = "workload"


class TopologyController(Controller):
    """Keys are those of workloads."""

    name = "kueue-topologies"
    event_source = "kueue"

    def watch(self) -> None:
        self._pods = Informer(self.client, core_v1.Pod, labels=names.POD_SET)
        self._pods.index(_BY_WORKLOAD, _workload_keys)
        self._pods.on_change(self._pod_changed)
        self.context.tasks.start(self._pods.run(), "informer-placed-pods", vital=True)
        self._workloads: Informer[Workload] = self.informer(Workload)
        self._workloads.on_change(self.enqueue)

    def _pod_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        for pod in (old, new):
            for key in _workload_keys(pod) if pod is not None else ():
                self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        workload = self._workloads.get(key)
        admission = workload.status.admission if workload is not None else None
        if workload is None or admission is None or statuses.has(workload, statuses.EVICTED):
            return None
        if not statuses.has(workload, statuses.ADMITTED):
            return None
        requests = {one.name: one.topology_request for one in workload.spec.pod_sets}
        living = [pod for pod in self._pods.by(_BY_WORKLOAD, key) if not pod_finished(pod)]
        for assignment in admission.pod_set_assignments:
            if assignment.topology_assignment:
                pods = [
                    pod for pod in living if pod.metadata.labels[names.POD_SET] == assignment.name
                ]
                pods.sort(key=lambda pod: pod.metadata.name)
                for letting_ in letting(
                    assignment.topology_assignment, pods, requests.get(assignment.name)
                ):
                    await self._let_go(letting_)
        return None

    async def _let_go(self, letting_: Letting) -> None:
        meta = letting_.pod.metadata
        spec = to_builtins(letting_.pod.spec)
        gates = spec.get("schedulingGates") or ()
        values = {
            "/metadata/resourceVersion": meta.resource_version,
            "/spec/nodeSelector": {**(spec.get("nodeSelector") or {}), **letting_.labels},
            "/spec/schedulingGates": [g for g in gates if g["name"] != names.TOPOLOGY_GATE],
        }
        patch = [{"op": "add", "path": path, "value": value} for path, value in values.items()]
        try:
            written = await self.client.patch(
                core_v1.Pod, meta.name, patch, meta.namespace, media=JSON_PATCH
            )
        except StatusError as error:
            if not is_not_found(error):
                raise
            return
        self._pods.note_written(written)


def _workload_keys(pod: core_v1.Pod) -> list[str]:
    name = pod.metadata.annotations.get(names.WORKLOAD)
    return [f"{pod.metadata.namespace}/{name}"] if name else []

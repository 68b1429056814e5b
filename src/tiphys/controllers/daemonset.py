"""Daemon sets: one pod on every node that fits.

What to do next is worked out in `daemons`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tiphys.api import core_v1
from tiphys.api.apps_v1 import ControllerRevision, DaemonSet
from tiphys.controllers.claiming import claim
from tiphys.controllers.daemons import Plan, new_pod, node_of, plan, revision_of
from tiphys.controllers.expectations import Expectations
from tiphys.controllers.history import REVISION_LABEL, History
from tiphys.controllers.pods import FailureBackoff
from tiphys.controllers.shell import (
    Context,
    Controller,
    controller_of,
    owner_index,
    sooner,
)
from tiphys.machinery.errors import StatusError, is_write_overtaken
from tiphys.machinery.selectors import from_label_selector

_BURST = 250  # pods that are created or deleted in one step, as upstream
_LONGEST_FAILURE_WAIT = 900.0  # seconds until a failed pod of a node is replaced, at the most


class DaemonSetController(Controller):
    name = "daemonset"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._expectations = Expectations()
        self._failures = FailureBackoff(context.now, _LONGEST_FAILURE_WAIT)  # by set and node

    def watch(self) -> None:
        self._sets = self.informer(DaemonSet)
        self._pods = self.informer(core_v1.Pod)
        self._nodes = self.informer(core_v1.Node)
        self._pods.index("owner", owner_index)
        revisions = self.informer(ControllerRevision)
        revisions.index("owner", owner_index)
        self._history = History(self.client, revisions, REVISION_LABEL)
        self._sets.on_change(self.enqueue)
        self._pods.on_change(self._pod_changed)
        self._nodes.on_change(self._node_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        for pod in (old, new):
            if pod is None:
                continue
            owner = controller_of(pod)
            if owner is None:
                if pod is new and pod.metadata.labels:
                    self._orphan_changed(pod)
            elif owner.kind == "DaemonSet":
                key = f"{pod.metadata.namespace}/{owner.name}"
                self._expectations.observe(key, old, new)
                self.queue.add(key)

    def _orphan_changed(self, pod: core_v1.Pod) -> None:
        """Some set may adopt a pod that nothing controls."""
        for owner in self._sets:
            if owner.metadata.namespace != pod.metadata.namespace:
                continue
            selector = from_label_selector(owner.spec.selector)
            if selector is not None and selector.matches(pod.metadata.labels):
                self.enqueue(None, owner)

    def _node_changed(self, old: Any, new: Any) -> None:
        """A node changes with every heartbeat; what decides which pods fit there seldom does."""
        if old is not None and new is not None and _placement(old) == _placement(new):
            return
        for owner in self._sets:
            self.enqueue(None, owner)

    async def reconcile(self, key: str) -> float | None:
        owner = self._sets.get(key)
        if owner is None:
            self._expectations.forget(key)
            return None
        selector = from_label_selector(owner.spec.selector)
        assert selector is not None, "validation requires one"
        update, collisions = await self._history.current(owner)
        revision = update.metadata.name.removeprefix(f"{owner.metadata.name}-")
        pods = await claim(self.client, self._pods, owner, selector)
        todo = plan(owner, list(self._nodes), pods, revision, self.context.now())
        todo.status.collision_count = collisions or owner.status.collision_count
        if self._expectations.met(key):
            await self._carry_out(key, owner, todo, revision)
        await self.write_status(owner, todo.status)
        live = {f"{owner.metadata.name}-{revision_of(pod)}" for pod in pods}
        await self._history.truncate(owner, {update.metadata.name, *live})
        return todo.wake

    async def _carry_out(self, key: str, owner: DaemonSet, todo: Plan, revision: str) -> None:
        for pod in todo.failed:
            wait = self._failures.wait(owner.metadata.uid, node_of(pod))
            if wait > 0:
                todo.wake = sooner(todo.wake, wait)
                continue
            where = f"{owner.metadata.namespace}/{pod.metadata.name} on node {node_of(pod)}"
            message = f"Found failed daemon pod {where}, will try to kill it"
            self.event(owner, "Warning", "FailedDaemonPod", message)
            todo.delete.append(pod)
        nodes = todo.create[:_BURST]
        superfluous = todo.delete[:_BURST]
        uids = {pod.metadata.uid for pod in superfluous}
        self._expectations.expect(key, len(nodes), uids)
        creations = [self._create(key, owner, node, revision) for node in nodes]
        deletions = [self._delete_pod(key, owner, pod) for pod in superfluous]
        for result in await asyncio.gather(*creations, *deletions, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _create(self, key: str, owner: DaemonSet, node: str, revision: str) -> None:
        try:
            pod = await self.client.create(new_pod(owner, node, revision))
        except Exception as error:
            self._expectations.created(key)
            self.event(owner, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        self.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}")

    async def _delete_pod(self, key: str, owner: DaemonSet, pod: core_v1.Pod) -> None:
        meta = pod.metadata
        try:
            await self.client.delete(core_v1.Pod, meta.name, meta.namespace, uid=meta.uid)
        except StatusError as error:
            self._expectations.deleted(key, meta.uid)
            if not is_write_overtaken(error):
                raise
            return
        self.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name}")


def _placement(node: core_v1.Node) -> tuple[Any, ...]:
    """What decides about daemons on a node."""
    return node.metadata.labels, node.spec.taints, node.spec.unschedulable

"""The nodes of the cluster, and what pods use of them that no topology has placed.

They are not watched until a flavor has a topology: a large cluster's pods are a lot to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tiphys.addons.kueue import names
from tiphys.addons.optional import Context
from tiphys.api import core_v1
from tiphys.client.informer import Informer
from tiphys.machinery import conditions
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.footprint import requests_of

_NEAR = (
    names.REQUIRED_TOPOLOGY,
    names.PREFERRED_TOPOLOGY,
    names.UNCONSTRAINED_TOPOLOGY,
    names.SLICE_TOPOLOGY,
    names.SLICE_LAYERS,
)


def is_placed_by_topology(annotations: Mapping[str, str]) -> bool:
    """Whether a pod, or its template, requests a topology; those whose queue places
    them unasked are annotated as well."""
    return any(name in annotations for name in _NEAR)


class ClusterNodes:
    """`changed` is called when there is more or less room on some node."""

    def __init__(self, context: Context, changed: Callable[[], None]) -> None:
        self._context = context
        self._changed = changed
        self._nodes: Informer[core_v1.Node] | None = None
        self._used: dict[str, dict[str, int]] = {}

    async def follow(self) -> None:
        """Starts the watches, and waits until they are synced."""
        if self._nodes is not None:
            return
        self._nodes = self._context.informers.of(core_v1.Node)
        pods = self._context.informers.of(core_v1.Pod)
        await self._context.informers.synced()
        self._nodes.on_change(self._node_changed)
        pods.on_change(self._pod_changed)

    @property
    def nodes(self) -> list[core_v1.Node]:
        return list(self._nodes) if self._nodes is not None else []

    @property
    def others(self) -> Mapping[str, Mapping[str, int]]:
        """What pods of no topology use, by node."""
        return self._used

    def _node_changed(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if old is None or new is None or _facts(old) != _facts(new):
            self._changed()

    def _pod_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        was, is_ = (one is not None and _uses_node(one) for one in (old, new))
        if not was and not is_:
            return
        if old is not None:
            self._count(old, -1)
        if new is not None:
            self._count(new, 1)
        if was and not is_:
            self._changed()

    def _count(self, pod: core_v1.Pod, sign: int) -> None:
        if not _uses_node(pod):
            return
        used = self._used.setdefault(pod.spec.node_name, {})
        for resource, amount in {**requests_of(pod.spec), "pods": 1}.items():
            used[resource] = used.get(resource, 0) + sign * amount


def _uses_node(pod: core_v1.Pod) -> bool:
    is_there = bool(pod.spec.node_name) and not pod_finished(pod)
    return is_there and not is_placed_by_topology(pod.metadata.annotations)


def _facts(node: core_v1.Node) -> tuple[object, ...]:
    return (
        node.metadata.labels,
        node.status.allocatable,
        node.spec.unschedulable,
        node.spec.taints,
        conditions.is_true(node.status.conditions, "Ready"),
    )

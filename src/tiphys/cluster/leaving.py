"""`tiphys leave`: the node's pods go elsewhere, its Node goes, and nothing of it is left here.

Everything is asked as the node itself, which may evict its own pods and ask to be deleted
(`controllers.nodeleaving`): no administrator's certificate is needed on the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tiphys.api import core_v1, policy_v1
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.client.config import load
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.controllers.nodeleaving import LEAVES
from tiphys.machinery.errors import StatusError, is_not_found, is_too_many_requests
from tiphys.machinery.finished import is_final
from tiphys.machinery.podrefs import MIRROR

_PODS = resource_of(core_v1.Pod)
_AGAIN = 2.0  # seconds until a pod is tried again whose disruption budget is used up
_GONE_WITHIN = 60.0  # seconds that the Node may take to be deleted

Report = Callable[[str], None]


class ServerAwayError(ClusterError):
    """The API server does not answer."""


def drain(cluster: Cluster, seconds: float, force: bool, report: Report) -> None:
    """Cordons the node and evicts its pods. Raises ClusterError when some stay."""
    asyncio.run(_as_node(cluster, lambda client: _drain(client, cluster, seconds, force, report)))


def delete_node(cluster: Cluster) -> None:
    """Has the Node deleted, and returns once it is gone. Raises ClusterError."""
    asyncio.run(_as_node(cluster, lambda client: _delete_node(client, cluster)))


async def _as_node(cluster: Cluster, work: Callable[[Client], object]) -> None:
    async with Client(load(cluster.pki / "node.kubeconfig"), "tiphys-leave") as client:
        try:
            await work(client)  # type: ignore[misc]
        except Unreachable:
            raise ServerAwayError(f"{cluster.server} does not answer") from None
        except StatusError as error:
            raise ClusterError(f"the server refuses: {error}") from None


# --- pods ---


def stays(pod: core_v1.Pod) -> bool:
    """Whether a pod goes with the node and not before: those of daemon sets would come back, mirror
    pods are what the node runs by itself."""
    owners = (owner.kind for owner in pod.metadata.owner_references if owner.controller)
    return MIRROR in pod.metadata.annotations or "DaemonSet" in owners


def is_alone(pod: core_v1.Pod) -> bool:
    """Whether no controller would create the pod again elsewhere."""
    has_controller = any(owner.controller for owner in pod.metadata.owner_references)
    return not has_controller and not is_final(pod.status.phase)


async def _drain(
    client: Client, cluster: Cluster, seconds: float, force: bool, report: Report
) -> None:
    assert cluster.joined is not None
    node = cluster.joined.node
    pods = await _pods(client, node)
    alone = sorted(_name(pod) for pod in pods if is_alone(pod))
    if alone and not force:
        raise ClusterError(
            f"nothing would make these pods again elsewhere: {', '.join(alone)}; delete them, or "
            "leave with --force"
        )
    try:
        await client.patch(core_v1.Node, node, {"spec": {"unschedulable": True}}, media=MERGE)
    except StatusError as error:
        if is_not_found(error):
            return
        raise
    try:
        async with asyncio.timeout(seconds):
            while pods:
                await asyncio.gather(*(_evict(client, pod, report) for pod in pods))
                await asyncio.sleep(0.5)
                pods = await _pods(client, node)
    except TimeoutError:
        names = ", ".join(sorted(_name(pod) for pod in pods))
        raise ClusterError(
            f"these pods are still here after {seconds:g} s: {names}; the node stays cordoned. "
            "Their disruption budgets may forbid it: see kubectl get pdb -A; wait longer with "
            "--timeout"
        ) from None


async def _pods(client: Client, node: str) -> list[core_v1.Pod]:
    listed = (await client.list(core_v1.Pod, fields=f"spec.nodeName={node}")).items
    return [pod for pod in listed if not stays(pod)]


async def _evict(client: Client, pod: core_v1.Pod, report: Report) -> None:
    """Asks once; a pod whose budget is used up is asked for again with the next round."""
    if pod.metadata.deletion_timestamp:
        return
    meta = pod.metadata
    eviction = policy_v1.Eviction(metadata=ObjectMeta(name=meta.name, namespace=meta.namespace))
    try:
        await client.post(_PODS, meta.namespace, meta.name, "eviction", eviction)
        report(f"pod {_name(pod)} is evicted")
    except StatusError as error:
        if is_too_many_requests(error):
            await asyncio.sleep(_AGAIN)
        elif not is_not_found(error):
            raise


def _name(pod: core_v1.Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


# --- the Node ---


async def _delete_node(client: Client, cluster: Cluster) -> None:
    assert cluster.joined is not None
    name = cluster.joined.node
    try:
        node = await client.get(core_v1.Node, name)
    except StatusError as error:
        if is_not_found(error):
            return
        raise
    uid = node.metadata.uid
    change = {"metadata": {"uid": uid, "annotations": {LEAVES: uid}}}
    await client.patch(core_v1.Node, name, change, media=MERGE)
    try:
        async with asyncio.timeout(_GONE_WITHIN):
            while await _node_exists(client, name, uid):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise ClusterError(
            f"the controllers have not deleted node {name}; on the server: kubectl delete node "
            f"{name}"
        ) from None


async def _node_exists(client: Client, name: str, uid: str) -> bool:
    try:
        return (await client.get(core_v1.Node, name)).metadata.uid == uid
    except StatusError as error:
        if is_not_found(error):
            return False
        raise

"""Builders for tests of the scheduler: pods that ask for something, snapshots, and what runs a
profile's plugins."""

from __future__ import annotations

from typing import Any

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.machinery.errors import StatusError
from tiphys.scheduler.configuration import Profile
from tiphys.scheduler.framework import Framework
from tiphys.scheduler.plugins.registry import Listers, plugins_of
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot
from tiphys.testing import LocalCluster

HOSTNAME = "kubernetes.io/hostname"


def snapshot_of(*nodes: core_v1.Node) -> Snapshot:
    snapshot = Snapshot()
    for node in nodes:
        snapshot.put_node(node)
    return snapshot


def framework(
    snapshot: Snapshot, profile: Profile | None = None, listers: Listers | None = None
) -> Framework:
    return Framework(snapshot, plugins_of(profile or Profile(), listers))


def requesting(name: str = "p", requests: dict[str, str] | None = None, **spec: Any) -> core_v1.Pod:
    """A pod of one container; its uid is its name."""
    container = {"name": "c", "image": "app", "resources": {"requests": requests or {}}}
    made = pod(name, containers=[container], **spec)
    made.metadata.uid = name
    return made


def info(name: str = "p", **spec: Any) -> PodInfo:
    """A pod whose uid is its name."""
    made = pod(name, **spec)
    made.metadata.uid = name
    return PodInfo(made)


def feasible_nodes(snapshot: Snapshot, pod_info: PodInfo) -> set[str]:
    """Names of the nodes where a pod fits, by the default profile."""
    rows = framework(snapshot).evaluate(pod_info).feasible
    return {name for name, row in snapshot.row_of.items() if rows[row]}


def scores_of(snapshot: Snapshot, scores: Any) -> dict[str, float]:
    """A column of scores by the names of nodes."""
    assert scores is not None
    return {name: float(scores[row]) for name, row in snapshot.row_of.items()}


async def default_account(cluster: LocalCluster) -> None:
    """Waits until pods may be created in the default namespace."""

    async def exists() -> bool:
        try:
            await cluster.client.get(core_v1.ServiceAccount, "default", "default")
        except StatusError:
            return False
        return True

    await cluster.eventually(exists)


async def untainted_nodes(cluster: LocalCluster) -> None:
    """Waits until the nodes have lost the taint that new ones have."""

    async def all_are() -> bool:
        nodes = (await cluster.client.list(core_v1.Node)).items
        return bool(nodes) and not any(node.spec.taints for node in nodes)

    await cluster.eventually(all_are)

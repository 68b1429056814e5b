"""What the cluster knows of this node's CSI drivers: its CSINode object, the labels of their
topology and the annotation with their names for the node."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from tiphys.api import core_v1, storage_v1
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.client.client import MERGE, Client
from tiphys.machinery.errors import (
    StatusError,
    is_already_exists,
    is_conflict,
    is_not_found,
)

NODE_ID = "csi.volume.kubernetes.io/nodeid"
_TRIES = 4  # as upstream, when there is a conflict


class NodeInfoError(Exception):
    """What a driver says of the node cannot be."""


@dataclass(frozen=True)
class DriverFacts:
    """node_id: what the driver calls the node; limit: volumes it can have at once, 0 for any
    number; topology: where the node is, by the labels of the driver"""

    name: str
    node_id: str
    limit: int = 0
    topology: dict[str, str] = field(default_factory=dict)


# --- pure ---


def with_driver(csi_node: storage_v1.CSINode, facts: DriverFacts) -> storage_v1.CSINode:
    changed = copy.deepcopy(csi_node)
    others = [driver for driver in changed.spec.drivers if driver.name != facts.name]
    row = storage_v1.CSINodeDriver(
        name=facts.name, node_id=facts.node_id, topology_keys=sorted(facts.topology)
    )
    if facts.limit > 0:
        row.allocatable = storage_v1.VolumeNodeResources(count=min(facts.limit, (1 << 31) - 1))
    changed.spec.drivers = [*others, row]
    return changed


def without_driver(csi_node: storage_v1.CSINode, name: str) -> storage_v1.CSINode:
    changed = copy.deepcopy(csi_node)
    changed.spec.drivers = [driver for driver in changed.spec.drivers if driver.name != name]
    return changed


def collision(labels: dict[str, str], topology: dict[str, str]) -> str:
    """Why a node cannot be where a driver says that it is; "" if it can."""
    for key, value in topology.items():
        if labels.get(key, value) != value:
            return (
                f'detected topology value collision: driver reported "{key}":"{value}" '
                f'but existing label is "{key}":"{labels[key]}"'
            )
    return ""


def node_ids(node: core_v1.Node) -> dict[str, str]:
    """What drivers call the node, by their names. Nonsense in the annotation counts as nothing."""
    try:
        ids = json.loads(node.metadata.annotations.get(NODE_ID) or "{}")
    except ValueError:
        return {}
    return {str(name): str(id) for name, id in ids.items()} if isinstance(ids, dict) else {}


# --- the shell ---


class NodeInfo:
    """`name` is the node's. All methods raise StatusError, Unreachable."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    async def initialize(self) -> storage_v1.CSINode:
        """Makes the CSINode of this very node, if there is none."""
        node = await self._client.get(core_v1.Node, self._name)
        try:
            csi_node = await self._client.get(storage_v1.CSINode, self._name)
            if any(owner.uid == node.metadata.uid for owner in csi_node.metadata.owner_references):
                return csi_node
            await self._client.delete(storage_v1.CSINode, self._name, uid=csi_node.metadata.uid)
        except StatusError as error:
            if not is_not_found(error):
                raise
        owner = OwnerReference(
            api_version="v1", kind="Node", name=self._name, uid=node.metadata.uid
        )
        meta = ObjectMeta(name=self._name, owner_references=[owner])
        try:
            return await self._client.create(storage_v1.CSINode(metadata=meta))
        except StatusError as error:
            if not is_already_exists(error):
                raise
            return await self._client.get(storage_v1.CSINode, self._name)

    async def install(self, facts: DriverFacts) -> None:
        """Raises NodeInfoError, too."""
        if not facts.node_id:
            raise NodeInfoError("error adding CSI driver node info: driverNodeID must not be empty")
        node = await self._client.get(core_v1.Node, self._name)
        if problem := collision(node.metadata.labels, facts.topology):
            where = "error updating Node object with CSI driver node info"
            raise NodeInfoError(f"{where}: error updating node: {problem}")
        ids = {**node_ids(node), facts.name: facts.node_id}
        if ids != node_ids(node) or not facts.topology.items() <= node.metadata.labels.items():
            await self._annotate(ids, facts.topology)
        await self._change(lambda csi_node: with_driver(csi_node, facts))

    async def uninstall(self, name: str) -> None:
        await self._change(lambda csi_node: without_driver(csi_node, name))
        node = await self._client.get(core_v1.Node, self._name)
        ids = node_ids(node)
        if ids.pop(name, None) is not None:
            await self._annotate(ids, {})

    async def _annotate(self, ids: dict[str, str], labels: dict[str, str]) -> None:
        text = json.dumps(ids, separators=(",", ":"), sort_keys=True) if ids else None
        change = {"metadata": {"labels": labels, "annotations": {NODE_ID: text}}}
        await self._client.patch(core_v1.Node, self._name, change, media=MERGE)

    async def _change(self, step: Callable[[storage_v1.CSINode], storage_v1.CSINode]) -> None:
        for tries_left in reversed(range(_TRIES)):
            csi_node = await self.initialize()
            changed = step(csi_node)
            if changed == csi_node:
                return
            try:
                await self._client.update(changed)
                return
            except StatusError as error:
                if not is_conflict(error) or not tries_left:
                    raise

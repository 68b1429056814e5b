"""What a registered node still waits for until pods may be counted on it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.types import NodeClaim
from tiphys.api import core_v1
from tiphys.machinery.nodes import is_ready


class Obstacle(NamedTuple):
    """The status, reason and message of the claim's condition Initialized."""

    reason: str
    message: str


def obstacle_of(claim: NodeClaim, node: core_v1.Node | None) -> Obstacle | None:
    """The first one, in Karpenter's order; None for a node that is initialized."""
    if node is None:
        return Obstacle("NodeNotFound", "Node not registered with cluster")
    if not is_ready(node):
        return Obstacle("NodeNotReady", "Node status is NotReady")
    return _taint(claim, node) or _missing_resource(claim, node)


def _taint(claim: NodeClaim, node: core_v1.Node) -> Obstacle | None:
    startup = {(taint.key, taint.effect) for taint in claim.spec.startup_taints}
    for taint in node.spec.taints:
        value = f"={taint.value}" if taint.value else ""
        shown = f"{taint.key}{value}:{taint.effect}"
        if (taint.key, taint.effect) in startup:
            return Obstacle("StartupTaintsExist", f'StartupTaint "{shown}" still exists')
        if taint.key in names.EPHEMERAL_TAINTS:
            message = f'KnownEphemeralTaint "{shown}" still exists'
            return Obstacle("KnownEphemeralTaintsExist", message)
    return None


def _missing_resource(claim: NodeClaim, node: core_v1.Node) -> Obstacle | None:
    for name, amount in claim.spec.resources.requests.items():
        if amount != "0" and node.status.allocatable.get(name, "0") == "0":
            message = f'Resource "{name}" was requested but not registered'
            return Obstacle("ResourceNotRegistered", message)
    return None

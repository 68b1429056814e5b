"""The custom resources: NodePool and NodeClaim as karpenter.sh has them, and what is ours."""

from tiphys.addons.karpenter.types.nodeclaim import NodeClaim, NodeClaimSpec, NodeClaimStatus
from tiphys.addons.karpenter.types.nodeclass import (
    DisruptionReport,
    DisruptionReportStatus,
    Held,
    Replaced,
    TiphysNodeClass,
    TiphysNodeClassStatus,
)
from tiphys.addons.karpenter.types.nodeoverlay import NodeOverlay
from tiphys.addons.karpenter.types.nodepool import Budget, NodePool, NodePoolStatus
from tiphys.addons.karpenter.types.parts import NEVER, Requirement, Taint

__all__ = [
    "NEVER",
    "Budget",
    "DisruptionReport",
    "DisruptionReportStatus",
    "Held",
    "NodeClaim",
    "NodeClaimSpec",
    "NodeClaimStatus",
    "NodeOverlay",
    "NodePool",
    "NodePoolStatus",
    "Replaced",
    "Requirement",
    "Taint",
    "TiphysNodeClass",
    "TiphysNodeClassStatus",
]

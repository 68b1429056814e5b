"""Karpenter: nodes that are made as pods need them, and removed or replaced under a budget.

For users who want to try NodePools, consolidation, drift and disruption budgets, with a fleet of
hundreds of nodes on a laptop: users' NodePools and NodeClaims (karpenter.sh/v1) apply unchanged.
The machines are those of a cloud of our own (`addons/_cloud`).

The decisions are pure functions: `planning` (which nodes pending pods need, on the `ground` of
what stands), `disruption` (what goes next, after `trials`) and `budgets` (how many at once). Around
them: `lifecycle` and `termination` (one NodeClaim), `pools` and `registration`, `provisioning`,
`disrupting` and `upkeep` (loops), `cluster` (what informers show, as one value), `reporting`.
Source of the rules: Karpenter's sources and documentation.
"""

from __future__ import annotations

from tiphys.addons.karpenter.settings import Settings
from tiphys.addons.optional import Context, OptionalAddon, rule
from tiphys.api.apiextensions_v1 import CustomResourceDefinition

_GROUP = "karpenter.sh"
_OWN_GROUP = "karpenter.tiphys.dev"


def definitions() -> tuple[CustomResourceDefinition, ...]:
    from tiphys.addons.karpenter.types import (
        DisruptionReport,
        NodeClaim,
        NodeOverlay,
        NodePool,
        TiphysNodeClass,
    )
    from tiphys.addons.karpenter.types.ec2 import EC2NodeClass
    from tiphys.operator import definition

    kinds = (NodePool, NodeClaim, NodeOverlay, TiphysNodeClass, DisruptionReport, EC2NodeClass)
    return tuple(definition(kind) for kind in kinds)


async def run(context: Context) -> None:
    from tiphys.addons.karpenter.controller import run as work

    await work(context)


_READ = "get list watch"
_WRITE = "get list watch create patch update delete"
ADDON = OptionalAddon(
    "karpenter",
    "Makes nodes as pods need them, and replaces them under a budget",
    run,
    settings=Settings,
    rights=(
        rule(_WRITE, "nodepools nodeclaims", _GROUP),
        rule("patch update", "nodepools/status nodeclaims/status", _GROUP),
        rule(_READ, "nodeoverlays", _GROUP),
        rule("patch update", "nodeoverlays/status", _GROUP),
        rule(_WRITE, "tiphysnodeclasses disruptionreports", _OWN_GROUP),
        rule("patch update", "tiphysnodeclasses/status disruptionreports/status", _OWN_GROUP),
        rule(_READ, "ec2nodeclasses", "karpenter.k8s.aws"),
        rule("patch update", "ec2nodeclasses/status", "karpenter.k8s.aws"),
        # what it plans with
        rule(
            _READ,
            "pods namespaces services replicationcontrollers persistentvolumes "
            "persistentvolumeclaims",
        ),
        rule(_READ, "daemonsets replicasets statefulsets", "apps"),
        rule(_READ, "poddisruptionbudgets", "policy"),
        rule(
            _READ,
            "storageclasses csinodes csidrivers csistoragecapacities volumeattachments",
            "storage.k8s.io",
        ),
        rule("get", "servicecidrs", "networking.k8s.io", "kubernetes"),
        # how it drains
        rule("create", "pods/eviction"),
        rule("delete", "pods"),
        # what its hollow machines do, as nodes
        rule(_WRITE, "nodes"),
        rule("patch update", "nodes/status pods/status"),
        rule(_READ, "configmaps secrets"),
        rule("create", "serviceaccounts/token"),
        rule(_WRITE, "leases", "coordination.k8s.io"),
        rule(_READ, "runtimeclasses", "node.k8s.io"),
    ),
    definitions=definitions,
    try_next=(
        "kubectl apply -f src/tiphys/addons/karpenter/example/pool.yaml",
        "kubectl get nodepools,nodeclaims,nodes",
    ),
)

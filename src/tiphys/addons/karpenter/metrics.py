"""What is counted, by Karpenter's names and labels (`pkg/metrics`)."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tiphys.addons.karpenter.names import CAPACITY_TYPE, NODE_POOL, ZONE
from tiphys.addons.karpenter.types import NodeClaim

_by_registry: WeakKeyDictionary[CollectorRegistry, KarpenterMetrics] = WeakKeyDictionary()


class KarpenterMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        pool = ("nodepool",)
        self.claims_created = Counter(
            "karpenter_nodeclaims_created",
            "NodeClaims that were created.",
            ("reason", *pool, "min_values_relaxed"),
            registry=registry,
        )
        self.claims_disrupted = Counter(
            "karpenter_nodeclaims_disrupted",
            "NodeClaims whose end has begun.",
            ("reason", *pool, "capacity_type"),
            registry=registry,
        )
        self.claims_terminated = Counter(
            "karpenter_nodeclaims_terminated",
            "NodeClaims that have ended.",
            (*pool, "capacity_type", "zone"),
            registry=registry,
        )
        self.nodes_created = Counter(
            "karpenter_nodes_created",
            "Nodes that have registered.",
            (*pool, "zone"),
            registry=registry,
        )
        self.nodes_drained = Counter(
            "karpenter_nodes_drained", "Nodes that were drained.", pool, registry=registry
        )
        self.evictions = Counter(
            "karpenter_nodes_eviction_requests",
            "Requests to evict a pod, by the answer.",
            ("code",),
            registry=registry,
        )
        self.scheduling = Histogram(
            "karpenter_scheduler_scheduling_duration_seconds",
            "How long it took to plan nodes.",
            registry=registry,
        )
        self.unschedulable = Gauge(
            "karpenter_scheduler_unschedulable_pods_count",
            "Pods for which no node can be made.",
            registry=registry,
        )
        self.decisions = Counter(
            "karpenter_voluntary_disruption_decisions",
            "Decisions to disrupt nodes.",
            ("decision", "reason", "consolidation_type"),
            registry=registry,
        )
        self.eligible = Gauge(
            "karpenter_voluntary_disruption_eligible_nodes",
            "Nodes that may be disrupted now.",
            ("reason",),
            registry=registry,
        )
        self.evaluation = Histogram(
            "karpenter_voluntary_disruption_decision_evaluation_duration_seconds",
            "How long a look for nodes to disrupt took.",
            registry=registry,
        )
        self.allowed = Gauge(
            "karpenter_nodepools_allowed_disruptions",
            "How many nodes budgets allow to disrupt.",
            (*pool, "reason"),
            registry=registry,
        )
        self.failed_validations = Counter(
            "karpenter_voluntary_disruption_failed_validations",
            "Decisions that did not hold any more when they were looked at again.",
            ("consolidation_type",),
            registry=registry,
        )
        self.failed_commands = Counter(
            "karpenter_voluntary_disruption_queue_failures",
            "Decisions that could not be carried out.",
            ("decision", "reason"),
            registry=registry,
        )
        self.usage = Gauge(
            "karpenter_nodepools_usage",
            "What the nodes of a pool have together.",
            (*pool, "resource_type"),
            registry=registry,
        )
        self.limit = Gauge(
            "karpenter_nodepools_limit",
            "The limits of a pool.",
            (*pool, "resource_type"),
            registry=registry,
        )

    @classmethod
    def of(cls, registry: CollectorRegistry) -> KarpenterMetrics:
        """Those of a registry: an add-on that starts again counts on."""
        if registry not in _by_registry:
            _by_registry[registry] = cls(registry)
        return _by_registry[registry]

    def claim_disrupted(self, claim: NodeClaim, reason: str) -> None:
        labels = claim.metadata.labels
        pool = labels.get(NODE_POOL, "")
        self.claims_disrupted.labels(reason, pool, labels.get(CAPACITY_TYPE, "")).inc()

    def claim_terminated(self, claim: NodeClaim) -> None:
        labels = claim.metadata.labels
        self.claims_terminated.labels(
            labels.get(NODE_POOL, ""), labels.get(CAPACITY_TYPE, ""), labels.get(ZONE, "")
        ).inc()

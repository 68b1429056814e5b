"""Labels, annotations, taints, conditions and reasons, as Karpenter spells them."""

from __future__ import annotations

GROUP = "karpenter.sh"
OWN_GROUP = "karpenter.tiphys.dev"

NODE_POOL = f"{GROUP}/nodepool"
CAPACITY_TYPE = f"{GROUP}/capacity-type"
REGISTERED = f"{GROUP}/registered"
INITIALIZED = f"{GROUP}/initialized"
DO_NOT_DISRUPT = f"{GROUP}/do-not-disrupt"
POOL_HASH = f"{GROUP}/nodepool-hash"
POOL_HASH_VERSION = f"{GROUP}/nodepool-hash-version"
CLASS_HASH = f"{OWN_GROUP}/nodeclass-hash"
MIN_VALUES_RELAXED = f"{GROUP}/nodeclaim-min-values-relaxed"
TERMINATION_TIME = f"{GROUP}/nodeclaim-termination-timestamp"
TERMINATION = f"{GROUP}/termination"
"""The finalizer of NodeClaims and of their nodes."""

UNREGISTERED_TAINT = f"{GROUP}/unregistered"
DISRUPTED_TAINT = f"{GROUP}/disrupted"
EXCLUDE_BALANCERS = "node.kubernetes.io/exclude-from-external-load-balancers"

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"

LAUNCHED = "Launched"
REGISTRATION_HEALTHY = "NodeRegistrationHealthy"
REGISTERED_CONDITION = "Registered"
INITIALIZED_CONDITION = "Initialized"
CONSOLIDATABLE = "Consolidatable"
DRIFTED = "Drifted"
DISRUPTION_REASON = "DisruptionReason"
DRAINED = "Drained"
VOLUMES_DETACHED = "VolumesDetached"
INSTANCE_TERMINATING = "InstanceTerminating"
READY = "Ready"

EMPTY = "Empty"
DRIFT = "Drifted"
UNDERUTILIZED = "Underutilized"
REASONS = (UNDERUTILIZED, EMPTY, DRIFT)

SPOT = "spot"
ON_DEMAND = "on-demand"

HASH_VERSION = "v3"

EPHEMERAL_TAINTS = (
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.cloudprovider.kubernetes.io/uninitialized",
    UNREGISTERED_TAINT,
)
"""What a new node has until it is ready: nothing is planned around it."""

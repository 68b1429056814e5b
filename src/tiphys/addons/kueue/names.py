"""Labels, annotations and names that users and queues know each other by: upstream's."""

from __future__ import annotations

import hashlib

QUEUE = "kueue.x-k8s.io/queue-name"
PRIORITY_CLASS = "kueue.x-k8s.io/priority-class"
MAX_SECONDS = "kueue.x-k8s.io/max-exec-time-seconds"
JOB_UID = "kueue.x-k8s.io/job-uid"
MANAGED = "kueue.x-k8s.io/managed"
POD_GROUP = "kueue.x-k8s.io/pod-group-name"
POD_GROUP_COUNT = "kueue.x-k8s.io/pod-group-total-count"
POD_GROUP_SERVING = "kueue.x-k8s.io/pod-group-serving"
POD_GROUP_FAST = "kueue.x-k8s.io/pod-group-fast-admission"
ROLE = "kueue.x-k8s.io/role-hash"
RETRIABLE = "kueue.x-k8s.io/retriable-in-group"
IS_GROUP = "kueue.x-k8s.io/is-group-workload"
GATE = "kueue.x-k8s.io/admission"
WORKLOAD = "kueue.x-k8s.io/workload"
PARENT = "kueue.x-k8s.io/pod-suspending-parent"
OWNER_KIND = "kueue.x-k8s.io/job-owner-gvk"
OWNER_NAME = "kueue.x-k8s.io/job-owner-name"
COMPONENT_INDEX = "kueue.x-k8s.io/component-workload-index"
DEFAULT_QUEUE = "default"

# How near each other the pods of a set are kept.
REQUIRED_TOPOLOGY = "kueue.x-k8s.io/podset-required-topology"
PREFERRED_TOPOLOGY = "kueue.x-k8s.io/podset-preferred-topology"
UNCONSTRAINED_TOPOLOGY = "kueue.x-k8s.io/podset-unconstrained-topology"
SLICE_TOPOLOGY = "kueue.x-k8s.io/podset-slice-required-topology"
SLICE_SIZE = "kueue.x-k8s.io/podset-slice-size"
SLICE_LAYERS = "kueue.x-k8s.io/podset-slice-required-topology-constraints"
POD_SET_GROUP = "kueue.x-k8s.io/podset-group-name"
TOPOLOGY_GATE = "kueue.x-k8s.io/topology"
POD_SET = "kueue.x-k8s.io/podset"
POD_INDEX = "kueue.x-k8s.io/pod-group-pod-index"
POD_INDEX_OFFSET = "kueue.x-k8s.io/pod-index-offset"

_LONGEST = 253
_HASH = 5  # characters


def workload_name(kind: str, group: str, name: str, uid: str) -> str:
    """That of an owner's workload: the same as upstream's for the same owner."""
    text = "\n".join((kind, group, name, uid))
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:_HASH]
    prefix = f"{kind.lower()}-{name}"[: _LONGEST - 1 - _HASH]
    return f"{prefix}-{digest}"

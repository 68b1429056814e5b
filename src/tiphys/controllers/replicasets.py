"""The replica sets of a deployment: which is the newest, what a new one is made of, and what all of
them come to. Pure."""

from __future__ import annotations

import copy

from tiphys.api.apps_v1 import (
    Deployment,
    DeploymentStatus,
    ReplicaSet,
    ReplicaSetSpec,
)
from tiphys.api.base import decode, encode
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.controllers import rollout
from tiphys.controllers.pods import owner_reference
from tiphys.controllers.rollout import (
    DESIRED,
    HASH,
    MAXIMUM,
    REVISION,
    same_template,
    wanted_size,
)

HISTORY = "deployment.kubernetes.io/revision-history"
_NOT_COPIED = frozenset(
    (
        REVISION,
        HISTORY,
        DESIRED,
        MAXIMUM,
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
    )
)


def is_adoptable(rs: ReplicaSet) -> bool:
    return not rs.metadata.deletion_timestamp


def newest(deployment: Deployment, sets: list[ReplicaSet]) -> ReplicaSet | None:
    """The replica set of the deployment's template; the oldest if there are several."""
    for rs in sorted(sets, key=lambda rs: rs.metadata.creation_timestamp or ""):
        if same_template(rs.spec.template, deployment.spec.template):
            return rs
    return None


def new_replica_set(deployment: Deployment, old: list[ReplicaSet]) -> ReplicaSet:
    digest = rollout.template_hash(deployment)
    template = decode(encode(deployment.spec.template), type(deployment.spec.template))
    template.metadata.labels[HASH] = digest
    selector = copy.deepcopy(deployment.spec.selector) or LabelSelector()
    selector.match_labels[HASH] = digest
    meta = ObjectMeta(
        name=f"{deployment.metadata.name}-{digest}",
        namespace=deployment.metadata.namespace,
        labels=dict(template.metadata.labels),
        owner_references=[owner_reference(deployment)],
    )
    spec = ReplicaSetSpec(
        selector=selector,
        template=template,
        min_ready_seconds=deployment.spec.min_ready_seconds,
        replicas=rollout.new_size(deployment, 0, rollout.total_size(old)),
    )
    return ReplicaSet(metadata=meta, spec=spec)


def latest_revision(sets: list[ReplicaSet]) -> int:
    return max((rollout.revision_of(rs) for rs in sets), default=0)


def annotate(deployment: Deployment, rs: ReplicaSet, revision: int) -> bool:
    """Writes the deployment's annotations and the rollout's numbers onto a replica set; a
    `revision` that is not later than its own changes nothing about it. Returns whether anything
    changed."""
    annotations = rs.metadata.annotations
    before = dict(annotations)
    for name, value in deployment.metadata.annotations.items():
        if name not in _NOT_COPIED:
            annotations[name] = value
    earlier = annotations.get(REVISION)
    if earlier is None or int(earlier) < revision:
        if earlier is not None:
            earlier_ones = [annotations.get(HISTORY, ""), earlier]
            annotations[HISTORY] = ",".join(filter(None, earlier_ones))
        annotations[REVISION] = str(revision)
    wanted = wanted_size(deployment)
    annotations[DESIRED] = str(wanted)
    annotations[MAXIMUM] = str(wanted + rollout.bounds(deployment).surge)
    return annotations != before


def set_revision(deployment: Deployment, new: ReplicaSet) -> None:
    """Notes the revision on the deployment. It is written with the status: updates of the status
    take annotations, too."""
    deployment.metadata.annotations[REVISION] = new.metadata.annotations.get(REVISION, "")


def counted(
    deployment: Deployment, sets: list[ReplicaSet], new: ReplicaSet | None
) -> DeploymentStatus:
    """The deployment's status with the pods of its replica sets counted."""
    status = copy.deepcopy(deployment.status)
    status.observed_generation = deployment.metadata.generation
    status.replicas = sum(rs.status.replicas for rs in sets)
    status.updated_replicas = new.status.replicas if new is not None else 0
    status.ready_replicas = sum(rs.status.ready_replicas for rs in sets)
    status.available_replicas = sum(rs.status.available_replicas for rs in sets)
    unavailable = rollout.total_size(sets) - status.available_replicas
    status.unavailable_replicas = max(0, unavailable)
    counts = [rs.status.terminating_replicas for rs in sets]
    terminating = [count for count in counts if count is not None]
    if terminating:
        status.terminating_replicas = sum(terminating)
    return status

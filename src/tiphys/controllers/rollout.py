"""The arithmetic of a deployment's rollout: how large each of its replica sets may be now. Pure.

Upstream's pkg/controller/deployment/util and rolling.go are the source of the rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from tiphys.api.apps_v1 import Deployment, DeploymentStatus, ReplicaSet
from tiphys.api.base import Struct, encode
from tiphys.api.core_v1 import PodTemplateSpec
from tiphys.machinery.intorpercent import scaled
from tiphys.machinery.names import safe_encode

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"

Sizes = dict[str, int]  # new sizes of replica sets, by uid


class Bounds(NamedTuple):
    """How many pods there may be beyond the wanted number, and how many may be unavailable."""

    surge: int
    unavailable: int


def template_hash(deployment: Deployment) -> str:
    """The value of the label that keeps the pods of one template apart from those of another."""
    digest = hashlib.sha256(encode(deployment.spec.template))
    digest.update(str(deployment.status.collision_count or "").encode())
    return safe_encode(str(int.from_bytes(digest.digest()[:4], "big")))


def same_template(left: PodTemplateSpec, right: PodTemplateSpec) -> bool:
    """Whether two templates are alike but for the hash label."""

    def parts(template: PodTemplateSpec) -> tuple[dict[str, str], dict[str, str], Struct]:
        labels = dict(template.metadata.labels)
        labels.pop(HASH, None)
        return labels, template.metadata.annotations, template.spec

    return parts(left) == parts(right)


def wanted_size(deployment: Deployment) -> int:
    return deployment.spec.replicas or 0


def size(replica_set: ReplicaSet) -> int:
    return replica_set.spec.replicas or 0


def total_size(sets: Iterable[ReplicaSet]) -> int:
    return sum(size(replica_set) for replica_set in sets)


def by_age(sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    """The oldest first; of equals in the order of their names."""
    return sorted(sets, key=lambda rs: (rs.metadata.creation_timestamp or "", rs.metadata.name))


def bounds(deployment: Deployment) -> Bounds:
    """The bounds of a rollout; never both zero, or nothing could ever move. Only rolling updates
    have any: with Recreate, too, a Deployment is available when all of its pods are (upstream's
    `MaxUnavailable`)."""
    strategy = deployment.spec.strategy
    replicas = wanted_size(deployment)
    rolling = strategy.rolling_update
    if strategy.type != "RollingUpdate" or rolling is None:
        return Bounds(0, 0)
    surge = scaled(rolling.max_surge, replicas, round_up=True)
    unavailable = scaled(rolling.max_unavailable, replicas, round_up=False)
    if not replicas:
        return Bounds(surge, unavailable)
    if not surge and not unavailable:
        unavailable = 1
    return Bounds(surge, min(unavailable, replicas))


def new_size(deployment: Deployment, current: int, total: int) -> int:
    """How large the new replica set, which is `current` now, may be; `total` is the size of all."""
    wanted = wanted_size(deployment)
    if deployment.spec.strategy.type == "Recreate" or current >= wanted:
        return wanted
    room = wanted + bounds(deployment).surge - total
    return current + max(0, min(room, wanted - current))


def shrink_old(deployment: Deployment, new: ReplicaSet, old: list[ReplicaSet]) -> Sizes:
    """Smaller sizes of old replica sets that keep enough pods available: first what is broken goes,
    then, as far as others have become available, the rest; the oldest first."""
    least = wanted_size(deployment) - bounds(deployment).unavailable
    everything = [new, *old]
    new_unavailable = size(new) - new.status.available_replicas
    room = total_size(everything) - least - new_unavailable
    if room <= 0:
        return {}
    sizes = {rs.metadata.uid: size(rs) for rs in old}
    ordered = by_age(old)
    for rs in ordered:
        uid = rs.metadata.uid
        broken = min(room, max(0, sizes[uid] - rs.status.available_replicas))
        sizes[uid] -= broken
        room -= broken
    spare = sum(rs.status.available_replicas for rs in everything) - least
    for rs in ordered:
        uid = rs.metadata.uid
        if sizes[uid] > rs.status.available_replicas:
            continue  # some broken ones are left, which go before anything else of it
        step = max(0, min(spare, sizes[uid]))
        sizes[uid] -= step
        spare -= step
    return _changed(sizes, old)


def proportional(deployment: Deployment, sets: list[ReplicaSet]) -> Sizes:
    """Sizes after the deployment was scaled in the middle of a rollout: each set keeps its
    share."""
    active = [rs for rs in sets if size(rs)]
    wanted = wanted_size(deployment)
    if len(active) <= 1:
        chosen = active or by_age(sets)[-1:]
        return _changed({rs.metadata.uid: wanted for rs in chosen}, chosen)
    allowed = wanted + bounds(deployment).surge if wanted else 0
    total = total_size(active)
    left = allowed - total
    growing = left > 0
    # The largest first; of equals the newest when there is something to gain, the oldest when
    # something goes.
    ordered = by_age(active)
    if growing:
        ordered.reverse()
    ordered.sort(key=size, reverse=True)
    sizes: Sizes = {}
    for rs in ordered:
        allowed_before = int(rs.metadata.annotations.get(MAXIMUM) or total) or total
        share = round(size(rs) * allowed / allowed_before) - size(rs)
        share = min(max(share, 0), left) if growing else max(min(share, 0), left)
        sizes[rs.metadata.uid] = max(0, size(rs) + share)
        left -= share
    largest = ordered[0].metadata.uid
    sizes[largest] = max(0, sizes[largest] + left)  # what rounding has left over
    return _changed(sizes, active)


def _changed(sizes: Sizes, sets: Iterable[ReplicaSet]) -> Sizes:
    before = {rs.metadata.uid: size(rs) for rs in sets}
    return {uid: count for uid, count in sizes.items() if count != before[uid]}


def is_scaling(deployment: Deployment, sets: list[ReplicaSet]) -> bool:
    """Whether the deployment was scaled since its replica sets were sized: each notes the number
    that was wanted then."""
    wanted = str(wanted_size(deployment))
    return any(
        size(rs) and rs.metadata.annotations.get(DESIRED) not in (None, wanted) for rs in sets
    )


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Whether all pods are of the current template, all are available, and there are no others."""
    wanted = wanted_size(deployment)
    return (
        status.updated_replicas == wanted
        and status.replicas == wanted
        and status.available_replicas == wanted
        and status.observed_generation >= deployment.metadata.generation
    )


def has_progressed(before: DeploymentStatus, after: DeploymentStatus) -> bool:
    """Whether a rollout has moved since: more that is new, ready or available, or less that is
    old."""
    old_before = before.replicas - before.updated_replicas
    old_after = after.replicas - after.updated_replicas
    return (
        after.updated_replicas > before.updated_replicas
        or after.ready_replicas > before.ready_replicas
        or after.available_replicas > before.available_replicas
        or old_after < old_before
    )


def revision_of(replica_set: ReplicaSet) -> int:
    return int(replica_set.metadata.annotations.get(REVISION) or 0)


def beyond_history(deployment: Deployment, old: list[ReplicaSet]) -> list[ReplicaSet]:
    """The old replica sets that are empty and more than the history is to keep; the oldest
    revisions go first."""
    limit = deployment.spec.revision_history_limit
    if limit is None:
        return []
    idle = [
        rs
        for rs in old
        if not size(rs) and not rs.status.replicas and not rs.metadata.deletion_timestamp
    ]
    idle.sort(key=revision_of)
    return idle[: max(0, len(idle) - limit)]

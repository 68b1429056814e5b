"""Which volume a claim may have. Shared by the volume controller and the scheduler."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api import core_v1
from tiphys.api.core_v1 import PersistentVolume as Volume
from tiphys.api.core_v1 import PersistentVolumeClaim as Claim
from tiphys.api.storage_v1 import StorageClass
from tiphys.machinery.nodes import matches_term
from tiphys.machinery.quantity import nano
from tiphys.machinery.selectors import from_label_selector

SELECTED_NODE = "volume.kubernetes.io/selected-node"


def is_bound(claim: Claim) -> bool:
    return bool(claim.spec.volume_name) and claim.status.phase == "Bound"


def reserved_for(volume: Volume, claim: Claim) -> bool:
    """Whether a volume names this very claim."""
    ref = volume.spec.claim_ref
    if ref is None or (ref.namespace, ref.name) != (claim.metadata.namespace, claim.metadata.name):
        return False
    return not ref.uid or ref.uid == claim.metadata.uid


def fits(volume: Volume, claim: Claim) -> bool:
    """Whether a claim could be bound to a volume, whatever it is bound to now."""
    spec = volume.spec
    wanted = claim.spec
    if volume.metadata.deletion_timestamp or (spec.storage_class_name or "") != (
        wanted.storage_class_name or ""
    ):
        return False
    if (spec.volume_mode or "Filesystem") != (wanted.volume_mode or "Filesystem"):
        return False
    if not set(wanted.access_modes) <= set(spec.access_modes):
        return False
    if nano(spec.capacity.get("storage", "0")) < nano(
        wanted.resources.requests.get("storage", "0")
    ):
        return False
    selector = from_label_selector(wanted.selector)
    return selector is None or selector.matches(volume.metadata.labels)


def reachable(volume: Volume, node: core_v1.Node) -> bool:
    """Whether a volume can be used on a node."""
    affinity = volume.spec.node_affinity
    required = affinity.required if affinity is not None else None
    return required is None or any(
        matches_term(term, node) for term in required.node_selector_terms
    )


def allowed(kind: StorageClass, node: core_v1.Node) -> bool:
    """Whether a class allows volumes in the topology of a node."""
    labels = node.metadata.labels
    return not kind.allowed_topologies or any(
        all(labels.get(want.key) in want.values for want in term.match_label_expressions)
        for term in kind.allowed_topologies
    )


def best(
    volumes: Iterable[Volume], claim: Claim, node: core_v1.Node | None = None
) -> Volume | None:
    """The volume a claim should get: the one kept for it, else the smallest free one that fits (and
    that the node can reach, when one is given)."""
    candidates: list[tuple[int, str, Volume]] = []
    for volume in volumes:
        if reserved_for(volume, claim):
            return volume
        if claim.spec.volume_name:
            if volume.metadata.name == claim.spec.volume_name and volume.spec.claim_ref is None:
                return volume
            continue
        if (
            volume.spec.claim_ref is None
            and fits(volume, claim)
            and (node is None or reachable(volume, node))
        ):
            candidates.append(
                (nano(volume.spec.capacity.get("storage", "0")), volume.metadata.name, volume)
            )
    return min(candidates, key=lambda row: row[:2])[2] if candidates else None


def claims_of(pod: core_v1.Pod) -> list[str]:
    """Names of the claims a pod mounts, those of its ephemeral volumes too."""
    names = []
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            names.append(volume.persistent_volume_claim.claim_name)
        elif volume.ephemeral is not None:
            names.append(f"{pod.metadata.name}-{volume.name}")
    return names


def claim_index(pod: core_v1.Pod) -> list[str]:
    """For `Informer.index`: pods by ``namespace/name`` of the claims that they use."""
    return [f"{pod.metadata.namespace}/{name}" for name in claims_of(pod)]

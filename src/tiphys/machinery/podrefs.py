"""What a pod, or a volume, names of other objects.

Nodes may read what their pods name and nothing else, and mirror pods may name nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.api.base import Struct

MIRROR = "kubernetes.io/config.mirror"  # the annotation of a mirror pod, which a node makes

References = dict[str, set[str]]


class SecretName(NamedTuple):
    """Which secret."""

    namespace: str
    name: str


def references(pod: core_v1.Pod) -> References:
    """Plural of a resource → names: secrets, configmaps, persistentvolumeclaims, serviceaccounts,
    resourceclaims."""
    spec = pod.spec
    named = References()

    def note(plural: str, name: str | None) -> None:
        if name:
            named.setdefault(plural, set()).add(name)

    note("serviceaccounts", spec.service_account_name)
    for reference in spec.image_pull_secrets:
        note("secrets", reference.name)
    containers: list[Any] = [*spec.init_containers, *spec.containers, *spec.ephemeral_containers]
    for container in containers:
        for origin in container.env_from:
            note("configmaps", origin.config_map_ref.name if origin.config_map_ref else None)
            note("secrets", origin.secret_ref.name if origin.secret_ref else None)
        for variable in container.env:
            if (source := variable.value_from) is not None:
                note(
                    "configmaps",
                    source.config_map_key_ref.name if source.config_map_key_ref else None,
                )
                note("secrets", source.secret_key_ref.name if source.secret_key_ref else None)
    for volume in spec.volumes:
        for plural, name in _of_volume(volume):
            note(plural, name)
        if volume.ephemeral is not None:
            note("persistentvolumeclaims", f"{pod.metadata.name}-{volume.name}")
    # A claim that is made from a template is named in the status, under the name that the pod's own
    # spec has for it.
    claim_names = {
        status.name: status.resource_claim_name for status in pod.status.resource_claim_statuses
    }
    for claim in spec.resource_claims:
        note("resourceclaims", claim.resource_claim_name or claim_names.get(claim.name))
    if (extended := pod.status.extended_resource_claim_status) is not None:
        note("resourceclaims", extended.resource_claim_name)
    return named


def volume_secrets(volume: core_v1.PersistentVolume) -> Iterator[SecretName]:
    """The secrets that a volume names for a node's use; those of a CSI driver's controller are not
    among them.

    Upstream's VisitPVSecretNames, `kubeletVisible`: a reference without a namespace means the
    claim's, except for Cinder, StorageOS and CSI.
    """
    spec = volume.spec
    claim_namespace = spec.claim_ref.namespace if spec.claim_ref is not None else ""
    if (azure := spec.azure_file) is not None and azure.secret_name:
        yield SecretName(azure.secret_namespace or claim_namespace, azure.secret_name)
    for source in (spec.cephfs, spec.flex_volume, spec.rbd, spec.scale_io, spec.iscsi):
        if source is not None:
            yield from _secret(source.secret_ref, claim_namespace)
    for other in (spec.cinder, spec.storageos):
        if other is not None:
            yield from _secret(other.secret_ref)
    if spec.csi is not None:
        yield from _secret(spec.csi.node_publish_secret_ref)
        yield from _secret(spec.csi.node_stage_secret_ref)
        yield from _secret(spec.csi.node_expand_secret_ref)


def _secret(
    reference: core_v1.SecretReference | core_v1.ObjectReference | None, namespace: str = ""
) -> Iterator[SecretName]:
    """The secret of a reference, in `namespace` when it names none."""
    if reference is not None and reference.name:
        yield SecretName(reference.namespace or namespace, reference.name)


def first_reference(pod: core_v1.Pod) -> str:
    """The first other object that a pod references, as messages name it; empty when there is none.
    A mirror pod must not."""
    named = references(pod)
    for plural in ("serviceaccounts", "secrets", "configmaps"):
        if plural in named:
            return plural
    if pod.spec.resource_claims:
        return "resourceclaims"
    return next((noun for volume in pod.spec.volumes if (noun := _noun_of(volume))), "")


def _noun_of(volume: core_v1.Volume) -> str:
    if volume.csi is not None:
        return "csidrivers (via CSI volumes)"
    if volume.glusterfs is not None:
        return "endpoints (via glusterFS volumes)"
    if volume.persistent_volume_claim is not None:
        return "persistentvolumeclaims"
    if volume.ephemeral is not None:
        return "persistentvolumeclaims (via ephemeral volumes)"
    for part in volume.projected.sources if volume.projected is not None else ():
        if part.service_account_token is not None:
            return "serviceaccounts (via projected volumes)"
        if part.cluster_trust_bundle is not None:
            return "clustertrustbundles"
        if part.pod_certificate is not None:
            return "podcertificates"
    return ""


def _of_volume(volume: core_v1.Volume) -> Iterator[tuple[str, str | None]]:
    if volume.secret is not None:
        yield "secrets", volume.secret.secret_name
    if volume.config_map is not None:
        yield "configmaps", volume.config_map.name
    if volume.persistent_volume_claim is not None:
        yield "persistentvolumeclaims", volume.persistent_volume_claim.claim_name
    if volume.projected is not None:
        for part in volume.projected.sources:
            yield "secrets", part.secret.name if part.secret else None
            yield "configmaps", part.config_map.name if part.config_map else None
    for name in volume.__struct_fields__:
        source: Any = getattr(volume, name)
        if isinstance(source, Struct):
            for attribute in ("secret_ref", "node_publish_secret_ref"):
                yield "secrets", getattr(getattr(source, attribute, None), "name", None)
    if volume.azure_file is not None:
        yield "secrets", volume.azure_file.secret_name

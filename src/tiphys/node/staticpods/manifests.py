"""A file's text to the pod that the node runs. Pure; the counterpart of upstream's
`pkg/kubelet/config/common.go`."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from tiphys.api import core_v1
from tiphys.api.base import encode
from tiphys.machinery.podrefs import first_reference

HASH = "kubernetes.io/config.hash"
SOURCE = "kubernetes.io/config.source"
CRITICAL_PRIORITY = 2_000_001_000  # of system-node-critical
_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,127}")  # folders and groups are named after it


class ManifestError(ValueError):
    """A file that is no pod which a node may run by itself; the text is for the node's log."""


class PodReader(Protocol):
    """What the API server does to a pod that is created. It is given to the node, which does not
    know of the API server's rooms."""

    def decode(self, text: bytes) -> core_v1.Pod:
        """YAML or JSON to a pod with its defaults. Raises ValueError."""
        ...

    def violations(self, pod: core_v1.Pod) -> list[str]:
        """Why the API server would not take it."""
        ...


def static_pod(text: bytes, source: str, node: str, reader: PodReader) -> core_v1.Pod:
    """`source` is the file's path, `node` the name of the node. Raises ManifestError."""
    try:
        pod = reader.decode(text)
    except ValueError as error:
        problem = f"couldn't parse as pod({error}), please check config file"
        raise ManifestError(f"{source}: {problem}") from None
    if not pod.metadata.name:
        raise ManifestError("invalid pod: name is needed for the pod")
    _place(pod, source, node)
    if violations := reader.violations(pod):
        raise ManifestError(f"invalid pod: [{', '.join(violations)}]")
    if noun := first_reference(pod):
        raise ManifestError(f"static pods may not reference {noun}")
    # Nothing resolves its class, and the node does without whatever else before it (upstream's
    # IsCriticalPod).
    pod.spec.priority = CRITICAL_PRIORITY
    return pod


def _place(pod: core_v1.Pod, source: str, node: str) -> None:
    """Names the pod after its node, and gives it a UID that changes with the file."""
    meta = pod.metadata
    uid = meta.uid or _hash(pod, source, node)
    if _UID.fullmatch(uid) is None:
        raise ManifestError(f"invalid pod: metadata.uid: {uid!r} names no folder")
    meta.uid = uid
    meta.name = f"{meta.name}-{node.lower()}"
    meta.namespace = meta.namespace or "default"
    meta.annotations = {**meta.annotations, HASH: uid, SOURCE: "file"}
    pod.spec.node_name = node
    # Trouble of the node is no reason to end it.
    stays = core_v1.Toleration(operator="Exists", effect="NoExecute")
    pod.spec.tolerations = [*pod.spec.tolerations, stays]


def _hash(pod: core_v1.Pod, source: str, node: str) -> str:
    digest = hashlib.blake2b(encode(pod), digest_size=16)
    digest.update(f"host:{node}file:{source}".encode())
    return digest.hexdigest()

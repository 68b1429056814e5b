"""Warnings about pods and templates of pods: what is allowed, and is not what its author is
likely to want.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tiphys.api.core_v1 import (
    Affinity,
    Container,
    NodeAffinity,
    NodeSelectorTerm,
    PodAffinity,
    PodAntiAffinity,
    PodSpec,
    PodTemplateSpec,
    TopologySpreadConstraint,
    Volume,
)
from tiphys.apiserver.resources.podspec.omissions import omissions
from tiphys.machinery import quantity
from tiphys.machinery.names import dns_label_errors

# Label → since when it is deprecated, and what to use instead.
_DEPRECATED_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}
# Attribute of a volume → JSON name, since when it is deprecated, since when it does nothing.
_DEPRECATED_VOLUMES = {
    "cephfs": ("cephfs", "v1.28", "v1.31"),
    "rbd": ("rbd", "v1.28", "v1.31"),
    "glusterfs": ("glusterfs", "v1.25", "v1.26"),
    "scale_io": ("scaleIO", "v1.16", "v1.22"),
    "flocker": ("flocker", "v1.22", "v1.25"),
    "storageos": ("storageOS", "v1.22", "v1.25"),
    "quobyte": ("quobyte", "v1.22", "v1.25"),
    "photon_persistent_disk": ("photonPersistentDisk", "v1.11", "v1.16"),
}
_CRITICAL = "scheduler.alpha.kubernetes.io/critical-pod"
_SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_OF = "container.seccomp.security.alpha.kubernetes.io/"
_APPARMOR_OF = "container.apparmor.security.beta.kubernetes.io/"
_NO_SELECTOR = "a null labelSelector results in matching no pod"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def template_warnings(
    new: PodTemplateSpec, old: PodTemplateSpec | None, path: str
) -> Iterator[str]:
    """Of a template of pods that is new, or has changed."""
    if new != old:
        annotations = new.metadata.annotations
        yield from pod_warnings(annotations, new.spec, f"{path}.metadata", f"{path}.spec")


def hostname_warnings(name: str, use: str) -> Iterator[str]:
    """Of a name that becomes part of hostnames, which can hold less than the names of objects.
    `use` names the use."""
    if problems := dns_label_errors(name):
        yield (
            f"metadata.name: this is used in {use}, which can result in surprising behavior;"
            f" a DNS label is recommended: [{' '.join(problems)}]"
        )


def pod_warnings(
    annotations: dict[str, str], spec: PodSpec, meta_path: str, path: str
) -> Iterator[str]:
    """Of a pod, or of a template of pods."""
    yield from _annotations(annotations, f"{meta_path}.annotations")
    for label in spec.node_selector:
        if label in _DEPRECATED_LABELS:
            yield f"{path}.nodeSelector[{label}]: {_deprecation(label)}"
    if spec.affinity is not None:
        yield from _affinity(spec.affinity, f"{path}.affinity")
    for index, constraint in enumerate(spec.topology_spread_constraints):
        yield from _constraint(constraint, f"{path}.topologySpreadConstraints[{index}]")
    for index, secret in enumerate(spec.image_pull_secrets):
        if not secret.name:
            yield f'{path}.imagePullSecrets[{index}].name: invalid empty name ""'
    for index, volume in enumerate(spec.volumes):
        yield from _volume(volume, f"{path}.volumes[{index}]")
    if (spec.termination_grace_period_seconds or 0) < 0:
        yield (
            f"{path}.terminationGracePeriodSeconds: must be >= 0;"
            " negative values are invalid and will be treated as 1"
        )
    for kind, containers in (
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
    ):
        for index, container in enumerate(containers):
            yield from _container(container, f"{path}.{kind}[{index}]")
    yield from omissions(spec, path)


def _annotations(annotations: dict[str, str], path: str) -> Iterator[str]:
    for key in annotations:
        field = f"{path}[{key}]"
        if key.startswith(_APPARMOR_OF):
            yield f'{field}: deprecated since v1.30; use the "appArmorProfile" field instead'
        elif key == _SECCOMP or key.startswith(_SECCOMP_OF):
            yield f'{field}: non-functional in v1.27+; use the "seccompProfile" field instead'
        elif key == _CRITICAL:
            yield f'{field}: non-functional in v1.16+; use the "priorityClassName" field instead'


def _deprecation(label: str) -> str:
    since, instead = _DEPRECATED_LABELS[label]
    return f'deprecated since {since}; use "{instead}" instead'


def _volume(volume: Volume, path: str) -> Iterator[str]:
    for attribute, (name, since, gone) in _DEPRECATED_VOLUMES.items():
        if getattr(volume, attribute) is not None:
            yield f"{path}.{name}: deprecated in {since}, non-functional in {gone}+"


def _constraint(constraint: TopologySpreadConstraint, path: str) -> Iterator[str]:
    label = constraint.topology_key
    if label in _DEPRECATED_LABELS:
        yield f"{path}.topologyKey: {label} is {_deprecation(label)}"
    if constraint.label_selector is None:
        yield f"{path}.labelSelector: {_NO_SELECTOR}"


def _container(container: Container, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, variable in enumerate(container.env):
        if variable.name in seen:
            yield (
                f'{path}.env[{index}]: hides previous definition of "{variable.name}",'
                " which may be dropped when using apply"
            )
        seen.add(variable.name)
    resources = container.resources
    if resources.limits or resources.requests:
        yield from _fractional_bytes(resources.limits, f"{path}.resources.limits")
        yield from _fractional_bytes(resources.requests, f"{path}.resources.requests")
    if len(container.ports) > 1:
        yield from _double_ports(container, f"{path}.ports")


def _fractional_bytes(amounts: Mapping[str, str], path: str) -> Iterator[str]:
    for name in ("memory", "ephemeral-storage"):
        amount = amounts.get(name)
        if amount is not None and quantity.nano(amount) % quantity.NANO:
            yield (
                f'{path}[{name}]: fractional byte value "{amount}" is invalid, must be an integer'
            )


def _double_ports(container: Container, path: str) -> Iterator[str]:
    first: dict[tuple[int, str, int, str], int] = {}
    for index, port in enumerate(container.ports):
        key = (port.container_port, port.protocol, port.host_port, port.host_ip)
        if key in first:
            yield f"{path}[{index}]: duplicate port definition with {path}[{first[key]}]"
        first.setdefault(key, index)


# --- affinity ---


def _affinity(affinity: Affinity, path: str) -> Iterator[str]:
    if affinity.node_affinity is not None:
        yield from _node_affinity(affinity.node_affinity, f"{path}.nodeAffinity")
    if affinity.pod_affinity is not None:
        yield from _pod_affinity(affinity.pod_affinity, f"{path}.podAffinity")
    if affinity.pod_anti_affinity is not None:
        yield from _pod_affinity(affinity.pod_anti_affinity, f"{path}.podAntiAffinity")


def _node_affinity(affinity: NodeAffinity, path: str) -> Iterator[str]:
    required = affinity.required_during_scheduling_ignored_during_execution
    if required is not None:
        terms = required.node_selector_terms
        yield from node_term_warnings(terms, f"{path}.{_REQUIRED}.nodeSelectorTerms")
    preferred = affinity.preferred_during_scheduling_ignored_during_execution
    for index, wish in enumerate(preferred):
        yield from _node_term(wish.preference, f"{path}.{_PREFERRED}[{index}].preference")


def node_term_warnings(terms: list[NodeSelectorTerm], path: str) -> Iterator[str]:
    for index, term in enumerate(terms):
        yield from _node_term(term, f"{path}[{index}]")


def _node_term(term: NodeSelectorTerm, path: str) -> Iterator[str]:
    for index, wanted in enumerate(term.match_expressions):
        label = wanted.key
        if label in _DEPRECATED_LABELS:
            yield f"{path}.matchExpressions[{index}].key: {label} is {_deprecation(label)}"


def _pod_affinity(affinity: PodAffinity | PodAntiAffinity, path: str) -> Iterator[str]:
    required = affinity.required_during_scheduling_ignored_during_execution
    for index, term in enumerate(required):
        if term.label_selector is None:
            yield f"{path}.{_REQUIRED}[{index}].labelSelector: {_NO_SELECTOR}"
    preferred = affinity.preferred_during_scheduling_ignored_during_execution
    for index, wish in enumerate(preferred):
        if wish.pod_affinity_term.label_selector is None:
            field = f"{path}.{_PREFERRED}[{index}].podAffinityTerm"
            yield f"{field}.labelSelector: {_NO_SELECTOR}"

"""Sentences for the Warning header: what is allowed, and is not what its writer is likely to want."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.api.catalog import Resource
from tiphys.apiserver.custom.resource import CustomResource
from tiphys.apiserver.registry.metadata import STANDARD_FINALIZERS
from tiphys.apiserver.resources import omissions
from tiphys.machinery import quantity
from tiphys.machinery.names import dns_label_errors, label_key_errors

_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}
_VOLUMES = {
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
_SECCOMP, _SECCOMP_OF = (
    "seccomp.security.alpha.kubernetes.io/pod",
    "container.seccomp.security.alpha.kubernetes.io/",
)
_APPARMOR_OF = "container.apparmor.security.beta.kubernetes.io/"
_NO_SELECTOR = "a null labelSelector results in matching no pod"
_CLASS = "volume.beta.kubernetes.io/storage-class"


def _outdated(key: str) -> str:
    since, instead = _LABELS[key]
    return f'deprecated since {since}; use "{instead}" instead'


def _annotations(annotations: dict[str, str], at: str) -> Iterator[str]:
    for key in annotations:
        where = f"{at}[{key}]"
        if key.startswith(_APPARMOR_OF):
            yield f'{where}: deprecated since v1.30; use the "appArmorProfile" field instead'
        elif key == _SECCOMP or key.startswith(_SECCOMP_OF):
            yield f'{where}: non-functional in v1.27+; use the "seccompProfile" field instead'
        elif key == _CRITICAL:
            yield f'{where}: non-functional in v1.16+; use the "priorityClassName" field instead'


def _selected_nodes(terms: list[tuple[v1.NodeSelectorTerm, str]]) -> Iterator[str]:
    for term, at in terms:
        for index, row in enumerate(term.match_expressions):
            if row.key in _LABELS:
                yield f"{at}.matchExpressions[{index}].key: {row.key} is {_outdated(row.key)}"


def _affinity(affinity: v1.Affinity, at: str) -> Iterator[str]:
    during, maybe = (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    )
    if (nodes := affinity.node_affinity) is not None:
        required = nodes.required_during_scheduling_ignored_during_execution
        terms = [
            (term, f"{at}.nodeAffinity.{during}.nodeSelectorTerms[{n}]")
            for n, term in enumerate(required.node_selector_terms if required is not None else ())
        ]
        for number, wish in enumerate(nodes.preferred_during_scheduling_ignored_during_execution):
            terms.append((wish.preference, f"{at}.nodeAffinity.{maybe}[{number}].preference"))
        yield from _selected_nodes(terms)
    for name, part in (
        ("podAffinity", affinity.pod_affinity),
        ("podAntiAffinity", affinity.pod_anti_affinity),
    ):
        if part is None:
            continue
        rows = [
            (f"{during}[{n}]", t)
            for n, t in enumerate(part.required_during_scheduling_ignored_during_execution)
        ]
        wishes = enumerate(part.preferred_during_scheduling_ignored_during_execution)
        rows += [(f"{maybe}[{n}].podAffinityTerm", wish.pod_affinity_term) for n, wish in wishes]
        for where, term in rows:
            if term.label_selector is None:
                yield f"{at}.{name}.{where}.labelSelector: {_NO_SELECTOR}"


def _container(container: Any, at: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, variable in enumerate(container.env):
        if variable.name in seen:
            yield f'{at}.env[{index}]: hides previous definition of "{variable.name}", which may be dropped when using apply'
        seen.add(variable.name)
    for kind, values in (
        ("limits", container.resources.limits),
        ("requests", container.resources.requests),
    ):
        for name in ("memory", "ephemeral-storage"):
            if name in values and quantity.nano(values[name]) % quantity.NANO:
                yield f'{at}.resources.{kind}[{name}]: fractional byte value "{values[name]}" is invalid, must be an integer'
    ports: dict[tuple[Any, ...], int] = {}
    for index, port in enumerate(container.ports):
        key = (port.container_port, port.protocol, port.host_port, port.host_ip)
        if key in ports:
            yield f"{at}.ports[{index}]: duplicate port definition with {at}.ports[{ports[key]}]"
        ports.setdefault(key, index)


def of_pod(
    annotations: dict[str, str], spec: v1.PodSpec, meta_path: str, path: str
) -> Iterator[str]:
    """Of a pod, or of a template of pods."""
    yield from _annotations(annotations, f"{meta_path}.annotations")
    for key in spec.node_selector:
        if key in _LABELS:
            yield f"{path}.nodeSelector[{key}]: {_outdated(key)}"
    if spec.affinity is not None:
        yield from _affinity(spec.affinity, f"{path}.affinity")
    for index, constraint in enumerate(spec.topology_spread_constraints):
        at = f"{path}.topologySpreadConstraints[{index}]"
        if constraint.topology_key in _LABELS:
            yield f"{at}.topologyKey: {constraint.topology_key} is {_outdated(constraint.topology_key)}"
        if constraint.label_selector is None:
            yield f"{at}.labelSelector: {_NO_SELECTOR}"
    for index, secret in enumerate(spec.image_pull_secrets):
        if not secret.name:
            yield f'{path}.imagePullSecrets[{index}].name: invalid empty name ""'
    for index, volume in enumerate(spec.volumes):
        for attribute, (name, since, gone) in _VOLUMES.items():
            if getattr(volume, attribute) is not None:
                yield f"{path}.volumes[{index}].{name}: deprecated in {since}, non-functional in {gone}+"
    if (spec.termination_grace_period_seconds or 0) < 0:
        yield f"{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
    for kind, containers in (
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
    ):
        for index, container in enumerate(containers):
            yield from _container(container, f"{path}.{kind}[{index}]")
    yield from omissions.of_spec(spec, path)


def _name(name: str, what: str) -> Iterator[str]:
    if problems := dns_label_errors(name):
        why = "which can result in surprising behavior; a DNS label is recommended"
        yield f"metadata.name: this is used in {what}, {why}: [{' '.join(problems)}]"


def _pod(new: v1.Pod, old: v1.Pod | None) -> Iterator[str]:
    if old is None:
        yield from _name(new.metadata.name, "the Pod's hostname")
        yield from of_pod(new.metadata.annotations, new.spec, "metadata", "spec")


def _template(
    path: str, template: Callable[[Any], Any], named: bool = False
) -> Callable[[Any, Any], Iterator[str]]:
    """Of what has a template of pods at `path`; `named`: its pods have its name in theirs."""

    def warnings(new: Any, old: Any) -> Iterator[str]:
        if old is None and named:
            yield from _name(new.metadata.name, "Pod names and hostnames")
        made = template(new)
        if old is None or made != template(old):
            yield from of_pod(
                made.metadata.annotations, made.spec, f"{path}.metadata", f"{path}.spec"
            )

    return warnings


def _service(new: v1.Service, old: v1.Service | None) -> Iterator[str]:
    spec = new.spec
    if spec.type == "ExternalName" and spec.external_ips:
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if spec.cluster_ip == "None":
        if spec.load_balancer_ip:
            yield "spec.loadBalancerIP is ignored for headless services"
        if spec.external_ips:
            yield "spec.externalIPs is ignored for headless services"
        if spec.session_affinity not in ("", "None"):
            yield "spec.SessionAffinity is ignored for headless services"
    yield from omissions.of_service(spec)


def _ingress(new: Any, old: Any) -> Iterator[str]:
    if old is None and "kubernetes.io/ingress.class" in new.metadata.annotations:
        yield "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"


def _classed(new: Any, old: Any) -> Iterator[str]:
    if _CLASS in new.metadata.annotations:
        yield f'metadata.annotations[{_CLASS}]: deprecated since v1.8; use "storageClassName" attribute instead'


def _volume(new: v1.PersistentVolume, old: Any) -> Iterator[str]:
    yield from _classed(new, old)
    key = "volume.beta.kubernetes.io/mount-options"
    if key in new.metadata.annotations:
        yield f'metadata.annotations[{key}]: deprecated since v1.31; use "mountOptions" attribute instead'
    if new.spec.persistent_volume_reclaim_policy == "Recycle":
        instead = "Instead, the recommended approach is to use dynamic provisioning."
        yield f"spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. {instead}"
    if (
        new.spec.node_affinity is not None
        and (required := new.spec.node_affinity.required) is not None
    ):
        at = "spec.nodeAffinity.required.nodeSelectorTerms"
        yield from _selected_nodes(
            [(term, f"{at}[{n}]") for n, term in enumerate(required.node_selector_terms)]
        )


def _account(new: v1.ServiceAccount, old: Any) -> Iterator[str]:
    key = "kubernetes.io/enforce-mountable-secrets"
    if key in new.metadata.annotations:
        why = (
            "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )
        yield f"metadata.annotations[{key}]: {why}"


def _custom(new: Any, old: Any | None) -> Iterator[str]:
    """Finalizers that are new: upstream only recommends what it demands of built-in resources."""
    known = old.metadata.finalizers if old is not None else ()
    for finalizer in sorted(set(new.metadata.finalizers).difference(known)):
        at = f'metadata.finalizers: "{finalizer}"'
        for problem in label_key_errors(finalizer):
            yield f"{at}: {problem}"
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            path = " including a path (/)" if "." in finalizer else ""
            why = f"prefer a domain-qualified finalizer name{path}"
            yield f"{at}: {why} to avoid accidental conflicts with other finalizer writers"


_OF: dict[str, Callable[[Any, Any], Iterator[str]]] = {
    "pods": _pod,
    "podtemplates": _template("template", lambda obj: obj.template),
    "replicationcontrollers": _template("spec.template", lambda obj: obj.spec.template, named=True),
    "deployments.apps": _template("spec.template", lambda obj: obj.spec.template, named=True),
    "replicasets.apps": _template("spec.template", lambda obj: obj.spec.template, named=True),
    "statefulsets.apps": _template("spec.template", lambda obj: obj.spec.template),
    "daemonsets.apps": _template("spec.template", lambda obj: obj.spec.template),
    "jobs.batch": _template("spec.template", lambda obj: obj.spec.template, named=True),
    "cronjobs.batch": _template(
        "spec.jobTemplate.spec.template", lambda obj: obj.spec.job_template.spec.template
    ),
    "services": _service,
    "serviceaccounts": _account,
    "ingresses.networking.k8s.io": _ingress,
    "persistentvolumes": _volume,
    "persistentvolumeclaims": _classed,
}


def warnings_of(resource: Resource, new: Any, old: Any | None) -> Iterator[str]:
    """What to say of an object that is made, or was `old` before."""
    if isinstance(resource, CustomResource):
        return _custom(new, old)
    found = _OF.get(resource.group_resource)
    return found(new, old) if found is not None else iter(())

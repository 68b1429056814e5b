"""The pods of a job, as they are made and as they are seen. Pure.

A pod's name is its place: job, group and index. It never restarts by itself: what broke and how
often is for the operator to know.
"""

from __future__ import annotations

import copy

from tiphys.addons.training.sizes import Group
from tiphys.addons.training.types import HyperPodPyTorchJob, PodSetInfo
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import conditions
from tiphys.operator.reconcile import owner_reference

JOB_LABEL = "HPJob"  # by which `hyp list-pods` finds them
GROUP_LABEL = "training.addons.tiphys.dev/group"
INDEX_LABEL = "training.addons.tiphys.dev/index"
GANG_LABEL = "scheduling.x-k8s.io/pod-group"
GANG_SIZE_LABEL = "pod-group.scheduling.sigs.k8s.io/min-available"

_HOSTNAME = "kubernetes.io/hostname"
_HEALTH = "sagemaker.amazonaws.com/node-health-status"
_ACCELERATORS = (
    "nvidia.com/gpu",
    "aws.amazon.com/neuron",
    "aws.amazon.com/neuroncore",
    "amd.com/gpu",
)


def name_of(job: HyperPodPyTorchJob, group: str, index: int) -> str:
    return f"{job.metadata.name}-{group}-{index}"


def service_of(job: HyperPodPyTorchJob, agent_port: int) -> core_v1.Service:
    """By which the pods find each other: ``<pod>.<job>``, before they are ready, too."""
    meta = ObjectMeta(
        name=job.metadata.name,
        namespace=job.metadata.namespace,
        labels={JOB_LABEL: job.metadata.name},
    )
    service = core_v1.Service(metadata=meta)
    service.spec.cluster_ip = "None"
    service.spec.selector = {JOB_LABEL: job.metadata.name}
    service.spec.publish_not_ready_addresses = True
    service.spec.ports = [core_v1.ServicePort(name="agent", port=agent_port)]
    return service


def pod_of(
    job: HyperPodPyTorchJob,
    group: Group,
    index: int,
    gang_size: int,
    avoided_nodes: tuple[str, ...] = (),
) -> core_v1.Pod:
    """The pod of a group with that index. `gang_size` pods of the job are placed together or not at
    all."""
    template = copy.deepcopy(group.spec.template) or core_v1.PodTemplateSpec()
    name = name_of(job, group.name, index)
    meta = ObjectMeta(
        name=name,
        namespace=job.metadata.namespace,
        labels={**template.metadata.labels, **_labels(job, group, index, gang_size)},
        annotations=dict(template.metadata.annotations),
        owner_references=[owner_reference(job)],
    )
    pod = core_v1.Pod(metadata=meta, spec=template.spec)
    spec = pod.spec
    spec.restart_policy = "Never"
    spec.hostname = spec.hostname or name
    spec.subdomain = spec.subdomain or job.metadata.name
    for container in spec.containers:
        _add_environment(container, job, group)
    for info in job.status.pod_set_infos[:1]:
        _admit(pod, info)
    if avoided_nodes:
        _avoid(spec, avoided_nodes)
    return pod


def _labels(job: HyperPodPyTorchJob, group: Group, index: int, gang_size: int) -> dict[str, str]:
    name = job.metadata.name
    labels = {JOB_LABEL: name, GROUP_LABEL: group.name, INDEX_LABEL: str(index)}
    if gang_size > 1:
        labels |= {GANG_LABEL: name, GANG_SIZE_LABEL: str(gang_size)}
    return labels


def gang_size_of(groups: tuple[Group, ...]) -> int:
    """How many pods the job needs to train at all."""
    return sum(min(group.sizes) for group in groups)


def _add_environment(container: core_v1.Container, job: HyperPodPyTorchJob, group: Group) -> None:
    """What agents read and users need not write: what the template sets stays."""
    wanted = {
        "NNODES": str(group.target),
        "NPROC_PER_NODE": str(processes_of(job.spec.nproc_per_node, container)),
    }
    declared = {variable.name for variable in container.env}
    for name, value in wanted.items():
        if name not in declared:
            container.env.append(core_v1.EnvVar(name=name, value=value))


def processes_of(nproc_per_node: str, container: core_v1.Container) -> int:
    """How many processes a pod has: one for each accelerator, or each whole CPU."""
    if nproc_per_node.isdigit():
        return int(nproc_per_node)
    resources = container.resources
    amounts = {**resources.requests, **resources.limits}
    for name in () if nproc_per_node == "cpu" else _ACCELERATORS:
        if str(amounts.get(name, "0")).isdigit() and int(amounts.get(name, "0")) > 0:
            return int(amounts[name])
    cpus = str(amounts.get("cpu", "1"))
    return int(cpus) if nproc_per_node == "cpu" and cpus.isdigit() else 1


def _admit(pod: core_v1.Pod, info: PodSetInfo) -> None:
    """What a queue that admitted the job wants its pods to have."""
    pod.metadata.labels |= info.labels
    pod.metadata.annotations |= info.annotations
    pod.spec.node_selector |= info.node_selector
    pod.spec.tolerations = [*pod.spec.tolerations, *info.tolerations]


def _avoid(spec: core_v1.PodSpec, nodes: tuple[str, ...]) -> None:
    requirement = core_v1.NodeSelectorRequirement(
        key=_HOSTNAME, operator="NotIn", values=list(nodes)
    )
    spec.affinity = spec.affinity or core_v1.Affinity()
    node = spec.affinity.node_affinity = spec.affinity.node_affinity or core_v1.NodeAffinity()
    required = node.required_during_scheduling_ignored_during_execution
    if required is None or not required.node_selector_terms:
        required = core_v1.NodeSelector(node_selector_terms=[core_v1.NodeSelectorTerm()])
    for term in required.node_selector_terms:  # one of them is enough: each must avoid the nodes
        term.match_expressions = [*term.match_expressions, requirement]
    node.required_during_scheduling_ignored_during_execution = required


# --- as they are seen ---


def place_of(pod: core_v1.Pod) -> tuple[str, int] | None:
    """Group and index of a pod; None for one that the operator did not make."""
    labels = pod.metadata.labels
    index = labels.get(INDEX_LABEL, "")
    if not index.isdigit() or GROUP_LABEL not in labels:
        return None
    return labels[GROUP_LABEL], int(index)


def why_lost(pod: core_v1.Pod, node: core_v1.Node | None) -> str:
    """Why a pod will not train any more; empty: it may."""
    node_problem = why_node_lost(node) if pod.spec.node_name else ""
    if node_problem:
        return f"node {pod.spec.node_name} {node_problem}"
    if pod.status.phase == "Failed":
        return f"it failed: {pod.status.reason or _exits(pod) or 'no reason is known'}"
    if pod.status.phase == "Succeeded":
        return "its containers ended"
    return ""


def why_node_lost(node: core_v1.Node | None) -> str:
    """Empty: it is well."""
    if node is None:
        return "is gone"
    ready = conditions.find(node.status.conditions, "Ready")
    if ready is not None and ready.status != "True":
        return f"is not ready ({ready.reason})"
    health = node.metadata.labels.get(_HEALTH, "Schedulable")
    return "" if health == "Schedulable" else f"is to be replaced ({_HEALTH}={health})"


def _exits(pod: core_v1.Pod) -> str:
    exits = [
        f"container {status.name} exited with {status.state.terminated.exit_code}"
        for status in pod.status.container_statuses
        if status.state.terminated is not None and status.state.terminated.exit_code
    ]
    return ", ".join(exits)

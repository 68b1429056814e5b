"""The table of kinds of jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tiphys.addons.kueue.jobs.parts import (
    Finish,
    JobKind,
    Manifest,
    Part,
    Placement,
    by_conditions,
    dig,
    items,
    mapping,
    number,
)
from tiphys.api.catalog import Resource

MIN_PARALLELISM = "kueue.x-k8s.io/job-min-parallelism"
_INDEX = "batch.kubernetes.io/job-completion-index"
COMPLETIONS_FOLLOW = "kueue.x-k8s.io/job-completions-equal-parallelism"


# --- batch/v1 ---


def _job_count(spec: Manifest) -> int:
    parallelism = number(spec.get("parallelism"), 1)
    completions = spec.get("completions")
    return min(parallelism, completions) if isinstance(completions, int) else parallelism


def _job_parts(meta: Manifest, spec: Manifest) -> list[Part]:
    annotations = mapping(meta, "annotations")
    least = annotations.get(MIN_PARALLELISM, "")

    def set_count(count: int) -> None:
        spec["parallelism"] = count
        if annotations.get(COMPLETIONS_FOLLOW) == "true":
            spec["completions"] = count

    part = Part("main", mapping(spec, "template"), _job_count(spec))
    if least.isascii() and least.isdecimal() and 0 < int(least) <= part.size:
        part = part._replace(least=int(least), set_count=set_count)
    return [part]


def _job_is_active(status: Manifest) -> bool:
    return number(status.get("active"), 0) > 0


def _job_is_ready(spec: Manifest, status: Manifest) -> bool:
    done = number(status.get("succeeded"), 0) + number(status.get("ready"), 0)
    return done >= _job_count(spec)


def _job_reclaimable(spec: Manifest, status: Manifest) -> dict[str, int]:
    """Of pods that run side by side, those for which there is nothing left to do."""
    parallelism = number(spec.get("parallelism"), 1)
    completions = spec.get("completions")
    succeeded = number(status.get("succeeded"), 0)
    if parallelism <= 1 or not succeeded or not isinstance(completions, int):
        return {}
    remaining = completions - succeeded
    return {"main": parallelism - remaining} if remaining < parallelism else {}


# --- JobSet ---


def _job_set_parts(meta: Manifest, spec: Manifest) -> list[Part]:
    return [
        Part(
            str(one.get("name", "")).lower(),
            mapping(one, "template", "spec", "template"),
            number(one.get("replicas"), 1) * _job_count(mapping(one, "template", "spec")),
            path=f"spec.replicatedJobs[{index}].template.metadata",
            groups=number(one.get("replicas"), 1),
        )
        for index, one in enumerate(items(spec, "replicatedJobs"))
    ]


def _any_active(*path: str) -> Callable[[Manifest], bool]:
    """Whether any row of a list in the status counts active pods."""
    return lambda status: any(number(row.get("active"), 0) > 0 for row in items(status, *path))


# --- Kubeflow's trainer ---

_TRAINER_MANAGER = "kueue.x-k8s.io/manager"


def _train_parts(meta: Manifest, spec: Manifest) -> list[Part]:
    """The trainer's nodes as the TrainJob itself describes them; what its runtime adds beside them
    is not counted."""
    trainer = mapping(spec, "trainer")
    container = {
        "name": "node",
        "image": trainer.get("image", ""),
        "resources": mapping(trainer, "resourcesPerNode"),
    }
    template = {"spec": {"containers": [container]}}
    return [Part("node", template, number(trainer.get("numNodes"), 1), path="job[node]")]


def _train_place(spec: Manifest, placements: list[Placement]) -> None:
    """Overrides of the runtime's templates, under a manager's name of ours."""
    kept = [
        one for one in items(spec, "podTemplateOverrides") if one.get("manager") != _TRAINER_MANAGER
    ]
    ours = [
        {
            "manager": _TRAINER_MANAGER,
            "targetJobs": [{"name": placement.name}],
            "spec": {
                "nodeSelector": placement.node_selector,
                "tolerations": placement.tolerations,
            },
        }
        for placement in placements
        if placement.node_selector or placement.tolerations
    ]
    spec.pop("podTemplateOverrides", None)
    if kept or ours:
        spec["podTemplateOverrides"] = [*ours, *kept]


# --- Kubeflow's training operator, and what has its shape ---


def _replica_parts(field: str, *order: str) -> Callable[[Manifest, Manifest], list[Part]]:
    def parts(meta: Manifest, spec: Manifest) -> list[Part]:
        replicas = mapping(spec, field)
        names = [*(name for name in order if name in replicas)]
        names += sorted(name for name in replicas if name not in order)
        return [
            Part(
                name.lower(),
                mapping(replicas, name, "template"),
                number(dig(replicas, name, "replicas"), 1),
                path=f"spec.{field}[{name}].template.metadata",
            )
            for name in names
        ]

    return parts


def _replicas_active(status: Manifest) -> bool:
    return any(
        number(dig(one, "active"), 0) > 0 for one in mapping(status, "replicaStatuses").values()
    )


def _kubeflow(kind: str, plural: str, field: str, *order: str, group: str = "") -> JobKind:
    version = "v2beta1" if kind == "MPIJob" else "v1"
    return JobKind(
        Resource(group or "kubeflow.org", version, plural, kind),
        _replica_parts(field, *order),
        by_conditions("Succeeded", "Failed"),
        suspend=("runPolicy", "suspend"),
        is_active=_replicas_active,
        index_label="training.kubeflow.org/replica-index",
    )


# --- Ray ---


def _cluster_parts(spec: Manifest, path: str = "spec") -> list[Part]:
    head = Part(
        "head",
        mapping(spec, "headGroupSpec", "template"),
        1,
        path=f"{path}.headGroupSpec.template.metadata",
    )
    workers = [
        Part(
            str(group.get("groupName", "")).lower(),
            mapping(group, "template"),
            number(group.get("replicas"), 0) * number(group.get("numOfHosts"), 1),
            path=f"{path}.workerGroupSpecs[{index}].template.metadata",
        )
        for index, group in enumerate(items(spec, "workerGroupSpecs"))
    ]
    return [head, *workers]


def _ray_job_parts(meta: Manifest, spec: Manifest) -> list[Part]:
    parts = _cluster_parts(mapping(spec, "rayClusterSpec"), "spec.rayClusterSpec")
    if spec.get("submissionMode", "K8sJobMode") != "K8sJobMode":
        return parts
    submitter = spec.get("submitterPodTemplate")
    if isinstance(submitter, dict):
        path = "spec.submitterPodTemplate.metadata"
        return [*parts, Part("submitter", submitter, 1, path=path)]
    # What KubeRay starts by default; it cannot be placed.
    resources = {"requests": {"cpu": "500m", "memory": "200Mi"}}
    container = {"name": "ray-job-submitter", "resources": resources}
    return [*parts, Part("submitter", {"spec": {"containers": [container]}}, 1)]


_DEPLOYMENT_ENDS = frozenset(("Complete", "Failed"))
_RAY_ENDS = frozenset(("SUCCEEDED", "FAILED", "STOPPED"))


def _ray_job_finished(status: Manifest) -> Finish | None:
    state = status.get("jobStatus")
    if status.get("jobDeploymentStatus") in _DEPLOYMENT_ENDS or state in _RAY_ENDS:
        message = str(status.get("message") or "Job finished")
        return Finish(state == "SUCCEEDED", message)
    return None


def _ray_cluster_active(status: Manifest) -> bool:
    return status.get("state") not in (None, "", "suspended") or (
        number(status.get("availableWorkerReplicas"), 0) > 0
    )


# --- HyperPod ---


def _is_resumed(status: Manifest) -> bool:
    """It reports that it is suspended once its pods are gone."""
    return any(
        (one.get("type"), one.get("status")) == ("Suspended", "False")
        for one in items(status, "conditions")
    )


def _hyperpod_parts(meta: Manifest, spec: Manifest) -> list[Part]:
    return [
        Part(
            str(one.get("name", "")).lower(),
            mapping(one, "template"),
            number(one.get("replicas"), 1) + number(one.get("spares"), 0),
            path=f"spec.replicaSpecs[{index}].template.metadata",
        )
        for index, one in enumerate(items(spec, "replicaSpecs"))
    ]


KINDS: tuple[JobKind, ...] = (
    JobKind(
        Resource("batch", "v1", "jobs", "Job"),
        _job_parts,
        by_conditions("Complete", "Failed"),
        is_active=_job_is_active,
        is_ready=_job_is_ready,
        reclaimable=_job_reclaimable,
        index_label=_INDEX,
    ),
    JobKind(
        Resource("jobset.x-k8s.io", "v1alpha2", "jobsets", "JobSet"),
        _job_set_parts,
        by_conditions("Completed", "Failed"),
        is_active=_any_active("replicatedJobsStatus"),
        index_label=_INDEX,
        group_label="jobset.sigs.k8s.io/job-index",
    ),
    JobKind(
        Resource("ray.io", "v1", "rayjobs", "RayJob"),
        _ray_job_parts,
        _ray_job_finished,
        is_active=lambda status: status.get("jobDeploymentStatus") == "Running",
    ),
    JobKind(
        Resource("ray.io", "v1", "rayclusters", "RayCluster"),
        lambda meta, spec: _cluster_parts(spec),
        lambda status: None,
        is_active=_ray_cluster_active,
        is_ready=lambda spec, status: status.get("state") == "ready",
    ),
    JobKind(
        Resource("trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob"),
        _train_parts,
        by_conditions("Complete", "Failed"),
        is_active=_any_active("jobsStatus"),
        place=_train_place,
    ),
    _kubeflow("PyTorchJob", "pytorchjobs", "pytorchReplicaSpecs", "Master", "Worker"),
    _kubeflow("TFJob", "tfjobs", "tfReplicaSpecs", "Chief", "Master", "PS", "Worker", "Evaluator"),
    _kubeflow("XGBoostJob", "xgboostjobs", "xgbReplicaSpecs", "Master", "Worker"),
    _kubeflow("PaddleJob", "paddlejobs", "paddleReplicaSpecs", "Master", "Worker"),
    _kubeflow("JAXJob", "jaxjobs", "jaxReplicaSpecs", "Worker"),
    _kubeflow("MPIJob", "mpijobs", "mpiReplicaSpecs", "Launcher", "Worker"),
    JobKind(
        Resource("sagemaker.amazonaws.com", "v1", "hyperpodpytorchjobs", "HyperPodPyTorchJob"),
        _hyperpod_parts,
        by_conditions("Completed", "Failed"),
        suspend=("runPolicy", "suspend"),
        is_active=_is_resumed,
    ),
)


def kind_of(api_version: str, kind: str, kinds: Iterable[JobKind] = KINDS) -> JobKind | None:
    """The row of a kind, whichever of its versions is meant."""
    group = api_version.rpartition("/")[0]
    for row in kinds:
        if (row.resource.group, row.kind) == (group, kind):
            return row
    return None

"""HyperPodPyTorchJob, as its published schema has it (PyPI `sagemaker-hyperpod` and
`hyperpod-pytorch-job-template`); `faultOnMatch` is from the agent, which knows one rule more.

Limits that a schema can say are said here; expressions and sums of several fields are judged by
`validation`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from tiphys.addons.training import GROUP
from tiphys.api.base import F, Int32, Struct, Time, always
from tiphys.api.core_v1 import ObjectReference, PodTemplateSpec, Toleration
from tiphys.api.meta_v1 import Object
from tiphys.operator import Column, custom_resource


# Limits stand in the schema alone: in a cluster whose definition is another one, a job beyond them
# must not keep the operator from reading the others.
def _limited(least: int) -> Meta:
    return Meta(extra_json_schema={"minimum": least, "format": "int32"})


Count = Annotated[int, _limited(1)]
Seconds = Annotated[int, _limited(1)]
Amount = Annotated[int, _limited(0)]
OPERATORS = ("gt", "lt", "eq", "gteq", "lteq")
CLEAN_POD_POLICIES = ("All", "Running", "None")


class ReplicaSpec(Struct):
    """A group of pods that are alike."""

    name: Annotated[str, F(1, req=True), Meta(description="The name of the group.")] = ""
    replicas: Annotated[Count, Meta(description="How many pods train.")] = 1
    max_replicas: Annotated[Count | None, Meta(description="At most, in an elastic job.")] = None
    spares: Annotated[
        Amount,
        Meta(description="Pods that run beside the others and take the place of one that is lost."),
    ] = 0
    template: Annotated[PodTemplateSpec | None, Meta(description="What each pod is made from.")] = (
        None
    )


class LogMonitoringRule(Struct):
    """What the lines of rank 0 of each pod must look like; the agent in the pod judges it."""

    name: Annotated[str, F(1, req=True), Meta(description="It is in the reason of a fault.")] = ""
    log_pattern: Annotated[
        str,
        F(2, req=True),
        Meta(description="An expression for the start of a line, with at most one group."),
    ] = ""
    expected_start_cut_off_in_seconds: Annotated[
        Amount | None, Meta(description="Until the first match, else it hangs.")
    ] = None
    expected_recurring_frequency_in_seconds: Annotated[
        Amount | None, Meta(description="Until the next match, else it hangs.")
    ] = None
    stop_pattern: Annotated[
        str, Meta(description="An expression for the line after which the rule is over.")
    ] = ""
    metric_threshold: Annotated[
        int | None, Meta(description="What the number of the group is compared with.")
    ] = None
    operator: Annotated[
        str,
        Meta(
            description="The comparison that makes a job slow.",
            extra_json_schema={"enum": list(OPERATORS)},
        ),
    ] = ""
    metric_evaluation_data_points: Annotated[
        Count | None, Meta(description="So many times in a row; 1 where nothing is said.")
    ] = None
    fault_on_match: Annotated[bool, Meta(description="A match is a fault at once.")] = False


class RestartPolicy(Struct):
    """How often processes are restarted before pods are, and pods before the job fails."""

    eval_period_seconds: Annotated[
        Seconds, F(1, req=True), Meta(description="The windows in which restarts are counted.")
    ] = 3600
    num_restart_before_full_job_restart: Annotated[
        Amount | None, Meta(description="Restarts of processes in a window.")
    ] = None
    max_full_job_restarts: Annotated[
        Amount | None, Meta(description="Restarts with new pods in a window.")
    ] = None
    max_num_repeat_offenders_to_avoid: Annotated[
        Amount | None,
        Meta(description="Nodes of the last faults that new pods stay away from."),
    ] = None
    scale_up_snooze_time_in_seconds: Annotated[
        Amount, Meta(description="After a restart, in which an elastic job stays.")
    ] = 0


class RunPolicy(Struct):
    """How long a job runs, how it ends, and what happens when something breaks."""

    clean_pod_policy: Annotated[
        str,
        Meta(
            description="Which pods go when the job ends.",
            extra_json_schema={"enum": list(CLEAN_POD_POLICIES)},
        ),
    ] = "All"
    job_max_retry_count: Annotated[
        Amount | None, Meta(description="Restarts of any kind before it fails.")
    ] = None
    restart_policy: RestartPolicy | None = None
    log_monitoring_configuration: list[LogMonitoringRule] = []
    active_deadline_seconds: Annotated[
        Seconds | None, Meta(description="From its start until it fails.")
    ] = None
    startup_deadline_seconds: Annotated[
        Seconds | None, Meta(description="Until it runs first, else it fails.")
    ] = None
    fault_deadline_seconds: Annotated[
        Seconds | None, Meta(description="Until it runs again after a fault, else it fails.")
    ] = None
    ttl_seconds_after_finished: Annotated[
        Annotated[int, _limited(-1)],
        Meta(description="After which it is deleted; 0 and -1: never."),
    ] = 0
    suspend: Annotated[bool, Meta(description="It has no pods while this is true.")] = False
    workload_mode: Annotated[str, Meta(description="Kept; nothing depends on it.")] = ""


class ElasticPolicy(Struct):
    """How many pods an elastic job may have."""

    min_replicas: Count | None = None
    max_replicas: Count | None = None
    replica_increment_step: Annotated[Count | None, Meta(description="Sizes are so far apart.")] = (
        None
    )
    replica_discrete_values: Annotated[
        list[Count], Meta(description="The sizes themselves, instead of a step.")
    ] = []
    scaling_timeout_in_seconds: Annotated[
        Seconds | None, Meta(description="For more pods to be ready, else the job stays as it is.")
    ] = None
    graceful_shutdown_timeout_in_seconds: Annotated[
        Seconds | None, Meta(description="For processes to save what they have.")
    ] = None
    faulty_scale_down_timeout_in_seconds: Annotated[
        Seconds | None, Meta(description="In a fault, until it goes on with fewer pods.")
    ] = None


class JobSpec(Struct):
    nproc_per_node: Annotated[
        str, Meta(description="Processes of a pod: auto, cpu, gpu, or a number.")
    ] = "auto"
    replica_specs: Annotated[list[ReplicaSpec], F(2, list="map", keys=("name",))] = []
    run_policy: RunPolicy | None = None
    elastic_policy: ElasticPolicy | None = None


class JobCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    reason: str = ""
    message: str = ""
    last_probe_time: Time | None = None
    last_transition_time: Time | None = None


class RestartStatus(Struct):
    """What was restarted in the current window."""

    current_eval_period: int = always(0)
    full_job_restart_count: int = always(0)
    restart_count: Annotated[int, Meta(description="Since the last full restart.")] = always(0)


class FaultyPodInstances(Struct):
    """Where the latest fault was. PLR: processes were restarted; JLR: all pods."""

    restart_type: str = ""
    faulty_instance_id_list: list[str] = []
    faulty_pod_list: list[str] = []
    faulty_rank_list: list[str] = []


class ElasticScalingStatus(Struct):
    """How many pods an elastic job has now."""

    target_replicas: dict[str, int] = {}
    last_updated: Time | None = None
    last_scaling_time: Time | None = None
    last_restart_time: Time | None = None
    pods_scaled: bool | None = None
    is_faulty_pod_scale_down: bool | None = None
    consecutive_scaling_failures: int | None = None


class PodSetInfo(Struct):
    """What a queue wants pods to have (Kueue's `podset.PodSetInfo`)."""

    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []


class PodSet(Struct):
    """A group of pods, as a queue counts it."""

    name: str = ""
    count: Annotated[int, F(2, req=True)] = 1
    min_count: int | None = None
    template: PodTemplateSpec | None = None


class JobStatus(Struct):
    conditions: Annotated[list[JobCondition], F(1, list="map", keys=("type",))] = []
    start_time: Time | None = None
    completion_time: Time | None = None
    restart_count: Int32 = 0
    restart_status: RestartStatus | None = None
    latest_faulty_pod_instance_list: FaultyPodInstances | None = None
    elastic_scaling_status: ElasticScalingStatus | None = None
    elastic_workload_ref: dict[str, str] = {}
    job_pods: list[ObjectReference] = []
    manager_pods: ObjectReference | None = None
    pod_manager_statuses: list[ObjectReference] = []
    pod_set_infos: list[PodSetInfo] = []
    pod_sets: list[PodSet] = []
    master_addr: str = ""
    master_port: str = ""


@custom_resource(
    GROUP,
    short_names=("hpjob",),
    columns=(
        Column("Restarts", ".status.restartCount", "integer"),
        Column("Master", ".status.masterAddr", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
class HyperPodPyTorchJob(Object):
    """A distributed training job, of which only what broke is restarted."""

    api_version: str = always(f"{GROUP}/v1")
    kind: str = always("HyperPodPyTorchJob")
    spec: Annotated[JobSpec, F(1, req=True)] = field(default_factory=JobSpec)
    status: JobStatus = field(default_factory=JobStatus)

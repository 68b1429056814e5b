"""Version v1alpha1: the older words, converted."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from tiphys.addons.inference import GROUP
from tiphys.addons.inference.types.fields import (
    Count,
    EndpointName,
    EndpointNameOrNone,
    InstanceType,
    ModelName,
    No,
    RoleArn,
    S3Uri,
    WholeName,
    arn,
    limits,
    spelled,
)
from tiphys.addons.inference.types.scaling import AutoScaling
from tiphys.addons.inference.types.status import Status
from tiphys.api import core_v1
from tiphys.api.base import F, Int64, Struct, Time, always, named
from tiphys.api.meta_v1 import Condition, Object
from tiphys.operator import Scale, custom_resource

VERSION = f"{GROUP}/v1alpha1"
SCALE = Scale(selector=".status.selector")


class LoadBalancer(Struct):
    """How the pods are asked for."""

    health_check_path: Annotated[str, Meta(pattern="^/.*")] = "/ping"
    routing_algorithm: Literal["least_outstanding_requests", "round_robin"] = (
        "least_outstanding_requests"
    )


class ModelMetrics(Struct):
    path: Annotated[str, Meta(pattern=r"^/[a-zA-Z0-9\-_.\/]*$")] = "/metrics"
    port: Annotated[int, limits(1024, 65535)] = 8080


class Metrics(Struct):
    enabled: bool = True
    metrics_scrape_interval_seconds: Annotated[int, limits(5, 300)] = 15
    model_metrics: ModelMetrics | None = None


class FsxStorage(Struct):
    file_system_id: str
    dns_name: str = ""
    mount_name: str = ""


class S3Storage(Struct):
    bucket_name: str
    region: str


class ModelSource(Struct, kw_only=True):
    """Where the weights are."""

    model_source_type: Literal["fsx", "s3"]
    fsx_storage: FsxStorage | None = None
    model_location: str = ""
    prefetch_enabled: No | None = None
    s3_storage: S3Storage | None = None


class Tag(Struct):
    name: str
    value: str


class Tls(Struct, kw_only=True):
    tls_certificate_output_s3_uri: S3Uri | None = None


class InvocationPort(Struct):
    container_port: Annotated[int, limits(1, 65535)]
    name: Annotated[str, Meta(pattern="^http$|^grpc$")] = "http"


class VolumeMount(Struct):
    name: str
    mount_path: str = "/opt/ml/model"


class Worker(Struct, kw_only=True):
    """The container that serves the model."""

    image: str
    model_invocation_port: InvocationPort
    model_volume_mount: VolumeMount
    resources: core_v1.ResourceRequirements
    environment_variables: Annotated[list[core_v1.EnvVar], F(0, list="map", keys=("name",))] = []


class InferenceEndpointConfigSpec(Struct, kw_only=True):
    instance_type: InstanceType
    model_name: ModelName
    model_source_config: ModelSource
    worker: Worker
    initial_replica_count: Count | None = named("InitialReplicaCount", None)
    auto_scaling_spec: AutoScaling | None = None
    endpoint_name: EndpointName | None = None
    invocation_endpoint: str = "invocations"
    load_balancer: LoadBalancer | None = None
    metrics: Metrics | None = None
    model_version: str | None = None
    replicas: Count = 1
    tags: list[Tag] = []
    tls_config: Tls | None = None


def nothing() -> InferenceEndpointConfigSpec:
    return InferenceEndpointConfigSpec(
        instance_type="ml.",
        model_name="",
        model_source_config=ModelSource(model_source_type="s3"),
        worker=no_worker(),
    )


def no_worker() -> Worker:
    return Worker(
        image="",
        model_invocation_port=InvocationPort(container_port=8080),
        model_volume_mount=VolumeMount(name=""),
        resources=core_v1.ResourceRequirements(),
    )


@custom_resource(GROUP, "v1alpha1", scale=SCALE, storage=False)
class InferenceEndpointConfig(Object):
    """A model of one's own behind an endpoint."""

    api_version: str = always(VERSION)
    kind: str = always("InferenceEndpointConfig")
    spec: InferenceEndpointConfigSpec = field(default_factory=nothing)
    status: Status = field(default_factory=Status)


# --- models of the hub ---


class AdditionalConfig(Struct):
    name: str
    value: str


class HubModel(Struct):
    model_id: WholeName
    accept_eula: Annotated[bool, spelled(False), F(0, req=True)] = False
    additional_configs: Annotated[list[AdditionalConfig], Meta(max_length=10)] = []
    gated_model_download_role: RoleArn | None = None
    model_hub_name: WholeName = "SageMakerPublicHub"
    model_version: (
        Annotated[str, Meta(min_length=5, max_length=14, pattern=r"^\d{1,4}.\d{1,4}.\d{1,4}$")]
        | None
    ) = None


class Server(Struct, kw_only=True):
    instance_type: InstanceType
    execution_role: RoleArn | None = None


class EnvironmentVariable(Struct):
    name: str
    value: str


class SageMakerEndpoint(Struct):
    name: EndpointNameOrNone | None = None


class JumpStartModelSpec(Struct, kw_only=True):
    model: HubModel
    server: Server
    auto_scaling_spec: AutoScaling | None = None
    environment_variables: Annotated[list[EnvironmentVariable], Meta(max_length=100)] = []
    load_balancer: LoadBalancer | None = None
    max_deploy_time_in_seconds: Count = 3600
    metrics: Metrics | None = None
    replicas: Count = 1
    sage_maker_endpoint: SageMakerEndpoint | None = None
    tls_config: Tls | None = None


def no_model() -> JumpStartModelSpec:
    return JumpStartModelSpec(model=HubModel(model_id=""), server=Server(instance_type="ml."))


@custom_resource(GROUP, "v1alpha1", scale=SCALE, storage=False)
class JumpStartModel(Object):
    """A model of the hub behind an endpoint."""

    api_version: str = always(VERSION)
    kind: str = always("JumpStartModel")
    spec: JumpStartModelSpec = field(default_factory=no_model)
    status: Status = field(default_factory=Status)


# --- registrations ---


class EksCluster(Struct):
    arn: str
    cluster_security_group_id: str
    name: str
    security_group_ids: list[str]
    subnet_ids: list[str]
    vpc_id: str


class RegistrationTls(Struct):
    tls_certificate_output_s3_bucket: str
    tls_certificate_s3_keys: list[str]
    tls_server_name_override: str = ""


class SageMakerEndpointRegistrationSpec(Struct, kw_only=True):
    eks_cluster_details: EksCluster
    execution_role: RoleArn
    image_uri: Annotated[str, Meta(max_length=255)]
    instance_type: str
    load_balancer_host_name: str
    name: ModelName
    rest_api_id: str
    tls_config: RegistrationTls
    invocation_endpoint: str = "invocations"
    tags: list[Tag] = []


class RegisteredEndpoint(Struct):
    arn: Annotated[str, arn("endpoint"), F(0, req=True)] = always("")
    config_arn: Annotated[str, arn("endpoint-config"), F(0, req=True)] = always("")
    model_arn: Annotated[str, arn("model"), F(0, req=True)] = always("")
    last_modified_time: Time | None = None


class RegisteredBalancer(Struct):
    host_name: str


class RegistrationStatus(Struct):
    """`state` is empty before anything was said."""

    state: Literal[
        "CreationInProgress",
        "CreationFailed",
        "CreationCompleted",
        "DeletionInProgress",
        "DeletionFailed",
        "DeletionCompleted",
        "UpdateInProgress",
        "UpdateFailed",
        "UpdateCompleted",
    ]
    conditions: list[Condition] = []
    endpoint: RegisteredEndpoint | None = None
    load_balancer: RegisteredBalancer | None = None
    observed_generation: Int64 = 0


def no_registration() -> SageMakerEndpointRegistrationSpec:
    return SageMakerEndpointRegistrationSpec(
        eks_cluster_details=EksCluster(
            arn="",
            cluster_security_group_id="",
            name="",
            security_group_ids=[],
            subnet_ids=[],
            vpc_id="",
        ),
        execution_role="",
        image_uri="",
        instance_type="",
        load_balancer_host_name="",
        name="",
        rest_api_id="",
        tls_config=RegistrationTls(tls_certificate_output_s3_bucket="", tls_certificate_s3_keys=[]),
    )


@custom_resource(GROUP, "v1alpha1", storage=False)
class SageMakerEndpointRegistration(Object):
    """What registers a load balancer of the cluster as an endpoint of SageMaker."""

    api_version: str = always(VERSION)
    kind: str = always("SageMakerEndpointRegistration")
    spec: SageMakerEndpointRegistrationSpec = field(default_factory=no_registration)
    status: RegistrationStatus | None = None

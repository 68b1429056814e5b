"""Version v1, which is stored."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from tiphys.addons.inference import GROUP
from tiphys.addons.inference.types import v1alpha1
from tiphys.addons.inference.types.fields import Count, InstanceType, No, limits
from tiphys.addons.inference.types.scaling import AutoScalingV1
from tiphys.addons.inference.types.status import StatusV1
from tiphys.api import core_v1
from tiphys.api.base import F, Struct, always, named
from tiphys.api.meta_v1 import Object
from tiphys.operator import Rule, custom_resource

VERSION = f"{GROUP}/v1"
_DOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_HOST = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$"
_ACM = r"^arn:aws:acm:[a-z0-9-]+:[0-9]{12}:certificate/[a-fA-F0-9-]+$"
ObjectName = Annotated[str, Meta(max_length=253, pattern=_DOMAIN)]


# --- data capture ---


class CaptureOption(Struct):
    capture_mode: Literal["Input", "Output"]


_TYPES = Meta(min_length=1, max_length=10)


class CaptureContentTypes(Struct):
    csv_content_types: Annotated[list[str], _TYPES, F(0, list="set")] = []
    json_content_types: Annotated[list[str], _TYPES, F(0, list="set")] = []


KmsKey = Annotated[str, Meta(max_length=2048, pattern="^[a-zA-Z0-9:/_-]*$")]
CaptureOptions = Annotated[list[CaptureOption], Meta(min_length=1, max_length=32)]
Percentage = Annotated[int, limits(0, 100)]


class BalancerCapture(Struct):
    enabled: bool


class Buffering(Struct):
    batch_size: Annotated[int, limits(1, 1000)] = 10
    flush_interval_seconds: Annotated[int, limits(10, 300)] = 60


class PayloadLimits(Struct):
    max_payload_size_kb: Annotated[int, limits(0, 10240, 0)] | None = named(
        "maxPayloadSizeKB", None
    )


class EndpointCapture(Struct, kw_only=True):
    enabled: bool
    capture_content_type_header: CaptureContentTypes | None = None
    capture_options: CaptureOptions = []
    initial_sampling_percentage: Percentage | None = None
    kms_key_id: KmsKey | None = None


class PodCapture(EndpointCapture, kw_only=True):
    buffer_config: Buffering | None = None
    payload_config: PayloadLimits | None = None


class DataCapture(Struct):
    """Which requests and answers are kept, on three tiers."""

    load_balancer: BalancerCapture | None = None
    model_pod: PodCapture | None = None
    s3_uri: Annotated[str, Meta(max_length=512, pattern="^s3://([^/]+)(/[^,=]*)?$")] | None = None
    sagemaker_endpoint: EndpointCapture | None = None


# --- routing and caches ---


class Routing(Struct):
    """Which pod gets which request."""

    auto_scaling_spec: AutoScalingV1 | None = None
    enabled: No | None = None
    routing_strategy: Literal["prefixaware", "kvaware", "session", "roundrobin"] = "prefixaware"


class SecondCache(Struct):
    l2_cache_backend: Annotated[str, Meta(pattern="(?i)redis|tieredstorage")] | None = None
    l2_cache_local_url: str = ""


class KvCache(Struct):
    cache_config_file: str = ""
    enable_l1_cache: bool = True
    enable_l2_cache: No | None = None
    l2_cache_spec: SecondCache | None = None


class Dns(Struct):
    hosted_zone_id: Annotated[str, Meta(pattern="^Z[A-Z0-9]+$")]


class CustomCertificate(Struct):
    acm_arn: Annotated[str, Meta(pattern=_ACM)]
    domain_name: Annotated[str, Meta(max_length=253, pattern=_HOST)]


class Tls(v1alpha1.Tls, kw_only=True):
    custom_certificate_config: CustomCertificate | None = None


# --- the model and its server ---


class HuggingFaceModel(Struct):
    model_id: Annotated[str, Meta(pattern="^[a-zA-Z0-9_.-]+/[a-zA-Z0-9_.-]+$")]
    commit_sha: Annotated[str, Meta(pattern="^[0-9a-f]{40}$")] | None = named("commitSHA", None)
    token_secret_ref: core_v1.SecretKeySelector | None = None


class ModelSource(v1alpha1.ModelSource, kw_only=True):
    """Where the weights are."""

    rules: ClassVar[tuple[Rule, ...]] = tuple(
        Rule(
            f"self.modelSourceType != '{kind}' || has(self.{name})",
            message=f"{name} is required when modelSourceType is {kind}",
        )
        for kind, name in (
            ("s3", "s3Storage"),
            ("fsx", "fsxStorage"),
            ("huggingface", "huggingFaceModel"),
        )
    )
    model_source_type: Literal[  # type: ignore[assignment]
        "fsx", "s3", "huggingface", "kubernetesVolume"
    ]
    hugging_face_model: HuggingFaceModel | None = None


class PodCustomization(Struct):
    """What users put into the pod beside the server."""

    init_containers: list[core_v1.Container] = []
    scheduler_name: ObjectName | None = None
    service_account_name: ObjectName | None = None
    volumes: list[core_v1.Volume] = []


class Role(Struct):
    """One of the two halves of a server."""

    args: list[str] = []
    node_selector: dict[str, str] = {}
    replicas: Annotated[int, limits(1)] = 1
    resources: core_v1.ResourceRequirements | None = None


class Topology(Struct):
    availability_zone: str = ""
    placement_group: str = ""
    same_az: bool = named("sameAZ", True)


class RoleScaling(Struct):
    decoding_auto_scaling: AutoScalingV1 | None = None
    prefill_auto_scaling: AutoScalingV1 | None = None


class Disaggregation(Struct):
    """Prefill and decode on pods of their own."""

    decoding_spec: Role
    prefill_spec: Role
    auto_scaling_spec: RoleScaling | None = None
    routing_threshold: Annotated[int, limits(0)] = 4096
    topology_spec: Topology | None = None


class Probes(Struct):
    liveness_probe: core_v1.Probe | None = None
    readiness_probe: core_v1.Probe | None = None
    startup_probe: core_v1.Probe | None = None


class RequestLimits(Struct):
    """How many requests a pod takes at a time, and what further ones get."""

    max_concurrent_requests: Annotated[int, limits(1)] | None = None
    max_queue_size: Annotated[int, limits(0)] | None = None
    overflow_status_code: Annotated[int, limits(400, 599)] = 429


class Worker(v1alpha1.Worker, kw_only=True):
    """The container that serves the model."""

    args: list[str] = []
    command: list[str] = []
    probes: Probes | None = None
    request_limits: RequestLimits | None = None
    working_dir: str = ""


class InferenceEndpointConfigSpec(v1alpha1.InferenceEndpointConfigSpec, kw_only=True):
    """`instance_types` are in the order in which they are liked."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.instanceType) && has(self.instanceTypes) && size(self.instanceTypes) > 0)",
            message="instanceType and instanceTypes are mutually exclusive",
        ),
        Rule(
            "!has(self.nodeAffinity) || !(has(self.instanceType) || "
            "(has(self.instanceTypes) && size(self.instanceTypes) > 0))",
            message="nodeAffinity is mutually exclusive with instanceType and instanceTypes",
        ),
        Rule(
            "!has(self.dnsConfig) || (has(self.tlsConfig) && "
            "has(self.tlsConfig.customCertificateConfig))",
            message="dnsConfig requires tlsConfig.customCertificateConfig",
        ),
    )
    instance_type: InstanceType | None = None  # type: ignore[assignment]
    auto_scaling_spec: AutoScalingV1 | None = None
    data_capture: DataCapture | None = None
    dns_config: Dns | None = None
    instance_types: list[str] = []
    intelligent_routing_spec: Routing | None = None
    kubernetes: PodCustomization | None = None
    kv_cache_spec: KvCache | None = None
    max_deploy_time_in_seconds: Count = 3600
    model_source_config: ModelSource
    node_affinity: core_v1.NodeAffinity | None = None
    pd_spec: Disaggregation | None = None
    tls_config: Tls | None = None
    worker: Worker


def nothing() -> InferenceEndpointConfigSpec:
    return InferenceEndpointConfigSpec(
        model_name="",
        model_source_config=ModelSource(model_source_type="s3"),
        worker=Worker(
            image="",
            model_invocation_port=v1alpha1.InvocationPort(container_port=8080),
            model_volume_mount=v1alpha1.VolumeMount(name=""),
            resources=core_v1.ResourceRequirements(),
        ),
    )


@custom_resource(GROUP, "v1", scale=v1alpha1.SCALE)
class InferenceEndpointConfig(Object):
    """A model of one's own behind an endpoint."""

    api_version: str = always(VERSION)
    kind: str = always("InferenceEndpointConfig")
    spec: InferenceEndpointConfigSpec = field(default_factory=nothing)
    status: StatusV1 = field(default_factory=StatusV1)


# --- models of the hub ---


class ServerValidations(Struct):
    accelerator_partition_validation: bool = True


class Server(v1alpha1.Server, kw_only=True):
    accelerator_partition_type: Annotated[str, Meta(pattern="^mig-.*$")] | None = None
    validations: ServerValidations | None = None


class JumpStartModelSpec(v1alpha1.JumpStartModelSpec, kw_only=True):
    auto_scaling_spec: AutoScalingV1 | None = None
    data_capture: DataCapture | None = None
    dns_config: Dns | None = None
    intelligent_routing_spec: Routing | None = None
    kv_cache_spec: KvCache | None = None
    server: Server
    tls_config: Tls | None = None


def no_model() -> JumpStartModelSpec:
    model = v1alpha1.HubModel(model_id="")
    return JumpStartModelSpec(model=model, server=Server(instance_type="ml."))


@custom_resource(GROUP, "v1", scale=v1alpha1.SCALE)
class JumpStartModel(Object):
    """A model of the hub behind an endpoint."""

    api_version: str = always(VERSION)
    kind: str = always("JumpStartModel")
    spec: JumpStartModelSpec = field(default_factory=no_model)
    status: StatusV1 = field(default_factory=StatusV1)


# --- registrations ---


class RegistrationCapture(Struct):
    capture_options: CaptureOptions
    destination_s3_uri: Annotated[str, Meta(max_length=512, pattern="^s3://([^/]+)(/.*)?$")]
    enabled: bool
    initial_sampling_percentage: Percentage
    capture_content_type_header: CaptureContentTypes | None = None
    kms_key_id: KmsKey | None = None


class SageMakerEndpointRegistrationSpec(v1alpha1.SageMakerEndpointRegistrationSpec, kw_only=True):
    sage_maker_endpoint_data_capture_config: RegistrationCapture | None = None


def no_registration() -> SageMakerEndpointRegistrationSpec:
    older = v1alpha1.no_registration()
    fields = {name: getattr(older, name) for name in older.__struct_fields__}
    return SageMakerEndpointRegistrationSpec(**fields)


@custom_resource(GROUP, "v1")
class SageMakerEndpointRegistration(Object):
    """What registers a load balancer of the cluster as an endpoint of SageMaker."""

    api_version: str = always(VERSION)
    kind: str = always("SageMakerEndpointRegistration")
    spec: SageMakerEndpointRegistrationSpec = field(default_factory=no_registration)
    status: v1alpha1.RegistrationStatus | None = None

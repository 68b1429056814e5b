"""The operator's status of an endpoint. Both versions have these."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tiphys.addons.inference.types.fields import arn
from tiphys.api import apps_v1
from tiphys.api.base import Int32, Int64, Struct, Time, named
from tiphys.api.meta_v1 import Condition

State = Literal[
    "DeploymentPending",
    "DeploymentInProgress",
    "DeploymentFailed",
    "DeploymentComplete",
    "DeletionPending",
    "DeletionInProgress",
    "DeletionFailed",
    "DeletionComplete",
]


class DeploymentSummary(Struct):
    """How the Deployment is that runs the model."""

    name: str
    last_updated: Time
    deployment_object_overall_state: str = ""
    message: str = ""
    reason: str = ""
    status: apps_v1.DeploymentStatus | None = None


class SageMakerStatus(Struct):
    state: str
    config_arn: Annotated[str, arn("endpoint-config")] = ""
    endpoint_arn: Annotated[str, arn("endpoint")] = ""
    model_arn: Annotated[str, arn("model")] = ""


class EndpointStatus(Struct):
    sagemaker: SageMakerStatus | None = None


class ModelMetricsStatus(Struct):
    path: str = ""
    port: Int32 | None = None


class MetricsStatus(Struct):
    enabled: bool
    error_message: str = ""
    metrics_scrape_interval_seconds: Int32 | None = None
    model_metrics: ModelMetricsStatus | None = None
    state: str = ""


class CertificateStatus(Struct):
    certificate_arn: Annotated[
        str, Meta(pattern=r"arn:aws[a-z\-]*:acm:[a-z0-9\-]*:[0-9]{12}:certificate/.*")
    ] = named("certificateARN", "")
    certificate_domain_names: list[str] = []
    certificate_health: Literal["Valid", "Expiring", "Expired"] | None = None
    certificate_name: str = ""
    imported_certificates: list[str] = []
    issuer_name: str = ""
    last_cert_expiry_time: Time | None = None
    tls_certificate_output_s3_bucket: str = ""
    tls_certificate_s3_keys: list[str] = []


class Status(Struct):
    """The state of the deployment of a model."""

    conditions: list[Condition] = []
    deployment_status: DeploymentSummary | None = None
    endpoints: EndpointStatus | None = None
    metrics_status: MetricsStatus | None = None
    observed_generation: Int64 = 0
    replicas: Int32 = 0
    selector: str = ""
    state: State | None = None
    tls_certificate: CertificateStatus | None = None


class TierStatus(Struct):
    status: Literal["Healthy", "Unhealthy"]
    last_transition_time: Time | None = None
    message: str = ""
    reason: str = ""


class DataCaptureStatus(Struct):
    model_pod: TierStatus | None = None


class DnsStatus(Struct):
    managed_by_operator: bool
    dns_health: Literal["Active", "Pending", "Error"] | None = None
    hosted_zone_id: str = ""
    last_transition_time: Time | None = None
    message: str = ""
    previous_hosted_zone_id: str = ""
    previous_record_name: str = ""
    record_name: str = ""


class StatusV1(Status):
    """The state of the deployment of a model."""

    data_capture_status: DataCaptureStatus | None = None
    dns_status: DnsStatus | None = None

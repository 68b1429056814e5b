"""How an endpoint is, in the words of the original (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tiphys.addons.inference.endpoint import Endpoint
from tiphys.addons.inference.types.status import (
    DeploymentSummary,
    EndpointStatus,
    MetricsStatus,
    ModelMetricsStatus,
    SageMakerStatus,
    State,
    StatusV1,
)
from tiphys.api import apps_v1
from tiphys.api.meta_v1 import Condition
from tiphys.machinery import conditions

NO_SAGEMAKER = "NotRegistered"
_PHASES = {
    "DeploymentComplete": "the model is served",
    "DeploymentInProgress": "the Deployment of the model is in progress",
    "DeploymentFailed": "the model cannot be served",
}


@dataclass(frozen=True)
class Finding:
    """One condition to be."""

    type: str
    ok: bool
    reason: str
    message: str


def state_of(deployment: apps_v1.Deployment | None) -> tuple[State, str]:
    """Where a Deployment is, and why."""
    if deployment is None:
        return "DeploymentPending", "the Deployment is not there yet"
    status = deployment.status
    progress = conditions.find(status.conditions, "Progressing")
    if progress is not None and progress.status == "False":
        return "DeploymentFailed", progress.message
    wanted = deployment.spec.replicas if deployment.spec.replicas is not None else 1
    is_seen = status.observed_generation >= deployment.metadata.generation
    is_new = status.updated_replicas >= wanted and status.replicas == status.updated_replicas
    if is_seen and is_new and status.available_replicas >= wanted:
        return "DeploymentComplete", f"{status.available_replicas} of {wanted} replicas are ready"
    return "DeploymentInProgress", f"{status.ready_replicas} of {wanted} replicas are ready"


def findings_of(state: State, message: str, addresses: Sequence[str]) -> list[Finding]:
    """A condition for each phase, of which one is true; whether the router has an address for it;
    and Ready: both."""
    phases = [
        Finding(phase, phase == state, state, message if phase == state else words)
        for phase, words in _PHASES.items()
    ]
    where = ", ".join(addresses)
    reason = "Addressed" if where else "NoAddress"
    routed = Finding("Routed", bool(where), reason, where or "the router has no address for it")
    is_ready = state == "DeploymentComplete" and bool(where)
    return [*phases, routed, Finding("Ready", is_ready, state, message)]


def status_of(
    endpoint: Endpoint,
    deployment: apps_v1.Deployment | None,
    now: str,
    before: StatusV1,
    prefill: apps_v1.Deployment | None = None,
) -> StatusV1:
    """All but the conditions and the certificate. Where other servers read the prompts, they have
    to be there, too."""
    state, message = state_of(deployment)
    if prefill is not None and state == "DeploymentComplete":
        state, message = state_of(prefill)
        message = f"prefill: {message}"
    status = StatusV1(
        state=state,
        selector=",".join(f"{key}={value}" for key, value in endpoint.selector.items()),
        tls_certificate=before.tls_certificate,
        metrics_status=_metrics(endpoint),
    )
    if endpoint.spec.endpoint_name:
        status.endpoints = EndpointStatus(sagemaker=SageMakerStatus(state=NO_SAGEMAKER))
    if deployment is not None:
        status.replicas = deployment.status.replicas
        status.deployment_status = _summary(deployment, state, message, now, before)
    return status


def _summary(
    deployment: apps_v1.Deployment, state: State, message: str, now: str, before: StatusV1
) -> DeploymentSummary:
    """`lastUpdated` stays while nothing else changes."""
    summary = DeploymentSummary(
        name=deployment.metadata.name,
        last_updated=now,
        deployment_object_overall_state=state,
        message=message,
        reason=state,
        status=deployment.status,
    )
    older = before.deployment_status
    if older is not None:
        summary.last_updated = older.last_updated
        if summary != older:
            summary.last_updated = now
    return summary


def _metrics(endpoint: Endpoint) -> MetricsStatus | None:
    metrics = endpoint.spec.metrics
    if metrics is None:
        return None
    model = metrics.model_metrics
    return MetricsStatus(
        enabled=metrics.enabled,
        metrics_scrape_interval_seconds=metrics.metrics_scrape_interval_seconds,
        model_metrics=ModelMetricsStatus(path=model.path, port=model.port) if model else None,
        state="Enabled" if metrics.enabled else "Disabled",
    )


def with_findings(
    standing: list[Condition], findings: Iterable[Finding], generation: int, now: float
) -> list[Condition]:
    """Conditions whose times of transition are kept; those without a finding go."""
    updated_conditions = list(standing)
    types = set()
    for finding in findings:
        types.add(finding.type)
        wanted = Condition(
            type=finding.type,
            status=conditions.status_of(finding.ok),
            reason=finding.reason,
            message=finding.message,
            observed_generation=generation,
        )
        updated_conditions = conditions.updated(updated_conditions, wanted, now)
    return [one for one in updated_conditions if one.type in types]

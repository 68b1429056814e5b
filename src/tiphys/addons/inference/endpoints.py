"""Reconciles the three kinds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import urlsplit

from tiphys.addons.inference import AUTHORITY, Settings
from tiphys.addons.inference.bundle import Bundle, bundle_of
from tiphys.addons.inference.catalogue import CATALOGUE, HubError, as_endpoint, entry_of
from tiphys.addons.inference.endpoint import Endpoint, Unsupported, prefill_name, s3_of
from tiphys.addons.inference.loading import Bucket, LoadError
from tiphys.addons.inference.omissions import omissions_of, omissions_of_model
from tiphys.addons.inference.scaling import VERSION, Target, scaled_object
from tiphys.addons.inference.statuses import Finding, findings_of, status_of, with_findings
from tiphys.addons.inference.types import v1, v1alpha1
from tiphys.addons.inference.types.scaling import AutoScaling
from tiphys.addons.inference.types.status import CertificateStatus, StatusV1
from tiphys.addons.optional import NAMESPACE
from tiphys.api import apps_v1, core_v1
from tiphys.api.base import to_builtins
from tiphys.client.kinds import UnknownKind
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError, is_forbidden, is_not_found
from tiphys.machinery.timestamps import rfc3339
from tiphys.operator import Reconciler
from tiphys.operator.reconcile import owner_reference

log = logging.getLogger(__name__)
_AGAIN = 30.0  # seconds after which what was missing is looked for again
_SCALED, _PUBLISHED, _REGISTERED = "Scaled", "CertificatePublished", "Registered"
_CAPTURED, _NOT_OFFERED = "DataCaptured", "NotOffered"

K = TypeVar("K", v1.InferenceEndpointConfig, v1.JumpStartModel)


class NameTaken(ValueError):
    """An object has a name that an endpoint's own would have."""

    reason = "NameTaken"


def is_owned(obj: Any, owner: Any) -> bool:
    return any(one.uid == owner.metadata.uid for one in obj.metadata.owner_references)


class _Endpoints(Reconciler[K], Generic[K]):
    owns = (apps_v1.Deployment, core_v1.Service, core_v1.ConfigMap)
    workers: ClassVar[int] = 4

    async def endpoint(self, obj: K) -> Endpoint:
        """Raises HubError."""
        raise NotImplementedError

    def omissions(self, obj: K, endpoint: Endpoint) -> list[str]:
        """What it asks for and does not get."""
        return omissions_of(endpoint.spec)

    async def reconcile(self, obj: K) -> float | None:
        settings: Settings = self.settings
        try:
            endpoint = await self.endpoint(obj)
            bundle = bundle_of(endpoint, settings)
            self._check_names(obj, bundle)
        except (HubError, Unsupported, NameTaken) as error:
            await self._refuse(obj, getattr(error, "reason", "Unsupported"), str(error))
            return _AGAIN
        await self._apply(obj, bundle)
        prefill = bundle.prefill.deployment if bundle.prefill is not None else None
        now = rfc3339(self.now)
        status = status_of(bundle.endpoint, bundle.deployment, now, obj.status, prefill)
        addresses = [one.ip for one in bundle.service.status.load_balancer.ingress]
        findings = findings_of(status.state or "DeploymentPending", _message(status), addresses)
        findings += await self._scaled(obj, bundle)
        findings += await self._published(obj, endpoint, status)
        findings += _bundle_findings(bundle, self.omissions(obj, endpoint))
        await self._say(obj, status, findings)
        return None if all(one.ok or one.type not in _RETRIED for one in findings) else _AGAIN

    async def _apply(self, obj: K, bundle: Bundle) -> None:
        """Deployments and Services are what the server has then. What an endpoint had for another
        half goes with it."""
        for half in reversed(list(bundle.halves)):
            for config in half.configs:
                await self.apply(obj, config)
            half.service = await self.apply(obj, half.service)
            half.deployment = await self.apply(obj, half.deployment)
        if bundle.prefill is None:
            key = f"{obj.metadata.namespace}/{prefill_name(obj.metadata.name)}"
            for kind in (apps_v1.Deployment, core_v1.Service):
                existing = self.informer(kind).get(key)
                if existing is not None and is_owned(existing, obj):
                    await self.client.delete(
                        kind,
                        existing.metadata.name,
                        existing.metadata.namespace,
                        uid=existing.metadata.uid,
                    )

    def _check_names(self, obj: K, bundle: Bundle) -> None:
        """What bears a name of ours and is not ours is left alone. Raises NameTaken."""
        for wanted in bundle.objects:
            kind = type(wanted)
            name = wanted.metadata.name
            existing = self.informer(kind).get(f"{wanted.metadata.namespace}/{name}")
            if existing is not None and not is_owned(existing, obj):
                raise NameTaken(f"{kind.__name__} {name} is there and belongs to somebody else")

    async def _refuse(self, obj: K, reason: str, message: str) -> None:
        """What runs already goes on: only what is requested now is not available."""
        status = StatusV1(
            state="DeploymentFailed",
            replicas=obj.status.replicas,
            selector=obj.status.selector,
            deployment_status=obj.status.deployment_status,
            tls_certificate=obj.status.tls_certificate,
        )
        findings = [
            Finding("DeploymentFailed", True, reason, message),
            Finding("Ready", False, reason, message),
        ]
        if obj.status.state != "DeploymentFailed":
            self.event(obj, reason, message, warning=True)
        await self._say(obj, status, findings)

    async def _say(self, obj: K, status: StatusV1, findings: list[Finding]) -> None:
        status.conditions = with_findings(
            obj.status.conditions, findings, obj.metadata.generation, self.now
        )
        await self.set_status(obj, status)

    # --- scaling ---

    async def _scaled(self, obj: K, bundle: Bundle) -> list[Finding]:
        """Of each half. One that is not scaled any more keeps the replicas that it has."""
        findings = []
        names = set()
        for half in bundle.halves:
            scaling = half.endpoint.spec.auto_scaling_spec
            if scaling is not None:
                names.add(half.endpoint.name)
                findings.append(await self._scale(obj, half.endpoint, scaling))
        if conditions.find(obj.status.conditions, _SCALED) is not None:
            for name in {obj.metadata.name, prefill_name(obj.metadata.name)} - names:
                await self._unscale(obj, name)
        return sorted(findings, key=lambda one: one.ok)[:1]

    async def _scale(self, obj: K, endpoint: Endpoint, scaling: AutoScaling) -> Finding:
        owner = to_builtins(owner_reference(obj))
        target = Target(obj.api_version, obj.kind, endpoint.name, endpoint.labels)
        if endpoint.family:
            target = Target("apps/v1", "Deployment", endpoint.name, endpoint.labels)
        wanted = scaled_object(owner, target, scaling, self.settings.prometheus)
        try:
            await self.client.apply(wanted, endpoint.namespace, manager=self.manager, force=True)
        except UnknownKind:
            message = "there is no KEDA: tiphys addon enable keda"
            return Finding(_SCALED, False, "NoKeda", message)
        except StatusError as error:
            return Finding(_SCALED, False, "Refused", str(error))
        count = f"{scaling.min_replica_count} to {scaling.max_replica_count} replicas"
        return Finding(_SCALED, True, "ScaledObject", count)

    async def _unscale(self, obj: K, name: str) -> None:
        """What bears the name and is not the endpoint's own is left alone."""
        kind = {"apiVersion": VERSION, "kind": "ScaledObject"}
        namespace = obj.metadata.namespace
        try:
            metadata = (await self.client.get(kind, name, namespace))["metadata"]
            owners = {one["uid"] for one in metadata.get("ownerReferences", ())}
            if obj.metadata.uid in owners:
                await self.client.delete(kind, name, namespace, uid=metadata["uid"])
        except UnknownKind:
            return
        except StatusError as error:
            if not is_not_found(error):
                raise

    # --- the certificate ---

    async def _published(self, obj: K, endpoint: Endpoint, status: StatusV1) -> list[Finding]:
        """Writes the CA certificate to the address that the status publishes."""
        tls = endpoint.spec.tls_config
        uri = tls.tls_certificate_output_s3_uri if tls is not None else None
        names = [f"{endpoint.name}.{endpoint.namespace}.svc"]
        certificate_status = CertificateStatus(
            certificate_name=f"{endpoint.name}-{endpoint.namespace}",
            issuer_name=AUTHORITY,
            certificate_domain_names=names,
            certificate_health="Valid",
        )
        status.tls_certificate = certificate_status
        if not uri:
            return []
        parts = urlsplit(uri)
        key = "/".join(
            part
            for part in (parts.path.strip("/"), f"{certificate_status.certificate_name}.pem")
            if part
        )
        certificate_status.tls_certificate_output_s3_bucket = parts.netloc
        before = obj.status.tls_certificate
        if before is not None and before.tls_certificate_s3_keys == [key]:
            certificate_status.tls_certificate_s3_keys = [key]
            return [Finding(_PUBLISHED, True, "Written", f"s3://{parts.netloc}/{key}")]
        try:
            bucket = await self._bucket(parts.netloc, endpoint)
            secret = await self.client.get(core_v1.Secret, AUTHORITY, NAMESPACE)
            await asyncio.to_thread(bucket.put, key, secret.data["tls.crt"])
        except (LoadError, KeyError) as error:
            return [Finding(_PUBLISHED, False, "NotWritten", str(error))]
        certificate_status.tls_certificate_s3_keys = [key]
        return [Finding(_PUBLISHED, True, "Written", f"s3://{parts.netloc}/{key}")]

    async def _bucket(self, name: str, endpoint: Endpoint) -> Bucket:
        settings: Settings = self.settings
        storage = s3_of(endpoint.spec, settings)
        try:
            secret = await self.client.get(core_v1.Secret, settings.s3_secret, NAMESPACE)
        except StatusError as error:
            if is_not_found(error) or is_forbidden(error):
                return Bucket(storage.url, name, storage.region)
            raise
        keys = {key: value.decode() for key, value in secret.data.items()}
        return Bucket(
            storage.url,
            name,
            storage.region,
            keys.get("AWS_ACCESS_KEY_ID", ""),
            keys.get("AWS_SECRET_ACCESS_KEY", ""),
        )


_RETRIED = (_SCALED, _PUBLISHED)


def _message(status: StatusV1) -> str:
    summary = status.deployment_status
    return summary.message if summary is not None else "the Deployment is not there yet"


def _bundle_findings(bundle: Bundle, omissions: list[str]) -> list[Finding]:
    """What is recorded where, and what is not to be had."""
    endpoint = bundle.endpoint
    findings = []
    if bundle.plan is not None and bundle.plan.capture is not None:
        where = f"s3://{bundle.plan.capture.bucket}/{bundle.plan.capture.prefix}"
        findings.append(Finding(_CAPTURED, True, "ByPods", f"each pod writes below {where}"))
    if omissions:
        findings.append(Finding(_NOT_OFFERED, True, "NotHere", "; ".join(omissions)))
    if endpoint.spec.endpoint_name:
        findings.append(_not_registered(endpoint.spec.endpoint_name))
    return findings


def _not_registered(name: str) -> Finding:
    message = f"a stand-in: there is no SageMaker here; the router serves /endpoints/{name}"
    return Finding(_REGISTERED, False, "NoSageMaker", message)


class InferenceEndpointConfigs(_Endpoints[v1.InferenceEndpointConfig]):
    kind = v1.InferenceEndpointConfig

    async def endpoint(self, obj: v1.InferenceEndpointConfig) -> Endpoint:
        return Endpoint(obj.metadata.name, obj.metadata.namespace, obj.spec)


class JumpStartModels(_Endpoints[v1.JumpStartModel]):
    kind = v1.JumpStartModel

    def omissions(self, obj: v1.JumpStartModel, endpoint: Endpoint) -> list[str]:
        return [*super().omissions(obj, endpoint), *omissions_of_model(obj.spec)]

    def watch(self, enqueue: Callable[[str], None]) -> None:
        """A change of the catalogue concerns every model."""

        def changed(old: Any, new: Any) -> None:
            config_map = new or old
            if (config_map.metadata.namespace, config_map.metadata.name) != (NAMESPACE, CATALOGUE):
                return
            for model in self.informer(v1.JumpStartModel):
                enqueue(f"{model.metadata.namespace}/{model.metadata.name}")

        self.informer(core_v1.ConfigMap).on_change(changed)

    async def endpoint(self, obj: v1.JumpStartModel) -> Endpoint:
        catalogue = self.informer(core_v1.ConfigMap).get(f"{NAMESPACE}/{CATALOGUE}")
        entry = entry_of(catalogue, obj.spec.model.model_id)
        return Endpoint(obj.metadata.name, obj.metadata.namespace, as_endpoint(obj, entry))


class Registrations(Reconciler[v1.SageMakerEndpointRegistration]):
    """Reports that nothing is registered: the one stand-in without a part of its own."""

    kind = v1.SageMakerEndpointRegistration

    async def reconcile(self, obj: v1.SageMakerEndpointRegistration) -> float | None:
        status = v1alpha1.RegistrationStatus(state="CreationFailed")
        before = obj.status.conditions if obj.status is not None else []
        finding = _not_registered(obj.spec.name)
        status.conditions = with_findings(before, [finding], obj.metadata.generation, self.now)
        await self.set_status(obj, status)
        return None

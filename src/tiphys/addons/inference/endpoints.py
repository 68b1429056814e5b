"""Reconciles the three kinds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import urlsplit

from tiphys.addons.inference import AUTHORITY, Settings
from tiphys.addons.inference.catalogue import CATALOGUE, HubError, as_endpoint, entry_of
from tiphys.addons.inference.loading import Bucket, LoadError
from tiphys.addons.inference.scaling import VERSION, scaled_object
from tiphys.addons.inference.statuses import Finding, findings_of, status_of, with_findings
from tiphys.addons.inference.types import v1, v1alpha1
from tiphys.addons.inference.types.status import CertificateStatus, StatusV1
from tiphys.addons.inference.workload import (
    Endpoint,
    Unsupported,
    deployment_of,
    program_of,
    service_of,
)
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

    async def reconcile(self, obj: K) -> float | None:
        settings: Settings = self.settings
        try:
            endpoint = await self.endpoint(obj)
            wanted = deployment_of(endpoint, settings)
            program = program_of(endpoint)
            self._check_names(obj, endpoint)
        except (HubError, Unsupported, NameTaken) as error:
            await self._refuse(obj, getattr(error, "reason", "Unsupported"), str(error))
            return _AGAIN
        if program is not None:
            await self.apply(obj, program)
        service = await self.apply(obj, service_of(endpoint))
        deployment = await self.apply(obj, wanted)
        status = status_of(endpoint, deployment, rfc3339(self.now), obj.status)
        addresses = [one.ip for one in service.status.load_balancer.ingress]
        findings = findings_of(status.state or "DeploymentPending", _message(status), addresses)
        findings += await self._scaled(obj, endpoint)
        findings += await self._published(obj, endpoint, status)
        if endpoint.spec.endpoint_name:
            findings.append(_not_registered(endpoint.spec.endpoint_name))
        await self._say(obj, status, findings)
        return None if all(one.ok or one.type not in _RETRIED for one in findings) else _AGAIN

    def _check_names(self, obj: K, endpoint: Endpoint) -> None:
        """What bears a name of ours and is not ours is left alone. Raises NameTaken."""
        names: tuple[tuple[type[Any], str], ...] = (
            (apps_v1.Deployment, endpoint.name),
            (core_v1.Service, endpoint.name),
            (core_v1.ConfigMap, f"{endpoint.name}-loading"),
        )
        for kind, name in names:
            there = self.informer(kind).get(f"{endpoint.namespace}/{name}")
            if there is not None and not is_owned(there, obj):
                raise NameTaken(f"{kind.__name__} {name} is there and belongs to somebody else")

    async def _refuse(self, obj: K, reason: str, message: str) -> None:
        """What runs already goes on: only what is asked for now cannot be had."""
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

    async def _scaled(self, obj: K, endpoint: Endpoint) -> list[Finding]:
        scaling = endpoint.spec.auto_scaling_spec
        name, namespace = endpoint.name, endpoint.namespace
        if scaling is None:
            if conditions.find(obj.status.conditions, _SCALED) is not None:
                await self._unscale(name, namespace)
            return []
        owner = to_builtins(owner_reference(obj))
        wanted = scaled_object(owner, scaling, endpoint.labels, self.settings.prometheus)
        try:
            await self.client.apply(wanted, namespace, manager=self.manager, force=True)
        except UnknownKind:
            message = "there is no KEDA: tiphys addon enable keda"
            return [Finding(_SCALED, False, "NoKeda", message)]
        except StatusError as error:
            return [Finding(_SCALED, False, "Refused", str(error))]
        count = f"{scaling.min_replica_count} to {scaling.max_replica_count} replicas"
        return [Finding(_SCALED, True, "ScaledObject", count)]

    async def _unscale(self, name: str, namespace: str) -> None:
        kind = {"apiVersion": VERSION, "kind": "ScaledObject"}
        try:
            await self.client.delete(kind, name, namespace)
        except UnknownKind:
            return
        except StatusError as error:
            if not is_not_found(error):
                raise

    # --- the certificate ---

    async def _published(self, obj: K, endpoint: Endpoint, status: StatusV1) -> list[Finding]:
        """Writes what clients trust to where they are told that it is."""
        tls = endpoint.spec.tls_config
        uri = tls.tls_certificate_output_s3_uri if tls is not None else None
        names = [f"{endpoint.name}.{endpoint.namespace}.svc"]
        made = CertificateStatus(
            certificate_name=f"{endpoint.name}-{endpoint.namespace}",
            issuer_name=AUTHORITY,
            certificate_domain_names=names,
            certificate_health="Valid",
        )
        status.tls_certificate = made
        if not uri:
            return []
        parts = urlsplit(uri)
        key = "/".join(
            part for part in (parts.path.strip("/"), f"{made.certificate_name}.pem") if part
        )
        made.tls_certificate_output_s3_bucket = parts.netloc
        before = obj.status.tls_certificate
        if before is not None and before.tls_certificate_s3_keys == [key]:
            made.tls_certificate_s3_keys = [key]
            return [Finding(_PUBLISHED, True, "Written", f"s3://{parts.netloc}/{key}")]
        try:
            bucket = await self._bucket(parts.netloc, endpoint)
            secret = await self.client.get(core_v1.Secret, AUTHORITY, NAMESPACE)
            await asyncio.to_thread(bucket.put, key, secret.data["tls.crt"])
        except (LoadError, KeyError) as error:
            return [Finding(_PUBLISHED, False, "NotWritten", str(error))]
        made.tls_certificate_s3_keys = [key]
        return [Finding(_PUBLISHED, True, "Written", f"s3://{parts.netloc}/{key}")]

    async def _bucket(self, name: str, endpoint: Endpoint) -> Bucket:
        settings: Settings = self.settings
        storage = endpoint.spec.model_source_config.s3_storage
        region = storage.region if storage is not None else "us-east-1"
        url = settings.s3_endpoint or f"https://s3.{region}.amazonaws.com"
        try:
            secret = await self.client.get(core_v1.Secret, settings.s3_secret, NAMESPACE)
        except StatusError as error:
            if is_not_found(error) or is_forbidden(error):
                return Bucket(url, name, region)
            raise
        keys = {key: value.decode() for key, value in secret.data.items()}
        return Bucket(
            url,
            name,
            region,
            keys.get("AWS_ACCESS_KEY_ID", ""),
            keys.get("AWS_SECRET_ACCESS_KEY", ""),
        )


_RETRIED = (_SCALED, _PUBLISHED)


def _message(status: StatusV1) -> str:
    summary = status.deployment_status
    return summary.message if summary is not None else "the Deployment is not there yet"


def _not_registered(name: str) -> Finding:
    message = f"a stand-in: there is no SageMaker here; the router serves /endpoints/{name}"
    return Finding(_REGISTERED, False, "NoSageMaker", message)


class InferenceEndpointConfigs(_Endpoints[v1.InferenceEndpointConfig]):
    kind = v1.InferenceEndpointConfig

    async def endpoint(self, obj: v1.InferenceEndpointConfig) -> Endpoint:
        return Endpoint(obj.metadata.name, obj.metadata.namespace, obj.spec)


class JumpStartModels(_Endpoints[v1.JumpStartModel]):
    kind = v1.JumpStartModel

    def watch(self, enqueue: Callable[[str], None]) -> None:
        """A change of the catalogue concerns every model."""

        def changed(old: Any, new: Any) -> None:
            one = new or old
            if (one.metadata.namespace, one.metadata.name) != (NAMESPACE, CATALOGUE):
                return
            for model in self.informer(v1.JumpStartModel):
                enqueue(f"{model.metadata.namespace}/{model.metadata.name}")

        self.informer(core_v1.ConfigMap).on_change(changed)

    async def endpoint(self, obj: v1.JumpStartModel) -> Endpoint:
        catalogue = self.informer(core_v1.ConfigMap).get(f"{NAMESPACE}/{CATALOGUE}")
        entry = entry_of(catalogue, obj.spec.model.model_id)
        return Endpoint(obj.metadata.name, obj.metadata.namespace, as_endpoint(obj, entry))


class Registrations(Reconciler[v1.SageMakerEndpointRegistration]):
    """Says that nothing is registered: the one stand-in without a part of its own."""

    kind = v1.SageMakerEndpointRegistration

    async def reconcile(self, obj: v1.SageMakerEndpointRegistration) -> float | None:
        status = v1alpha1.RegistrationStatus(state="CreationFailed")
        before = obj.status.conditions if obj.status is not None else []
        finding = _not_registered(obj.spec.name)
        status.conditions = with_findings(before, [finding], obj.metadata.generation, self.now)
        await self.set_status(obj, status)
        return None

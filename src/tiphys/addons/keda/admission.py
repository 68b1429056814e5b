"""What is refused of ScaledObjects, ScaledJobs and authentications before they are stored, and what
their authors are warned of. Rules and sentences are those of KEDA's webhook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from tiphys.addons.keda import facts
from tiphys.addons.keda.types import (
    ClusterTriggerAuthentication,
    ScaledJob,
    ScaledObject,
    TriggerAuthentication,
    TriggerAuthenticationSpec,
)
from tiphys.addons.keda.types.authentication import PodIdentity
from tiphys.addons.optional import Context
from tiphys.addons.reviews import Verdict
from tiphys.api import apps_v1, core_v1
from tiphys.api.admission_v1 import AdmissionRequest
from tiphys.api.autoscaling_v2 import HorizontalPodAutoscaler
from tiphys.api.base import Struct, from_builtins
from tiphys.controllers.shell import namespace_index
from tiphys.machinery.errors import StatusError
from tiphys.machinery.quantity import nano

K = TypeVar("K", bound=Struct)
_POLLING = (
    "PollingInterval is configured but is not relevant. PollingInterval is only relevant when "
    "minReplicaCount = 0, idleReplicaCount is set, or useCachedMetrics is enabled"
)
_COOLDOWN = (
    "CooldownPeriod is configured but is not relevant. CooldownPeriod is only relevant when "
    "minReplicaCount = 0 or idleReplicaCount is set"
)


class Admission:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._objects = context.informers.of(ScaledObject)
        self._autoscalers = context.informers.of(HorizontalPodAutoscaler)
        self._objects.index("namespace", namespace_index)
        self._autoscalers.index("namespace", namespace_index)

    async def judge(self, asked: AdmissionRequest) -> Verdict:
        """The verdict on one object. Raises SpecError when it is invalid."""
        if asked.operation not in ("CREATE", "UPDATE") or asked.sub_resource:
            return Verdict()
        match asked.kind.kind:
            case "ScaledObject":
                return await self._scaled_object(asked)
            case "ScaledJob":
                facts.check_triggers(_read(asked.object, ScaledJob).spec.triggers)
            case "TriggerAuthentication":
                check_authentication(_read(asked.object, TriggerAuthentication).spec)
            case "ClusterTriggerAuthentication":
                check_authentication(_read(asked.object, ClusterTriggerAuthentication).spec)
        return Verdict()

    async def _scaled_object(self, asked: AdmissionRequest) -> Verdict:
        obj = _read(asked.object, ScaledObject)
        obj.metadata.namespace = asked.namespace
        if asked.operation == "UPDATE" and _only_finalized(asked, obj):
            return Verdict()
        self._check_others(obj)
        facts.formula_of(obj.spec)
        facts.check_modifiers_fallback(obj.spec)
        if not asked.dry_run:
            await self._check_resources(obj)
        self._check_autoscalers(obj)
        facts.check_bounds(obj.spec)
        facts.check_fallback(obj.spec)
        facts.check_name(obj)
        facts.check_triggers(obj.spec.triggers)
        return Verdict(warnings=warnings(obj))

    # --- beside others ---

    def _check_others(self, obj: ScaledObject) -> None:
        """Raises SpecError when another one scales the same target, or has the same autoscaler."""
        api_version, kind, name = facts.target_of(obj)
        for other in self._objects.by("namespace", obj.metadata.namespace):
            meta = other.metadata
            if meta.name == obj.metadata.name:
                continue
            if facts.target_of(other) == (api_version, kind, name):
                raise facts.SpecError(
                    f"the workload '{name}' of type '{api_version}.{kind}' is already managed by "
                    f"the ScaledObject '{meta.name}'"
                )
            hpa = facts.autoscaler_name(obj)
            if facts.autoscaler_name(other) == hpa:
                raise facts.SpecError(
                    f"the HPA '{hpa}' is already managed by the ScaledObject '{meta.name}'"
                )

    def _check_autoscalers(self, obj: ScaledObject) -> None:
        """Raises SpecError when another autoscaler scales the target."""
        api_version, kind, name = facts.target_of(obj)
        for hpa in self._autoscalers.by("namespace", obj.metadata.namespace):
            meta = hpa.metadata
            if meta.annotations.get(facts.OWNERSHIP_CHECKED) == "false":
                continue
            ref = hpa.spec.scale_target_ref
            if (ref.api_version, ref.kind, ref.name) != (api_version, kind, name):
                continue
            owners = {(owner.kind, owner.name) for owner in meta.owner_references}
            if (obj.kind, obj.metadata.name) in owners:
                continue
            if obj.metadata.annotations.get(facts.TRANSFER) != "true":
                raise facts.SpecError(
                    f"the workload '{name}' of type '{api_version}.{kind}' is already managed by "
                    f"the hpa '{meta.name}'"
                )
            if facts.autoscaler_config(obj.spec).name != meta.name:
                raise facts.SpecError(
                    f"the existing hpa '{meta.name}' for workload '{name}' of type "
                    f"'{api_version}.{kind}' must be specified by name in advanced settings to "
                    "enable ownership transfer"
                )

    # --- cpu and memory ---

    async def _check_resources(self, obj: ScaledObject) -> None:
        """Raises SpecError when a container has no request that its use could be compared with."""
        wanted = [one for one in obj.spec.triggers if one.type in facts.RESOURCES]
        if not wanted:
            return
        containers = await self._containers(obj)
        if containers is None:
            return
        for trigger in wanted:
            only = trigger.metadata.get("containerName", "")
            for container in containers:
                if only and container.name != only:
                    continue
                if has_amount(container.resources, trigger.type):
                    continue
                if not await self._has_default(obj.metadata.namespace, trigger.type):
                    raise facts.SpecError(
                        f"the scaledobject has a {trigger.type} trigger but the container "
                        f"{container.name} doesn't have the {trigger.type} request defined"
                    )
        if len(wanted) == len(obj.spec.triggers) and not obj.spec.min_replica_count:
            raise facts.SpecError(
                "scaledobject has only cpu/memory triggers AND minReplica is 0 "
                "(scale to zero doesn't work in this case)"
            )

    async def _containers(self, obj: ScaledObject) -> Sequence[core_v1.Container] | None:
        """Those of the target's template; None of a kind of which nothing is known."""
        api_version, kind, name = facts.target_of(obj)
        kinds: dict[tuple[str, str], type[apps_v1.Deployment | apps_v1.StatefulSet]] = {
            ("apps/v1", "Deployment"): apps_v1.Deployment,
            ("apps/v1", "StatefulSet"): apps_v1.StatefulSet,
        }
        target_kind = kinds.get((api_version, kind))
        if target_kind is None:
            return None
        try:
            target = await self._client.get(target_kind, name, obj.metadata.namespace)
        except StatusError as error:
            raise facts.SpecError(str(error)) from None
        return target.spec.template.spec.containers

    async def _has_default(self, namespace: str, resource: str) -> bool:
        """Whether a LimitRange gives every container an amount of it."""
        listed = await self._client.list(core_v1.LimitRange, namespace)
        return any(
            item.type == "Container"
            and any(
                nano(one.get(resource, "0")) > 0 for one in (item.default_request, item.default)
            )
            for one_range in listed.items
            for item in one_range.spec.limits
        )


def _read(obj: object, kind: type[K]) -> K:
    """Raises SpecError for what is not of the kind."""
    try:
        return from_builtins(obj, kind)
    except msgspec.ValidationError as error:
        raise facts.SpecError(str(error)) from None


def _only_finalized(asked: AdmissionRequest, obj: ScaledObject) -> bool:
    old = _read(asked.old_object, ScaledObject)
    fewer = len(obj.metadata.finalizers) < len(old.metadata.finalizers)
    return fewer and old.spec == obj.spec


def has_amount(resources: core_v1.ResourceRequirements, name: str) -> bool:
    """Whether a container requests some of it, or has a limit, which becomes its request."""
    return any(nano(one.get(name, "0")) > 0 for one in (resources.requests, resources.limits))


def warnings(obj: ScaledObject) -> list[str]:
    """About times that do not matter to this object."""
    spec = obj.spec
    if not spec.min_replica_count or spec.idle_replica_count is not None:
        return []
    texts = []
    if spec.polling_interval is not None and not any(t.use_cached_metrics for t in spec.triggers):
        texts.append(_POLLING)
    if spec.cooldown_period is not None:
        texts.append(_COOLDOWN)
    return texts


def check_authentication(spec: TriggerAuthenticationSpec) -> None:
    """Raises SpecError for identities that contradict themselves."""
    for identity in _identities(spec):
        if identity.provider == "azure-workload":
            if identity.identity_id == "":
                raise facts.SpecError(
                    "identityId of PodIdentity should not be empty. If it's set, identityId has to "
                    'be different than ""'
                )
            if identity.identity_authority_host and not identity.identity_tenant_id:
                raise facts.SpecError(
                    "identityTenantID property must be specified when identityAuthorityHost is "
                    "specified"
                )
        if (
            identity.provider == "aws"
            and identity.role_arn
            and identity.identity_owner == "workload"
        ):
            raise facts.SpecError("roleArn of PodIdentity can't be set if KEDA isn't identityOwner")


def _identities(spec: TriggerAuthenticationSpec) -> list[PodIdentity]:
    stores = (spec.azure_key_vault, spec.gcp_secret_manager, spec.aws_secret_manager)
    identities = [spec.pod_identity, *(store.pod_identity for store in stores if store is not None)]
    return [one for one in identities if one is not None]

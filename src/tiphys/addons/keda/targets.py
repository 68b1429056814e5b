"""What is scaled: its kind by discovery, its scale, its pods."""

from __future__ import annotations

from typing import Any

import msgspec

from tiphys.addons.keda import facts
from tiphys.addons.keda.types import ScaledObject, TargetResource
from tiphys.api import apps_v1, autoscaling_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.client.client import MERGE, Client
from tiphys.client.informer import Informer
from tiphys.controllers.pods import is_ready
from tiphys.controllers.scales import Scales
from tiphys.machinery.errors import StatusError, is_not_found

NOT_FOUND = "Target resource doesn't exist"
NO_SCALE = "Target resource doesn't expose /scale subresource"


class Targets:
    """Every method raises StatusError as the API server answers, and LookupError or ValueError for
    a kind that nothing serves."""

    def __init__(self, client: Client, deployments: Informer[apps_v1.Deployment]) -> None:
        self._client = client
        self._deployments = deployments
        self._scales = Scales(client)

    async def resource(self, api_version: str, kind: str) -> TargetResource:
        plural = await self._scales.plural(api_version, kind)
        group, _, version = api_version.rpartition("/")
        return TargetResource(group=group, version=version, kind=kind, resource=plural)

    async def scale(self, obj: ScaledObject) -> autoscaling_v1.Scale:
        return await self._scales.get(obj.metadata.namespace, *facts.target_of(obj))

    async def replicas(self, obj: ScaledObject) -> int:
        """How many it should have. Of Deployments, which most targets are, as it is known here: a
        request for each look of each object would cost more than all the rest."""
        api_version, kind, name = facts.target_of(obj)
        if (api_version, kind) == ("apps/v1", "Deployment"):
            known = self._deployments.get(f"{obj.metadata.namespace}/{name}")
            if known is not None and known.spec.replicas is not None:
                return known.spec.replicas
        return (await self.scale(obj)).spec.replicas

    async def exists(self, obj: ScaledObject) -> bool:
        """Whether there is such an object, with a scale or without."""
        path = await self._scales.path(obj.metadata.namespace, *facts.target_of(obj))
        try:
            await self._client.request("GET", path.removesuffix("/scale"))
        except StatusError as error:
            if is_not_found(error):
                return False
        return True

    async def set_replicas(self, obj: ScaledObject, count: int) -> None:
        path = await self._scales.path(obj.metadata.namespace, *facts.target_of(obj))
        body = msgspec.json.encode({"spec": {"replicas": count}})
        await self._client.request("PATCH", path, body, content=MERGE)

    async def ready_pods(self, obj: ScaledObject) -> int:
        scale = await self.scale(obj)
        pods = await self._client.list(
            core_v1.Pod, obj.metadata.namespace, labels=scale.status.selector
        )
        return sum(pod.status.phase == "Running" and is_ready(pod) for pod in pods.items)

    async def pod_spec(self, obj: ScaledObject) -> core_v1.PodSpec | None:
        """That of its template; None of a kind that has none, or which may not be read here."""
        namespace = obj.metadata.namespace
        api_version, kind, name = facts.target_of(obj)
        if (api_version, kind) == ("apps/v1", "Deployment"):
            deployment = await self._client.get(apps_v1.Deployment, name, namespace)
            return deployment.spec.template.spec
        if (api_version, kind) == ("apps/v1", "StatefulSet"):
            stateful = await self._client.get(apps_v1.StatefulSet, name, namespace)
            return stateful.spec.template.spec
        path = await self._scales.path(namespace, api_version, kind, name)
        try:
            body = await self._client.request("GET", path.removesuffix("/scale"))
        except StatusError:
            return None
        return _template(msgspec.json.decode(body))


def _template(obj: Any) -> core_v1.PodSpec | None:
    """Of any object that has one where Deployments have it."""
    try:
        spec = obj["spec"]["template"]["spec"]
        return from_builtins({"containers": spec["containers"]}, core_v1.PodSpec)
    except (KeyError, TypeError, msgspec.ValidationError):
        return None


def kind_name(target: TargetResource) -> str:
    """As KEDA's status shows it: ``apps/v1.Deployment``."""
    version = f"{target.group}/{target.version}" if target.group else target.version
    return f"{version}.{target.kind}"

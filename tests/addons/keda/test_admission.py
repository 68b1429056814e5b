"""Which objects KEDA takes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import deployment
from tiphys.addons.keda import admission
from tiphys.addons.keda.admission import Admission, check_authentication
from tiphys.addons.keda.facts import SpecError
from tiphys.addons.keda.types import ScaledObject
from tiphys.addons.keda.types import TriggerAuthentication as Authentication
from tiphys.api import core_v1
from tiphys.api.admission_v1 import AdmissionRequest
from tiphys.api.autoscaling_v2 import HorizontalPodAutoscaler
from tiphys.api.base import from_builtins
from tiphys.client.informer import Informer
from tiphys.machinery.errors import not_found

CRON = {"type": "cron", "metadata": {}}
CPU = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}}


def scaled(name: str = "s", target: str = "web", **spec: Any) -> dict[str, Any]:
    ref = {"name": target, **spec.pop("ref", {})}
    annotations = spec.pop("annotations", {})
    given = {"scaleTargetRef": ref, "triggers": [CRON], **spec}
    meta = {"name": name, "namespace": "ns", "annotations": annotations}
    return {"kind": "ScaledObject", "metadata": meta, "spec": given}


def autoscaler(name: str = "mine", target: str = "web", **meta: Any) -> dict[str, Any]:
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    spec = {"scaleTargetRef": ref, "maxReplicas": 1}
    return {"metadata": {"name": name, "namespace": "ns", **meta}, "spec": spec}


class World:
    """What is there beside the object that is judged."""

    def __init__(self, objects: Any = (), autoscalers: Any = (), ranges: Any = ()) -> None:
        nobody: Any = None
        self.informers: dict[Any, Informer[Any]] = {}
        for kind, bodies in ((ScaledObject, objects), (HorizontalPodAutoscaler, autoscalers)):
            made: Informer[Any] = Informer(nobody, kind)
            for number, body in enumerate(bodies):
                obj = from_builtins(body, kind)
                obj.metadata.resource_version = str(number + 1)
                made._objects[obj.metadata.name] = obj
            self.informers[kind] = made
        self.deployments: dict[str, Any] = {"web": deployment("web")}
        self.ranges = ranges

    async def get(self, kind: Any, name: str, namespace: str) -> Any:
        if name not in self.deployments:
            raise not_found("deployments.apps", name)
        return self.deployments[name]

    async def list(self, kind: Any, namespace: str) -> Any:
        return SimpleNamespace(items=list(self.ranges))

    async def judged(
        self, body: Any, old: Any = None, kind: str = "ScaledObject", **asked: Any
    ) -> list[str]:
        """The warnings, or what is wrong."""
        context: Any = SimpleNamespace(
            client=self, informers=SimpleNamespace(of=self.informers.__getitem__)
        )
        request = AdmissionRequest(object=body, old_object=old, namespace="ns", operation="CREATE")
        request.kind.kind = kind
        for name, value in asked.items():
            setattr(request, name, value)
        return list((await Admission(context).judge(request)).warnings)


async def refused(world: World, body: Any, **asked: Any) -> str:
    try:
        await world.judged(body, **asked)
    except SpecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("other", "body", "text"),
    [
        (scaled("t"), scaled(), "the workload 'web' of type 'apps/v1.Deployment' is already managed by the ScaledObject 't'"),
        (scaled("s"), scaled(), ""),
        (scaled("t", "other"), scaled(), ""),
        (scaled("t", ref={"kind": "StatefulSet"}), scaled(), ""),
        (scaled("t", ref={"apiVersion": "x.io/v1"}), scaled(), ""),
        (
            scaled("t", "other", advanced={"horizontalPodAutoscalerConfig": {"name": "keda-hpa-s"}}),
            scaled(),
            "the HPA 'keda-hpa-s' is already managed by the ScaledObject 't'",
        ),
    ],
)  # fmt: skip
async def test_nothing_is_scaled_twice(other: Any, body: Any, text: str) -> None:
    assert await refused(World(objects=[other]), body) == text


OWNED = {"ownerReferences": [{"kind": "ScaledObject", "name": "s"}]}
TRANSFER = {"scaledobject.keda.sh/transfer-hpa-ownership": "true"}


@pytest.mark.parametrize(
    ("hpa", "body", "text"),
    [
        (autoscaler(), scaled(), "is already managed by the hpa 'mine'"),
        (autoscaler(target="other"), scaled(), ""),
        (autoscaler(**OWNED), scaled(), ""),
        (autoscaler(**OWNED), scaled("t"), "is already managed by the hpa"),
        (autoscaler(annotations={"validations.keda.sh/hpa-ownership": "false"}), scaled(), ""),
        (autoscaler(), scaled(annotations=TRANSFER), "the existing hpa 'mine' for workload 'web'"),
        (
            autoscaler(),
            scaled(
                annotations=TRANSFER, advanced={"horizontalPodAutoscalerConfig": {"name": "mine"}}
            ),
            "",
        ),
    ],
)
async def test_an_autoscaler_of_somebody_else_is_not_fought(hpa: Any, body: Any, text: str) -> None:
    found = await refused(World(autoscalers=[hpa]), body)
    assert text in found if text else found == ""


def with_request(amount: str = "", limit: str = "") -> Any:
    made = deployment("web")
    resources = made.spec.template.spec.containers[0].resources
    if amount:
        resources.requests = {"cpu": amount}  # type: ignore[dict-item]
    if limit:
        resources.limits = {"cpu": limit}  # type: ignore[dict-item]
    return made


def limits(kind: str = "Container", **amounts: Any) -> core_v1.LimitRange:
    spec = {"limits": [{"type": kind, **amounts}]}
    return from_builtins({"metadata": {"name": "l"}, "spec": spec}, core_v1.LimitRange)


@pytest.mark.parametrize(
    ("target", "ranges", "spec", "text"),
    [
        (with_request("1"), [], {}, ""),
        (with_request(limit="1"), [], {}, ""),
        (with_request("0"), [], {}, "the container c doesn't have the cpu request defined"),
        (with_request(), [limits(default={"cpu": "1"})], {}, ""),
        (with_request(), [limits(defaultRequest={"cpu": "1"})], {}, ""),
        (with_request(), [limits(defaultRequest={"memory": "1"})], {}, "request defined"),
        (with_request(), [limits("Pod", default={"cpu": "1"})], {}, "request defined"),
        (with_request(), [], {"triggers": [CRON]}, ""),
        (with_request(), [], {"ref": {"kind": "Other"}}, ""),
        (
            with_request(),
            [],
            {"triggers": [{**CPU, "metadata": {"value": "50", "containerName": "x"}}]},
            "",
        ),
        (
            with_request("1"),
            [],
            {"minReplicaCount": 0},
            "only cpu/memory triggers AND minReplica is 0",
        ),
        (with_request("1"), [], {"minReplicaCount": 0, "triggers": [CPU, CRON]}, ""),
        (None, [], {}, 'deployments.apps "web" not found'),
    ],
)
async def test_use_is_compared_with_a_request(
    target: Any, ranges: Any, spec: dict[str, Any], text: str
) -> None:
    world = World(ranges=ranges)
    world.deployments = {"web": target} if target is not None else {}
    body = scaled(**{"minReplicaCount": 1, "triggers": [CPU], **spec})
    found = await refused(world, body)
    assert text in found if text else found == ""
    assert await refused(world, body, dry_run=True) == "", "a dry run asks nobody"


@pytest.mark.parametrize(
    ("spec", "warned"),
    [
        ({"minReplicaCount": 1, "pollingInterval": 5}, [admission._POLLING]),
        ({"minReplicaCount": 1, "cooldownPeriod": 5}, [admission._COOLDOWN]),
        ({"minReplicaCount": 0, "pollingInterval": 5, "cooldownPeriod": 5}, []),
        ({"minReplicaCount": 2, "idleReplicaCount": 0, "pollingInterval": 5}, []),
        ({"minReplicaCount": 1}, []),
    ],
)
async def test_times_that_do_not_matter_are_warned_of(spec: Any, warned: list[str]) -> None:
    assert await World().judged(scaled(**spec)) == warned


async def test_what_is_not_judged() -> None:
    world = World(objects=[scaled("t")])
    assert await world.judged(scaled(), operation="DELETE") == []
    assert await world.judged(scaled(), sub_resource="status") == []
    assert await world.judged({}, kind="Other") == []


async def test_an_object_may_always_be_let_go() -> None:
    world = World(objects=[scaled("t")])
    old, new = scaled(), scaled()
    old["metadata"]["finalizers"] = ["a.b/c"]
    assert await world.judged(new, old, operation="UPDATE") == []
    new["spec"]["minReplicaCount"] = 1
    assert "already managed" in await refused(world, new, old=old, operation="UPDATE")
    assert "already managed" in await refused(world, old, old=old, operation="UPDATE")


async def test_what_cannot_be_read_is_refused() -> None:
    assert "Expected" in await refused(World(), {"spec": {"triggers": 5}})


@pytest.mark.parametrize(
    ("identity", "text"),
    [
        ({"provider": "azure-workload"}, ""),
        ({"provider": "azure-workload", "identityId": ""}, "identityId of PodIdentity should not"),
        ({"provider": "azure-workload", "identityId": "i"}, ""),
        (
            {"provider": "azure-workload", "identityAuthorityHost": "h"},
            "identityTenantID property must be specified",
        ),
        (
            {"provider": "azure-workload", "identityAuthorityHost": "h", "identityTenantId": "t"},
            "",
        ),
        (
            {"provider": "aws", "roleArn": "r", "identityOwner": "workload"},
            "roleArn of PodIdentity",
        ),
        ({"provider": "aws", "roleArn": "r", "identityOwner": "keda"}, ""),
        ({"provider": "aws", "identityOwner": "workload"}, ""),
        ({"provider": "other", "identityId": ""}, ""),
    ],
)
@pytest.mark.parametrize("where", ["podIdentity", "azureKeyVault"])
def test_identities_that_contradict_themselves(
    where: str, identity: dict[str, str], text: str
) -> None:
    part = (
        identity
        if where == "podIdentity"
        else {"podIdentity": identity, "vaultUri": "v", "secrets": []}
    )
    spec = from_builtins({"metadata": {"name": "a"}, "spec": {where: part}}, Authentication).spec
    if not text:
        check_authentication(spec)
        return
    with pytest.raises(SpecError, match=text):
        check_authentication(spec)

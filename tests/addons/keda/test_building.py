"""Triggers of an object, made of its spec: credentials, caches, classes of one's own."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import pytest

from tests.addons.keda.world import Scaled, deployment, scaled_object, trigger
from tiphys.addons.keda.authentication import AuthenticationError, Credentials, expanded
from tiphys.addons.keda.parameters import parameter
from tiphys.addons.keda.scaler import Scaler, scaler
from tiphys.addons.keda.types import AuthenticationRef, ClusterTriggerAuthentication
from tiphys.addons.keda.types import TriggerAuthentication as Authentication
from tiphys.addons.reaching import Reach, service_name
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

pytestmark = pytest.mark.asyncio(loop_scope="package")


@scaler("canteen")
class Canteen(Scaler):
    """Guests that wait at a desk."""

    desk: str = parameter()
    guests: float = parameter(default="20")
    waiting = 0.0
    asked: ClassVar[Counter[str]] = Counter()

    def target(self) -> float:
        return self.guests

    async def measure(self) -> float:
        self.asked[self.config.owner] += 1
        return self.waiting


async def test_a_trigger_of_ones_own_is_a_class(keda: LocalCluster) -> None:
    Canteen.waiting = 1.0
    scaled = await Scaled.made(
        keda, scaled_object("canteen", trigger("canteen", desk="3"), pollingInterval=1)
    )
    await scaled.has(1)
    hpa = await scaled.autoscaler()
    assert hpa is not None and hpa.spec.metrics[0].external is not None
    assert hpa.spec.metrics[0].external.target.average_value == "20"


async def test_what_is_cached_is_not_asked_for_again(keda: LocalCluster) -> None:
    one = {**trigger("canteen", desk="3"), "useCachedMetrics": True}
    scaled = await Scaled.made(keda, scaled_object("cached", one, pollingInterval=3600))
    await scaled.says("Active", "True")
    before = Canteen.asked["cached"]
    path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/s0-canteen"
    query = {"labelSelector": "scaledobject.keda.sh/name=cached"}
    for _ in range(3):
        assert b'"value": "1"' in await keda.client.request("GET", path, query=query)
    assert Canteen.asked["cached"] == before


def authentication(name: str, **spec: Any) -> Authentication:
    meta = {"name": name, "namespace": "default"}
    return from_builtins({"metadata": meta, "spec": spec}, Authentication)


REFUSED = [
    ({"podIdentity": {"provider": "aws"}}, 'podIdentity provider "aws" is not supported'),
    (
        {"hashiCorpVault": {"address": "a", "authentication": "token", "secrets": [
            {"parameter": "p", "path": "p", "key": "k"}]}},
        "hashiCorpVault is not supported",
    ),
    ({"filePath": "/etc/passwd"}, "filePath is only supported for ClusterTriggerAuthentication"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "words"), REFUSED)
async def test_stores_and_identities_of_clouds_are_refused_with_words(
    keda: LocalCluster, spec: dict[str, Any], words: str
) -> None:
    name = f"refused-{next(iter(spec)).lower()}"
    await keda.client.create(authentication(name, **spec))
    with pytest.raises(AuthenticationError, match=words):
        await Credentials(keda.client, "default").of(AuthenticationRef(name=name), None)


async def test_credentials_are_those_of_one_namespace(keda: LocalCluster) -> None:
    """Secrets and ConfigMaps of its own; of the add-on's for a ClusterTriggerAuthentication."""
    secret = core_v1.Secret(metadata=ObjectMeta(name="cred", namespace="kube-system"))
    secret.data = {"key": b"of another"}
    await keda.client.create(secret)
    ref = {"parameter": "password", "name": "cred", "key": "key"}
    await keda.client.create(authentication("mine", secretTargetRef=[ref]))
    shared: Any = {"metadata": {"name": "shared"}, "spec": {"secretTargetRef": [ref]}}
    await keda.client.create(from_builtins(shared, ClusterTriggerAuthentication))
    credentials = Credentials(keda.client, "default")
    kind = "ClusterTriggerAuthentication"
    for one in (AuthenticationRef(name="mine"), AuthenticationRef(name="shared", kind=kind)):
        assert await credentials.of(one, None) == {"password": ""}
    secret.metadata.namespace = "default"
    await keda.client.create(secret)
    again = Credentials(keda.client, "default")
    assert await again.of(AuthenticationRef(name="mine"), None) == {"password": "of another"}


async def test_the_environment_of_the_target_is_read_as_its_container_sees_it(
    keda: LocalCluster,
) -> None:
    config = core_v1.ConfigMap(metadata=ObjectMeta(name="env", namespace="default"))
    config.data = {"HOST": "redis", "PORT": "1"}
    await keda.client.create(config)
    pod = deployment("x").spec.template.spec
    pod.containers[0].env_from = [
        core_v1.EnvFromSource(config_map_ref=core_v1.ConfigMapEnvSource(name="env"))
    ]
    pod.containers[0].env = [core_v1.EnvVar(name="ADDRESS", value="$(HOST):$(PORT) $$(X) $(Y)")]
    found = await Credentials(keda.client, "default").environment(pod)
    assert found["ADDRESS"] == "redis:1 $(X) $(Y)"
    assert expanded("$(A)$(A", {"A": "b"}) == "b$(A"
    with pytest.raises(AuthenticationError, match="couldn't find container with name other"):
        await Credentials(keda.client, "default").environment(pod, "other")


async def test_names_of_services_lead_to_their_endpoints(keda: LocalCluster) -> None:
    service = core_v1.Service(metadata=ObjectMeta(name="queue", namespace="default"))
    service.spec.ports = [core_v1.ServicePort(name="r", port=6379, target_port=7000)]
    await keda.client.create(service)
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "queue",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "queue"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "r", "port": 7000}],
        "endpoints": [
            {"addresses": ["192.0.2.7"], "conditions": {"ready": True}},
            {"addresses": ["192.0.2.8"], "conditions": {"ready": False}},
        ],
    }
    await keda.client.create(slice_)
    reach = Reach(keda.client)
    for host in ("queue", "queue.default", "queue.default.svc", "queue.default.svc.cluster.local"):
        assert await reach.find(host, 6379, "default") == ("192.0.2.7", 7000)
    assert service_name("redis.example.com") is None


async def test_kedas_own_samples_are_taken_and_an_unknown_kind_of_trigger_is_named(
    keda: LocalCluster,
) -> None:
    """The form of config/samples in KEDA's repository."""
    sample = scaled_object(
        "example", trigger("example-trigger", property="example-property"), pollingInterval=30,
        cooldownPeriod=300, minReplicaCount=0, maxReplicaCount=100,
    )  # fmt: skip
    scaled = await Scaled.made(keda, sample)
    message = await scaled.says("Ready", "False", "ScaledObjectCheckFailed")
    assert message.endswith("no scaler found for type: example-trigger")
    with pytest.raises(StatusError, match=r"spec.triggers"):
        await keda.client.create(scaled_object("none"))

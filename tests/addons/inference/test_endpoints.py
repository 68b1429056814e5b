"""What one look at an endpoint does: its objects, its scaling, its certificate, and what is said."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.addons.inference.world import endpoint, read, s3_source
from tests.addons.pretended import Pretended, secret
from tests.builders import config_map
from tiphys.addons.inference import AUTHORITY, Settings
from tiphys.addons.inference import endpoints as reconcilers
from tiphys.addons.inference.catalogue import CATALOGUE
from tiphys.addons.inference.endpoints import (
    InferenceEndpointConfigs,
    JumpStartModels,
    Registrations,
)
from tiphys.addons.inference.loading import LoadError
from tiphys.addons.inference.types import v1
from tiphys.addons.optional import NAMESPACE
from tiphys.api import apps_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.client.kinds import UnknownKind
from tiphys.controllers.shell import Context
from tiphys.machinery import conditions, errors

NOW = 1_800_000_000.0


class Bench:
    """One reconciler and what it did."""

    def __init__(self, kind: Any, **settings: Any) -> None:
        self.server = Pretended()
        self.events: list[tuple[str, str, bool]] = []
        pretended: Any = self.server
        nobody: Any = None
        context = Context(
            pretended,
            pretended,
            nobody,
            nobody,
            lambda: NOW,
            {"settings": Settings(s3_endpoint="http://s3:8333", **settings)},
        )
        bench = self

        class Worked(kind):  # type: ignore[misc]
            async def set_status(self, obj: Any, status: Any) -> None:
                obj.status = status

            def event(self, obj: Any, reason: str, message: str, *, warning: bool = False) -> None:
                bench.events.append((reason, message, warning))

        self.reconciler = Worked(context, "tiphys-inference")

    async def step(self, obj: Any) -> float | None:
        return cast("float | None", await self.reconciler.reconcile(obj))

    def names(self, kind: Any) -> list[str]:
        return sorted(one.metadata.name for one in self.server.of(kind))


def said(obj: Any, type_: str) -> tuple[str, str, str] | None:
    found = conditions.find(obj.status.conditions, type_)
    return (found.status, found.reason, found.message) if found is not None else None


def config(**spec: Any) -> v1.InferenceEndpointConfig:
    made = read(endpoint(**spec))
    made.metadata.uid, made.metadata.generation = "own", 1
    return made


HALVES = {"pdSpec": {"decodingSpec": {"replicas": 1}, "prefillSpec": {"replicas": 1}}}


def complete(bench: Bench, name: str = "model") -> None:
    """The Deployment is there, and its Service has an address."""
    found = bench.server.of(apps_v1.Deployment).get(f"default/{name}")
    assert found is not None
    found.status.replicas = found.status.updated_replicas = 1
    found.status.available_replicas = found.status.ready_replicas = 1
    service = bench.server.of(core_v1.Service).get(f"default/{name}")
    assert service is not None
    service.status.load_balancer.ingress = [core_v1.LoadBalancerIngress(ip="10.0.0.1")]


async def test_an_endpoint_becomes_ready() -> None:
    bench, obj = Bench(InferenceEndpointConfigs), config()
    assert await bench.step(obj) is None
    assert bench.names(apps_v1.Deployment) == bench.names(core_v1.Service) == ["model"]
    for one in bench.server.applied:
        (owner,) = one.metadata.owner_references
        assert (owner.uid, owner.controller) == ("own", True)
    assert obj.status.state == "DeploymentInProgress"
    assert said(obj, "Ready") == ("False", "DeploymentInProgress", "0 of 1 replicas are ready")
    complete(bench)
    assert await bench.step(obj) is None
    assert said(obj, "Ready") == ("True", "DeploymentComplete", "1 of 1 replicas are ready")
    assert said(obj, "Routed") == ("True", "Addressed", "10.0.0.1")
    certificate = obj.status.tls_certificate
    assert certificate is not None
    assert certificate.certificate_domain_names == ["model.default.svc"]
    assert (certificate.certificate_name, certificate.issuer_name) == ("model-default", AUTHORITY)
    assert certificate.certificate_health == "Valid"
    assert not {"Scaled", "CertificatePublished", "Registered", "DataCaptured", "NotOffered"} & {
        one.type for one in obj.status.conditions
    }
    assert bench.events == []


async def test_the_half_that_is_not_asked_for_any_more_goes() -> None:
    bench, obj = Bench(InferenceEndpointConfigs), config(**HALVES)
    await bench.step(obj)
    both = ["model", "model-prefill"]
    assert bench.names(apps_v1.Deployment) == bench.names(core_v1.Service) == both
    order = [
        one.metadata.name for one in bench.server.applied if isinstance(one, apps_v1.Deployment)
    ]
    assert order == ["model-prefill", "model"], "who is asked is there before who asks"
    await bench.step(obj)
    assert bench.server.deleted == []
    obj.spec.pd_spec = None
    await bench.step(obj)
    assert [one[:2] for one in bench.server.deleted] == [
        ("Deployment", "model-prefill"),
        ("Service", "model-prefill"),
    ]
    assert all(uid.startswith("uid-") for _, _, uid in bench.server.deleted)


async def test_what_belongs_to_somebody_else_stays() -> None:
    bench, obj = Bench(InferenceEndpointConfigs), config()
    foreign = apps_v1.Deployment()
    foreign.metadata.namespace, foreign.metadata.name = "default", "model-prefill"
    bench.server.put(foreign)
    await bench.step(obj)
    assert bench.server.deleted == []


async def test_a_name_that_is_taken_is_not_taken_away() -> None:
    bench, obj = Bench(InferenceEndpointConfigs), config()
    foreign = core_v1.Service()
    foreign.metadata.namespace, foreign.metadata.name = "default", "model"
    bench.server.put(foreign)
    obj.status.replicas, obj.status.selector = 3, "app=model"
    assert await bench.step(obj) == 30
    message = "Service model is there and belongs to somebody else"
    assert bench.server.applied == []
    assert said(obj, "DeploymentFailed") == ("True", "NameTaken", message)
    assert said(obj, "Ready") == ("False", "NameTaken", message)
    assert obj.status.state == "DeploymentFailed"
    assert (obj.status.replicas, obj.status.selector) == (3, "app=model"), "what runs goes on"
    assert bench.events == [("NameTaken", message, True)]
    assert await bench.step(obj) == 30
    assert len(bench.events) == 1, "it is told once"


async def test_what_cannot_be_done_is_refused() -> None:
    bench = Bench(InferenceEndpointConfigs)
    obj = config(dataCapture={"modelPod": {"enabled": True}})
    assert await bench.step(obj) == 30
    found = said(obj, "DeploymentFailed")
    assert found is not None and found[1] == "Unsupported" and bench.server.applied == []


# --- scaling ---

SCALED = {
    "autoScalingSpec": {
        "minReplicaCount": 1,
        "maxReplicaCount": 4,
        "prometheusTrigger": {
            "serverAddress": "https://aps-workspaces.us-west-2.amazonaws.com/workspaces/ws-1",
            "query": "q",
            "targetValue": 1,
        },
    }
}


def scaled_objects(bench: Bench) -> list[dict[str, Any]]:
    return [one for one in bench.server.applied if isinstance(one, dict)]


async def test_an_endpoint_that_is_scaled_and_is_not_any_more() -> None:
    bench, obj = Bench(InferenceEndpointConfigs), config(**SCALED)
    assert await bench.step(obj) is None
    assert said(obj, "Scaled") == ("True", "ScaledObject", "1 to 4 replicas")
    (made,) = scaled_objects(bench)
    assert made["metadata"]["name"] == "model"
    assert made["spec"]["scaleTargetRef"]["kind"] == "InferenceEndpointConfig"
    owner = made["metadata"]["ownerReferences"]
    assert owner[0]["uid"] == "own"
    own = {"metadata": {"uid": "s", "ownerReferences": owner}}
    bench.server.found["ScaledObject", "model"] = own
    bench.server.found["ScaledObject", "model-prefill"] = {"metadata": {"uid": "f"}}
    await bench.step(obj)
    assert bench.server.deleted == []
    obj.spec.auto_scaling_spec = None
    await bench.step(obj)
    assert bench.server.deleted == [("ScaledObject", "model", "s")]
    assert said(obj, "Scaled") is None
    await bench.step(obj)
    assert len(bench.server.deleted) == 1, "what was never scaled is not looked for"


async def test_a_half_is_scaled_by_its_deployment() -> None:
    bench = Bench(InferenceEndpointConfigs)
    scaling = {"autoScalingSpec": {"decodingAutoScaling": SCALED["autoScalingSpec"]}}
    obj = config(pdSpec={**HALVES["pdSpec"], **scaling})
    await bench.step(obj)
    (made,) = scaled_objects(bench)
    assert made["spec"]["scaleTargetRef"]["kind"] == "Deployment"
    assert made["metadata"]["name"] == "model"


class Failing(Pretended):
    async def apply(self, obj: Any, namespace: str = "", *, manager: str, force: bool) -> Any:
        if isinstance(obj, dict) and self.fails is not None:
            raise self.fails
        fails, self.fails = self.fails, None
        try:
            return await super().apply(obj, namespace, manager=manager, force=force)
        finally:
            self.fails = fails


@pytest.mark.parametrize(
    "error, reason, message",
    [
        (UnknownKind("ScaledObject"), "NoKeda", "there is no KEDA: tiphys addon enable keda"),
        (errors.forbidden("scaledobjects", "model", "no"), "Refused", "forbidden: no"),
    ],
)
async def test_scaling_that_cannot_be_is_said_and_tried_again(
    error: Exception, reason: str, message: str
) -> None:
    bench, obj = Bench(InferenceEndpointConfigs), config(**SCALED)
    bench.reconciler.client = bench.server = failing = Failing()
    bench.reconciler.context.informers = cast(Any, failing)
    failing.fails = error
    assert await bench.step(obj) == 30
    found = said(obj, "Scaled")
    assert found is not None and found[:2] == ("False", reason) and message in found[2]


@pytest.mark.parametrize(
    "error, raises",
    [
        (UnknownKind("ScaledObject"), False),
        (errors.not_found("scaledobjects", "model"), False),
        (errors.forbidden("scaledobjects", "model", "no"), True),
    ],
)
async def test_what_scales_no_more_may_be_gone(error: Exception, raises: bool) -> None:
    bench, obj = Bench(InferenceEndpointConfigs), config()
    bench.server.fails = error
    if raises:
        with pytest.raises(errors.StatusError):
            await bench.reconciler._unscale(obj, "model")
    else:
        await bench.reconciler._unscale(obj, "model")
    assert bench.server.deleted == []


# --- the certificate ---


class Bucket:
    """Keeps what is put into it."""

    made: list[tuple[str, ...]] = []
    written: dict[str, bytes] = {}
    fails = False

    def __init__(self, *how: str) -> None:
        self.made.append(how)

    def put(self, key: str, body: bytes) -> None:
        if self.fails:
            raise LoadError("no room")
        self.written[key] = body


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> type[Bucket]:
    kind = type("Fresh", (Bucket,), {"made": [], "written": {}, "fails": False})
    monkeypatch.setattr(reconcilers, "Bucket", kind)
    return kind


TLS = "tlsCertificateOutputS3Uri"


@pytest.mark.parametrize(
    "uri, key", [("s3://certs/a/b/", "a/b/model-default.pem"), ("s3://certs", "model-default.pem")]
)
async def test_the_certificate_is_written_once(bucket: type[Bucket], uri: str, key: str) -> None:
    bench, obj = Bench(InferenceEndpointConfigs), config(tlsConfig={TLS: uri})
    bench.server.found["Secret", AUTHORITY] = secret(AUTHORITY, **{"tls.crt": "pem"})
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    bench.server.found["Secret", "s3-credentials"] = secret("s3-credentials", **keys)
    for _ in range(2):
        assert await bench.step(obj) is None
        assert said(obj, "CertificatePublished") == ("True", "Written", f"s3://certs/{key}")
        made = obj.status.tls_certificate
        assert made is not None and made.tls_certificate_s3_keys == [key]
        assert made.tls_certificate_output_s3_bucket == "certs"
    assert bucket.written == {key: b"pem"}
    assert bucket.made == [("http://s3:8333", "certs", "us-east-1", "k", "s")]


@pytest.mark.parametrize(
    "data, wanted",
    [
        (None, ("http://s3:8333", "certs", "us-west-2")),
        ({}, ("http://s3:8333", "certs", "us-west-2", "", "")),
    ],
)
async def test_a_bucket_may_be_open_to_everybody(
    bucket: type[Bucket], data: Any, wanted: tuple[str, ...]
) -> None:
    source = s3_source()
    bench = Bench(InferenceEndpointConfigs)
    obj = config(tlsConfig={TLS: "s3://certs"}, modelSourceConfig=source)
    bench.server.found["Secret", AUTHORITY] = secret(AUTHORITY, **{"tls.crt": "pem"})
    if data is not None:
        bench.server.found["Secret", "s3-credentials"] = secret("s3-credentials", **data)
    await bench.step(obj)
    assert bucket.made == [wanted]


async def test_a_certificate_that_is_not_written_is_tried_again(bucket: type[Bucket]) -> None:
    bench, obj = Bench(InferenceEndpointConfigs), config(tlsConfig={TLS: "s3://certs"})
    bench.server.found["Secret", AUTHORITY] = secret(AUTHORITY)
    assert await bench.step(obj) == 30
    assert said(obj, "CertificatePublished") == ("False", "NotWritten", "'tls.crt'")
    bench.server.found["Secret", AUTHORITY] = secret(AUTHORITY, **{"tls.crt": "pem"})
    bucket.fails = True
    assert await bench.step(obj) == 30
    assert said(obj, "CertificatePublished") == ("False", "NotWritten", "no room")
    assert obj.status.tls_certificate is not None
    assert obj.status.tls_certificate.tls_certificate_s3_keys == []
    bucket.fails = False
    assert await bench.step(obj) is None


# --- what else is said ---


async def test_what_stands_in_for_something_is_said() -> None:
    bench = Bench(InferenceEndpointConfigs)
    capture = {"modelPod": {"enabled": True}, "s3Uri": "s3://records/here"}
    routing = {"enabled": True, "routingStrategy": "kvaware"}
    obj = config(endpointName="e", dataCapture=capture, intelligentRoutingSpec=routing)
    assert await bench.step(obj) is None, "a stand-in is not waited for"
    message = "a stand-in: there is no SageMaker here; the router serves /endpoints/e"
    assert said(obj, "Registered") == ("False", "NoSageMaker", message)
    captured = said(obj, "DataCaptured")
    assert captured is not None
    assert captured[:2] == ("True", "ByPods")
    assert captured[2].startswith("each pod writes below s3://records/here")
    omitted = said(obj, "NotOffered")
    assert omitted is not None and omitted[:2] == ("True", "NotHere")
    assert "kvaware is prefixaware here" in omitted[2]


async def test_a_registration_is_none() -> None:
    bench = Bench(Registrations)
    obj = v1.SageMakerEndpointRegistration()
    obj.spec.name = "e"
    for _ in range(2):
        assert await bench.step(obj) is None
        assert obj.status is not None and obj.status.state == "CreationFailed"
        found = said(obj, "Registered")
        assert found is not None and found[:2] == ("False", "NoSageMaker")
        assert found[2].endswith("/endpoints/e") and len(obj.status.conditions) == 1


# --- models of a hub ---


def model(name: str = "model", id_: str = "m") -> v1.JumpStartModel:
    made = from_builtins(
        {
            "metadata": {"name": name, "namespace": "default", "uid": "own", "generation": 1},
            "spec": {"model": {"modelId": id_}, "server": {"instanceType": "ml.g5.8xlarge"}},
        },
        v1.JumpStartModel,
    )
    return made


async def test_a_model_of_the_hub_is_served_as_the_catalogue_says() -> None:
    bench, obj = Bench(JumpStartModels), model()
    assert await bench.step(obj) == 30
    assert said(obj, "DeploymentFailed") == ("True", "UnknownModel", "the hub has no model m")
    bench.server.put(config_map(CATALOGUE, NAMESPACE, m="image: special:1"))
    assert await bench.step(obj) is None
    (made,) = bench.server.of(apps_v1.Deployment)
    containers = made.spec.template.spec.containers
    assert [one.image for one in containers] == ["special:1"]


@pytest.mark.parametrize(
    "name, namespace, queued",
    [
        (CATALOGUE, NAMESPACE, ["default/model", "default/other"]),
        ("another", NAMESPACE, []),
        (CATALOGUE, "default", []),
    ],
)
async def test_the_catalogue_concerns_every_model(
    name: str, namespace: str, queued: list[str]
) -> None:
    bench = Bench(JumpStartModels)
    bench.server.put(model())
    bench.server.put(model("other"))
    keys: list[str] = []
    bench.reconciler.watch(keys.append)
    found = bench.server.put(config_map(name, namespace))
    assert sorted(keys) == queued
    keys.clear()
    bench.server.take(found)
    assert sorted(keys) == queued

"""An endpoint whose prompts are read by other servers than those that answer, and what it asks for
beside: pure."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.inference.world import endpoint, read
from tiphys.addons.inference import Settings
from tiphys.addons.inference.bundle import Bundle, bundle_of
from tiphys.addons.inference.capturing import Capture
from tiphys.addons.inference.endpoint import Endpoint, Unsupported
from tiphys.addons.inference.front import Limits
from tiphys.addons.inference.omissions import omissions_of
from tiphys.addons.inference.prefilling import Prefill
from tiphys.api.base import to_builtins


def made(**spec: Any) -> Bundle:
    asked = Endpoint("model", "default", read(endpoint(**spec)).spec)
    return bundle_of(asked, Settings(s3_endpoint="http://s3:8333"))


def halves(**more: Any) -> dict[str, Any]:
    decoding = {"replicas": 3, "args": ["--max-num-seqs=9"], "nodeSelector": {"gpu": "large"}}
    prefill = {"replicas": 2, "resources": {"limits": {"nvidia.com/gpu": "8"}}}
    return {"pdSpec": {"decodingSpec": decoding, "prefillSpec": prefill, **more}}


def test_nothing_stands_before_a_server_of_which_nothing_is_asked() -> None:
    bundle = made()
    assert bundle.plan is None and bundle.prefill is None and bundle.configs == []
    assert not bundle.deployment.spec.template.spec.init_containers


def test_prompts_are_read_by_pods_of_their_own() -> None:
    bundle = made(worker={"args": ["--model=m"]}, **halves(routingThreshold=100))
    assert bundle.prefill is not None and bundle.plan is not None
    answering, prefilling = bundle.deployment, bundle.prefill.deployment
    assert (answering.metadata.name, answering.spec.replicas) == ("model", 3)
    assert (prefilling.metadata.name, prefilling.spec.replicas) == ("model-prefill", 2)
    servers = [one.spec.template.spec.containers[0] for one in (answering, prefilling)]
    assert [one.args for one in servers] == [["--model=m", "--max-num-seqs=9"], ["--model=m"]]
    assert [bool(one.resources.limits) for one in servers] == [False, True]
    assert answering.spec.template.spec.node_selector == {"gpu": "large"}
    assert bundle.plan.prefill == Prefill("model-prefill.default.svc", 80, 100)


def test_clients_reach_those_that_answer_and_these_the_others() -> None:
    bundle = made(**halves())
    assert bundle.prefill is not None
    outer, inner = bundle.service.spec, bundle.prefill.service.spec
    assert (outer.type, outer.ports[0].target_port) == ("LoadBalancer", 18080)
    assert (inner.type or "ClusterIP", inner.ports[0].target_port) == ("ClusterIP", 8080)
    assert outer.selector == {"app": "model"} and inner.selector == {"app": "model-prefill"}
    names = [one.name for one in bundle.prefill.deployment.spec.template.spec.init_containers]
    assert names == [], "nothing stands before those"


def test_both_are_in_one_zone_if_it_is_said_so() -> None:
    bundle = made(**halves(topologySpec={}))
    for half in bundle.halves:
        affinity = to_builtins(half.deployment.spec.template.spec.affinity)
        [term] = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "topology.kubernetes.io/zone"
        labels = half.deployment.spec.template.metadata.labels
        assert term["labelSelector"]["matchLabels"].items() <= labels.items()


def test_a_zone_that_is_named_is_required() -> None:
    topology = {"availabilityZone": "us-west-2b", "sameAZ": False}
    for half in made(**halves(topologySpec=topology)).halves:
        pod = half.deployment.spec.template.spec
        assert pod.node_selector["topology.kubernetes.io/zone"] == "us-west-2b"
        assert pod.affinity is None


def test_a_half_that_is_scaled_is_counted_by_somebody_else() -> None:
    scaling = {"decodingAutoScaling": {"maxReplicaCount": 9}}
    bundle = made(**halves(autoScalingSpec=scaling))
    assert bundle.prefill is not None
    assert bundle.deployment.spec.replicas is None
    assert bundle.prefill.deployment.spec.replicas == 2
    assert bundle.endpoint.spec.auto_scaling_spec is not None
    assert bundle.prefill.endpoint.spec.auto_scaling_spec is None


def test_limits_are_kept_before_the_server_and_its_health_is_asked_itself() -> None:
    limits = {"maxConcurrentRequests": 4, "maxQueueSize": 8}
    bundle = made(worker={"requestLimits": limits})
    assert bundle.plan is not None and bundle.plan.limits == Limits(4, 8, 429)
    pod = bundle.deployment.spec.template.spec
    assert [(one.name, one.restart_policy) for one in pod.init_containers] == [("front", "Always")]
    probe = pod.containers[0].readiness_probe
    assert probe is not None and probe.http_get is not None and probe.http_get.port == 8080
    assert bundle.configs[0].metadata.name == "model-front"


def test_limits_without_a_number_are_none() -> None:
    assert made(worker={"requestLimits": {"maxQueueSize": 8}}).plan is None


def test_what_pods_record_goes_where_the_endpoint_says() -> None:
    pods = {
        "enabled": True,
        "captureOptions": [{"captureMode": "Output"}],
        "initialSamplingPercentage": 0,
        "bufferConfig": {"batchSize": 5, "flushIntervalSeconds": 20},
        "payloadConfig": {"maxPayloadSizeKB": 2},
        "captureContentTypeHeader": {"jsonContentTypes": ["application/JSONlines"]},
    }
    bundle = made(dataCapture={"s3Uri": "s3://b/x/", "modelPod": pods})
    assert bundle.plan is not None and bundle.plan.s3_endpoint == "http://s3:8333"
    assert bundle.plan.capture == Capture(
        bucket="b",
        prefix="x/model-pod/default/model",
        modes=("Output",),
        percentage=0,
        batch=5,
        seconds=20,
        largest=2048,
        csv_types=(),
        json_types=("application/jsonlines",),
    )
    front = bundle.deployment.spec.template.spec.init_containers[0]
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= {one.name for one in front.env}


def test_records_go_to_the_bucket_of_certificates_where_none_is_named() -> None:
    tls = {"tlsCertificateOutputS3Uri": "s3://certs/below"}
    bundle = made(dataCapture={"modelPod": {"enabled": True}}, tlsConfig=tls)
    assert bundle.plan is not None and bundle.plan.capture is not None
    assert (bundle.plan.capture.bucket, bundle.plan.capture.percentage) == ("certs", 100)


GRPC = {"modelInvocationPort": {"containerPort": 8080, "name": "grpc"}}
ON = {"enabled": True}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"dataCapture": {"modelPod": ON}}, "dataCapture.s3Uri is missing"),
        ({"dataCapture": {"modelPod": {**ON, "kmsKeyId": "k"}}}, "kmsKeyId: there is no KMS"),
        ({"worker": {**GRPC, "requestLimits": {"maxConcurrentRequests": 1}}}, "a port named http"),
        ({**halves(), "autoScalingSpec": {}}, "autoScalingSpec stands there for each half"),
    ],
)
def test_what_cannot_be_done_is_refused(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        made(**spec)


ACM = "arn:aws:acm:us-west-2:123456789012:certificate/0a"
TIERS = {"sagemakerEndpoint": ON, "loadBalancer": ON}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"dataCapture": TIERS}, "dataCapture.loadBalancer"),
        ({"dataCapture": TIERS}, "dataCapture.sagemakerEndpoint"),
        ({"tags": [{"name": "a", "value": "b"}]}, "tags"),
        ({"dnsConfig": {"hostedZoneId": "Z1"}}, "dnsConfig"),
        (
            {"intelligentRoutingSpec": {**ON, "routingStrategy": "kvaware"}},
            "intelligentRoutingSpec.routingStrategy",
        ),
        (
            {"intelligentRoutingSpec": {**ON, "autoScalingSpec": {}}},
            "intelligentRoutingSpec.autoScalingSpec",
        ),
        (
            {"tlsConfig": {"customCertificateConfig": {"acmArn": ACM, "domainName": "b.c"}}},
            "tlsConfig.customCertificateConfig",
        ),
        (
            {
                "kvCacheSpec": {
                    "enableL2Cache": True,
                    "l2CacheSpec": {"l2CacheBackend": "TieredStorage"},
                }
            },
            "kvCacheSpec.l2CacheSpec.l2CacheBackend",
        ),
        (halves(topologySpec={"placementGroup": "p"}), "pdSpec.topologySpec.placementGroup"),
    ],
)
def test_what_is_served_without_is_named(spec: dict[str, Any], field: str) -> None:
    said = [text.partition(":")[0] for text in omissions_of(read(endpoint(**spec)).spec)]
    assert field in said


def test_an_endpoint_that_has_all_it_asks_for_hears_nothing() -> None:
    assert omissions_of(read(endpoint(intelligentRoutingSpec=ON)).spec) == []


def test_a_prometheus_is_told_where_the_server_counts() -> None:
    template = made(metrics={"modelMetrics": {"path": "/m", "port": 9000}}).deployment.spec.template
    assert template.metadata.annotations == {
        "prometheus.io/scrape": "true",
        "prometheus.io/path": "/m",
        "prometheus.io/port": "9000",
    }
    assert not made(metrics={"enabled": False}).deployment.spec.template.metadata.annotations

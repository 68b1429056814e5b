"""An endpoint's autoscaling in KEDA's words: pure."""

from __future__ import annotations

from typing import Any

from tests.addons.inference.world import endpoint, read
from tiphys.addons.inference.scaling import Target, scaled_object, triggers_of

OWNER = {
    "apiVersion": "inference.sagemaker.aws.amazon.com/v1",
    "kind": "InferenceEndpointConfig",
    "name": "model",
    "uid": "u",
}
QUERY = "sum(rate(model_requests_total[1m]))"


def made(**scaling: Any) -> dict[str, Any]:
    spec = read(endpoint(autoScalingSpec=scaling)).spec
    assert spec.auto_scaling_spec is not None
    target = Target(OWNER["apiVersion"], OWNER["kind"], OWNER["name"], {"app": "model"})
    return scaled_object(OWNER, target, spec.auto_scaling_spec, "http://prometheus:9090")


def test_the_endpoint_is_what_is_scaled() -> None:
    found = made(prometheusTrigger={"query": QUERY, "targetValue": 5})
    assert found["metadata"]["ownerReferences"] == [OWNER]
    assert found["spec"] == {
        "scaleTargetRef": {
            "apiVersion": "inference.sagemaker.aws.amazon.com/v1",
            "kind": "InferenceEndpointConfig",
            "name": "model",
        },
        "pollingInterval": 30,
        "cooldownPeriod": 300,
        "initialCooldownPeriod": 300,
        "minReplicaCount": 1,
        "maxReplicaCount": 5,
        "advanced": {
            "horizontalPodAutoscalerConfig": {
                "behavior": {
                    "scaleDown": {"stabilizationWindowSeconds": 300},
                    "scaleUp": {"stabilizationWindowSeconds": 0},
                }
            }
        },
        "triggers": [
            {
                "type": "prometheus",
                "metricType": "AverageValue",
                "useCachedMetrics": True,
                "metadata": {
                    "serverAddress": "http://prometheus:9090",
                    "query": QUERY,
                    "threshold": "5",
                    "activationThreshold": "0",
                },
            }
        ],
    }


def test_a_cloud_watch_trigger_keeps_its_dimensions_in_order() -> None:
    dimensions = [{"name": "EndpointName", "value": "e"}, {"name": "Variant", "value": "v"}]
    trigger = {
        "name": "invocations",
        "namespace": "AWS/SageMaker",
        "metricName": "Invocations",
        "dimensions": dimensions,
        "metricType": "Value",
        "targetValue": 1.5,
        "useCachedMetrics": False,
    }
    spec = read(endpoint(autoScalingSpec={"cloudWatchTriggerList": [trigger]})).spec
    assert spec.auto_scaling_spec is not None
    [found] = triggers_of(spec.auto_scaling_spec, "")
    assert (found["type"], found["name"]) == ("aws-cloudwatch", "invocations")
    assert (found["metricType"], found["useCachedMetrics"]) == ("Value", False)
    assert found["metadata"] == {
        "namespace": "AWS/SageMaker",
        "metricName": "Invocations",
        "dimensionName": "EndpointName;Variant",
        "dimensionValue": "e;v",
        "metricStat": "Average",
        "metricStatPeriod": "300",
        "metricCollectionTime": "300",
        "minMetricValue": "0",
        "targetMetricValue": "1.5",
        "activationTargetMetricValue": "0",
    }


def test_single_triggers_come_before_those_of_the_lists() -> None:
    one, two = {"query": "one", "targetValue": 1}, {"query": "two", "targetValue": 2}
    found = made(prometheusTriggerList=[two], prometheusTrigger=one)["spec"]["triggers"]
    assert [trigger["metadata"]["query"] for trigger in found] == ["one", "two"]

"""From an endpoint to what runs it: pure."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.addons.inference.world import endpoint, read, s3_source
from tiphys.addons.inference import Settings
from tiphys.addons.inference.affinity import affinity_of, weights
from tiphys.addons.inference.catalogue import MODELS, HubError, as_endpoint, entry_of
from tiphys.addons.inference.endpoint import Endpoint, Unsupported
from tiphys.addons.inference.types import v1
from tiphys.addons.inference.workload import deployment_of, program_of, service_of
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins

LISTED = ["ml.p4d.24xlarge", "ml.g5.24xlarge", "ml.g5.8xlarge"]
TYPE = "node.kubernetes.io/instance-type"


def made(**spec: Any) -> Endpoint:
    return Endpoint("model", "default", read(endpoint(**spec)).spec)


def test_an_ordered_list_is_required_and_preferred_in_its_order() -> None:
    affinity = to_builtins(affinity_of(made(instanceTypes=LISTED).spec))
    required = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert required == [{"matchExpressions": [{"key": TYPE, "operator": "In", "values": LISTED}]}]
    preferred = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    named = [one["preference"]["matchExpressions"][0]["values"] for one in preferred]
    assert named == [[name] for name in LISTED]
    assert [one["weight"] for one in preferred] == [100, 67, 33]


def test_weights_fall_and_stay_within_what_the_api_allows() -> None:
    for count in range(1, 101):
        found = weights(count)
        assert found[0] == 100 and found[-1] >= 1
        assert all(one > other for one, other in itertools.pairwise(found)), count
    assert min(weights(300)) == 1


def test_one_type_is_only_required() -> None:
    affinity = to_builtins(affinity_of(made(instanceType=LISTED[0]).spec))
    assert list(affinity) == ["requiredDuringSchedulingIgnoredDuringExecution"]


def test_an_affinity_of_ones_own_is_passed_on_as_it_is() -> None:
    term = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
    own = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 7, "preference": term}],
    }
    pod = deployment_of(made(nodeAffinity=own), Settings()).spec.template.spec
    assert pod.affinity is not None and to_builtins(pod.affinity.node_affinity) == own
    assert not pod.node_name


def test_weights_are_prefetched_into_memory_before_the_server_starts() -> None:
    source = s3_source(prefetchEnabled=True)
    loaded = made(modelSourceConfig=source)
    pod = deployment_of(loaded, Settings(s3_endpoint="http://s3:8333")).spec.template.spec
    loader = pod.init_containers[0]
    variables = {one.name: one.value for one in loader.env if one.value}
    assert variables == {
        "MODEL_SOURCE": "s3",
        "MODEL_TARGET": "/opt/ml/model",
        "S3_ENDPOINT": "http://s3:8333",
        "S3_BUCKET": "models",
        "S3_PREFIX": "deepseek",
        "AWS_REGION": "us-west-2",
    }
    volume = next(one for one in pod.volumes if one.name == "model-weights")
    assert volume.empty_dir is not None and volume.empty_dir.medium == "Memory"
    program = program_of(loaded)
    assert program is not None and "def load_from_s3" in program.data["load.py"]


def test_what_is_not_prefetched_lies_on_disk() -> None:
    pod = deployment_of(made(modelSourceConfig=s3_source()), Settings()).spec.template.spec
    assert pod.volumes[0].empty_dir is not None and not pod.volumes[0].empty_dir.medium
    assert pod.init_containers[0].env[2].value == "https://s3.us-west-2.amazonaws.com"


def test_a_server_is_ready_when_its_health_path_says_so() -> None:
    server = deployment_of(
        made(loadBalancer={"healthCheckPath": "/health"}), Settings()
    ).spec.template.spec.containers[0]
    assert server.readiness_probe is not None and server.readiness_probe.http_get is not None
    assert server.readiness_probe.http_get.path == "/health"


def test_a_service_says_how_it_is_balanced() -> None:
    service = service_of(made(loadBalancer={"routingAlgorithm": "round_robin"}))
    assert service.spec.type == "LoadBalancer" and service.spec.load_balancer_class
    said = service.metadata.annotations
    assert said["alb.ingress.kubernetes.io/healthcheck-path"] == "/ping"
    assert "round_robin" in said["alb.ingress.kubernetes.io/target-group-attributes"]


def test_what_users_put_into_the_pod_is_there() -> None:
    custom = {
        "initContainers": [{"name": "mine", "image": "busybox"}],
        "schedulerName": "other",
        "serviceAccountName": "models",
        "volumes": [{"name": "model-weights", "persistentVolumeClaim": {"claimName": "w"}}],
    }
    pod = deployment_of(made(kubernetes=custom), Settings()).spec.template.spec
    assert [one.name for one in pod.init_containers] == ["mine"]
    assert (pod.scheduler_name, pod.service_account_name) == ("other", "models")
    assert [one.name for one in pod.volumes] == ["model-weights"]


@pytest.mark.parametrize(
    "spec, words",
    [
        (
            {
                "modelSourceConfig": {
                    "modelSourceType": "fsx",
                    "fsxStorage": {"fileSystemId": "fs-1"},
                }
            },
            "there is no FSx here",
        ),
        ({"kubernetes": {"schedulerName": "other"}}, "has none named model-weights"),
    ],
)
def test_what_is_not_offered_is_said(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        deployment_of(made(**spec), Settings())


# --- models of the hub ---


def hub_model(model_id: str, **model: Any) -> v1.JumpStartModel:
    spec = {"model": {"modelId": model_id, **model}, "server": {"instanceType": LISTED[2]}}
    return from_builtins({"metadata": {"name": "m"}, "spec": spec}, v1.JumpStartModel)


def test_a_model_of_the_hub_is_an_endpoint_in_other_words() -> None:
    catalogue = core_v1.ConfigMap(data=dict(MODELS))
    model_id = "deepseek-llm-r1-distill-qwen-1-5b"
    model = hub_model(model_id, modelVersion="2.0.4")
    model.spec.environment_variables = [
        v1.v1alpha1.EnvironmentVariable(name="SAMPLE_ENV_VAR", value="sample_value")
    ]
    spec = as_endpoint(model, entry_of(catalogue, model_id))
    assert spec.instance_type == LISTED[2] and spec.model_version == "2.0.4"
    assert [(one.name, one.value) for one in spec.worker.environment_variables] == [
        ("SAMPLE_ENV_VAR", "sample_value")
    ]
    deployment_of(Endpoint("m", "default", spec), Settings())


def test_a_models_entry_says_what_its_server_needs() -> None:
    text = "image: server:1\nresources: {limits: {nvidia.com/gpu: '1'}}"
    for entry, limits in ((text, {"nvidia.com/gpu": "1"}), ("image: server:1", {})):
        catalogue = core_v1.ConfigMap(data={"own": entry})
        spec = as_endpoint(hub_model("own"), entry_of(catalogue, "own"))
        assert spec.worker.resources.limits == limits


@pytest.mark.parametrize(
    "model_id, model, reason",
    [
        ("unheard-of", {}, "UnknownModel"),
        (
            "huggingface-text2text-flan-t5-xl",
            {"modelVersion": "9.9.9"},
            "UnknownModelVersion",
        ),
        ("meta-textgeneration-llama-3-1-8b-instruct", {}, "EulaNotAccepted"),
    ],
)
def test_the_hub_says_why_it_has_no_such_model(
    model_id: str, model: dict[str, Any], reason: str
) -> None:
    catalogue = core_v1.ConfigMap(data=dict(MODELS))
    with pytest.raises(HubError) as refused:
        as_endpoint(hub_model(model_id, **model), entry_of(catalogue, model_id))
    assert refused.value.reason == reason

"""Warning headers: what is taken, and is told to be old or odd all the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.apiserver.kit import (
    BODIES,
    SERVED,
    body_of,
    changed,
    container,
    spec,
    warnings_of,
)
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing import LocalCluster

OLD_OS = 'deprecated since v1.14; use "kubernetes.io/os" instead'


NEAR = {"topologyKey": "zone"}
TERMS = {
    "nodeSelectorTerms": [
        {"matchExpressions": [{"key": "beta.kubernetes.io/os", "operator": "Exists"}]}
    ]
}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@pytest.mark.parametrize(
    ("kind", "parts", "says"),
    [
        ("pods", spec(), []),
        (
            "pods",
            spec(nodeSelector={"beta.kubernetes.io/os": "linux"}),
            [f"spec.nodeSelector[beta.kubernetes.io/os]: {OLD_OS}"],
        ),
        (
            "pods",
            spec(affinity={"nodeAffinity": {REQUIRED: TERMS}}),
            [
                f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/os is {OLD_OS}"
            ],
        ),
        (
            "pods",
            spec(affinity={"podAffinity": {REQUIRED: [NEAR]}}),
            [
                f"spec.affinity.podAffinity.{REQUIRED}[0].labelSelector: a null labelSelector results in matching no pod"
            ],
        ),
        (
            "deployments.apps",
            {"spec": {"template": spec(terminationGracePeriodSeconds=-1)}},
            [
                "spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
            ],
        ),
        (
            "pods",
            spec(imagePullSecrets=[{"name": ""}]),
            ['spec.imagePullSecrets[0].name: invalid empty name ""'],
        ),
        (
            "pods",
            spec(volumes=[{"name": "v", "rbd": {"monitors": ["m"], "image": "i"}}]),
            ["spec.volumes[0].rbd: deprecated in v1.28, non-functional in v1.31+"],
        ),
        (
            "pods",
            container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
            [
                'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply'
            ],
        ),
        (
            "pods",
            container(resources={"requests": {"memory": "100m"}}),
            [
                'spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer'
            ],
        ),
        (
            "pods",
            container(ports=[{"containerPort": 80}, {"containerPort": 80}]),
            [
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"
            ],
        ),
        (
            "deployments.apps",
            {"spec": {"template": {"spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}}}},
            [f"spec.template.spec.nodeSelector[beta.kubernetes.io/os]: {OLD_OS}"],
        ),
        (
            "services",
            {"spec": {"clusterIP": "None", "externalIPs": ["1.2.3.4"]}},
            ["spec.externalIPs is ignored for headless services"],
        ),
        (
            "ingresses.networking.k8s.io",
            {"metadata": {"annotations": {"kubernetes.io/ingress.class": "x"}}},
            [
                "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
            ],
        ),
        (
            "endpoints",
            {},
            ["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"],
        ),
    ],
)
async def test_a_create_is_taken_with_a_warning(
    server: LocalCluster, kind: str, parts: Any, says: list[str]
) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    assert kind in BODIES or kind == "endpoints"
    resource = SERVED[kind]
    body = changed(body_of(resource, "one"), parts)
    assert await warnings_of(server, "POST", resource.path("default"), body) == says


async def test_templates_warn_when_they_change(server: LocalCluster) -> None:
    resource = SERVED["deployments.apps"]
    old = {"spec": {"template": {"spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}}}}
    body = changed(body_of(resource, "one.two"), old)
    first = await warnings_of(server, "POST", resource.path("default"), body)
    assert len(first) == 2 and first[0].startswith(
        "metadata.name: this is used in Pod names and hostnames, which can result in"
    )
    made = json.loads(await server.client.request("GET", resource.path("default", "one.two")))
    made["spec"]["replicas"] = 5
    assert not await warnings_of(server, "PUT", resource.path("default", "one.two"), made)
    made = json.loads(await server.client.request("GET", resource.path("default", "one.two")))
    made["spec"]["template"]["metadata"]["annotations"] = {"a": "b"}
    assert len(await warnings_of(server, "PUT", resource.path("default", "one.two"), made)) == 1

"""What metrics APIs answer, and what autoscalers make of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders import pod
from tests.controllers.builders import NOW, ago
from tests.controllers.metricbuilders import container, started, target
from tiphys.api import core_v1
from tiphys.api.autoscaling_v1 import Scale
from tiphys.api.autoscaling_v2 import HorizontalPodAutoscaler, MetricSpec, MetricTarget
from tiphys.api.base import from_builtins
from tiphys.controllers import metrics
from tiphys.controllers.autoscaling import MetricError
from tiphys.controllers.metricsapis import Sample, _seconds
from tiphys.controllers.metricvalues import (
    Target,
)
from tiphys.machinery.errors import forbidden, not_found


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1m30s", 90), ("odd", 60)])
def test_a_window_is_a_duration(text: str, seconds: float) -> None:
    assert _seconds(text) == seconds


class Nonsense:
    """A client whose metrics API answers rows that are none."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def request(self, method: str, path: str, query: Any = None) -> bytes:
        return self._body


@pytest.mark.parametrize(
    "body", [b'{"items":[{}]}', b'{"items":[7]}', b'{"items":{"a":1}}', b'{"items":[{"value":5}]}']
)
async def test_a_metrics_server_that_answers_nonsense_is_a_missing_metric(body: bytes) -> None:
    client: Any = Nonsense(body)
    source = metrics.ExternalMetricSource()
    source.metric.name = "queue"
    source.target = MetricTarget(type="AverageValue", average_value="5")  # type: ignore[arg-type]
    spec = metrics.MetricSpec(type="External", external=source)
    asked = metrics.Metrics(client, metrics.Scales(client), lambda: NOW)
    with pytest.raises(metrics.MetricError) as missing:
        await asked.propose(HorizontalPodAutoscaler(), spec, Target(Scale(), []))
    assert missing.value.reason == "FailedGetExternalMetric"
    assert str(missing.value).startswith("unexpected answer of the metrics API")


# --- what the metrics APIs answer ---

POD_METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/ns/pods"
CUSTOM = "/apis/custom.metrics.k8s.io"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/queue"


class API:
    """Answers paths with what is given for them; with a StatusError for what is one."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []

    async def request(self, method: str, path: str, query: Any = None) -> bytes:
        self.asked.append((path, query))
        answer = self.answers.get(path, not_found("x", path))
        if isinstance(answer, Exception):
            raise answer
        return json.dumps(answer).encode()


class Plurals:
    async def plural(self, api_version: str, kind: str) -> str:
        if kind == "Ingress":
            return "ingresses"
        raise LookupError(kind)


def usage(name: str, *cpus: str) -> dict[str, Any]:
    containers = [{"name": f"c{n}", "usage": {"cpu": cpu}} for n, cpu in enumerate(cpus)]
    stamp = {"timestamp": ago(5), "window": "30s"}
    return {"metadata": {"name": name}, "containers": containers, **stamp}


def two_pods() -> list[core_v1.Pod]:
    pods = []
    for name in ("a", "b"):
        made = started(900)
        made.metadata.name = name
        made.spec.containers = pod(
            containers=[container("c0", "100m"), container("c1", "100m")]
        ).spec.containers
        pods.append(made)
    return pods


async def proposed(api: API, spec: dict[str, Any], current: int = 2) -> metrics.Proposal:
    made = metrics.Metrics(api, Plurals(), lambda: NOW)  # type: ignore[arg-type]
    hpa = HorizontalPodAutoscaler()
    hpa.metadata.name, hpa.metadata.namespace = "h", "ns"
    one = target(current, *two_pods())
    one.scale.status.selector, one.scale.status.replicas = "app=web", current
    return await made.propose(hpa, from_builtins(spec, MetricSpec), one)


def resource(kind: str = "Resource", **goal: Any) -> dict[str, Any]:
    source: dict[str, Any] = {"name": "cpu", "target": goal}
    if kind == "Resource":
        return {"type": kind, "resource": source}
    return {"type": kind, "containerResource": {**source, "container": "c0"}}


BUSY = {"items": [usage("a", "100m", "300m"), usage("b", "100m", "300m")]}


@pytest.mark.parametrize(
    ("spec", "replicas", "name"),
    [
        (resource(averageUtilization=100), 4, "cpu resource utilization (percentage of request)"),
        (resource(averageUtilization=200), 2, "cpu resource utilization (percentage of request)"),
        (resource(averageValue="200m"), 4, "cpu resource"),
        (
            resource("ContainerResource", averageUtilization=50),
            4,
            "cpu container resource utilization (percentage of request)",
        ),
        (resource("ContainerResource", averageValue="100m"), 2, "cpu resource"),
    ],
)
async def test_resources_call_for_replicas(spec: dict[str, Any], replicas: int, name: str) -> None:
    api = API(**{POD_METRICS: BUSY})
    proposal = await proposed(api, spec)
    assert (proposal.replicas, proposal.metric) == (replicas, name)
    assert api.asked == [(POD_METRICS, {"labelSelector": "app=web"})]
    status = proposal.status.resource or proposal.status.container_resource
    assert status is not None and status.name == "cpu"
    of_one = spec["type"] == "ContainerResource"
    assert str(status.current.average_value) == ("100m" if of_one else "400m")
    assert (status.current.average_utilization is None) is ("averageValue" in str(spec))


async def test_a_pod_of_which_a_container_says_nothing_is_left_out() -> None:
    silent = usage("b", "100m")
    silent["containers"].append({"name": "c1", "usage": {}})
    api = API(**{POD_METRICS: {"items": [usage("a", "100m", "300m"), silent]}})
    made = metrics.MetricsAPIs(api)  # type: ignore[arg-type]
    samples = await made.resource("ns", "cpu", None, "x")
    assert samples == {"a": Sample(400, NOW - 5, 30.0)}
    assert set(await made.resource("ns", "cpu", "c0", "x")) == {"a", "b"}


def of_pods(value: str = "2") -> dict[str, Any]:
    selector = {"matchLabels": {"verb": "GET"}}
    metric = {"name": "hits", "selector": selector}
    return {"type": "Pods", "pods": {"metric": metric, "target": {"averageValue": value}}}


VERSIONS = {"versions": [{"version": "v1beta1"}, {"version": "v1beta2"}]}


@pytest.mark.parametrize(
    ("versions", "asked"),
    [(VERSIONS, "v1beta2"), ({"versions": [{"version": "v1beta1"}]}, "v1beta1")],
)
async def test_metrics_of_pods_are_custom_ones_of_the_newest_version(
    versions: dict[str, Any], asked: str
) -> None:
    path = f"{CUSTOM}/{asked}/namespaces/ns/pods/*/hits"
    rows = [{"describedObject": {"name": name}, "value": "4"} for name in "ab"]
    api = API(**{CUSTOM: versions, path: {"items": rows}})
    proposal = await proposed(api, of_pods())
    assert (proposal.replicas, proposal.metric) == (4, "pods metric hits")
    assert api.asked[-1][1] == {"labelSelector": "app=web", "metricLabelSelector": "verb=GET"}
    assert proposal.status.pods is not None
    assert str(proposal.status.pods.current.average_value) == "4"


def of_object(kind: str, api_version: str, **goal: Any) -> dict[str, Any]:
    described = {"kind": kind, "apiVersion": api_version, "name": "o"}
    source = {"metric": {"name": "hits"}, "describedObject": described, "target": goal}
    return {"type": "Object", "object": source}


@pytest.mark.parametrize(
    ("spec", "path", "replicas", "name"),
    [
        (
            of_object("Ingress", "networking.k8s.io/v1", type="Value", value="2"),
            "namespaces/ns/ingresses.networking.k8s.io/o/hits",
            4,
            "Ingress metric hits",
        ),
        (
            of_object("Widget", "v1", type="Value", value="2"),
            "namespaces/ns/widgets/o/hits",
            4,
            "Widget metric hits",
        ),
        (
            of_object("Namespace", "v1", type="Value", value="2"),
            "namespaces/ns/metrics/hits",
            4,
            "Namespace metric hits",
        ),
        (
            of_object("Namespace", "x.io/v1", type="Value", value="2"),
            "namespaces/ns/namespaces.x.io/o/hits",
            4,
            "Namespace metric hits",
        ),
        (
            of_object("Widget", "v1", type="AverageValue", averageValue="1"),
            "namespaces/ns/widgets/o/hits",
            4,
            "external metric hits(nil)",
        ),
    ],
)
async def test_one_number_of_an_object(
    spec: dict[str, Any], path: str, replicas: int, name: str
) -> None:
    rows = {"items": [{"value": "4"}]}
    proposal = await proposed(API(**{CUSTOM: VERSIONS, f"{CUSTOM}/v1beta2/{path}": rows}), spec)
    assert (proposal.replicas, proposal.metric) == (replicas, name)
    assert proposal.status.object is not None and proposal.status.type == "Object"


def external(selector: dict[str, str] | None = None, **goal: Any) -> dict[str, Any]:
    metric: dict[str, Any] = {"name": "queue"}
    if selector:
        metric["selector"] = {"matchLabels": selector}
    return {"type": "External", "external": {"metric": metric, "target": goal}}


@pytest.mark.parametrize(
    ("spec", "replicas", "query"),
    [
        (external(value="3"), 4, {}),
        (external(averageValue="2"), 3, {}),
        (external({"a": "b"}, value="6"), 2, {"labelSelector": "a=b"}),
    ],
)
async def test_an_external_metric_is_the_sum_of_its_values(
    spec: dict[str, Any], replicas: int, query: dict[str, str]
) -> None:
    api = API(**{EXTERNAL: {"items": [{"value": "4"}, {"value": "2"}]}})
    proposal = await proposed(api, spec)
    assert proposal.replicas == replicas and api.asked == [(EXTERNAL, query)]
    assert proposal.metric.startswith("external metric queue(")


ABSENT = "the server could not find the requested resource (get queue.external.metrics.k8s.io)"


@pytest.mark.parametrize(
    ("spec", "answers", "reason", "text"),
    [
        (
            resource(averageUtilization=50),
            {POD_METRICS: {}},
            "FailedGetResourceMetric",
            "no metrics returned from resource metrics API",
        ),
        (
            resource(averageUtilization=50),
            {},
            "FailedGetResourceMetric",
            "failed to get cpu utilization: unable to get metrics for resource cpu",
        ),
        (resource(averageValue="1"), {}, "FailedGetResourceMetric", "failed to get cpu usage"),
        (
            resource("ContainerResource", averageValue="1"),
            {},
            "FailedGetContainerResourceMetric",
            "failed to get cpu usage",
        ),
        (
            of_pods(),
            {},
            "FailedGetPodsMetric",
            "no custom metrics API (custom.metrics.k8s.io) registered",
        ),
        (
            of_pods(),
            {CUSTOM: forbidden("x", "y", "no")},
            "FailedGetPodsMetric",
            "unable to fetch metrics from custom metrics API: ",
        ),
        (
            of_pods(),
            {CUSTOM: {"versions": [{"version": "v3"}]}},
            "FailedGetPodsMetric",
            "registered",
        ),
        (
            of_object("Widget", "v1", type="Value", value="2"),
            {CUSTOM: VERSIONS},
            "FailedGetObjectMetric",
            "unable to get metric hits: Widget on ns o/",
        ),
        (external(value="3"), {}, "FailedGetExternalMetric", ABSENT),
        (
            external(value="3"),
            {EXTERNAL: {"items": []}},
            "FailedGetExternalMetric",
            "no metrics returned from external",
        ),
        (
            {"type": "Unheard"},
            {},
            "InvalidMetricSourceType",
            'unknown metric source type "Unheard"',
        ),
        (
            external(value="3"),
            {EXTERNAL: {"items": [{}]}},
            "FailedGetExternalMetric",
            "unexpected answer",
        ),
    ],
)
async def test_why_a_metric_cannot_be_had(
    spec: dict[str, Any], answers: dict[str, Any], reason: str, text: str
) -> None:
    with pytest.raises(MetricError) as error:
        await proposed(API(**answers), spec)
    assert error.value.reason == reason and text in str(error.value)


async def test_what_is_missing_is_summed_up_with_its_kind() -> None:
    for spec, start in (
        (resource(averageValue="1"), "failed to get cpu resource metric value: "),
        (
            resource("ContainerResource", averageValue="1"),
            "failed to get c0 container metric value",
        ),
        (of_pods(), "failed to get pods metric value: "),
        (
            of_object("Widget", "v1", type="Value", value="2"),
            "failed to get object metric value: un",
        ),
        (
            of_object("Widget", "v1", type="AverageValue", averageValue="2"),
            "failed to get object metric value: failed to get hits object metric: ",
        ),
        (external(value="1"), "failed to get queue external metric value: failed to get external"),
        (
            external(averageValue="1"),
            "failed to get queue external metric value: failed to get queue",
        ),
    ):
        with pytest.raises(MetricError) as error:
            await proposed(API(), spec)
        assert error.value.summary.startswith(start), error.value.summary


async def test_a_sum_has_a_bound() -> None:
    api = API(**{EXTERNAL: {"items": [{"value": "9000000000000000"}] * 3}})
    made = metrics.MetricsAPIs(api)  # type: ignore[arg-type]
    assert await made.external("ns", "queue", {}) == 2**63 - 1

"""What is asked by HTTP of the server of metrics, with a Prometheus and a cluster that say what a
test has them say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import test_utils

from tiphys.addons.custommetrics import GROUP, VERSIONS, rules
from tiphys.addons.custommetrics.asking import PrometheusError, Sample
from tiphys.addons.custommetrics.serving import Server
from tiphys.client.client import Unreachable
from tiphys.machinery import errors

NOW = 1_800_000_000.0
V1, V2 = f"/apis/{GROUP}/v1beta1", f"/apis/{GROUP}/v1beta2"
RULE = {
    "seriesQuery": '{__name__=~"^http_.*"}',
    "resources": {"template": "<<.Resource>>"},
    "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
}


class Everything:
    def __contains__(self, path: object) -> bool:
        return True


class World:
    """Is the client and the Prometheus."""

    def __init__(self) -> None:
        self.listings = 0
        self.lists: list[tuple[str, str, str]] = []
        self.queries: list[str] = []
        self.starts: list[float] = []
        self.names = ["b", "a"]
        self.series_found: list[dict[str, str]] = []
        self.samples = [
            Sample({"pod": "a"}, 2.5),
            Sample({"pod": "b"}, 3),
            Sample({"pod": "z"}, 9),
            Sample({"namespace": "lab"}, 7),
        ]
        self.wrong: Exception | None = None
        self.now = NOW
        read = rules.read(msgspec.yaml.encode({"rules": [RULE]}).decode())
        whole: Any = self
        self.server = Server(whole, whole, read, lambda: self.now)

    async def request(self, method: str, path: str, *, accept: str) -> bytes:
        self.listings += path == "/api"
        rows = [
            {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced"},
            {"resource": "namespaces", "responseKind": {"kind": "Namespace"}, "scope": "Cluster"},
        ]
        versions = [{"version": "v1", "resources": rows}] if path == "/api" else []
        return msgspec.json.encode({"items": [{"metadata": {"name": ""}, "versions": versions}]})

    async def series(self, match: str, start: float) -> list[dict[str, str]]:
        self.starts.append(start)
        return self.series_found

    async def query(self, text: str, time: float) -> list[Sample]:
        self.queries.append(text)
        if self.wrong is not None:
            raise self.wrong
        return self.samples

    async def list(self, kind: Any, namespace: str, labels: str, *, resource: Any) -> Any:
        self.lists.append((resource.plural, namespace, labels))
        rows = [SimpleNamespace(metadata=SimpleNamespace(name=name)) for name in self.names]
        return SimpleNamespace(items=rows)


@pytest.fixture
def world() -> World:
    made = World()
    made.series_found = [{"__name__": "http_x", "namespace": "lab", "pod": "a"}]
    return made


@pytest.fixture
async def client(world: World) -> AsyncIterator[test_utils.TestClient[Any, Any]]:
    everything: Any = Everything()
    world.server.server._open = everything
    app = world.server.server._app
    async with test_utils.TestClient(test_utils.TestServer(app)) as made:
        yield made


async def ask(client: test_utils.TestClient[Any, Any], path: str) -> tuple[int, Any]:
    async with client.get(path) as answer:
        return answer.status, await answer.json()


async def test_nobody_but_the_api_server_is_told_anything(world: World) -> None:
    app = world.server.server._app
    async with test_utils.TestClient(test_utils.TestServer(app)) as client:
        status, body = await ask(client, V1)
    assert (status, body["message"]) == (403, "this is for the API server alone")


async def test_the_versions_and_what_they_have_are_listed(world: World, client: Any) -> None:
    status, body = await ask(client, f"/apis/{GROUP}")
    assert (status, [row["version"] for row in body["versions"]]) == (200, list(VERSIONS))
    assert (await ask(client, V2))[1]["resources"] == []
    await world.server.relist()
    _, body = await ask(client, V2)
    assert body["groupVersion"] == f"{GROUP}/v1beta2"
    names = {row["name"] for row in body["resources"]}
    assert names == {"pods/http_x", "namespaces/http_x"}
    assert world.starts == [NOW - 600]


@pytest.mark.parametrize(
    ("path", "listed", "matchers", "values"),
    [
        (f"{V2}/namespaces/lab/pods/a/http_x", [], 'namespace="lab",pod="a"', {"a": "2500m"}),
        (
            f"{V2}/namespaces/lab/pods/*/http_x",
            [("pods", "lab", "")],
            'namespace="lab",pod=~"a|b"',
            {"a": "2500m", "b": "3"},
        ),
        (
            f"{V2}/namespaces/lab/pods/*/http_x?labelSelector=app%3Dx&metricLabelSelector=code%3D200",
            [("pods", "lab", "app=x")],
            'code="200",namespace="lab",pod=~"a|b"',
            {"a": "2500m", "b": "3"},
        ),
        (f"{V2}/namespaces/lab/metrics/http_x", [], 'namespace="lab"', {"lab": "7"}),
        (f"{V2}/namespaces/lab/http_x", [], 'namespace="lab"', {"lab": "7"}),
    ],
)
async def test_a_metric_of_one_object_or_of_those_that_are_chosen(
    world: World, client: Any, path: str, listed: Any, matchers: str, values: dict[str, str]
) -> None:
    status, body = await ask(client, path)
    assert status == 200, body
    assert {row["describedObject"]["name"]: row["value"] for row in body["items"]} == values
    assert world.lists == listed
    assert [query.split("{")[1].split("}")[0] for query in world.queries] == [matchers]


async def test_of_no_objects_nothing_is_asked(world: World, client: Any) -> None:
    world.names = []
    status, body = await ask(client, f"{V1}/namespaces/lab/pods/*/http_x")
    assert (status, body["items"], world.queries) == (200, [], [])


@pytest.mark.parametrize(
    ("selector", "shown"),
    [
        ("", None),
        ("a=1", {"matchLabels": {"a": "1"}}),
        ("a=1,b", {"matchLabels": {"a": "1"}, "matchExpressions": [["b", "Exists", None]]}),
        ("!b", {"matchExpressions": [["b", "DoesNotExist", None]]}),
        ("b!=1", {"matchExpressions": [["b", "NotIn", ["1"]]]}),
        ("b notin (1,2)", {"matchExpressions": [["b", "NotIn", ["1", "2"]]]}),
        ("b in (1,2)", {"matchExpressions": [["b", "In", ["1", "2"]]]}),
    ],
)
async def test_the_selector_that_was_asked_for_stands_beside_the_value(
    client: Any, selector: str, shown: Any
) -> None:
    path = f"{V2}/namespaces/lab/pods/a/http_x"
    async with client.get(path, params={"metricLabelSelector": selector}) as answer:
        body = await answer.json()
    found = body["items"][0]["metric"]["selector"]
    rows = (found or {}).get("matchExpressions")
    if rows:
        found["matchExpressions"] = [
            [row["key"], row["operator"], sorted(row["values"]) if "values" in row else None]
            for row in rows
        ]
    assert found == shown


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        (
            "pods/c/http_x",
            404,
            "the server could not find the metric http_x for pods c",
        ),
        ("pods/a/other", 404, "the server could not find the metric other for pods"),
        ("ships/a/http_x", 404, "the server could not find the metric http_x for ships"),
        ("pods/a/http_x?metricLabelSelector=%3D", 400, ""),
        ("pods/a/http_x?labelSelector=%3D", 400, ""),
    ],
)
async def test_what_there_is_not_and_what_makes_no_sense(
    client: Any, path: str, code: int, message: str
) -> None:
    status, body = await ask(client, f"{V1}/namespaces/lab/{path}")
    assert (status, body["code"]) == (code, code)
    assert body["message"] == message or not message


@pytest.mark.parametrize(
    ("wrong", "code", "message"),
    [
        (PrometheusError("x"), 500, "Internal error occurred: unable to fetch metrics"),
        (Unreachable("x"), 500, "Internal error occurred: unable to fetch metrics"),
        (errors.not_found("pods", "a"), 404, None),
    ],
)
async def test_what_fails_behind_it_is_told_without_its_secrets(
    world: World, client: Any, wrong: Exception, code: int, message: str | None
) -> None:
    world.wrong = wrong
    status, body = await ask(client, f"{V1}/namespaces/lab/pods/a/http_x")
    assert (status, body["message"]) == (code, str(wrong) if message is None else message)


async def test_a_metric_that_is_not_known_may_be_new_but_is_not_looked_for_all_the_time(
    world: World, client: Any
) -> None:
    path = f"{V1}/namespaces/lab/pods/a/http_y"
    assert (await ask(client, path))[0] == 404
    assert world.listings == 1
    world.series_found.append({"__name__": "http_y", "namespace": "lab", "pod": "a"})
    world.now += 4.9
    assert (await ask(client, path))[0] == 404
    assert world.listings == 1
    world.now += 0.1
    assert (await ask(client, path))[0] == 200
    assert (await ask(client, path))[0] == 200
    assert world.listings == 2, "what is known is not listed for"

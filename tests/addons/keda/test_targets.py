"""What is scaled: its replicas, its ready pods, its template, whatever kind it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from tests.addons.pretended import Pretended
from tiphys.addons.keda.targets import Targets, kind_name
from tiphys.addons.keda.types import ScaledObject, TargetResource
from tiphys.api import apps_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.client.client import MERGE
from tiphys.machinery import errors

SCALE = {"spec": {"replicas": 4}, "status": {"replicas": 4, "selector": "app=web"}}
CUSTOM = {"apiVersion": "example.com/v1", "kind": "Robot", "name": "web"}
ROOT = "/apis/example.com/v1/namespaces/lab/robots/web"


class Server(Pretended):
    """Answers by path; what is not there is not found."""

    def __init__(self) -> None:
        super().__init__()
        deployments = [{"kind": "Deployment", "name": "deployments"}]
        robots = [{"kind": "Robot", "name": "robots/status"}, {"kind": "Robot", "name": "robots"}]
        self.paths: dict[str, Any] = {
            "/apis/apps/v1": {"resources": deployments},
            "/apis/example.com/v1": {"resources": robots},
            f"{ROOT}/scale": SCALE,
            "/apis/apps/v1/namespaces/lab/deployments/web/scale": SCALE,
        }
        self.asked: list[tuple[str, str]] = []
        self.sent: list[Any] = []
        self.pods: list[core_v1.Pod] = []
        self.selected = ""

    async def request(self, verb: str, path: str, body: bytes = b"", content: str = "") -> bytes:
        self.asked.append((verb, path))
        if verb == "PATCH":
            assert content == MERGE
            self.sent.append(msgspec.json.decode(body))
            return b"{}"
        found = self.paths.get(path)
        if found is None:
            raise errors.not_found("x", path)
        if isinstance(found, Exception):
            raise found
        return msgspec.json.encode(found)

    async def list(self, kind: Any, namespace: str, *, labels: str) -> Any:
        self.selected = labels
        return SimpleNamespace(items=self.pods)


class Bench:
    def __init__(self) -> None:
        self.server = Server()
        deployments = self.server.of(apps_v1.Deployment)
        self.targets = Targets(cast(Any, self.server), deployments)

    def deployment(self, replicas: int | None) -> None:
        meta = {"name": "web", "namespace": "lab"}
        made = from_builtins({"metadata": meta}, apps_v1.Deployment)
        made.spec.replicas = replicas
        self.server.put(made)


@pytest.fixture
async def bench() -> Bench:
    return Bench()


def scaled(**ref: str) -> ScaledObject:
    spec = {"scaleTargetRef": ref or {"name": "web"}, "triggers": []}
    meta = {"name": "web", "namespace": "lab"}
    made: ScaledObject = from_builtins({"metadata": meta, "spec": spec}, ScaledObject)
    return made


async def test_a_kind_is_found_by_discovery(bench: Bench) -> None:
    found = await bench.targets.resource("example.com/v1", "Robot")
    assert found == TargetResource(
        group="example.com", version="v1", kind="Robot", resource="robots"
    )
    assert kind_name(found) == "example.com/v1.Robot"
    assert kind_name(TargetResource(version="v1", kind="Pod")) == "v1.Pod"
    with pytest.raises(LookupError, match='no matches for kind "Other"'):
        await bench.targets.resource("example.com/v1", "Other")


async def test_replicas_of_deployments_are_known_without_asking(bench: Bench) -> None:
    bench.deployment(7)
    assert await bench.targets.replicas(scaled()) == 7
    assert bench.server.asked == []
    bench.deployment(0)
    assert await bench.targets.replicas(scaled()) == 0
    bench.deployment(None)
    assert await bench.targets.replicas(scaled()) == 4
    assert await bench.targets.replicas(scaled(**CUSTOM)) == 4
    assert bench.server.asked[-1] == ("GET", f"{ROOT}/scale")


async def test_replicas_are_written_to_the_scale(bench: Bench) -> None:
    await bench.targets.set_replicas(scaled(**CUSTOM), 3)
    assert bench.server.asked[-1] == ("PATCH", f"{ROOT}/scale")
    assert bench.server.sent == [{"spec": {"replicas": 3}}]


@pytest.mark.parametrize(
    ("answer", "exists"),
    [
        ({"kind": "Robot"}, True),
        (None, False),
        (errors.forbidden("robots", "web", "no"), True),
    ],
)
async def test_an_object_may_be_there_without_a_scale(
    bench: Bench, answer: Any, exists: bool
) -> None:
    bench.server.paths[ROOT] = answer
    assert await bench.targets.exists(scaled(**CUSTOM)) is exists


def pod(phase: str, ready: str) -> core_v1.Pod:
    row = {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}
    made: core_v1.Pod = from_builtins({"status": row}, core_v1.Pod)
    return made


async def test_pods_that_run_and_are_ready_are_counted(bench: Bench) -> None:
    rows = [("Running", "True"), ("Running", "False"), ("Succeeded", "True"), ("Running", "True")]
    bench.server.pods = [pod(*row) for row in rows]
    assert await bench.targets.ready_pods(scaled(**CUSTOM)) == 2
    assert bench.server.selected == "app=web"


CONTAINERS = [{"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}]}]
TEMPLATE = {"spec": {"template": {"spec": {"containers": CONTAINERS}}}}


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (TEMPLATE, "c"),
        ({"spec": {}}, None),
        ({"spec": {"template": []}}, None),
        ({"spec": {"template": {"spec": {}}}}, None),
        ({"spec": {"template": {"spec": {"containers": 5}}}}, None),
        (None, None),
        (errors.forbidden("robots", "web", "no"), None),
    ],
)
async def test_a_template_is_where_deployments_have_theirs(
    bench: Bench, answer: Any, name: str | None
) -> None:
    bench.server.paths[ROOT] = answer
    found = await bench.targets.pod_spec(scaled(**CUSTOM))
    assert (found.containers[0].name if found is not None else None) == name


@pytest.mark.parametrize(
    ("kind", "type_"), [("Deployment", apps_v1.Deployment), ("StatefulSet", apps_v1.StatefulSet)]
)
async def test_templates_of_known_kinds_are_whole(bench: Bench, kind: str, type_: Any) -> None:
    spec = {"containers": CONTAINERS, "nodeName": "n"}
    made = from_builtins({"spec": {"template": {"spec": spec}}}, type_)
    bench.server.found[kind, "web"] = made
    found = await bench.targets.pod_spec(scaled(apiVersion="apps/v1", kind=kind, name="web"))
    assert found is not None and found.node_name == "n"

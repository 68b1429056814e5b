"""Which pods are let go to the places of their workload, one look at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.addons.pretended import Pretended
from tiphys.addons.kueue import names, statuses
from tiphys.addons.kueue import topologycontroller as controllers
from tiphys.addons.kueue.topologycontroller import TopologyController
from tiphys.addons.kueue.types.workloads import Admission, Workload
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.client.client import JSON_PATCH
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Context
from tiphys.machinery import errors

NOW = 1_800_000_000.0
HOST = "kubernetes.io/hostname"
PLACES = {
    "levels": [HOST],
    "slices": [
        {
            "domainCount": 1,
            "valuesPerLevel": [{"universal": "n1"}],
            "podCounts": {"universal": 1},
        }
    ],
}


class Server(Pretended):
    def __init__(self) -> None:
        super().__init__()
        self.let_go: list[tuple[str, Any]] = []

    async def patch(  # type: ignore[override]
        self, kind: Any, name: str, patch: Any, namespace: str, *, media: str
    ) -> Any:
        self._fail()
        assert media == JSON_PATCH
        self.let_go.append((f"{namespace}/{name}", {one["path"]: one["value"] for one in patch}))
        return self.of(core_v1.Pod).get(f"{namespace}/{name}")


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = Server()

        def of(client: Any, kind: Any, labels: str) -> Informer[Any]:
            assert labels == names.POD_SET
            return self.server.of(kind)

        monkeypatch.setattr(controllers, "Informer", of)
        recorder: Any = SimpleNamespace(as_component=lambda *_: None)
        tasks: Any = SimpleNamespace(start=lambda work, *_, **__: work.close())
        pretended = cast(Any, self.server)
        self.controller = TopologyController(
            Context(pretended, pretended, recorder, tasks, lambda: NOW)
        )
        self.controller.watch()

    def workload(self) -> Workload:
        made: Workload = from_builtins(
            {"metadata": {"name": "w", "namespace": "lab", "uid": "w"}, "spec": {}}, Workload
        )
        one = {"name": "main", "topologyAssignment": PLACES}
        admission = from_builtins(
            {"clusterQueue": "q", "podSetAssignments": [one, {"name": "other"}]}, Admission
        )
        statuses.reserve(made, admission, NOW)
        statuses.sync_admitted(made, NOW)
        return made

    def pod(self, name: str = "p", pod_set: str = "main", workload: str = "w", **more: Any) -> None:
        gates = [{"name": names.TOPOLOGY_GATE}, {"name": "other"}]
        self.server.put(
            from_builtins(
                {
                    "metadata": {
                        "name": name,
                        "namespace": "lab",
                        "labels": {names.POD_SET: pod_set},
                        "annotations": {names.WORKLOAD: workload} if workload else {},
                    },
                    "spec": {
                        "containers": [{"name": "c", "image": "i"}],
                        "schedulingGates": gates,
                        "nodeSelector": {"disk": "fast"},
                    },
                    "status": more,
                },
                core_v1.Pod,
            )
        )

    async def step(self) -> list[str]:
        assert await self.controller.reconcile("lab/w") is None
        return [name for name, _ in self.server.let_go]


async def test_a_pod_is_let_go_to_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.server.put(bench.workload())
    bench.pod("z")
    bench.pod("p")
    bench.pod("foreign", pod_set="other")
    bench.pod("over", phase="Succeeded")
    bench.pod("lost", workload="")
    assert await bench.step() == ["lab/p"], "there is one place, for the first of the names"
    values = bench.server.let_go[0][1]
    assert values["/spec/nodeSelector"] == {"disk": "fast", HOST: "n1"}
    assert values["/spec/schedulingGates"] == [{"name": "other"}]
    assert values["/metadata/resourceVersion"]


async def nobody(bench: Bench) -> None:
    pass


async def waits(bench: Bench) -> None:
    made = bench.workload()
    made.status.admission = None
    bench.server.put(made)


async def evicted(bench: Bench) -> None:
    made = bench.workload()
    statuses.evict(made, "Preempted", "m", NOW)
    bench.server.put(made)


async def unchecked(bench: Bench) -> None:
    made = bench.workload()
    made.status.conditions = [one for one in made.status.conditions if one.type != "Admitted"]
    bench.server.put(made)


@pytest.mark.parametrize("how", [nobody, waits, evicted, unchecked])
async def test_who_is_not_admitted_lets_nobody_go(
    monkeypatch: pytest.MonkeyPatch, how: Any
) -> None:
    bench = Bench(monkeypatch)
    await how(bench)
    bench.pod()
    assert await bench.step() == []


async def test_a_pod_that_is_gone_needs_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.server.put(bench.workload())
    bench.pod()
    bench.server.fails = errors.not_found("pods", "p")
    assert await bench.step() == []
    bench.server.fails = errors.conflict("pods", "p", "changed")
    with pytest.raises(errors.StatusError):
        await bench.step()


async def test_pods_concern_their_workloads(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.pod()
    bench.pod("lost", workload="")
    bench.server.take(bench.server.of(core_v1.Pod).get("lab/p"))
    queue = bench.controller.queue
    assert len(queue) == 1 and await queue.get() == "lab/w"

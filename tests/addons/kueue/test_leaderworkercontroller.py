"""What one look at a LeaderWorkerSet does: a workload for each group, and pods that know theirs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.addons.kueue.builders import PREFIX
from tests.addons.pretended import Pretended
from tiphys.addons.kueue import leaderworkercontroller as module
from tiphys.addons.kueue import statuses
from tiphys.addons.kueue.jobs.parts import AnyJob
from tiphys.addons.kueue.leaderworkercontroller import LeaderWorkerSetController
from tiphys.addons.kueue.leaderworkersets import FRAMEWORK, workload_name
from tiphys.addons.kueue.types.quotas import WorkloadPriorityClass
from tiphys.addons.kueue.types.workloads import Admission, Workload
from tiphys.api import core_v1
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import from_builtins
from tiphys.client.client import MERGE
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Context
from tiphys.machinery import errors, timestamps

NOW = 1_800_000_000.0
LWS = "leaderworkerset.sigs.k8s.io"
KEY = "lab/llm"
GROUPS = [workload_name("llm", "u", str(index)) for index in range(4)]


class Server(Pretended):
    async def patch(  # type: ignore[override]
        self, kind: Any, name: str, patch: Any, namespace: str, *, media: str
    ) -> Any:
        self._fail()
        assert media == MERGE
        self.patched.append((f"{namespace}/{name}", patch["metadata"]))
        return self.of(core_v1.Pod).get(f"{namespace}/{name}")

    async def delete(self, kind: Any, name: str, namespace: str, **_: Any) -> None:  # type: ignore[override]
        self.deleted.append((kind.__name__, name, namespace))


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = Server()
        self.events: list[tuple[str, str, str]] = []
        self.started: list[str] = []

        def of(client: Any, kind: Any, **_: Any) -> Informer[Any]:
            return self.server.of(kind)

        monkeypatch.setattr(module, "Informer", of)
        recorder: Any = SimpleNamespace(record=self._record, as_component=lambda *_: recorder)
        tasks: Any = SimpleNamespace(start=self._start)
        server = cast(Any, self.server)
        context = Context(server, server, recorder, tasks, lambda: NOW)
        self.controller = LeaderWorkerSetController(context)
        self.controller.watch()

    def _record(self, obj: Any, kind: str, reason: str, message: str, *_: Any, **__: Any) -> None:
        self.events.append((kind, reason, message))

    def _start(self, work: Any, name: str) -> None:
        work.close()
        self.started.append(name)

    def serve(self, served: bool = True) -> None:
        names = {"kind": "LeaderWorkerSet", "plural": "leaderworkersets"}
        version = {"name": "v1", "served": True}
        conditions = [{"type": "Established", "status": "True" if served else "False"}]
        row = {
            "metadata": {"name": "leaderworkersets.leaderworkerset.x-k8s.io"},
            "spec": {
                "group": "leaderworkerset.x-k8s.io",
                "names": names,
                "versions": [version],
            },
            "status": {"conditions": conditions},
        }
        self.server.put(from_builtins(row, CustomResourceDefinition))

    def put(self, replicas: int = 2, queue: str = "team", **more: Any) -> None:
        labels = {f"{PREFIX}/queue-name": queue, **more.pop("labels", {})} if queue else {}
        meta = {"name": "llm", "namespace": "lab", "uid": "u", "labels": labels, **more}
        template = {"spec": {"containers": [{"name": "c", "image": "i"}]}}
        groups = {"size": 3, "workerTemplate": template}
        spec = {"replicas": replicas, "leaderWorkerTemplate": groups}
        self.server.put(from_builtins({"metadata": meta, "spec": spec}, AnyJob))

    def pod(self, name: str = "llm-0", of: str = "llm", **more: Any) -> None:
        labels = {f"{LWS}/name": of, f"{LWS}/group-index": "0"}
        meta = {
            "name": name,
            "namespace": "lab",
            "uid": f"uid-{name}",
            "labels": labels,
            "annotations": {f"{PREFIX}/pod-suspending-parent": FRAMEWORK},
            **more,
        }
        self.server.put(from_builtins({"metadata": meta}, core_v1.Pod))

    async def look(self) -> list[str]:
        """The names of the workloads that there are then."""
        assert await self.controller.reconcile(KEY) is None
        return sorted(one.metadata.name for one in self.server.of(Workload))

    async def queued(self) -> list[str]:
        keys = []
        while len(self.controller.queue):
            keys.append(await self.controller.queue.get())
            self.controller.queue.done(keys[-1])
        return sorted(keys)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(monkeypatch)
    made.serve()
    return made


async def test_sets_are_followed_once_they_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    assert await bench.look() == []
    bench.serve(False)
    assert bench.started == []
    for _ in range(2):
        bench.serve()
        assert bench.started == ["informer-leaderworkersets", "informer-pods-of-sets"], "once"


async def test_every_group_has_a_workload(bench: Bench) -> None:
    bench.put(replicas=2)
    assert await bench.look() == sorted(GROUPS[:2])
    assert [reason for _, reason, _ in bench.events] == ["CreatedWorkload"] * 2
    assert bench.events[0][2] == f"Created Workload: lab/{GROUPS[0]}"
    bench.put(replicas=3)
    assert await bench.look() == sorted(GROUPS[:3])
    assert len(bench.events) == 3, "of those that are new"


async def test_a_group_that_is_no_more_gives_its_quota_back(bench: Bench) -> None:
    bench.put(replicas=2)
    await bench.look()
    bench.put(replicas=1)
    await bench.look()
    assert bench.server.deleted == [("Workload", GROUPS[1], "lab")]


@pytest.mark.parametrize(
    "more", [{"queue": ""}, {"deletionTimestamp": timestamps.rfc3339(NOW)}], ids=str
)
async def test_whoever_does_not_wait_has_none(bench: Bench, more: dict[str, Any]) -> None:
    bench.put(**more)
    bench.pod()
    assert await bench.look() == []
    assert bench.server.patched == []


@pytest.mark.parametrize("admitted, queue", [(False, "other"), (True, "team")])
async def test_a_group_changes_its_queue_while_it_waits(
    bench: Bench, admitted: bool, queue: str
) -> None:
    row = {"metadata": {"name": "high"}, "value": 7}
    bench.server.put(from_builtins(row, WorkloadPriorityClass))
    bench.put(replicas=1)
    await bench.look()
    workload = bench.server.of(Workload).get(f"lab/{GROUPS[0]}")
    assert workload is not None
    if admitted:
        statuses.reserve(workload, Admission(cluster_queue="q"), NOW)
        bench.server.put(workload)
    bench.put(replicas=1, queue="other", labels={f"{PREFIX}/priority-class": "high"})
    await bench.look()
    found = bench.server.of(Workload).get(f"lab/{GROUPS[0]}")
    assert found is not None
    assert (found.spec.queue_name, found.spec.priority) == (queue, 7)
    reference = found.spec.priority_class_ref
    assert reference is not None and reference.name == "high"


async def test_a_class_that_there_is_not_is_an_event_and_an_error(bench: Bench) -> None:
    bench.put(labels={f"{PREFIX}/priority-class": "high"})
    with pytest.raises(LookupError, match="lab/llm: WorkloadPriorityClass 'high' not found"):
        await bench.look()
    message = "WorkloadPriorityClass 'high' not found"
    assert bench.events == [("Warning", "WorkloadPriorityClassNotFound", message)]


async def test_pods_are_told_their_group(bench: Bench) -> None:
    bench.put()
    bench.pod()
    bench.pod("going", deletionTimestamp=timestamps.rfc3339(NOW))
    bench.pod("foreign", annotations={})
    bench.pod("other", of="another")
    await bench.look()
    ((name, said),) = bench.server.patched
    assert (name, said["uid"]) == ("lab/llm-0", "uid-llm-0")
    assert said["labels"] == {f"{PREFIX}/pod-group-name": GROUPS[0]}


async def test_a_pod_that_is_gone_is_not_told(bench: Bench) -> None:
    bench.put()
    await bench.look()
    bench.pod()
    bench.server.fails = errors.not_found("pods", "p")
    await bench.look()
    bench.server.fails = errors.conflict("pods", "p", "changed")
    with pytest.raises(errors.StatusError):
        await bench.look()


async def test_pods_and_workloads_concern_their_set(bench: Bench) -> None:
    bench.put(replicas=1)
    assert await bench.queued() == [KEY]
    bench.pod()
    assert await bench.queued() == [KEY]
    bench.pod("foreign", annotations={})
    assert await bench.queued() == []
    bench.server.take(bench.server.of(core_v1.Pod).get("lab/llm-0"))
    assert await bench.queued() == [], "its set makes another one"
    await bench.look()
    assert await bench.queued() == [KEY]
    bench.server.take(bench.server.of(Workload).get(f"lab/{GROUPS[0]}"))
    assert await bench.queued() == [KEY]
    other = {"name": "w", "namespace": "lab", "ownerReferences": [{"kind": "Job", "name": "j"}]}
    bench.server.put(from_builtins({"metadata": other}, Workload))
    assert await bench.queued() == []

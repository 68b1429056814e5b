"""The controller of queued pods on informers that nobody runs, one look at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.addons.kueue.builders import PREFIX, flavor, queued_pod
from tests.addons.pretended import Pretended
from tiphys.addons.kueue import podcontroller as module
from tiphys.addons.kueue import statuses
from tiphys.addons.kueue.podcontroller import PodController
from tiphys.addons.kueue.types.workloads import Admission, Workload
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.client.client import JSON_PATCH, STRATEGIC
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Context

NOW = 1_800_000_000.0
ALONE = "lab/pod-p-62e8a"
"""The workload of the pod `p`."""


class Server(Pretended):
    """`said` are the patches: of what, and the patch."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, Any]] = []

    async def patch(  # type: ignore[override]
        self, kind: Any, name: str, patch: Any, namespace: str, part: str = "", media: str = ""
    ) -> None:
        self._fail()
        title = kind["kind"] if isinstance(kind, dict) else kind.__name__
        wanted = {"Workload": "", "Pod": STRATEGIC if part == "status" else JSON_PATCH}[title]
        assert media == wanted
        self.said.append((f"{title} {namespace}/{name}", patch))

    async def delete(self, kind: Any, name: str, namespace: str, **_: Any) -> None:  # type: ignore[override]
        self.deleted.append((kind.__name__, name, namespace))


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = Server()
        self.events: list[tuple[str, str, str, str]] = []

        def of(client: Any, kind: Any, labels: str) -> Informer[Any]:
            assert labels == f"{PREFIX}/managed=true"
            return self.server.of(kind)

        monkeypatch.setattr(module, "Informer", of)
        recorder: Any = SimpleNamespace(record=self._record, as_component=lambda *_: recorder)
        tasks: Any = SimpleNamespace(start=lambda work, *_, **__: work.close())
        server = cast(Any, self.server)
        self.controller = PodController(Context(server, server, recorder, tasks, lambda: NOW))
        self.controller.watch()
        self.server.put(flavor("fast", nodeLabels={"disk": "fast"}))

    def _record(self, obj: Any, kind: str, reason: str, message: str, *_: Any, **__: Any) -> None:
        self.events.append((obj.metadata.name, kind, reason, message))

    @property
    def reasons(self) -> list[tuple[str, str]]:
        return [(name, reason) for name, _, reason, _ in self.events]

    def pods(self, *pods: core_v1.Pod) -> None:
        for pod in pods:
            self.server.put(pod)

    async def look(self, key: str = "lab/group/g") -> None:
        assert await self.controller.reconcile(key) is None

    async def queued(self) -> list[str]:
        keys = []
        while len(self.controller.queue):
            keys.append(await self.controller.queue.get())
            self.controller.queue.done(keys[-1])
        return sorted(keys)

    def workload(self, key: str = "lab/g") -> Workload | None:
        return self.server.of(Workload).get(key)

    async def begun(self, key: str = "lab/group/g", name: str = "lab/g") -> Workload:
        """The workload of pods that wait."""
        await self.look(key)
        made = self.workload(name)
        assert made is not None
        self.events.clear()
        return made

    def admit(self, workload: Workload) -> Workload:
        rows = [{"name": one.name, "flavors": {"cpu": "fast"}} for one in workload.spec.pod_sets]
        admission = {"clusterQueue": "q", "podSetAssignments": rows}
        statuses.reserve(workload, from_builtins(admission, Admission), NOW)
        statuses.sync_admitted(workload, NOW)
        made: Workload = self.server.put(workload)
        return made


def of(total: Any, *names: str, **more: Any) -> list[core_v1.Pod]:
    return [queued_pod(name, "g", total, role="r", **more) for name in names]

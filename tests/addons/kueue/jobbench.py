"""The controller of jobs in queues on informers that nobody runs, one look at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.addons.kueue.builders import PREFIX, flavor
from tests.addons.pretended import Pretended
from tiphys.addons.kueue import statuses
from tiphys.addons.kueue.jobs import controller as module
from tiphys.addons.kueue.jobs.controller import JobController
from tiphys.addons.kueue.jobs.parts import AnyJob
from tiphys.addons.kueue.types.workloads import Admission, Workload
from tiphys.api.base import from_builtins, to_builtins
from tiphys.client.client import JSON_PATCH, MERGE
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Context
from tiphys.machinery import conditions

NOW = 1_800_000_000.0
KEY = "Job.batch|lab/j"
JOB_SET = "JobSet.jobset.x-k8s.io"


class Server(Pretended):
    """Specs that are written stand in the jobs then; `said` are the other patches."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Informer[AnyJob]] = {}
        self.said: list[Any] = []

    async def patch(  # type: ignore[override]
        self, kind: Any, name: str, patch: Any, namespace: str, part: str = "", media: str = ""
    ) -> None:
        assert (part, media) in (("", JSON_PATCH), ("status", MERGE))
        if part:
            self.said.append(patch)
            return
        job = self.jobs["jobs"].get(f"{namespace}/{name}")
        assert job is not None
        version, spec = patch
        assert version["value"] == job.metadata.resource_version
        self.job(spec["value"], to_builtins(job.metadata), job.status)

    def job(self, spec: Any, meta: Any, status: Any, plural: str = "jobs") -> None:
        self._version += 1
        whole = {**meta, "resourceVersion": str(self._version)}
        made = from_builtins({"metadata": whole, "spec": spec, "status": status}, AnyJob)
        self.jobs[plural]._put(made)


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = Server()
        self.events: list[tuple[str, str, str]] = []
        self.started: list[str] = []

        def of(client: Any, kind: Any, resource: Any) -> Informer[Any]:
            nobody: Any = None
            made: Informer[Any] = Informer(nobody, kind)
            return self.server.jobs.setdefault(resource.plural, made)

        monkeypatch.setattr(module, "Informer", of)
        recorder: Any = SimpleNamespace(record=self._record, as_component=lambda *_: recorder)
        tasks: Any = SimpleNamespace(start=self._start)
        server = cast(Any, self.server)
        self.controller = JobController(Context(server, server, recorder, tasks, lambda: NOW))
        self.controller.watch()
        self.server.put(flavor("fast", nodeLabels={"disk": "fast"}))

    def _record(self, obj: Any, kind: str, reason: str, message: str, *_: Any, **__: Any) -> None:
        self.events.append((kind, reason, message))

    def _start(self, work: Any, name: str) -> None:
        work.close()
        self.started.append(name)

    def job(
        self,
        suspend: bool = True,
        status: Any = None,
        queue: str = "team",
        selector: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        plural: str = "jobs",
        parallelism: int = 2,
        **meta: Any,
    ) -> None:
        named = {f"{PREFIX}/queue-name": queue} if queue else {}
        whole = {"name": "j", "namespace": "lab", "uid": "u", "labels": {**named, **(labels or {})}}
        pods = {"containers": [{"name": "c", "image": "i"}]}
        template = {"spec": {**pods, **({"nodeSelector": selector} if selector else {})}}
        spec = {"suspend": suspend, "parallelism": parallelism, "template": template}
        self.server.job(spec, {**whole, **meta}, status or {}, plural)

    @property
    def spec(self) -> Any:
        found = self.server.jobs["jobs"].get("lab/j")
        assert found is not None
        return found.spec

    @property
    def selector(self) -> Any:
        return self.spec["template"]["spec"].get("nodeSelector")

    async def look(self, key: str = KEY) -> None:
        assert await self.controller.reconcile(key) is None

    def workload(self) -> Workload | None:
        return next(iter(self.server.of(Workload)), None)

    async def begun(self) -> Workload:
        """The workload of a job that waits."""
        self.job()
        await self.look()
        made = self.workload()
        assert made is not None
        self.events.clear()
        return made

    def put(self, workload: Workload) -> None:
        self.server.put(from_builtins(to_builtins(workload), Workload))

    def admit(self, workload: Workload) -> Workload:
        row = {"name": "main", "flavors": {"cpu": "fast"}, "count": 2}
        admission = {"clusterQueue": "q", "podSetAssignments": [row]}
        statuses.reserve(workload, from_builtins(admission, Admission), NOW)
        statuses.sync_admitted(workload, NOW)
        self.put(workload)
        return workload

    def condition(self, kind: str) -> tuple[str, str, str] | None:
        made = self.workload()
        found = conditions.find(made.status.conditions, kind) if made is not None else None
        return (found.status, found.reason, found.message) if found is not None else None

    async def queued(self) -> list[str]:
        keys = []
        while len(self.controller.queue):
            keys.append(await self.controller.queue.get())
            self.controller.queue.done(keys[-1])
        return sorted(keys)

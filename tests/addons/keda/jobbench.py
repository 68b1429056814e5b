"""ScaledJobs one look at a time: a server that keeps Jobs, and triggers that say what a test has them
say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from tests.addons.pretended import Patched
from tiphys.addons.keda import facts
from tiphys.addons.keda.building import Built
from tiphys.addons.keda.jobcontroller import ScaledJobReconciler
from tiphys.addons.keda.jobscaling import GENERATION, JobScaling
from tiphys.addons.keda.scaler import AVERAGE, Measured, external
from tiphys.addons.keda.types import ScaledJob
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.api.batch_v1 import Job
from tiphys.controllers.shell import Context
from tiphys.machinery import timestamps

NOW = 1_800_000_000.0
KEY = "lab/work"


class Server(Patched):
    """`pods` are what a list of them answers; `ended` are Jobs with how they were deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.pods: list[core_v1.Pod] = []
        self.ended: list[tuple[str, str]] = []
        self.refuses: Exception | None = None

    async def list(self, kind: Any, namespace: str, *, labels: str) -> Any:
        assert (namespace, labels) == ("lab", "job-name")
        return SimpleNamespace(items=self.pods)

    async def create(self, obj: Any) -> Any:
        if self.refuses is not None:
            raise self.refuses
        made = from_builtins(to_builtins(obj), Job)
        made.metadata.name = f"{obj.metadata.generate_name}{self._version}"
        return self.put(made)

    async def delete(  # type: ignore[override]
        self, kind: Any, name: str, namespace: str = "", *, propagation: str = ""
    ) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.ended.append((name, propagation))


class Bench:
    def __init__(self) -> None:
        self.server = Server()
        self.events: list[tuple[str, str, str]] = []
        self.started: list[str] = []
        self.answers: list[Any] = []
        self.kind = AVERAGE
        self.wrong: Exception | None = None
        observer = SimpleNamespace(forget=lambda *_: None)
        measurer = SimpleNamespace(targets=None, observer=observer, ask=self._ask)
        recorder: Any = SimpleNamespace(record=self._record)
        tasks: Any = SimpleNamespace(start=self._start)
        settings: dict[str, Any] = {}
        server = cast(Any, self.server)
        context = Context(server, server, recorder, tasks, lambda: NOW, settings)
        self.scaling = JobScaling(cast(Any, context), cast(Any, None), cast(Any, measurer))
        self.scaling.built = self._built  # type: ignore[method-assign]
        settings["jobs"] = self.scaling
        self.reconciler = ScaledJobReconciler(context, "keda")

    def _record(self, obj: Any, kind: str, reason: str, message: str, **_: Any) -> None:
        self.events.append((kind, reason, message))

    def _start(self, work: Any, name: str, **_: Any) -> Any:
        work.close()
        self.started.append(name)
        return SimpleNamespace(cancel=lambda: self.started.append(f"end of {name}"))

    async def _ask(self, scaler: Any, name: str) -> tuple[Any, str]:
        found = self.answers[scaler]
        return (None, found) if isinstance(found, str) else (Measured(*found), "")

    async def _built(self, obj: Any) -> Built:
        if self.wrong is not None:
            raise self.wrong
        scalers: Any = range(len(self.answers))
        metrics = [[external(f"s{place}-desk", self.kind, 5)] for place in scalers]
        return Built(1, "u", scalers, metrics)

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]

    def put(
        self,
        paused: str = "",
        status: Any = None,
        triggers: Any = None,
        generation: int = 3,
        **spec: Any,
    ) -> ScaledJob:
        annotations = {"autoscaling.keda.sh/paused": paused} if paused else {}
        meta = {
            "name": "work",
            "namespace": "lab",
            "uid": "u",
            "generation": generation,
            "annotations": annotations,
        }
        template = {"spec": {"containers": [{"name": "c", "image": "i"}]}}
        desk = [{"type": "desk", "metadata": {}}]
        whole = {
            "jobTargetRef": {"template": template},
            "triggers": desk if triggers is None else triggers,
            **spec,
        }
        made = from_builtins({"metadata": meta, "spec": whole, "status": status or {}}, ScaledJob)
        return cast(ScaledJob, self.server.put(made))

    def job(
        self, name: str, generation: int = 3, going: bool = False, ended: str = "", at: str = ""
    ) -> None:
        conditions = [{"type": ended, "status": "True"}] if ended else []
        meta = {
            "name": name,
            "namespace": "lab",
            "labels": {"scaledjob.keda.sh/name": "work"},
            "annotations": {GENERATION: str(generation)},
            **({"deletionTimestamp": timestamps.rfc3339(NOW)} if going else {}),
        }
        status = {"conditions": conditions, **({"completionTime": at} if at else {})}
        self.server.put(from_builtins({"metadata": meta, "status": status}, Job))

    def pod(self, of: str, phase: str = "Pending", *conditions: str) -> core_v1.Pod:
        rows = [{"type": kind, "status": "True"} for kind in conditions]
        meta = {"name": f"{of}-x", "namespace": "lab", "labels": {"job-name": of}}
        made: core_v1.Pod = from_builtins(
            {"metadata": meta, "status": {"phase": phase, "conditions": rows}}, core_v1.Pod
        )
        self.server.pods.append(made)
        return made

    @property
    def there(self) -> ScaledJob:
        found = self.server.of(ScaledJob).get(KEY)
        assert found is not None
        return cast(ScaledJob, found)

    def condition(self, kind: str) -> tuple[str, str, str]:
        found = facts.condition(self.there.status.conditions, kind)
        return found.status, found.reason, found.message

    async def look(self) -> float | None:
        self.events.clear()
        copy = from_builtins(to_builtins(self.there), ScaledJob)
        return await self.reconciler.reconcile(copy)

    async def check(self, *answers: Any) -> int:
        """How many Jobs are created."""
        self.answers = list(answers)
        before = len(list(self.server.of(Job)))
        self.events.clear()
        await self.scaling.check(self.there, cast(Any, None))
        return len(list(self.server.of(Job))) - before

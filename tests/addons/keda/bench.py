"""The add-on's reconcilers and loops, one look at a time: a server that keeps what is written, a
target with a scale, and triggers that say what a test has them say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from tests.addons.pretended import Patched
from tiphys.addons.keda import facts
from tiphys.addons.keda.building import Built
from tiphys.addons.keda.formula import Formula, compiled
from tiphys.addons.keda.measuring import Look, Reading
from tiphys.addons.keda.scaler import AVERAGE, external
from tiphys.addons.keda.scaling import Scaling
from tiphys.addons.keda.types import ScaledObject, TargetResource
from tiphys.api import autoscaling_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import OwnerReference
from tiphys.controllers.shell import Context

NOW = 1_800_000_000.0
KEY = "lab/web"
RESOURCE = TargetResource(group="apps", version="v1", kind="Deployment", resource="deployments")


class Targets:
    """One Deployment; `fails` is raised by whatever is named there."""

    def __init__(self) -> None:
        self.count = 3
        self.there = True
        self.written: list[int] = []
        self.fails: dict[str, Exception] = {}

    def _maybe(self, what: str) -> None:
        if what in self.fails:
            raise self.fails[what]

    async def resource(self, api_version: str, kind: str) -> TargetResource:
        self._maybe("resource")
        group, _, version = api_version.rpartition("/")
        return TargetResource(group=group, version=version, kind=kind, resource="deployments")

    async def scale(self, obj: Any) -> autoscaling_v1.Scale:
        self._maybe("scale")
        return from_builtins({"spec": {"replicas": self.count}}, autoscaling_v1.Scale)

    async def replicas(self, obj: Any) -> int:
        self._maybe("replicas")
        return self.count

    async def exists(self, obj: Any) -> bool:
        return self.there

    async def set_replicas(self, obj: Any, count: int) -> None:
        self._maybe("set")
        self.written.append(count)
        self.count = count


class Measurer:
    """`readings` are what the next look sees; `only` what it was asked for."""

    def __init__(self, targets: Targets) -> None:
        self.targets = targets
        self.readings: list[Reading] = []
        self.only: Any = None
        self.paused: list[bool] = []
        self.forgotten: list[tuple[str, str]] = []
        self.observer = SimpleNamespace(
            paused=lambda namespace, name, is_paused: self.paused.append(is_paused),
            forget=lambda *what: self.forgotten.append(what),
        )

    async def look(
        self, obj: Any, built: Any, health: Any, only: Any = None, records: Any = None
    ) -> Look:
        self.only = only
        return Look(self.readings)


def metric(index: int = 0, target: float = 5) -> Any:
    return external(f"s{index}-desk", AVERAGE, target)


def reading(
    value: float | None = 3.0, active: bool = True, error: str = "", index: int = 0, **more: Any
) -> Reading:
    name = f"s{index}-desk"
    return Reading(name, f"t{index}", metric(index), index, value, active, error, **more)


class Bench:
    """An object `web` that scales the Deployment `web` by triggers of the type `desk`."""

    def __init__(self) -> None:
        self.server = Patched()
        self.targets = Targets()
        self.measurer = Measurer(self.targets)
        self.events: list[tuple[str, str, str]] = []
        self.started: list[str] = []
        recorder: Any = SimpleNamespace(record=self._record)
        tasks: Any = SimpleNamespace(start=self._start)
        server = cast(Any, self.server)
        self.time = NOW
        self.settings: dict[str, Any] = {}
        self.context = Context(server, server, recorder, tasks, lambda: self.time, self.settings)
        self.scaling = Scaling(cast(Any, self.context), cast(Any, None), cast(Any, self.measurer))
        self.specs = [metric()]
        self.wrong: Exception | None = None
        self.closed = 0
        self.formula: Formula | None = None
        self.scaling.built = self._built  # type: ignore[method-assign]
        self.scaling.forget = self._forget  # type: ignore[method-assign]
        self.settings["scaling"] = self.scaling

    def _record(self, obj: Any, kind: str, reason: str, message: str, **_: Any) -> None:
        self.events.append((kind, reason, message))

    def _start(self, work: Any, name: str, **_: Any) -> Any:
        work.close()
        self.started.append(name)
        return SimpleNamespace(cancel=lambda: self.started.append(f"end of {name}"))

    async def _built(self, obj: Any) -> Built:
        if self.wrong is not None:
            raise self.wrong
        return Built(1, "u", [], [self.specs], self.formula)

    async def _forget(self, key: str) -> None:
        self.closed += 1

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]

    def put(
        self,
        annotations: dict[str, str] | None = None,
        status: Any = None,
        generation: int = 1,
        triggers: Any = None,
        labels: Any = None,
        **spec: Any,
    ) -> ScaledObject:
        """Annotations by their last word."""
        said = {f"autoscaling.keda.sh/{key}": text for key, text in (annotations or {}).items()}
        meta = {
            "name": "web",
            "namespace": "lab",
            "uid": "u",
            "generation": generation,
            "annotations": said,
            "labels": labels or {},
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        desk = [{"type": "desk", "metadata": {}}]
        whole = {
            "scaleTargetRef": {"name": "web"},
            "triggers": desk if triggers is None else triggers,
            **spec,
        }
        made = from_builtins(
            {"metadata": meta, "spec": whole, "status": status or {}}, ScaledObject
        )
        return cast(ScaledObject, self.server.put(made))

    @property
    def there(self) -> ScaledObject:
        found = self.server.of(ScaledObject).get(KEY)
        assert found is not None
        return cast(ScaledObject, found)

    def condition(self, kind: str) -> tuple[str, str, str]:
        found = facts.condition(self.there.status.conditions, kind)
        return found.status, found.reason, found.message

    async def applied(self, owner: Any, obj: Any) -> Any:
        """As reconcilers apply what is theirs."""
        obj.metadata.owner_references = [OwnerReference(name=owner.metadata.name, uid="u")]
        return self.server.put(obj)


def formula(text: str) -> Formula:
    return compiled(text, ["t0", "t1"])

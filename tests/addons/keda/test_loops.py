"""The loops: whose triggers are kept, when they are made anew, and how often they are asked."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.addons.pretended import Pretended
from tiphys.addons.keda import facts, statuses
from tiphys.addons.keda.building import Built
from tiphys.addons.keda.deciding import ConditionState
from tiphys.addons.keda.loops import Loops, Watched
from tiphys.addons.keda.scaler import ScalerError
from tiphys.addons.keda.types import ScaledObject, TriggerAuthentication
from tiphys.api.base import from_builtins, to_builtins
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import errors, mergepatch

KEY = "lab/web"


class Trigger:
    def __init__(self, kind: str) -> None:
        self.type = kind
        self.config = SimpleNamespace(type=kind)
        self.closed = 0
        self.fails = False

    async def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise OSError("closing fails")


class Looking(Loops[ScaledObject]):
    """`looks` are the keys that were looked at; `fails` what a look ends with."""

    looks: list[str]
    beginnings: list[str]
    fails: list[Exception | None]

    async def check(self, obj: ScaledObject, watched: Watched) -> None:
        self.looks.append(obj.metadata.name)
        error = self.fails.pop(0) if self.fails else None
        if error is not None:
            raise error

    async def begun(self, key: str, watched: Watched) -> None:
        self.beginnings.append(key)


class Bench:
    def __init__(self) -> None:
        self.server = Pretended()
        self.tasks = TaskGroup("keda")
        self.events: list[tuple[str, str, str]] = []
        self.late: list[float] = []
        self.forgotten: list[str] = []
        observer = SimpleNamespace(
            late=lambda kind, key, seconds: self.late.append(seconds),
            forget=lambda kind, key: self.forgotten.append(f"{kind} {key}"),
        )
        context: Any = SimpleNamespace(
            client=self.server,
            informers=self.server,
            tasks=self.tasks,
            recorder=SimpleNamespace(record=self._record),
        )
        measurer: Any = SimpleNamespace(targets=None, observer=observer)
        self.loops = Looking(context, ScaledObject, cast(Any, None), measurer)
        self.loops.looks, self.loops.beginnings, self.loops.fails = [], [], []
        self.made: list[Built] = []
        self.wrong: Exception | None = None
        self.loops.builder = cast(Any, SimpleNamespace(build=self._build))

    def _record(self, obj: Any, kind: str, reason: str, message: str) -> None:
        self.events.append((kind, reason, message))

    async def _build(self, obj: ScaledObject) -> Built:
        if self.wrong is not None:
            raise self.wrong
        scalers: Any = [Trigger("cron"), Trigger("redis")]
        made = Built(obj.metadata.generation or 0, obj.metadata.uid, scalers, [])
        self.made.append(made)
        return made

    def put(
        self, generation: int = 1, uid: str = "u", interval: int = 30, **status: Any
    ) -> ScaledObject:
        meta = {"name": "web", "namespace": "lab", "uid": uid, "generation": generation}
        spec = {
            "scaleTargetRef": {"name": "web"},
            "triggers": [],
            "pollingInterval": interval,
        }
        made = from_builtins({"metadata": meta, "spec": spec, "status": status}, ScaledObject)
        return cast(ScaledObject, self.server.put(made))

    def closed(self, place: int) -> int:
        return sum(cast(Any, one).closed for one in self.made[place].scalers)

    @property
    def messages(self) -> list[str]:
        return [message for _, _, message in self.events]


BUILT = ["Scaler cron is built", "Scaler redis is built"]


@pytest.fixture
async def bench() -> Any:
    made = Bench()
    yield made
    await made.tasks.stop()


# --- triggers ---


async def test_triggers_are_kept_while_the_object_is_the_same(bench: Bench) -> None:
    first = await bench.loops.built(bench.put())
    assert await bench.loops.built(bench.put()) is first is bench.loops.kept(KEY)
    assert bench.messages == BUILT
    assert await bench.loops.built(bench.put(generation=2)) is not first
    assert bench.closed(0) == 2 and bench.messages == BUILT * 2
    await bench.loops.built(bench.put(generation=2, uid="v"))
    assert bench.closed(1) == 2 and len(bench.made) == 3


async def test_triggers_that_fail_are_made_anew_without_words(bench: Bench) -> None:
    await bench.loops.built(bench.put())
    await bench.loops.forget(KEY)
    assert bench.loops.kept(KEY) is None and bench.closed(0) == 2
    await bench.loops.forget(KEY)
    assert bench.closed(0) == 2
    await bench.loops.built(bench.put())
    assert bench.messages == BUILT, "once for each version"


async def test_an_object_that_is_wrong_is_told_so(bench: Bench) -> None:
    kept = await bench.loops.built(bench.put())
    bench.events.clear()
    bench.wrong = ScalerError("no such type")
    with pytest.raises(ScalerError):
        await bench.loops.built(bench.put(generation=2))
    assert bench.events == [("Warning", "KEDAScalerFailed", "no such type")]
    assert bench.loops.kept(KEY) is kept and bench.closed(0) == 0
    bench.wrong = ValueError("ours")
    with pytest.raises(ValueError, match="ours"):
        await bench.loops.built(bench.put(generation=2))
    assert len(bench.events) == 1


async def test_triggers_are_not_closed_while_somebody_asks_them(bench: Bench) -> None:
    made = await bench.loops.built(bench.put())
    async with made.used():
        async with made.used():
            await bench.loops.forget(KEY)
        assert bench.closed(0) == 0
    assert bench.closed(0) == 2
    again = await bench.loops.built(bench.put())
    cast(Any, again.scalers[0]).fails = True
    await again.close()
    assert bench.closed(1) == 2, "one that fails to close does not keep the others"


# --- who is watched ---


async def test_an_object_is_watched_once_for_each_version(bench: Bench) -> None:
    obj = bench.put()
    bench.loops.watch(obj)
    first = bench.loops.watched(KEY)
    assert first is not None and bench.loops.count == 1
    bench.loops.watch(obj)
    assert bench.loops.watched(KEY) is first
    first.falls_back = True
    other = asyncio.get_running_loop().create_future()
    first.others.append(cast(Any, other))
    bench.loops.watch(bench.put(generation=2))
    second = bench.loops.watched(KEY)
    assert second is not None and second is not first
    assert second.health is first.health and second.falls_back
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert first.task.cancelled() and other.cancelled()
    assert bench.messages == ["Started scalers watch"], "told when it begins"


async def test_what_is_no_longer_watched_is_forgotten(bench: Bench) -> None:
    obj = bench.put()
    await bench.loops.built(obj)
    bench.loops.watch(obj)
    standing = bench.loops.watched(KEY)
    assert standing is not None
    bench.events.clear()
    await bench.loops.unwatch(KEY, obj)
    assert bench.messages == ["Stopped scalers watch"]
    assert bench.loops.count == 0 and bench.closed(0) == 2
    assert bench.forgotten == [f"ScaledObject {KEY}"]
    await bench.loops.unwatch(KEY, obj)
    assert len(bench.events) == 1 and len(bench.forgotten) == 1
    bench.loops.watch(obj)
    bench.events.clear()
    await bench.loops.unwatch(KEY)
    assert bench.events == []
    await bench.loops.built(obj)
    assert bench.messages == BUILT


async def test_after_a_restart_failures_are_those_of_the_status(bench: Bench) -> None:
    health = {"s0": {"numberOfFailures": 3, "status": "Failing"}}
    row = {"type": "Fallback", "status": "True"}
    obj = bench.put(health=health, conditions=[row])
    bench.loops.watch(obj)
    watched = bench.loops.watched(KEY)
    assert watched is not None and watched.falls_back
    assert watched.health == obj.status.health and watched.health is not obj.status.health


# --- how often ---


async def test_it_is_asked_again_after_its_interval(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            bench.server.take(bench.put())
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    bench.loops.fails = [ScalerError("x"), OSError("y"), None, None]
    bench.loops.watch(bench.put(interval=7))
    watched = bench.loops.watched(KEY)
    assert watched is not None
    await watched.task
    assert len(bench.loops.looks) == 4, "whatever fails"
    assert [round(pause) for pause in pauses] == [7] * 4
    assert bench.loops.beginnings == [KEY], "once, after a look that did not fail"
    assert bench.late[0] == pytest.approx(0, abs=1)
    assert all(late == pytest.approx(-7, abs=1) for late in bench.late[1:])


async def test_half_a_minute_where_nothing_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        bench.server.take(obj)

    obj = bench.put()
    obj.spec.polling_interval = None
    monkeypatch.setattr(asyncio, "sleep", sleep)
    bench.loops.watch(obj)
    watched = bench.loops.watched(KEY)
    assert watched is not None
    await watched.task
    assert [round(pause) for pause in pauses] == [facts.POLLING] == [30]


# --- writes of statuses ---


class Statuses:
    """One object by its kind; `conflicts`: how many writes are overtaken first."""

    def __init__(self, obj: Any) -> None:
        self.there = obj
        self.conflicts = 0
        self.patches: list[Any] = []
        self.fails: Exception | None = None

    async def patch(
        self, kind: Any, name: str, patch: Any, namespace: str, part: str, *, media: str
    ) -> Any:
        self.patches.append(patch)
        if self.fails is not None:
            raise self.fails
        if self.conflicts:
            self.conflicts -= 1
            raise errors.conflict("x", name, "changed")
        plain = mergepatch.merge(to_builtins(self.there), {"status": patch["status"]})
        self.there = from_builtins(plain, kind)
        return self.there

    async def get(self, kind: Any, name: str, namespace: str = "") -> Any:
        if self.there is None:
            raise errors.not_found("x", name)
        return self.there


def scaled(**status: Any) -> ScaledObject:
    auth = {"type": "cron", "metadata": {}, "authenticationRef": {"name": "a"}}
    spec = {"scaleTargetRef": {"name": "web"}, "triggers": [auth, auth]}
    meta = {"name": "web", "namespace": "lab", "resourceVersion": "7"}
    made: ScaledObject = from_builtins(
        {"metadata": meta, "spec": spec, "status": status}, ScaledObject
    )
    return made


def ready(status: Any) -> None:
    statuses.set_conditions(status, {"Ready": ConditionState("True", "R", "m")})


async def test_a_status_is_written_if_it_says_something_new() -> None:
    server: Any = Statuses(scaled(hpaName="h", externalMetricNames=["s0"]))
    made = await statuses.change_status(server, server.there, ready)
    assert [one.type for one in made.status.conditions] == ["Ready", "Active", "Fallback", "Paused"]
    assert server.patches[0]["metadata"] == {"resourceVersion": "7"}
    assert set(server.patches[0]["status"]) == {"conditions"}
    assert await statuses.change_status(server, made, ready) is made
    assert len(server.patches) == 1

    def emptied(status: Any) -> None:
        status.hpa_name = ""

    await statuses.change_status(server, made, emptied)
    assert server.patches[1]["status"] == {"hpaName": None}


@pytest.mark.parametrize(("conflicts", "written"), [(1, True), (4, True), (5, False)])
async def test_a_status_that_was_overtaken_is_written_anew(conflicts: int, written: bool) -> None:
    server: Any = Statuses(scaled())
    server.conflicts = conflicts
    if written:
        made = await statuses.change_status(server, scaled(), ready)
        assert facts.condition(made.status.conditions, "Ready").status == "True"
        return
    with pytest.raises(errors.StatusError):
        await statuses.change_status(server, scaled(), ready)
    assert len(server.patches) == 5


async def test_an_object_that_is_gone_stays_so() -> None:
    server: Any = Statuses(scaled())
    server.fails = errors.not_found("x", "web")
    obj = scaled()
    assert await statuses.change_status(server, obj, ready) is obj
    server.fails = errors.bad_request("x")
    with pytest.raises(errors.StatusError):
        await statuses.change_status(server, obj, ready)


@pytest.mark.parametrize(
    ("before", "gone", "after", "writes"),
    [
        ("", False, "web", 1),
        ("other", False, "other,web", 1),
        ("web", False, "web", 0),
        ("other,web", True, "other", 1),
        ("web", True, "", 1),
        ("other", True, "other", 0),
    ],
)
async def test_an_authentication_says_who_uses_it(
    before: str, gone: bool, after: str, writes: int
) -> None:
    row = {"metadata": {"name": "a", "namespace": "lab"}, "status": {"scaledobjects": before}}
    server: Any = Statuses(from_builtins(row, TriggerAuthentication))
    await statuses.note_user(server, scaled(), "scaledobjects", gone=gone)
    assert server.there.status.scaledobjects == after
    assert len(server.patches) == writes
    server.there = None
    await statuses.note_user(server, scaled(), "scaledobjects", gone=gone)

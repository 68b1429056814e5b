"""The phases of a test, one step at a time: applications, locust and the system are all pretended,
and the clock is the test's."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import test_utils, web

from tiphys.addons import loadtest
from tiphys.addons.loadtest.changes import Original
from tiphys.addons.loadtest.controller import LoadTests, Parts
from tiphys.addons.loadtest.generator import GeneratorError
from tiphys.addons.loadtest.types import (
    Application,
    Cleanup,
    LoadTest,
    LoadTestStatus,
    Reading,
    Sample,
)
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.shell import Context
from tiphys.machinery import conditions, errors

START = 1_000_000.0


class System:
    """Locust and a shop behind one address."""

    def __init__(self) -> None:
        self.orders: float | None = 0.0
        self.users = 0
        self.state = "ready"
        self.told: list[dict[str, str]] = []
        self.cleaning = 200
        self.cleaned = 0

    def application(self) -> web.Application:
        made = web.Application()
        made.router.add_get("/stats/requests", self._stats)
        made.router.add_post("/swarm", self._swarm)
        made.router.add_get("/metrics", self._metrics)
        made.router.add_delete("/orders", self._clean)
        return made

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response({"state": self.state, "user_count": self.users})

    async def _swarm(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.told.append(form)
        self.users, self.state = int(form["user_count"]), "running"
        return web.Response()

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=f"orders_total {self.orders}" if self.orders is not None else "")

    async def _clean(self, request: web.Request) -> web.Response:
        self.cleaned += 1
        return web.Response(status=self.cleaning)


class Objects:
    """The objects that the conductor reads and keeps: the test itself, and ConfigMaps."""

    def __init__(self, test: LoadTest) -> None:
        self.test = test
        self.kept: dict[str, Any] = {}

    async def get(self, kind: Any, name: str, namespace: str) -> Any:
        found = self.test if kind is LoadTest else self.kept.get(name)
        if found is None:
            raise errors.not_found("configmaps", name)
        return copy.deepcopy(found)

    async def create(self, obj: Any) -> None:
        self.kept[obj.metadata.name] = obj

    async def delete(self, kind: Any, name: str, namespace: str) -> None:
        if self.kept.pop(name, None) is None:
            raise errors.not_found("configmaps", name)


class Applications:
    """How applications are; what was done to them."""

    def __init__(self) -> None:
        self.saved: dict[str, Any] = {"shop": {"replicas": 2}}
        self.lacks = ""
        self.done: list[tuple[Any, ...]] = []

    async def save(self, name: str) -> Any:
        return self.saved.get(name)

    async def change(self, application: Application, saved: Any, original: Original | None) -> None:
        self.done.append(("change", application.name, saved, original))

    async def restore(self, name: str, saved: Any) -> None:
        self.done.append(("restore", name, saved))

    async def missing(self, name: str) -> str:
        return self.lacks


class Users:
    """A generator; where it cannot be had, `wrong` says why."""

    def __init__(self, url: str) -> None:
        self.where, self.wrong, self.ends = url, "", True
        self.stops = 0

    async def url(self, test: LoadTest) -> str:
        if self.wrong:
            raise GeneratorError(self.wrong)
        return self.where

    async def stop(self, test: LoadTest) -> bool:
        self.stops += 1
        return self.ends


class Conductor(LoadTests):
    def __init__(self, world: World, objects: Objects) -> None:
        settings = {"settings": loadtest.Settings(local=True)}
        nothing: Any = None
        context = Context(nothing, nothing, nothing, nothing, lambda: world.now, settings)
        super().__init__(context, "tiphys-loadtest")
        self.client = cast(Any, objects)
        self._world = world

    def _substrate(self, test: LoadTest, application: Application) -> Any:
        return self._world.applications

    def informer(self, kind: Any) -> Any:
        return self._world.others

    def event(self, obj: Any, reason: str, message: str, *, warning: bool = False) -> None:
        self._world.events.append((reason, message, warning))

    async def set_status(self, obj: Any, status: Any) -> None:
        self._world.test.status = status


class World:
    def __init__(self, url: str, system: System, session: aiohttp.ClientSession) -> None:
        self.now = START
        self.system = system
        self.applications = Applications()
        self.users = Users(url)
        self.others: list[LoadTest] = []
        self.events: list[tuple[str, str, bool]] = []
        self.test = a_test(url)
        self.objects = Objects(self.test)
        self.conductor = Conductor(self, self.objects)
        nobody: Any = None
        self.conductor.parts = Parts(session, session, nobody, {"Pod": self.users})

    async def step(self) -> float | None:
        return await self.conductor.reconcile(self.test)

    @property
    def status(self) -> LoadTestStatus:
        return self.test.status

    def said(self, type_: str) -> tuple[str, str, str] | None:
        found = conditions.find(self.status.conditions, type_)
        return (found.status, found.reason, found.message) if found is not None else None

    async def loading(self) -> None:
        """On to the load, with everything ready."""
        for _ in range(4):
            await self.step()
        assert self.status.phase == "Loading"


def a_test(url: str) -> LoadTest:
    made = LoadTest(metadata=ObjectMeta(name="evening", namespace="default", uid="e"))
    made.spec.target_orders_per_minute = 600
    made.spec.applications = [Application(name="shop")]
    made.spec.orders.url = f"{url}/metrics"
    made.spec.generator.host, made.spec.generator.locustfile = "http://shop", "shop"
    made.spec.generator.max_users = 100
    made.spec.plateau_minutes = 4
    made.spec.cleanup = [Cleanup(url=f"{url}/orders")]
    return made


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    system = System()
    async with (
        test_utils.TestServer(system.application()) as server,
        aiohttp.ClientSession() as session,
    ):
        yield World(str(server.make_url("")).rstrip("/"), system, session)


async def test_a_test_from_its_beginning_to_its_end() -> None:
    async with world() as w:
        assert await w.step() == 0.0
        assert w.status.phase == "Cloning" and w.status.started_at == START
        assert w.said("Accepted") == ("True", "Accepted", "every application is there")
        assert not w.objects.kept, "nothing is written down yet"

        assert await w.step() == 0.0
        assert w.status.phase == "Scaling" and list(w.objects.kept) == ["loadtest-e"]
        w.applications.saved["shop"] = {"replicas": 9}

        assert await w.step() == 0.0
        assert w.applications.done == [("change", "shop", {"replicas": 2}, None)]
        assert w.said("Scaled") == ("False", "Waiting", "just changed")
        assert w.status.phase == "Scaling" and w.status.users == 0

        assert await w.step() == 0.0
        assert len(w.applications.done) == 1, "it is changed once"
        assert w.said("Scaled") == ("True", "Ready", "everything is ready")
        assert w.status.phase == "Loading" and w.status.users == 10

        assert await w.step() == 1.0, "it looks each second"
        assert w.system.told == [{"user_count": "10", "spawn_rate": "1", "host": "http://shop"}]
        assert w.status.reading is None
        w.now += 29.5
        assert await w.step() == 0.5, "or when something is due"
        w.now += 0.5
        w.system.orders = 50
        assert await w.step() == 0.0
        assert w.status.reading is not None and w.status.reading.seconds == START + 30
        assert list(w.status.reading.orders.values()) == [50]
        w.now += 30
        w.system.orders = 150
        assert await w.step() == 0.0
        (sample,) = w.status.samples
        assert (sample.users, sample.target, sample.orders_per_minute) == (10, 600, 200)
        assert w.status.orders_per_minute == 200 and w.status.deviation_percent == -66.7
        assert w.status.changed_at == w.now and w.status.reading is None
        assert w.status.users > 20 and w.system.users == w.status.users, "locust is told at once"
        assert len(w.system.told) == 2
        assert w.said("Reachable") == ("True", "InReach", "200 orders a minute were measured")
        assert w.said("Measured") == ("True", "Counted", "the system counts its orders")

        w.now = START + 240
        w.status.samples[0].orders_per_minute = 624
        assert await w.step() == 0.0
        assert w.status.phase == "ScalingDown"
        assert w.said("OnTarget") == (
            "True",
            "OnTarget",
            "624 orders a minute, +4.0 % of the target",
        )

        w.users.ends = False
        assert await w.step() == 1.0
        assert w.status.users == 0 and w.status.phase == "ScalingDown" and not w.system.cleaned
        w.users.ends = True
        assert await w.step() == 0.0
        assert w.status.phase == "Cleaning" and w.system.cleaned == 1
        assert w.applications.done[1:] == [("restore", "shop", {"replicas": 2})]
        assert w.said("TestDataRemoved") == (
            "True",
            "Removed",
            "the system has taken the test's data back",
        )

        assert await w.step() is None
        assert w.status.phase == "Completed" and not w.objects.kept
        assert w.system.cleaned == 1, "what is clean is not cleaned again"
        assert await w.step() is None, "what is over stays so"


def busy(w: World) -> None:
    other = a_test("")
    other.metadata.uid, other.metadata.name, other.status.phase = "o", "other", "Loading"
    w.others.append(other)


def unknown(w: World) -> None:
    w.applications.saved.clear()


def no_production(w: World) -> None:
    w.test.spec.use_production_versions = True


@pytest.mark.parametrize(
    "spoil, reason, message",
    [
        (busy, "Busy", "other is at work on shop"),
        (unknown, "UnknownApplication", "there is no Deployment shop"),
        (no_production, "NoProduction", "the test names no production"),
    ],
)
async def test_a_test_that_cannot_be_is_refused(spoil: Any, reason: str, message: str) -> None:
    async with world() as w:
        spoil(w)
        assert await w.step() is None
        assert w.status.phase == "Refused" and w.status.started_at == 0
        assert w.said("Accepted") == ("False", reason, message)
        assert w.events == [(reason, message, True)]


@pytest.mark.parametrize(
    "spoil, failure",
    [(unknown, "shop is gone"), (no_production, "the test names no production")],
)
async def test_what_goes_before_it_is_written_down_fails_the_test(spoil: Any, failure: str) -> None:
    async with world() as w:
        await w.step()
        spoil(w)
        assert await w.step() == 0.0
        assert w.status.phase == "ScalingDown" and w.status.failure == failure
        assert await w.step() == 0.0
        assert w.applications.done == [] and w.system.cleaned == 0, "nothing is to be undone"
        assert await w.step() is None
        assert w.status.phase == "Failed"


async def test_what_was_written_down_is_not_written_again() -> None:
    async with world() as w:
        await w.step()
        await w.step()
        before = copy.deepcopy(w.objects.kept)
        w.status.phase = "Cloning"
        w.applications.saved["shop"] = {"replicas": 9}
        await w.step()
        assert w.status.phase == "Scaling" and w.objects.kept == before


async def test_without_what_was_written_down_nothing_is_changed() -> None:
    async with world() as w:
        await w.step()
        await w.step()
        w.objects.kept.clear()
        assert await w.step() == 0.0
        assert w.status.failure == "what was written down before the test is gone"
        assert w.status.phase == "ScalingDown" and w.applications.done == []


async def test_the_load_waits_for_all_of_it_and_not_for_ever() -> None:
    async with world() as w:
        w.applications.lacks, w.users.where = "shop has 1 of 2 replicas", ""
        for _ in range(3):
            await w.step()
        both = "shop has 1 of 2 replicas; locust is starting"
        assert w.said("Scaled") == ("False", "Waiting", both)
        w.applications.lacks = ""
        assert await w.step() == 1.0
        assert w.said("Scaled") == ("False", "Waiting", "locust is starting")
        w.now += 900
        assert await w.step() == 1.0, "fifteen minutes are in time"
        w.now += 1
        assert await w.step() == 0.0
        assert w.status.phase == "ScalingDown"
        assert w.status.failure == "not ready in time: locust is starting"


async def test_a_generator_that_cannot_be_had_fails_the_test() -> None:
    async with world() as w:
        await w.step()
        await w.step()
        w.users.wrong = "there is no locust"
        assert await w.step() == 0.0
        assert w.status.phase == "ScalingDown" and w.status.failure == "there is no locust"


async def test_users_begin_with_no_more_than_there_may_be() -> None:
    async with world() as w:
        w.test.spec.generator.max_users = 4
        await w.loading()
        assert w.status.users == 4


async def test_what_is_not_counted_is_waited_for_and_fails_the_test_then() -> None:
    async with world() as w:
        await w.loading()
        await w.step()
        w.system.orders = None
        w.now += 30
        assert await w.step() == 1.0
        said = ("False", "NotMeasured", "the page has no orders_total")
        assert w.said("Measured") == said
        w.test.spec.plateau_minutes = 60
        w.now = START + 300
        assert await w.step() == 1.0, "five periods"
        w.test.spec.period_seconds = 2
        assert await w.step() == 0.0
        assert w.status.phase == "ScalingDown" and w.status.failure == said[2]


async def test_locust_has_longer_to_come_back() -> None:
    async with world() as w:
        await w.loading()
        w.users.where = ""
        w.test.spec.period_seconds = 2
        w.test.spec.plateau_minutes = 60
        assert await w.step() == 0.5, "a quarter of a period"
        w.now += 900
        assert await w.step() == 0.5
        assert w.said("Measured") == ("False", "GeneratorStarting", "locust is starting")
        w.now += 1
        assert await w.step() == 0.0
        assert w.status.failure == "locust is starting"


async def test_a_target_out_of_reach_is_told() -> None:
    async with world() as w:
        await w.loading()
        w.status.users = 100
        w.status.phase_started_at = w.now - 60
        at = Sample(time="2026-01-01T00:00:00Z", users=100, target=600, orders_per_minute=300)
        w.status.samples = [at, copy.copy(at)]
        w.status.changed_at = w.now - 60
        (page,) = [w.test.spec.orders.url]
        w.status.reading = Reading(seconds=w.now - 30, orders={str(page): 0})
        w.system.orders = 150
        await w.step()
        assert w.said("Reachable") == ("False", "MaxUsers", "300 orders a minute were measured")
        assert w.status.users == 100


def samples(*orders: float) -> list[Sample]:
    return [
        Sample(time="2026-01-01T00:00:00Z", users=1, target=600, orders_per_minute=one)
        for one in orders
    ]


@pytest.mark.parametrize(
    "measured, said",
    [
        ([], ("False", "NotMeasured", "nothing was measured")),
        (
            samples(0, 0, 573, 573),
            ("True", "OnTarget", "573 orders a minute, -4.5 % of the target"),
        ),
        (samples(600, 564), ("False", "Missed", "564 orders a minute, -6.0 % of the target")),
        (samples(640), ("False", "Missed", "640 orders a minute, +6.7 % of the target")),
        (samples(0, 500, 700), ("True", "OnTarget", "600 orders a minute, +0.0 % of the target")),
    ],
)
async def test_the_second_half_of_the_plateau_is_judged(
    measured: list[Sample], said: tuple[str, str, str]
) -> None:
    async with world() as w:
        await w.loading()
        ramp = Sample(time="2026-01-01T00:00:00Z", users=1, target=599, orders_per_minute=1)
        w.status.samples = [ramp, *copy.deepcopy(measured), copy.copy(ramp)]
        w.now += 240
        await w.step()
        assert w.said("OnTarget") == said


async def test_test_data_that_stays_is_asked_for_again_and_fails_the_test() -> None:
    async with world() as w:
        await w.loading()
        w.now += 240
        await w.step()
        w.system.cleaning = 500
        await w.step()
        wrong = f"DELETE {w.test.spec.cleanup[0].url} answers 500"
        assert w.said("TestDataRemoved") == ("False", "NotRemoved", wrong)
        assert w.applications.done[-1][0] == "restore"
        assert await w.step() == 5.0 and w.system.cleaned == 2
        w.now += 599
        assert await w.step() == 5.0 and w.objects.kept
        w.now += 1
        assert await w.step() is None
        assert w.status.phase == "Failed" and w.status.failure == wrong and not w.objects.kept


async def test_a_failure_is_told_before_what_stays() -> None:
    async with world() as w:
        await w.loading()
        w.status.phase, w.status.failure = "ScalingDown", "it was the other thing"
        w.system.cleaning = 500
        await w.step()
        w.now += 600
        await w.step()
        assert w.status.phase == "Failed" and w.status.failure == "it was the other thing"


async def test_places_without_a_page_are_told_beside_the_others() -> None:
    async with world() as w:
        await w.loading()
        w.conductor.context.settings["settings"].local = False
        w.status.phase = "ScalingDown"
        w.test.spec.cleanup = [Cleanup(url="http://[::1]/"), Cleanup(url="http://0.0.0.0/")]
        await w.step()
        said = w.said("TestDataRemoved")
        words = "is this machine: tests may ask it with the setting local=true"
        assert said is not None and said[2] == f"::1 {words}; 0.0.0.0 {words}"


# --- deletion ---


async def test_a_test_that_changed_nothing_goes_at_once() -> None:
    async with world() as w:
        await w.step()
        await w.conductor.finalize(w.test)
        assert w.users.stops == 1 and w.applications.done == [] and w.system.cleaned == 0


async def test_a_test_that_is_deleted_leaves_all_as_it_was() -> None:
    async with world() as w:
        await w.loading()
        w.users.ends = False
        with pytest.raises(RuntimeError, match="the generator is still there"):
            await w.conductor.finalize(w.test)
        assert len(w.applications.done) == 1
        w.users.ends = True
        await w.conductor.finalize(w.test)
        assert w.applications.done[1:] == [("restore", "shop", {"replicas": 2})]
        assert not w.objects.kept and w.system.cleaned == 1 and w.events == []
        w.test.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
        assert await w.step() is None and w.status.phase == "Loading"


async def test_a_deletion_waits_for_test_data_only_so_long() -> None:
    async with world() as w:
        await w.loading()
        w.system.cleaning = 500
        for later, restored in ((0, False), (59, False), (60, True), (599, True)):
            w.now = START + later
            with pytest.raises(RuntimeError, match="answers 500"):
                await w.conductor.finalize(w.test)
            assert (w.applications.done[-1][0] == "restore") is restored
            assert w.objects.kept
        w.now = START + 600
        await w.conductor.finalize(w.test)
        assert not w.objects.kept
        ((reason, message, is_warning),) = w.events
        assert reason == "TestDataLeft" and "answers 500" in message and is_warning

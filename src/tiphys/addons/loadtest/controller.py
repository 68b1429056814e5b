"""Conducts tests: one step of one phase at a time, so that the next leader continues where the
last one was killed."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass

import aiohttp

from tiphys.addons.loadtest import (
    GROUP,
    PROCESSES,
    Settings,
    conducting,
    control,
    measuring,
    snapshots,
)
from tiphys.addons.loadtest.acceptance import Refusal, rival
from tiphys.addons.loadtest.generator import (
    Generator,
    GeneratorError,
    GeneratorStarting,
    PodGenerator,
    ProcessGenerator,
    set_users,
)
from tiphys.addons.loadtest.measuring import NotMeasured
from tiphys.addons.loadtest.production import ProductionError, originals_of
from tiphys.addons.loadtest.substrates import Deployments, Processes, Substrate
from tiphys.addons.loadtest.supervisor import Supervisor
from tiphys.addons.loadtest.types import (
    Application,
    LoadTest,
    LoadTestStatus,
    Phase,
    Place,
    Pools,
    Reading,
    Sample,
)
from tiphys.addons.optional import NAMESPACE, Context
from tiphys.api import core_v1
from tiphys.controllers.shell import Context as ShellContext
from tiphys.machinery import conditions
from tiphys.machinery.timestamps import rfc3339
from tiphys.operator import Reconciler

_LOOK = 1.0  # seconds between two checks of what is waited for
_PATIENCE = 600.0  # seconds for which a deletion waits for the system to take its test data back
_COMES_BACK = 60.0  # seconds for which it stays as large as for the test
_CLOSE = 5.0  # percent of the target that a plateau may be off


@dataclass
class Parts:
    """What the conductor works with beside the cluster."""

    session: aiohttp.ClientSession  # for locust
    asker: aiohttp.ClientSession  # for what users name
    supervisor: Supervisor
    generators: dict[str, Generator]


class LoadTests(Reconciler[LoadTest]):
    kind = LoadTest
    finalizer = f"{GROUP}/restore"
    parts: Parts  # given by `run`

    def __init__(self, context: ShellContext, manager: str) -> None:
        super().__init__(context, manager)
        self._finalizing: dict[str, float] = {}  # since when, by the test's uid
        self._loading: dict[str, float] = {}  # since when we conduct its load, by the test's uid

    async def reconcile(self, obj: LoadTest) -> float | None:
        # The newest: an informer may not have seen our last step yet.
        test = await self.client.get(LoadTest, obj.metadata.name, obj.metadata.namespace)
        step = {
            None: self._accept,
            "Cloning": self._clone,
            "Scaling": self._scale,
            "Loading": self._load,
            "ScalingDown": self._scale_down,
            "Cleaning": self._clean,
        }.get(test.status.phase)
        if step is None or test.metadata.deletion_timestamp:
            return None
        status = copy.deepcopy(test.status)
        after = await step(test, status)
        conducting.shortened(status)
        await self.set_status(test, status)
        return after

    async def finalize(self, obj: LoadTest) -> None:
        """Everything as it was, however far the test was."""
        self._loading.pop(obj.metadata.uid, None)
        if not await self._generator(obj).stop(obj):
            raise RuntimeError("the generator is still there")
        snapshot = await snapshots.recalled(self.client, obj)
        if snapshot is None:
            return
        wrong = await self._take_test_data(obj)
        waited = self.now - self._finalizing.setdefault(obj.metadata.uid, self.now)
        if wrong and waited < _COMES_BACK:
            raise RuntimeError(wrong)  # once restored, the system may not be able to
        await self._restore(obj, snapshot)
        if wrong and waited < _PATIENCE:
            raise RuntimeError(wrong)
        if wrong:
            self.event(obj, "TestDataLeft", wrong, warning=True)
        await snapshots.forget(self.client, obj)
        del self._finalizing[obj.metadata.uid]

    # --- phases ---

    async def _accept(self, test: LoadTest, status: LoadTestStatus) -> float | None:
        try:
            await self._check(test)
        except Refusal as error:
            self._condition(test, status, "Accepted", False, error.reason, str(error))
            self._enter(status, "Refused")
            self.event(test, error.reason, str(error), warning=True)
            return None
        self._condition(test, status, "Accepted", True, "Accepted", "every application is there")
        status.started_at = self.now
        self._enter(status, "Cloning")
        return 0.0

    async def _check(self, test: LoadTest) -> None:
        """Raises Refusal; nothing is changed before."""
        for application in test.spec.applications:
            saved = await self._substrate(test, application).save(application.name)
            if saved is None:
                message = f"there is no {application.substrate} {application.name}"
                raise Refusal("UnknownApplication", message)
        other = rival(test, self.informer(LoadTest))
        if other:
            raise Refusal("Busy", other)
        if test.spec.use_production_versions:
            try:
                await originals_of(self.client, test)
            except ProductionError as error:
                raise Refusal("NoProduction", str(error)) from None

    async def _clone(self, test: LoadTest, status: LoadTestStatus) -> float | None:
        """How everything is, and how it is in production, is written down."""
        if await snapshots.recalled(self.client, test) is None:
            snapshot = snapshots.Snapshot()
            try:
                if test.spec.use_production_versions:
                    snapshot.take_originals(await originals_of(self.client, test))
            except ProductionError as error:
                return self._fail(status, str(error))
            for application in test.spec.applications:
                snapshot.saved[application.name] = await self._substrate(test, application).save(
                    application.name
                )
            gone = [name for name, saved in snapshot.saved.items() if saved is None]
            if gone:
                return self._fail(status, f"{gone[0]} is gone")
            await snapshots.remember(self.client, test, snapshot)
        self._enter(status, "Scaling")
        return 0.0

    async def _scale(self, test: LoadTest, status: LoadTestStatus) -> float | None:
        snapshot = await snapshots.recalled(self.client, test)
        if snapshot is None:
            return self._fail(status, "what was written down before the test is gone")
        lacks = []
        for application in test.spec.applications:
            substrate = self._substrate(test, application)
            if not _is_changed(status):
                await substrate.change(
                    application,
                    snapshot.saved[application.name],
                    snapshot.original(application.name),
                )
            lacks.append(await substrate.missing(application.name))
        try:
            lacks.append("" if await self._generator(test).url(test) else "locust is starting")
        except GeneratorError as error:
            return self._fail(status, str(error))
        lacking = "; ".join(one for one in lacks if one)
        if not _is_changed(status):
            self._condition(test, status, "Scaled", False, "Waiting", lacking or "just changed")
            return 0.0
        if lacking and self._elapsed(status) > test.spec.ready_timeout_minutes * 60:
            return self._fail(status, f"not ready in time: {lacking}")
        reason = "Waiting" if lacking else "Ready"
        message = lacking or "everything is ready"
        self._condition(test, status, "Scaled", not lacking, reason, message)
        if lacking:
            return _LOOK
        status.users = min(test.spec.generator.initial_users, test.spec.generator.max_users)
        self._enter(status, "Loading")
        return 0.0

    async def _load(self, test: LoadTest, status: LoadTestStatus) -> float | None:
        watched_since = self._loading.setdefault(test.metadata.uid, self.now)
        due = conducting.tick(test.spec, status, self.now)
        if due.ends:
            self._judge(test, status)
            self._enter(status, "ScalingDown")
            return 0.0
        try:
            await self._drive(test, status)
            if due.reads or due.controls:
                await self._measure(test, status, due.controls)
        except (NotMeasured, GeneratorError) as error:
            reason = type(error).__name__
            self._condition(test, status, "Measured", False, reason, str(error))
            is_starting = isinstance(error, GeneratorStarting)
            if conducting.gives_up(test.spec, status, watched_since, self.now, is_starting):
                return self._fail(status, str(error))
            return min(_LOOK, test.spec.period_seconds / 4)
        return min(_LOOK, due.after) if due.after else 0.0

    async def _drive(self, test: LoadTest, status: LoadTestStatus) -> None:
        url = await self._generator(test).url(test)
        if not url:
            raise GeneratorStarting
        seconds = test.spec.period_seconds / 4
        host = test.spec.generator.host
        await set_users(self.parts.session, url, status.users, seconds, host)

    async def _measure(self, test: LoadTest, status: LoadTestStatus, controls: bool) -> None:
        orders = test.spec.orders
        urls = await self._pages(test, orders)
        counted = await measuring.read_all(self.parts.asker, urls, orders.metric)
        now = self.now
        self._condition(test, status, "Measured", True, "Counted", "the system counts its orders")
        before = status.reading
        if not controls or before is None:
            status.reading = Reading(seconds=now, orders=counted)
            return
        spec = test.spec
        measured = conducting.rate(before.orders, counted, now - before.seconds)
        elapsed = now - status.phase_started_at
        wanted = conducting.target_at(spec, elapsed)
        status.samples.append(
            Sample(
                time=rfc3339(now),
                users=status.users,
                target=round(wanted, 1),
                orders_per_minute=round(measured, 1),
            )
        )
        status.orders_per_minute = round(measured, 1)
        status.deviation_percent = round(100 * (measured / wanted - 1), 1) if wanted else 0
        # What will be measured next is the second half of the next period.
        coming = conducting.target_at(spec, elapsed + 0.75 * spec.period_seconds)
        known = conducting.measurements(status)
        most = spec.generator.max_users
        status.users = control.next_users(known, coming, most)
        out = control.is_out_of_reach(known, coming, most)
        words = f"{measured:.0f} orders a minute were measured"
        self._condition(test, status, "Reachable", not out, "MaxUsers" if out else "InReach", words)
        status.changed_at = now
        status.reading = None
        await self._drive(test, status)

    def _judge(self, test: LoadTest, status: LoadTestStatus) -> None:
        """Whether the second half of the plateau met the target."""
        target = test.spec.target_orders_per_minute
        plateau = [one for one in status.samples if one.target >= target]
        half = plateau[len(plateau) // 2 :]
        if not half:
            self._condition(test, status, "OnTarget", False, "NotMeasured", "nothing was measured")
            return
        mean = sum(one.orders_per_minute for one in half) / len(half)
        off = 100 * (mean / target - 1)
        ok = abs(off) <= _CLOSE
        message = f"{mean:.0f} orders a minute, {off:+.1f} % of the target"
        self._condition(test, status, "OnTarget", ok, "OnTarget" if ok else "Missed", message)

    async def _scale_down(self, test: LoadTest, status: LoadTestStatus) -> float | None:
        status.users = 0
        self._loading.pop(test.metadata.uid, None)
        if not await self._generator(test).stop(test):
            return _LOOK
        snapshot = await snapshots.recalled(self.client, test)
        if snapshot is not None:
            # While the system is still as large as it was: small, it may not be there at all.
            wrong = await self._take_test_data(test)
            self._say_cleaned(test, status, wrong)
            await self._restore(test, snapshot)
        self._enter(status, "Cleaning")
        return 0.0

    async def _clean(self, test: LoadTest, status: LoadTestStatus) -> float | None:
        cleaned = conditions.find(status.conditions, "TestDataRemoved")
        if cleaned is not None and cleaned.status != "True":
            wrong = await self._take_test_data(test)
            self._say_cleaned(test, status, wrong)
            if wrong and self._elapsed(status) < _PATIENCE:
                return 5 * _LOOK
            if wrong:
                status.failure = status.failure or wrong
        await snapshots.forget(self.client, test)
        self._enter(status, "Failed" if status.failure else "Completed")
        return None

    # --- parts of phases ---

    def _enter(self, status: LoadTestStatus, phase: Phase) -> None:
        status.phase = phase
        status.phase_started_at = self.now
        status.changed_at = 0
        status.reading = None

    def _elapsed(self, status: LoadTestStatus) -> float:
        return self.now - status.phase_started_at

    def _fail(self, status: LoadTestStatus, message: str) -> float:
        status.failure = message
        self._enter(status, "ScalingDown")
        return 0.0

    def _condition(
        self,
        test: LoadTest,
        status: LoadTestStatus,
        type_: str,
        ok: bool,
        reason: str,
        message: str,
    ) -> None:
        status.conditions = self.condition(test, status.conditions, type_, ok, reason, message)

    def _say_cleaned(self, test: LoadTest, status: LoadTestStatus, wrong: str) -> None:
        reason = "NotRemoved" if wrong else "Removed"
        message = wrong or "the system has taken the test's data back"
        self._condition(test, status, "TestDataRemoved", not wrong, reason, message)

    def _substrate(self, test: LoadTest, application: Application) -> Substrate:
        if application.substrate == "Process":
            settings: Settings = self.settings
            return Processes(self.client, self.parts.supervisor, settings.folder)
        pools = test.spec.pools or Pools()
        return Deployments(self.client, test.metadata.namespace, pools.system)

    def _generator(self, test: LoadTest) -> Generator:
        return self.parts.generators[test.spec.generator.substrate]

    async def _restore(self, test: LoadTest, snapshot: snapshots.Snapshot) -> None:
        for application in test.spec.applications:
            saved = snapshot.saved.get(application.name)
            if saved is not None:
                await self._substrate(test, application).restore(application.name, saved)

    async def _take_test_data(self, test: LoadTest) -> str:
        """What is wrong, or nothing."""
        problems = []
        for cleanup in test.spec.cleanup:
            try:
                urls = await self._pages(test, cleanup)
            except NotMeasured as error:
                problems.append(str(error))
                continue
            for url in urls:
                problems.append(await measuring.clean(self.parts.asker, cleanup.method, url))
        return "; ".join(one for one in problems if one)

    async def _pages(self, test: LoadTest, place: Place) -> list[str]:
        """Raises NotMeasured."""
        local = self.settings.local
        return await measuring.pages(self.client, place, test.metadata.namespace, local)


def _is_changed(status: LoadTestStatus) -> bool:
    """Whether applications were changed already, in the phase Scaling."""
    return conditions.find(status.conditions, "Scaled") is not None


async def run(context: Context) -> None:
    """Until it is cancelled."""
    settings: Settings = context.settings
    supervisor = Supervisor(settings.folder, context.tasks)
    processes = ProcessGenerator(settings)
    async with aiohttp.ClientSession() as session, measuring.asker(settings.local) as asker:
        parts_ = Parts(
            session,
            asker,
            supervisor,
            {"Pod": PodGenerator(context.client, settings), "Process": processes},
        )

        class Bound(LoadTests):
            parts = parts_

        def follow(old: core_v1.ConfigMap | None, new: core_v1.ConfigMap | None) -> None:
            if new is not None and (new.metadata.name, new.metadata.namespace) == _STATE:
                supervisor.follow(new.data)

        context.informers.of(core_v1.ConfigMap).on_change(follow)
        await context.informers.synced()
        await context.reconcile(Bound)
        context.ready("load tests are conducted")
        try:
            await asyncio.Event().wait()
        finally:
            await processes.close()


_STATE = (PROCESSES, NAMESPACE)

"""Which probes run, and what they make of a container."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import Events, container, lasting_pod, state
from tiphys.api import core_v1
from tiphys.client.tasks import TaskGroup
from tiphys.node.containers.records import ContainerRecords
from tiphys.node.hollow import HollowRuntime
from tiphys.node.probes.httpprobe import Answer
from tiphys.node.probes.probemanager import ProbeManager
from tiphys.node.probes.prober import Prober, Target
from tiphys.node.states import ContainerState

PROBE = {"tcpSocket": {"port": 1}, "failureThreshold": 1, "successThreshold": 1}
FAILURE, SUCCESS = Answer(False, "refused"), Answer(True, "")


class Watched:
    """The probes of one pod that runs, with all that they told."""

    def __init__(self, one: core_v1.Pod, *running: ContainerState) -> None:
        self.records = ContainerRecords()
        self.events = Events()
        self.woken = 0
        self.tasks = TaskGroup("p")
        self.manager = ProbeManager(
            self.records, HollowRuntime(), self.tasks, str, self._event, self._wake
        )
        self.pod, self.running = one, running
        self.watch()

    def watch(self) -> None:
        self.manager.watch(self.pod, state(*self.running))

    def _event(self, kind: str, reason: str, message: str, container: str = "") -> None:
        self.events.record(None, kind, reason, message, container)

    def _wake(self) -> None:
        self.woken += 1

    def answer(self, kind: str, *answers: Answer, attempt: int = 0) -> None:
        """A probe of `c` gives answers."""
        [spec] = self.pod.spec.containers
        target = Target(spec, "id-c-0", str, HollowRuntime())
        prober = Prober(kind, getattr(spec, f"{kind}_probe"), target)
        for answer in answers:
            prober.verdict.add(answer.well)
            self.manager._report(container(attempt=attempt), prober, answer)

    def probes(self, name: str = "c") -> list[str]:
        return list(self.records[name].probes)


def probed(*kinds: str, **probe: Any) -> core_v1.Pod:
    probes = {f"{kind}Probe": {**PROBE, **probe} for kind in kinds}
    return pod(containers=[{"name": "c", "image": "i", **probes}])


@pytest.mark.parametrize(
    ("kinds", "running", "ready", "started"),
    [
        ([], [], True, True),
        (["liveness"], ["liveness"], True, True),
        (["readiness"], ["readiness"], False, True),
        (["readiness", "liveness"], ["readiness", "liveness"], False, True),
        (["startup", "readiness", "liveness"], ["startup"], False, False),
    ],
)
async def test_a_container_that_runs_is_probed(
    kinds: list[str], running: list[str], ready: bool, started: bool
) -> None:
    watched = Watched(probed(*kinds), container())
    record = watched.records["c"]
    assert (watched.probes(), record.ready, record.started) == (running, ready, started)
    await watched.tasks.stop()


async def test_other_probes_wait_for_the_startup_probe() -> None:
    watched = Watched(probed("startup", "readiness", "liveness"), container())
    watched.answer("startup", SUCCESS)
    assert watched.probes() == ["startup", "readiness", "liveness"]
    assert watched.records["c"].started and not watched.records["c"].ready
    await watched.tasks.stop()


async def test_readiness_follows_its_probe() -> None:
    watched = Watched(probed("readiness"), container())
    watched.answer("readiness", SUCCESS)
    assert watched.records["c"].ready
    watched.answer("readiness", FAILURE)
    assert not watched.records["c"].ready and watched.records["c"].failed_probe == ""
    assert watched.events.recorded == [
        ("Warning", "Unhealthy", "Readiness probe failed: refused", "c")
    ]
    assert watched.woken == 2
    await watched.tasks.stop()


@pytest.mark.parametrize(
    ("kind", "failures", "failed"),
    [("liveness", 2, ""), ("liveness", 3, "liveness"), ("startup", 3, "startup")],
)
async def test_a_container_fails_at_the_threshold_of_its_probe(
    kind: str, failures: int, failed: str
) -> None:
    watched = Watched(probed(kind, failureThreshold=3), container())
    watched.answer(kind, *[FAILURE] * failures)
    assert watched.records["c"].failed_probe == failed
    await watched.tasks.stop()


async def test_a_success_with_a_warning_is_an_event() -> None:
    watched = Watched(probed("liveness"), container())
    watched.answer("liveness", Answer(True, "redirected", warning=True))
    assert watched.events.recorded == [
        ("Warning", "ProbeWarning", "Liveness probe warning: redirected", "c")
    ]
    await watched.tasks.stop()


async def test_answers_of_an_attempt_that_is_over_do_not_count() -> None:
    watched = Watched(probed("liveness"), container(attempt=1))
    watched.answer("liveness", FAILURE, attempt=0)
    assert watched.records["c"].failed_probe == "" and not watched.events.recorded
    await watched.tasks.stop()


async def test_a_new_attempt_is_probed_from_the_start() -> None:
    watched = Watched(probed("liveness"), container())
    [before] = watched.records["c"].probes.values()
    watched.records["c"].failed_probe = "liveness"
    watched.running = (container(attempt=1),)
    watched.watch()
    await asyncio.wait({before})
    assert before.cancelled() and watched.records["c"].failed_probe == ""
    assert watched.records["c"].probed_id == "id-c-1"
    await watched.tasks.stop()


async def test_a_container_is_not_probed_twice() -> None:
    watched = Watched(probed("readiness"), container())
    watched.answer("readiness", SUCCESS)
    watched.watch()
    assert watched.records["c"].ready, "the probes go on"
    await watched.tasks.stop()


@pytest.mark.parametrize("what", ["created", "exited"])
async def test_what_does_not_run_is_not_probed(what: str) -> None:
    watched = Watched(probed("liveness"), container(what=what))
    assert watched.probes() == [] and not watched.records["c"].started


async def test_sidecars_are_probed_and_other_init_containers_are_not() -> None:
    one = lasting_pod("side")
    one.spec.init_containers.append(core_v1.Container(name="init"))
    watched = Watched(one, container("side"), container("init"), container())
    assert [name for name in ("side", "init", "c") if watched.records[name].ready] == ["side", "c"]


async def test_what_was_ready_stays_ready_for_a_new_agent() -> None:
    """And is probed again; a container that it does not know waits for its first success."""
    probes = {"readinessProbe": PROBE, "startupProbe": PROBE}
    one = pod(containers=[{"name": name, "image": "i", **probes} for name in ("old", "new")])
    one.status.container_statuses = [
        core_v1.ContainerStatus(name="old", container_id="r://id-old-0", ready=True, started=True)
    ]
    watched = Watched(one, container("old"), container("new"))
    old, new = watched.records["old"], watched.records["new"]
    assert (old.ready, old.started, new.ready, new.started) == (True, True, False, False)
    assert (watched.probes("old"), watched.probes("new")) == (["readiness"], ["startup"])
    await watched.tasks.stop()


async def test_what_was_asked_to_end_is_probed_for_readiness_alone() -> None:
    watched = Watched(probed("liveness", "readiness"), container())
    probes = watched.records["c"].probes
    watched.manager.stop_liveness("c")
    await asyncio.wait({probes["liveness"]})
    assert probes["liveness"].cancelled() and not probes["readiness"].done()
    await watched.tasks.stop()


async def test_what_has_ended_is_neither_ready_nor_probed() -> None:
    watched = Watched(probed("liveness", "readiness"), container())
    tasks = list(watched.records["c"].probes.values())
    watched.records["c"].ready = True
    watched.manager.stop_all()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    record = watched.records["c"]
    assert (record.ready, record.started, record.probed_id, record.probes) == (False, False, "", {})

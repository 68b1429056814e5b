"""What every controller gets from its base class, on a server of its own."""

from __future__ import annotations

import asyncio

import pytest

from tests.builders import config_map
from tests.controllers.builders import owned_by, running
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.controllers.shell import Context, Controller, owner_index, owner_key, sooner
from tiphys.machinery.errors import StatusError, conflict
from tiphys.testing import LocalCluster


class Recorder(Controller):
    """Notes what it is asked to reconcile; fails on the first try of what is named ``fails``."""

    name = "recorder"

    def watch(self) -> None:
        self.seen: list[str] = []
        self._maps = self.informer(core_v1.ConfigMap)
        self._maps.on_change(self.enqueue)

    async def reconcile(self, key: str) -> float | None:
        self.seen.append(key)
        if self.seen.count(key) == 1 and key.endswith("fails"):
            raise conflict("configmaps", key, "not yet")
        return 0.01 if key.endswith("again") and self.seen.count(key) == 1 else None


@pytest.fixture
async def recorder(server: LocalCluster) -> Recorder:
    informers = Informers(server.client, server.tasks)
    events = EventRecorder(server.client, "test")
    made = Recorder(Context(server.client, informers, events, server.tasks))
    made.watch()
    return made


async def test_keys_are_retried_and_looked_at_again(
    server: LocalCluster, recorder: Recorder
) -> None:
    await recorder.run()
    for name in ("once", "fails", "again"):
        await server.client.create(config_map(name))
    wanted = {"default/once": 1, "default/fails": 2, "default/again": 2}
    await server.eventually(lambda: all(recorder.seen.count(k) == n for k, n in wanted.items()))
    assert recorder.failed == 1


async def test_exactly_the_object_that_was_seen_is_deleted(
    server: LocalCluster, recorder: Recorder
) -> None:
    seen = await server.client.create(config_map("c"))
    changed = await server.client.patch(core_v1.ConfigMap, "c", {"data": {"a": "b"}}, "default")
    assert not await recorder.delete(seen, unchanged=True)
    assert await recorder.live(core_v1.ConfigMap, "c", "default") == changed
    assert await recorder.delete(seen)
    assert await recorder.live(core_v1.ConfigMap, "c", "default") is None
    assert not await recorder.delete(seen)
    await server.client.create(config_map("c"))
    assert not await recorder.delete(seen), "another of that name stays"


async def test_a_status_is_written_when_it_changes_and_only_over_what_was_seen(
    server: LocalCluster, recorder: Recorder
) -> None:
    account = core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    await server.client.create(account)
    pod = await server.client.create(running("p"))
    status = core_v1.PodStatus(phase="Running")
    await recorder.write_status(pod, pod.status)
    assert await recorder.live(core_v1.Pod, "p", "default") == pod
    await recorder.write_status(pod, status)
    assert pod.status.phase == "Pending", "what is shared is not changed"
    with pytest.raises(StatusError):
        await recorder.write_status(pod, core_v1.PodStatus(phase="Failed"))


def test_objects_are_found_by_who_controls_them() -> None:
    pod = owned_by(running("p"), "web", "uid")
    assert owner_key(pod, "ReplicaSet") == "default/web" and owner_index(pod) == ["uid"]
    assert owner_key(pod, "Job") == owner_key(None, "Job") == owner_key(running("q"), "Job") == ""
    pod.metadata.owner_references[0].controller = None
    assert owner_key(pod, "ReplicaSet") == "" and owner_index(pod) == ["orphan/default"]


@pytest.mark.parametrize(
    ("waits", "shortest"), [((), None), ((None, None), None), ((3.0, None, 0.0), 0.0)]
)
def test_the_shortest_wait_counts(waits: tuple[float | None, ...], shortest: float | None) -> None:
    assert sooner(*waits) == shortest


async def test_an_unexpected_failure_is_logged_and_retried(
    server: LocalCluster, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    tried = asyncio.Event()

    async def broken(key: str) -> float | None:
        if recorder.failed:
            tried.set()
            return None
        raise RuntimeError("odd")

    recorder.reconcile = broken  # type: ignore[method-assign]
    await recorder.run()
    recorder.queue.add("k")
    await asyncio.wait_for(tried.wait(), 5)
    assert "The recorder controller failed on k" in caplog.text and "odd" in caplog.text

"""Sidecars that are connected: what each is served, until when, and who is turned away."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from tests.addons.pretended import Pretended
from tiphys.addons.authority import Authority
from tiphys.addons.mesh import Settings, sidecars
from tiphys.addons.mesh.admittance import NotAdmitted, Workload
from tiphys.addons.mesh.sidecars import Sidecars
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Unreachable
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import forbidden
from tiphys.network.xds.cache import CLUSTER, LISTENER, SECRET, Cache

NOW = 1_800_000_000.0
LIFETIME = 100


class Call:
    """The context of a stream."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.code: Any = None

    def invocation_metadata(self) -> Any:
        return ()

    async def abort(self, code: Any, details: str) -> None:
        self.code, self.details = code, details
        self.ended.set()
        raise grpc.aio.AbortError(details)


class Connected:
    """What sidecars are handed out by; `who` is whom the API server would name, or an error."""

    def __init__(self) -> None:
        self.cluster = Pretended()
        self.informers: Any = self.cluster
        self.tasks = TaskGroup("test")
        self.time = NOW
        self.modes = {"shop": "Permissive"}
        self.who: Any = Workload("shop", "asker", "web", "u1")
        context: Any = self
        settings = Settings(lifetime=LIFETIME)
        authority, _ = Authority.new("cluster.local", NOW)
        self.sidecars = Sidecars(
            Cache(), authority, settings, context, context, lambda name: self.modes[name]
        )
        self.sidecars.start()

    def now(self) -> float:
        return self.time

    async def identify(self, metadata: Any) -> Workload:
        if isinstance(self.who, Exception):
            raise self.who
        found: Workload = self.who
        return found

    def pod(self, name: str = "web", uid: str = "u1", **annotations: str) -> core_v1.Pod:
        named = {f"mesh.tiphys.dev/{key}": value for key, value in annotations.items()}
        meta = ObjectMeta(name=name, namespace="shop", uid=uid, annotations=named)
        made = core_v1.Pod(metadata=meta)
        self.cluster.put(made)
        return made


async def test_a_sidecar_is_served_its_own_while_its_stream_lasts() -> None:
    made = Connected()
    made.pod(probes='{"web/readiness":{"kind":"http","port":8080,"path":"/up"}}')
    async with made.sidecars.admit(Call()) as view:
        assert len(made.sidecars.connected) == made.sidecars.issued == 1
        assert set(view.all(SECRET)) == {"certificate", "authorities"}
        assert set(view.all(LISTENER)) == {"inbound", "probes"}
        assert set(view.all(CLUSTER)) == {"pod", "ready", "probe/web/readiness"}
    assert made.sidecars.connected == set()


@pytest.mark.parametrize(
    ("who", "code", "details"),
    [
        (NotAdmitted("it has expired"), grpc.StatusCode.UNAUTHENTICATED, "it has expired"),
        (forbidden("tokenreviews", "", "no"), grpc.StatusCode.UNAVAILABLE, "it cannot be said"),
        (Unreachable("away"), grpc.StatusCode.UNAVAILABLE, "it cannot be said"),
        (TimeoutError(), grpc.StatusCode.UNAVAILABLE, "it cannot be said"),
    ],
)
async def test_who_is_turned_away_is_told_whether_to_try_again(
    who: Exception, code: Any, details: str
) -> None:
    made, call = Connected(), Call()
    made.who = who
    with pytest.raises(grpc.aio.AbortError):
        async with made.sidecars.admit(call):
            raise AssertionError("it was let in")
    assert call.code == code and call.details.startswith(details)
    assert (made.sidecars.connected, made.sidecars.issued) == (set(), 0)


async def test_a_pod_that_has_not_been_seen_yet_is_waited_for() -> None:
    made = Connected()
    made.pod(uid="u0")  # the one before, of the same name
    asking = asyncio.create_task(made.sidecars._pod_of(made.who))
    await asyncio.sleep(0)
    assert not asking.done()
    newer = made.pod(uid="u1")
    assert await asking is newer


async def test_a_pod_that_never_comes_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sidecars, "_LATE", 0.01)
    made, call = Connected(), Call()
    with pytest.raises(grpc.aio.AbortError):
        async with made.sidecars.admit(call):
            raise AssertionError("it was let in")
    assert call.code == grpc.StatusCode.UNAVAILABLE


async def test_a_change_of_policy_is_for_the_sidecars_of_its_namespace() -> None:
    made = Connected()
    made.modes["other"] = "Strict"
    made.pod()
    async with made.sidecars.admit(Call()) as view:
        before = view.all(LISTENER)["inbound"].version
        made.modes["shop"] = "Strict"
        await made.sidecars._refresh("other")
        assert view.all(LISTENER)["inbound"].version == before
        await made.sidecars._refresh("shop")
        assert view.all(LISTENER)["inbound"].version != before


async def test_probes_that_are_gone_are_taken_out() -> None:
    made = Connected()
    made.pod(probes='{"a":{"kind":"tcp","port":1}}')
    async with made.sidecars.admit(Call()) as view:
        assert "probe/a" in view.all(CLUSTER)
        made.pod()
        await made.sidecars._refresh("shop")
        assert "probe/a" not in view.all(CLUSTER)


async def test_a_certificate_is_replaced_at_half_of_its_life_at_the_latest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Connected()
    made.pod()
    async with made.sidecars.admit(Call()) as view:
        (one,) = made.sidecars.connected
        assert NOW + 0.4 * LIFETIME <= one.renewed_at <= NOW + 0.5 * LIFETIME
        first = view.all(SECRET)["certificate"].version
        for past, issued in ((0.39, 1), (0.5, 2), (0.6, 2), (1.1, 3)):
            made.time = NOW + past * LIFETIME
            await one_round(made, monkeypatch)
            assert made.sidecars.issued == issued
        assert view.all(SECRET)["certificate"].version != first


async def one_round(made: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look of the task that renews."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if pauses.count(LIFETIME / 20) > 1:
            raise asyncio.CancelledError

    monkeypatch.setattr(sidecars.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await made.sidecars.renew()
    monkeypatch.undo()


async def test_who_loses_his_pod_loses_his_stream() -> None:
    made, call, other = Connected(), Call(), Call()
    made.pod()
    made.pod("second", "u2")
    async with made.sidecars.admit(call):
        made.who = Workload("shop", "asker", "second", "u2")
        async with made.sidecars.admit(other):
            changed = made.pod(uid="u1", note="a change is no end")
            made.cluster.take(changed)
            async with asyncio.timeout(5):
                await call.ended.wait()
    assert (call.code, call.details) == (grpc.StatusCode.UNAUTHENTICATED, "your pod is gone")
    assert other.code is None


async def test_a_pod_that_changes_keeps_its_stream() -> None:
    made, call = Connected(), Call()
    made.pod()
    async with made.sidecars.admit(call):
        made.pod(note="changed")
        await made.tasks.stop()
        assert call.code is None

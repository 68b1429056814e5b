"""Pods whose workload has to give way: they say why, go, and free their quota."""

from __future__ import annotations

import pytest

from tests.addons.kueue.builders import queued_pod
from tests.addons.kueue.podbench import ALONE, NOW, Bench, of
from tiphys.addons.kueue import statuses
from tiphys.api import core_v1
from tiphys.machinery import conditions, errors, timestamps


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


async def evicted(bench: Bench, reason: str = "Preempted", *pods: core_v1.Pod) -> None:
    """A workload that was admitted and has to give way, with these pods now."""
    made = bench.admit(await bench.begun())
    statuses.evict(made, reason, "make room", NOW)
    bench.server.put(made)
    bench.pods(*pods)
    await bench.look()


async def test_pods_that_give_way_say_why_and_go(bench: Bench) -> None:
    bench.pods(*of(5, "a", "b", "c", "d", "e"))
    now = [
        *of(5, "a", "b", gated=False),
        *of(5, "c"),
        *of(5, "d", gated=False, going=True),
        *of(5, "e", gated=False, phase="Failed"),
    ]
    await evicted(bench, "Preempted", *now)
    assert [name for _, name, _ in bench.server.deleted] == ["a", "b"]
    assert bench.events == [(name, "Normal", "Stopped", "make room") for name in "ab"]
    (condition,) = bench.server.said[0][1]["status"]["conditions"]
    assert condition == {
        "type": "TerminationTarget",
        "status": "True",
        "reason": "WorkloadEvicted",
        "message": "make room",
        "lastTransitionTime": timestamps.rfc3339(NOW),
    }
    made = bench.workload()
    assert made is not None and made.status.admission is not None, "they run until they are gone"


@pytest.mark.parametrize("reason, requeued", [("Preempted", "True"), ("PodsReadyTimeout", "False")])
async def test_quota_is_free_once_none_of_a_group_runs(
    bench: Bench, reason: str, requeued: str
) -> None:
    bench.pods(*of(2, "a", "b"))
    await evicted(bench, reason, *of(2, "b", gated=False, phase="Failed"))
    made = bench.workload()
    assert made is not None and made.status.admission is None
    found = conditions.find(made.status.conditions, statuses.REQUEUED)
    assert found is not None
    assert (found.status, found.reason, found.message) == (requeued, reason, "make room")
    reserved = conditions.find(made.status.conditions, statuses.QUOTA_RESERVED)
    assert reserved is not None and reserved.reason == statuses.PENDING_EVALUATION
    version = made.metadata.resource_version
    await bench.look()
    again = bench.workload()
    assert again is not None and again.metadata.resource_version == version, "once"


async def test_a_pod_alone_does_not_come_back(bench: Bench) -> None:
    """It was deleted: whoever made it makes another one, with a workload of its own."""
    bench.pods(queued_pod())
    made = bench.admit(await bench.begun("lab/pod/p", ALONE))
    statuses.evict(made, "Preempted", "m", NOW)
    bench.server.put(made)
    await bench.look("lab/pod/p")
    found = bench.workload(ALONE)
    assert found is not None and not statuses.has(found, statuses.REQUEUED)
    assert found.status.admission is None


async def test_a_pod_that_is_gone_needs_no_word(bench: Bench) -> None:
    bench.pods(*of(1, "a"))
    made = bench.admit(await bench.begun())
    statuses.evict(made, "Preempted", "m", NOW)
    bench.server.put(made)
    bench.pods(*of(1, "a", gated=False))
    bench.server.fails = errors.not_found("pods", "a")
    await bench.look()
    assert bench.reasons == [("a", "Stopped")]
    bench.server.fails = errors.conflict("pods", "a", "changed")
    with pytest.raises(errors.StatusError):
        await bench.look()

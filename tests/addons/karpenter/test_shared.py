"""What the add-on's parts share: events that are not said too often, and conditions of claims."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.karpenter.builders import NOW
from tests.addons.karpenter.reconciling import Bench
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.types import NodeClaim
from tiphys.api.meta_v1 import Condition
from tiphys.machinery import errors, timestamps


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_the_same_is_said_again_after_a_while(bench: Bench) -> None:
    claim = bench.claim()
    for later, count in ((0, 1), (899, 1), (900, 2), (901, 2)):
        bench.time = NOW + later
        bench.shared.event_once(claim, "R", "m")
        assert len(bench.events) == count
    bench.shared.event_once(claim, "R", "another")
    bench.shared.event_once(claim, "Q", "m")
    assert len(bench.events) == 4
    bench.shared.event_once(claim, "Short", "m", 5)
    bench.time += 5
    bench.shared.event_once(claim, "Short", "m", 5)
    assert len(bench.events) == 6
    assert bench.events[-1] == ("Normal", "Short", "m")


async def test_what_was_said_is_not_kept_for_ever(bench: Bench) -> None:
    claim = bench.claim()
    bench.shared.quiet_until = {("u", "r", str(n)): 0.0 for n in range(10_000)}
    bench.shared.event_once(claim, "R", "m")
    assert len(bench.shared.quiet_until) == 10_001
    bench.shared.event_once(claim, "R", "n")
    assert len(bench.shared.quiet_until) == 1


@pytest.mark.parametrize(("batch", "window"), [(1.0, 10.0), (5.0, 10.0), (6.0, 12.0)])
async def test_pods_are_expected_for_ten_seconds_at_least(
    bench: Bench, batch: float, window: float
) -> None:
    """Upstream's rule: twice the batch, and no less than ten seconds."""
    times: Any = bench.shared.times
    times.batch_max = batch
    bench.shared.nominate(bench.claim())
    assert bench.shared.cluster.nominated == {"c": NOW + window}


async def test_a_claim_ends_once_and_is_counted(bench: Bench) -> None:
    claim = bench.claim()
    await bench.shared.delete_claim(claim, "expired")
    labels = {"reason": "expired", "nodepool": "default", "capacity_type": ""}
    assert bench.counted("nodeclaims_disrupted_total", **labels) == 1
    claim.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    await bench.shared.delete_claim(claim, "expired")
    assert bench.server.gone == ["c"]
    claim.metadata.deletion_timestamp = None
    bench.server.fails = errors.conflict("nodeclaims", "c", "changed")
    await bench.shared.delete_claim(claim, "expired")
    assert bench.counted("nodeclaims_disrupted_total", **labels) == 1


def condition(status: str) -> Condition:
    return Condition(type=names.DISRUPTION_REASON, status=status, reason="Empty")


async def test_a_condition_is_set_as_the_claim_is_now(bench: Bench) -> None:
    bench.claim()
    await bench.shared.set_condition("c", condition("True"), names.DISRUPTION_REASON)
    assert bench.condition(names.DISRUPTION_REASON) == ("True", "Empty", "")
    await bench.shared.set_condition("c", None, names.DISRUPTION_REASON)
    assert bench.condition(names.DISRUPTION_REASON) is None
    version = bench.there.metadata.resource_version
    await bench.shared.set_condition("c", None, names.DISRUPTION_REASON)
    assert bench.there.metadata.resource_version == version
    await bench.shared.set_condition("gone", condition("True"), names.DISRUPTION_REASON)


async def test_a_write_that_was_overtaken_is_tried_again(bench: Bench) -> None:
    bench.claim()
    tries = 0
    write = bench.server.update_status

    async def overtaken(obj: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 5:
            raise errors.conflict("nodeclaims", "c", "changed")
        return await write(obj)

    bench.server.update_status = overtaken  # type: ignore[method-assign]
    await bench.shared.set_condition("c", condition("True"), names.DISRUPTION_REASON)
    assert tries == 5 and bench.condition(names.DISRUPTION_REASON) is not None
    bench.server.fails = errors.bad_request("x")
    with pytest.raises(errors.StatusError):
        await bench.shared.set_condition("c", condition("True"), names.DISRUPTION_REASON)
    assert isinstance(bench.server.of(NodeClaim).get("c"), NodeClaim)

"""What changes while a NodeClaim runs: it drifts, its pods leave it alone, it expires."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.karpenter.builders import NOW
from tests.addons.karpenter.reconciling import Bench, registered
from tiphys.addons.karpenter import names
from tiphys.machinery import timestamps


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_a_claim_drifts_and_may_drift_back(bench: Bench) -> None:
    await registered(bench)
    assert bench.condition(names.DRIFTED) is None
    bench.pool((names.INSTANCE_TYPE, "In", "none"))
    await bench.look()
    assert bench.condition(names.DRIFTED) == ("True", "RequirementsDrifted", "")
    bench.pool()
    bench.node_class(image="base@new")
    await bench.look()
    assert bench.condition(names.DRIFTED) == ("True", "ImageDrifted", "")
    bench.node_class(image=bench.there.status.image_id)
    await bench.look()
    assert bench.condition(names.DRIFTED) is None


async def test_a_claim_whose_pool_is_gone_does_not_change(bench: Bench) -> None:
    await registered(bench, expireAfter="60s")
    bench.server.take(bench.server.of(type(bench.pool())).get("default"))
    await bench.look(30)
    assert bench.condition(names.CONSOLIDATABLE) == ("True", names.CONSOLIDATABLE, "")


def quiet(bench: Bench, after: str, **spec: Any) -> None:
    made = bench.pool(**spec)
    made.spec.disruption.consolidate_after = after
    bench.server.put(made)


@pytest.mark.parametrize(
    ("later", "consolidatable"), [(0, False), (29, False), (30, True), (3600, True)]
)
async def test_a_node_may_be_consolidated_when_its_pods_were_left_alone(
    bench: Bench, later: float, consolidatable: bool
) -> None:
    await registered(bench)
    quiet(bench, "30s")
    await bench.look(later)
    assert (bench.condition(names.CONSOLIDATABLE) is not None) is consolidatable
    if not consolidatable:
        assert bench.shared.due["c"] == NOW + 30


async def test_pods_that_come_and_go_make_it_busy_again(bench: Bench) -> None:
    await registered(bench)
    quiet(bench, "30s")
    await bench.look(40)
    assert bench.condition(names.CONSOLIDATABLE) is not None
    bench.shared.pod_events["c"] = NOW + 40
    await bench.look(41)
    assert bench.condition(names.CONSOLIDATABLE) is None
    assert bench.there.status.last_pod_event_time == timestamps.rfc3339(NOW + 40)
    bench.shared.pod_events["c"] = NOW + 44
    await bench.look(44)
    assert bench.there.status.last_pod_event_time == timestamps.rfc3339(NOW + 40), "too soon"
    bench.shared.pod_events["c"] = NOW + 45
    await bench.look(45)
    assert bench.there.status.last_pod_event_time == timestamps.rfc3339(NOW + 45)
    bench.shared.pod_events.clear()  # after a restart
    await bench.look(74)
    assert bench.condition(names.CONSOLIDATABLE) is None
    await bench.look(75)
    assert bench.condition(names.CONSOLIDATABLE) is not None


@pytest.mark.parametrize("more", [{"after": "Never"}, {"after": "0s", "replicas": 1}])
async def test_some_pools_nodes_are_never_consolidated(bench: Bench, more: Any) -> None:
    await registered(bench)
    assert bench.condition(names.CONSOLIDATABLE) is not None
    quiet(bench, **more)
    await bench.look(3600)
    assert bench.condition(names.CONSOLIDATABLE) is None


@pytest.mark.parametrize(("later", "ends"), [(59, False), (60, True)])
async def test_a_claim_expires_after_its_launch(bench: Bench, later: float, ends: bool) -> None:
    await registered(bench, expireAfter="60s")
    assert bench.shared.due["c"] == NOW + 60
    await bench.look(later)
    assert bench.server.gone == (["c"] if ends else [])


async def test_a_claim_may_live_for_ever(bench: Bench) -> None:
    await registered(bench, expireAfter="Never")
    await bench.look(10**8)
    assert bench.server.gone == []


async def test_it_is_looked_at_again_at_the_earliest_time(bench: Bench) -> None:
    claim = bench.claim()
    for when, due in ((50, 50), (70, 50), (20, 20)):
        bench.claims.look_again(claim, when)
        assert bench.shared.due == {"c": due}

"""Events keep to their budget."""

from __future__ import annotations

from tests.builders import deployment
from tiphys.api import core_v1
from tiphys.client.events import EventBudget
from tiphys.testing import LocalCluster


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    now = [0.0]
    budget = EventBudget(rate=10.0, burst=3, clock=lambda: now[0])
    assert [budget.wait() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert round(budget.wait(), 6) == 0.1 and round(budget.wait(), 6) == 0.2
    now[0] = 100.0
    assert [budget.wait() for _ in range(3)] == [0.0, 0.0, 0.0] and budget.wait() > 0


async def test_events_name_the_controller_that_speaks(cluster: LocalCluster) -> None:
    await cluster.client.create(deployment())
    wanted = {
        ("ScalingReplicaSet", "deployment-controller"),
        ("SuccessfulCreate", "replicaset-controller"),
    }

    async def told() -> bool:
        events = (await cluster.client.list(core_v1.Event, "default")).items
        return wanted <= {(event.reason, event.source.component) for event in events}

    await cluster.eventually(told)

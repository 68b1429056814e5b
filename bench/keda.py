"""What event-driven scaling costs: `python -m bench.keda`, in a cluster of hollow nodes in this
process.

From zero to one: from the moment in which a trigger is asked and there is something to do, until
the Deployment has a replica. Looks: many ScaledObjects are asked once a second; the processor time
is that of everything, API server and autoscalers among it. Decisions: the pure core alone.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from tests.addons.keda.world import deployment, scaled_object, trigger
from tiphys.addons.keda.deciding import Seen, decide
from tiphys.addons.keda.scaler import Measured, Scaler, scaler
from tiphys.api import apps_v1
from tiphys.testing import LocalCluster

ROUNDS = 10
OBJECTS = 50
SECONDS = 5
asked: list[float] = []
waiting: dict[str, float] = {}


@scaler("bench")
class Bench(Scaler):
    """A queue in this process, by the name of its object."""

    def target(self) -> float:
        return 1

    async def look(self, metric: str) -> Measured:
        asked.append(time.perf_counter())
        length = waiting.get(self.config.owner, 0)
        return Measured(length, length > 0)


async def from_zero(cluster: LocalCluster) -> list[float]:
    """Milliseconds of each round."""
    found = []
    for number in range(ROUNDS):
        name = f"zero{number}"
        await cluster.client.create(deployment(name))
        await cluster.client.create(scaled_object(name, trigger("bench"), pollingInterval=1))
        await cluster.eventually(lambda: asked)
        waiting[name] = 1
        asked.clear()
        watch = cluster.client.watch(apps_v1.Deployment, "default", fields=f"metadata.name={name}")
        async for event in watch:
            if event.obj.spec.replicas:
                found.append((time.perf_counter() - asked[-1]) * 1000)
                break
        waiting.clear()
        await cluster.client.delete(type(scaled_object("x")), name, "default")
        asked.clear()
    return found


async def many(cluster: LocalCluster) -> tuple[float, float]:
    """Looks a second, and ms of processor time for each."""
    for number in range(OBJECTS):
        await cluster.client.create(deployment(f"many{number}"))
        obj = scaled_object(f"many{number}", trigger("bench"), pollingInterval=1)
        await cluster.client.create(obj)
    await cluster.eventually(lambda: len(asked) > 2 * OBJECTS, 120)
    asked.clear()
    started = time.process_time()
    await asyncio.sleep(SECONDS)
    busy = time.process_time() - started
    return len(asked) / SECONDS, busy / len(asked) * 1000


def decisions() -> float:
    """A second."""
    obj = scaled_object("w", trigger("cron"))
    obj.metadata.creation_timestamp = "2026-01-01T00:00:00Z"
    rows = [Seen(True, active=("m",)), Seen(False), Seen(True, failed=True), Seen(False, True)]
    count = 50_000
    started = time.process_time()
    for number in range(count):
        decide(obj, rows[number % 4], number % 5, 1_800_000_000.0)
    return count / (time.process_time() - started)


async def main() -> None:
    async with LocalCluster(2, addons=["keda"]) as cluster:
        latencies = await from_zero(cluster)
        middle = statistics.median(latencies)
        print(f"from zero to one: median {middle:.1f} ms, worst {max(latencies):.1f} ms")
        rate, busy = await many(cluster)
        print(f"looks: {rate:.0f} a second of {OBJECTS} objects, {busy:.2f} ms of CPU each")
    print(f"decisions: {decisions():,.0f} a second")


if __name__ == "__main__":
    asyncio.run(main())

"""How long pods take on a real node: one, many at once, and their removal. Needs a running cluster
with the hello image (`make demo`). Prints the table beside upstream's figures on a like machine."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client
from tiphys.client.config import load

IMAGE = "tiphys.local/hello:1"
MANY = int(sys.argv[1]) if len(sys.argv) > 1 else 30


def pod(name: str) -> core_v1.Pod:
    made = core_v1.Pod(
        metadata=ObjectMeta(name=name, namespace="default", labels={"bench": "pods"})
    )
    made.spec.termination_grace_period_seconds = 1
    made.spec.containers = [core_v1.Container(name="c", image=IMAGE, command=["sleep", "3600"])]
    return made


async def timed(client: Client, names: list[str]) -> tuple[list[float], float]:
    """(seconds from create to Running of each, seconds until all were gone after their
    deletion)."""
    began, took = {}, {}
    revision = (await client.list(core_v1.Pod, "default", labels="bench=pods")).revision

    async def follow(done: set[str], kind: str) -> None:
        async for event in client.watch(
            core_v1.Pod, "default", labels="bench=pods", revision=revision
        ):
            name = event.obj.metadata.name
            if (
                kind == "Running"
                and event.kind == "MODIFIED"
                and event.obj.status.phase == "Running"
                and name in began
                and name not in took
            ):
                took[name] = time.monotonic() - began[name]
                done.add(name)
            elif kind == "gone" and event.kind == "DELETED":
                done.add(name)
            if len(done) == len(names):
                return

    watching = asyncio.create_task(follow(set(), "Running"))
    await asyncio.sleep(0.2)
    for name in names:
        began[name] = time.monotonic()
        await client.create(pod(name))
    await watching
    removing = asyncio.create_task(follow(set(), "gone"))
    await asyncio.sleep(0.2)
    start = time.monotonic()
    await asyncio.gather(*(client.delete(core_v1.Pod, name, "default", grace=1) for name in names))
    await removing
    return list(took.values()), time.monotonic() - start


async def main() -> None:
    async with Client(load()) as client:
        singles = []
        for number in range(5):
            took, _ = await timed(client, [f"single-{number}"])
            singles += took
        many, gone = await timed(client, [f"many-{number}" for number in range(MANY)])
    print(
        f"one pod, created until Running:        {statistics.median(singles):.2f} s   (to reach "
        "0.4; upstream 0.61)"
    )
    print(
        f"each of {MANY} at once, median / slowest:   {statistics.median(many):.2f} / "
        f"{max(many):.2f} s   (to reach 3; upstream 6.1)"
    )
    print(
        f"{MANY} deleted until gone, grace 1 s:       {gone:.2f} s   (to reach 2.5; upstream 6.9)"
    )


if __name__ == "__main__":
    asyncio.run(main())

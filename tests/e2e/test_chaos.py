"""Components are killed at random while objects come, change and go; in the end everything is as
its spec says.

TIPHYS_CHAOS_SECONDS says how long (8; run it for 600 after a change to a controller or the store).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import deployment
from tests.e2e.machine import Machine
from tiphys.api import apps_v1, batch_v1, core_v1, discovery_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.client.config import load
from tiphys.machinery.errors import StatusError
from tiphys.testing.cluster import free_port

SECONDS = float(os.environ.get("TIPHYS_CHAOS_SECONDS", "8"))
ENDED = {"hollow.tiphys.io/exit-after": "0.3"}


@pytest.fixture
async def hollow(tmp_path: Path) -> AsyncIterator[Machine]:
    made = Machine(tmp_path, f"chaos-{os.getpid()}")
    words = [
        "--name",
        made.name,
        "--data-dir",
        str(tmp_path / "data"),
        "--port",
        str(free_port()),
        "--nodes",
        "3",
    ]
    made.tiphys("up", *words, "--runtime", "hollow", "--wait")
    try:
        yield made
    finally:
        made.tiphys("down", "--name", made.name, "--purge")


def stateful(name: str, replicas: int) -> apps_v1.StatefulSet:
    made = apps_v1.StatefulSet(metadata=ObjectMeta(name=name, namespace="default"))
    made.spec.replicas, made.spec.selector = replicas, LabelSelector(match_labels={"app": name})
    made.spec.template.metadata.labels = {"app": name}
    made.spec.template.spec.containers = [core_v1.Container(name="c", image="img")]
    return made


def job(name: str, completions: int) -> batch_v1.Job:
    spec = {
        "completions": completions,
        "parallelism": 3,
        "completionMode": "Indexed",
        "template": {
            "metadata": {"annotations": ENDED},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "img"}]},
        },
    }
    meta = ObjectMeta(name=name, namespace="default")
    return batch_v1.Job(metadata=meta, spec=from_builtins(spec, batch_v1.JobSpec))


class Churn:
    """A user who keeps at it: what is refused for want of a server is asked again."""

    def __init__(self, client: Client, seed: int) -> None:
        self._client, self._random = client, random.Random(seed)
        self.alive: dict[str, tuple[Any, int]] = {}  # name → (kind, replicas)
        self._count = 0
        self.acknowledged = 0

    async def run(self) -> None:
        while True:
            with contextlib.suppress(Unreachable, StatusError):
                await self._once()
            await asyncio.sleep(0.02)

    async def _once(self) -> None:
        scaled = [name for name, (kind, _) in self.alive.items() if kind is not batch_v1.Job]
        size, dice = self._random.randint(1, 5), self._random.random()
        if (dice < 0.5 and len(self.alive) < 30) or not scaled:
            self._count += 1
            name = f"x{self._count}"
            obj: Any = self._random.choice(
                (deployment(name, size), stateful(name, size), job(name, 6))
            )
            await self._client.create(obj)
            self.alive[name] = type(obj), size
        elif dice < 0.85:
            name = self._random.choice(scaled)
            kind, _ = self.alive[name]
            await self._client.patch(
                kind, name, {"spec": {"replicas": size}}, "default", media=MERGE
            )
            self.alive[name] = kind, size
        else:
            name = self._random.choice(scaled)
            kind, _ = self.alive[name]
            del self.alive[name]  # whether or not we hear of it
            await self._client.delete(kind, name, "default", propagation="Background")
        self.acknowledged += 1


async def listed(client: Client, kind: Any) -> list[Any]:
    return (await client.list(kind, "default")).items


async def unsettled(client: Client, churn: Churn) -> list[str]:
    """What is not as asked: of every object that was acknowledged, and of whatever else is there."""
    owners = [
        o for kind in (apps_v1.Deployment, apps_v1.StatefulSet) for o in await listed(client, kind)
    ]
    jobs, sets = await listed(client, batch_v1.Job), await listed(client, apps_v1.ReplicaSet)
    there = {o.metadata.name for o in [*owners, *jobs]}
    found = [f"{name} is not there" for name in churn.alive if name not in there]
    for j in jobs:
        if j.status.succeeded != 6 or not any(c.type == "Complete" for c in j.status.conditions):
            found.append(f"job {j.metadata.name}: {j.status}")
    pods = Counter(
        ref.uid for p in await listed(client, core_v1.Pod) for ref in p.metadata.owner_references
    )
    for o in [*owners, *sets]:
        status, wanted = o.status, o.spec.replicas
        if o.metadata.generation != status.observed_generation or status.ready_replicas != wanted:
            found.append(f"{o.kind} {o.metadata.name}: {wanted} wanted, {status}")
        if o.kind != "Deployment" and pods[o.metadata.uid] != wanted:
            found.append(
                f"{o.kind} {o.metadata.name}: {wanted} wanted, {pods[o.metadata.uid]} pods"
            )
    return found


async def test_everything_is_as_asked_after_components_were_killed(hollow: Machine) -> None:
    client = Client(load(hollow.root / "kubeconfig"))
    seed = random.randrange(1 << 30)
    print("seed", seed)  # shown when the test fails
    chance, loop = random.Random(seed), asyncio.get_running_loop()
    churn, status = Churn(client, seed), hollow.root / "data" / "status.json"
    user = asyncio.create_task(churn.run())
    killed, end = 0, loop.time() + SECONDS
    while loop.time() < end:
        await asyncio.sleep(chance.uniform(0.5, 2.0))
        components = {c["name"]: c["pid"] for c in json.loads(status.read_text())["components"]}
        victim = components[chance.choice(("apiserver", "controllers", "node"))]
        if victim is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                killed += 1
    user.cancel()
    await asyncio.gather(user, return_exceptions=True)
    assert killed > 2
    assert churn.acknowledged > 5 * killed

    patience, wrong = loop.time() + 60, ["nobody looked yet"]
    while wrong and loop.time() < patience:
        with contextlib.suppress(Unreachable):
            wrong = await unsettled(client, churn)
        await asyncio.sleep(0.2)
    assert not wrong, "\n".join(wrong)
    # A success is one pod: had it been lost, the index would have run again.
    successes = Counter(
        (ref.name, pod.metadata.annotations["batch.kubernetes.io/job-completion-index"])
        for pod in await listed(client, core_v1.Pod)
        for ref in pod.metadata.owner_references
        if ref.kind == "Job" and pod.status.phase == "Succeeded"
    )
    assert set(successes.values()) <= {1}

    for kind in (apps_v1.Deployment, apps_v1.StatefulSet, batch_v1.Job):
        for obj in await listed(client, kind):
            await client.delete(kind, obj.metadata.name, "default", propagation="Background")
    rest = (core_v1.Pod, apps_v1.ReplicaSet, apps_v1.ControllerRevision, discovery_v1.EndpointSlice)
    async with asyncio.timeout(60):
        while left := [
            o
            for kind in rest
            for o in await listed(client, kind)
            if o.metadata.name != "kubernetes"
        ]:
            assert left
            await asyncio.sleep(0.2)
    await client.close()

"""Measures the scheduler: the core alone, and pods created and bound through a real API server.
`make bench-scheduler`.

CPU is this process's own for the core; end to end it is that of the API server and of the
scheduler's process. `--quick` uses fewer nodes and pods.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import Server  # the folder of this file is on the path
from tiphys.api import core_v1
from tiphys.api.base import encode, from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client
from tiphys.client.config import load
from tiphys.scheduler.configuration import Profile
from tiphys.scheduler.framework import Framework
from tiphys.scheduler.plugins.registry import plugins_of
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

QUICK = "--quick" in sys.argv
SPREAD: dict[str, Any] = {
    "topologySpreadConstraints": [
        {
            "maxSkew": 5,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "x"}},
        }
    ],
    "affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "podAffinityTerm": {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": {"app": "x"}},
                    },
                }
            ]
        }
    },
}

STRICT: dict[str, Any] = {
    "topologySpreadConstraints": [{**SPREAD["topologySpreadConstraints"][0], "maxSkew": 1}],
    "affinity": {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": {"app": "x"}},
                }
            ]
        }
    },
}
# What pods ask for: (label, what their specs have besides containers, how many fit on a node at
# most).
KINDS: tuple[tuple[str, dict[str, Any], int | None], ...] = (
    ("resources only", {}, None),
    ("zone spread, preferred hostname anti-affinity", SPREAD, None),
    ("zone maxSkew 1, required hostname anti-affinity", STRICT, 1),
)


def node(number: int) -> core_v1.Node:
    name = f"node-{number:05}"
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"z{number % 3}"}
    made = core_v1.Node(metadata=ObjectMeta(name=name, labels=labels))
    made.status.allocatable = {"cpu": "32", "memory": "256Gi", "pods": "110"}  # type: ignore[dict-item]
    made.status.capacity = made.status.allocatable
    made.status.conditions = [core_v1.NodeCondition(type="Ready", status="True")]
    return made


def pod(number: int, wishes: dict[str, Any]) -> core_v1.Pod:
    container = {
        "name": "c",
        "image": "i",
        "resources": {"requests": {"cpu": "100m", "memory": "200Mi"}},
    }
    spec = from_builtins({"containers": [container], **wishes}, core_v1.PodSpec)
    meta = ObjectMeta(
        name=f"pod-{number:05}", namespace="default", labels={"app": "x"}, uid=str(number)
    )
    return core_v1.Pod(metadata=meta, spec=spec)


def core(nodes: int, pods: int, wishes: dict[str, Any]) -> float:
    """CPU milliseconds for each placement."""
    snapshot = Snapshot()
    for number in range(nodes):
        snapshot.put_node(node(number))
    framework = Framework(snapshot, plugins_of(Profile()))
    made = [PodInfo(pod(number, wishes)) for number in range(pods)]
    started = time.process_time()
    for info in made:
        snapshot.put_pod(info, framework.place(info).node)
    return (time.process_time() - started) * 1000 / pods


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def end_to_end(nodes: int, pods: int, wishes: dict[str, Any]) -> tuple[float, float, float]:
    """(pods bound per second from the first create on, CPU ms of the scheduler for each, CPU ms of
    the server)."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        path = Path(folder) / "kubeconfig"
        async with Client(load(path)) as client:
            account = core_v1.ServiceAccount(
                metadata=ObjectMeta(name="default", namespace="default")
            )
            account.automount_service_account_token = False
            await client.create(account)
            await asyncio.gather(
                *(client.request("POST", "/api/v1/nodes", encode(node(n))) for n in range(nodes))
            )
            for number in range(nodes):  # registration taints a node as not ready: these are
                await client.patch(
                    core_v1.Node,
                    f"node-{number:05}",
                    {"spec": {"taints": None}},
                    media="application/merge-patch+json",
                )
            command = [
                sys.executable,
                "-m",
                "tiphys.cli.main",
                "scheduler",
                "--kubeconfig",
                str(path),
                "--leader-elect=false",
            ]
            scheduler = await asyncio.create_subprocess_exec(
                *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                probe = pod(99999, {})
                probe.metadata.labels = {}  # none of those that the others count
                await client.create(probe)
                await bound(client, 1)
                before = cpu_of(scheduler.pid), server.cpu()
                started, queue = time.monotonic(), iter(range(pods))

                async def create() -> None:
                    for number in queue:
                        await client.create(pod(number, wishes))

                await asyncio.gather(*(create() for _ in range(16)), bound(client, pods + 1))
                took = time.monotonic() - started
                used = cpu_of(scheduler.pid) - before[0], server.cpu() - before[1]
            finally:
                scheduler.terminate()
                await scheduler.wait()
                server.stop()
        return pods / took, used[0] * 1000 / pods, used[1] * 1000 / pods


async def bound(client: Client, wanted: int) -> None:
    """Waits until so many pods have a node."""
    seen: set[str] = set()
    async for event in client.watch(core_v1.Pod, "default", revision="0"):
        if event.obj.spec.node_name:
            seen.add(event.obj.metadata.name)
        if len(seen) >= wanted:
            return


def main() -> None:
    sizes = ((200, 400),) if QUICK else ((1000, 3000), (4000, 3000))
    print(f"{'what':68}{'here':>26}   to reach")
    for nodes, pods in sizes:
        for label, wishes, most in KINDS:
            goal = "<= 0.8 ms" if wishes else "<= 0.4 ms" if nodes <= 1000 else "<= 0.5 ms"
            used = core(nodes, _fitting(nodes, pods, most), wishes)
            print(f"{f'core, {nodes} nodes, {label}':68}{used:>17.2f} ms/pod   {goal}", flush=True)
    for nodes, pods in sizes:
        for label, wishes, most in KINDS:
            rate, mine, servers = asyncio.run(
                end_to_end(nodes, _fitting(nodes, pods, most), wishes)
            )
            shown = f"{rate:.0f}/s, {mine:.2f} + {servers:.2f} ms"
            goal = ">= 900/s" if wishes else ">= 1200/s"
            print(f"{f'end to end, {nodes} nodes, {label}':68}{shown:>26}   {goal}", flush=True)


def _fitting(nodes: int, pods: int, most: int | None) -> int:
    """So many pods, but no more than there is room for."""
    return pods if most is None else min(pods, most * nodes)


if __name__ == "__main__":
    main()

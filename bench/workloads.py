"""Deployments through the whole cluster on hollow nodes: how long until what was asked for is
there. `make bench-workloads`. Starts a cluster of its own in a temporary folder and takes it down.
`--quick` asks for less, `--large` for 150,000 pods on 5,000 nodes, and then for 100 more each
second while calls for single objects are timed: half an hour and more, on a machine that is calm.

CPU is that of each process of the cluster, in seconds.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from steady import Steady  # the folder of this file is on the path

from tiphys.api import apps_v1, core_v1
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.client.client import Client
from tiphys.client.config import load
from tiphys.testing.cluster import free_port

QUICK, LARGE = "--quick" in sys.argv, "--large" in sys.argv
NODES, REPLICAS, MANY = (20, 200, 200) if QUICK else (100, 1000, 5000)
if LARGE:
    NODES, REPLICAS, MANY = 5000, 1000, 149
# Pods each second that come and go in the end, and for how many seconds; upstream's tests of
# 5,000 nodes have 100, and hold calls for single objects to a second at the 99th percentile.
RATE, SECONDS = (20, 10) if QUICK else (100, 120)


def deployment(name: str, replicas: int) -> apps_v1.Deployment:
    made = apps_v1.Deployment(metadata=ObjectMeta(name=name, namespace="default"))
    made.spec.replicas = replicas
    made.spec.selector = LabelSelector(match_labels={"app": name})
    made.spec.template.metadata.labels = {"app": name}
    made.spec.template.spec.containers = [core_v1.Container(name="c", image="img")]
    return made


def parts(folder: Path) -> dict[str, list[int]]:
    """The processes of the cluster in `folder`, by what they are."""
    found: dict[str, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        for name in ("apiserver", "controllers", "node"):
            if any(str(folder) in word for word in words) and name in words:
                found.setdefault(name, []).append(int(entry.name))
    return found


def cpu(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pids: list[int]) -> float:
    """Resident MiB."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def until(
    client: Client, done: Callable[[list[apps_v1.Deployment]], bool], every: float
) -> None:
    while not done((await client.list(apps_v1.Deployment, "default")).items):  # noqa: ASYNC110
        await asyncio.sleep(every)


async def measured(folder: Path, title: str, work: Callable[[], object], count: int) -> None:
    running = parts(folder)
    before, start = {name: cpu(pids) for name, pids in running.items()}, time.monotonic()
    await work()  # type: ignore[misc]
    took = time.monotonic() - start
    spent = "  ".join(
        f"{name} {cpu(pids) - before[name]:.1f} s {memory(pids):.0f} MiB"
        for name, pids in running.items()
    )
    print(f"{title:<52} {took:6.1f} s  {count / took:6.0f}/s   {spent}", flush=True)


async def steady(folder: Path, client: Client) -> None:
    if not (QUICK or LARGE):
        return
    coming = Steady(client, RATE, SECONDS)
    title = f"{RATE} pods/s come, as many go, {SECONDS} s"
    await measured(folder, title, coming.run, RATE * SECONDS)
    print(*coming.lines(), sep="\n", flush=True)
    await client.delete(core_v1.Namespace, "steady")


async def run(folder: Path) -> None:
    client = Client(load(folder / "kubeconfig"))
    await until(client, lambda _: True, 0)

    def settled(count: int) -> Callable[[list[apps_v1.Deployment]], bool]:
        return lambda found: (
            len(found) == count
            and all(d.status.available_replicas == d.spec.replicas for d in found)
        )

    async def one() -> None:
        await client.create(deployment("big", REPLICAS))
        await until(client, settled(1), 0.05)

    async def many() -> None:
        for start in range(0, MANY, 50):
            names = (f"d{number}" for number in range(start, min(start + 50, MANY)))
            await asyncio.gather(
                *(client.create(deployment(name, REPLICAS if LARGE else 1)) for name in names)
            )
        await until(client, settled(MANY + 1), 1.0)

    async def empty() -> None:
        await client.request("DELETE", "/apis/apps/v1/namespaces/default/deployments")
        while (await client.list(core_v1.Pod, "default", limit=1)).items:  # noqa: ASYNC110
            await asyncio.sleep(0.5)

    async def calm() -> None:
        await asyncio.sleep(60)

    if LARGE:
        await measured(folder, f"{NODES} nodes, a minute of calm", calm, NODES)
    await measured(folder, f"one Deployment of {REPLICAS}, all available", one, REPLICAS)
    each = REPLICAS if LARGE else 1
    await measured(folder, f"{MANY} Deployments of {each}, all available", many, MANY * each)
    await steady(folder, client)
    await measured(folder, "all deleted, every pod gone", empty, MANY * each + REPLICAS)
    if LARGE:
        await measured(folder, "a minute of calm", calm, NODES)
        await measured(
            folder, "another", calm, NODES
        )  # after a minute of calm processes that have shrunk begin anew
    await client.close()


def main() -> None:
    tiphys = Path(sys.executable).parent / "tiphys"
    with tempfile.TemporaryDirectory(prefix="tiphys-bench-") as name:
        folder, cluster = Path(name), f"bench-{os.getpid()}"
        environment = {**os.environ, "KUBECONFIG": str(folder / "kubeconfig")}
        words = ["--name", cluster, "--data-dir", str(folder)]
        up = [
            str(tiphys),
            "up",
            *words,
            "--port",
            str(free_port()),
            "--nodes",
            str(NODES),
            "--runtime",
            "hollow",
        ]
        subprocess.run([*up, "--wait"], check=True, env=environment, stdout=subprocess.DEVNULL)
        try:
            asyncio.run(run(folder))
        finally:
            subprocess.run(
                [str(tiphys), "down", "--name", cluster, "--purge"],
                check=True,
                env=environment,
                stdout=subprocess.DEVNULL,
            )


if __name__ == "__main__":
    main()

"""Network policies at size: 1,000 pods and 100 policies of one node. Prints how long a changed
label takes until the kernel has it, from the request on, and what a changed pod costs. Needs root
and nft; uses a network namespace of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from tiphys.api import core_v1, networking_v1
from tiphys.api.base import from_builtins
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE, Client
from tiphys.client.informer import Informer, Informers
from tiphys.network.nft import NftError
from tiphys.network.policy.enforcer import PolicyEnforcer
from tiphys.network.policy.model import PodFacts, read
from tiphys.network.policy.table import PolicyTable
from tiphys.network.policy.watched import WatchedPod
from tiphys.testing import LocalCluster

PODS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
POLICIES = int(sys.argv[2]) if len(sys.argv) > 2 else 100
NAMESPACE, TABLE = f"bench{os.getpid()}", "bench-policy"
CHANGES = 30


def policy(number: int) -> networking_v1.NetworkPolicy:
    """About a tenth of the pods each, from a tenth of them and from some namespaces, at some
    ports."""
    made = networking_v1.NetworkPolicy(metadata=ObjectMeta(name=f"p{number}", namespace="default"))
    peers = [
        {"podSelector": {"matchLabels": {"client": str(number)}}},
        {
            "namespaceSelector": {"matchLabels": {"team": str(number % 7)}},
            "podSelector": {"matchLabels": {"app": "x"}},
        },
    ]
    rules = [
        {"from": peers, "ports": [{"port": 80}, {"port": 8000, "endPort": 8100}, {"port": "http"}]}
    ]
    spec = {
        "podSelector": {"matchLabels": {"app": str(number % 10)}},
        "policyTypes": ["Ingress"],
        "ingress": rules,
    }
    made.spec = from_builtins(spec, networking_v1.NetworkPolicySpec)
    return made


def address(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def nft(text: str) -> None:
    command = ["nsenter", f"--net=/run/netns/{NAMESPACE}", "nft", "-f", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise NftError(done.stderr)


async def fill(client: Client) -> None:
    await client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    for number in range(POLICIES):
        await client.create(policy(number))

    async def one(number: int) -> None:
        made = core_v1.Pod(metadata=ObjectMeta(name=f"pod-{number}", namespace="default"))
        made.metadata.labels = {"app": str(number % 10), "client": str(number % POLICIES)}
        made.spec.node_name = "n1" if number % 3 else "n2"
        port = core_v1.ContainerPort(name="http", container_port=8080)
        made.spec.containers = [core_v1.Container(name="c", image="i", ports=[port])]
        made = await client.create(made)
        made.status.phase, made.status.pod_ip = "Running", address(number)
        await client.update_status(made)

    for start in range(0, PODS, 50):
        await asyncio.gather(*map(one, range(start, min(start + 50, PODS))))


async def latency(client: Client, enforcer: PolicyEnforcer) -> list[float]:
    """Seconds from the request to change a label until nft's transaction has returned."""
    took = []
    for number in range(CHANGES):
        before = enforcer.transactions
        began = time.perf_counter()
        change = {"metadata": {"labels": {"app": "3", "client": f"{(number + 50) % POLICIES}"}}}
        await client.patch(core_v1.Pod, f"pod-{number * 10 + 1}", change, "default", media=MERGE)
        while enforcer.transactions == before:  # noqa: ASYNC110 - a counter, looked at closely
            await asyncio.sleep(0.001)
        took.append(time.perf_counter() - began)
    return took


def core() -> tuple[float, float]:
    """(seconds to fill the table, seconds of CPU for each pod that changes its labels), without any
    server."""
    table = PolicyTable("n1")
    for number in range(7):
        table.put_namespace(f"ns{number}", {"team": str(number)})
    table.put_namespace("default", {"team": "0"})
    for number in range(POLICIES):
        table.put_policy(f"default/p{number}", read(policy(number)))

    def pod(number: int, app: int) -> PodFacts:
        labels = {"app": str(app), "client": str(number % POLICIES)}
        return PodFacts(
            "default", f"pod-{number}", labels, address(number), "n1" if number % 3 else "n2"
        )

    began = time.process_time()
    for number in range(PODS):
        table.put_pod(pod(number, number % 10))
    table.everything()
    filled = time.process_time() - began
    began = time.process_time()
    for number in range(PODS):
        table.put_pod(pod(number, number % 10 + 1))
        table.changes()
    return filled, (time.process_time() - began) / PODS


async def main() -> None:
    filled, each = core()
    print(f"{PODS} pods, {POLICIES} policies: the whole table in {filled * 1000:.0f} ms of CPU")
    print(f"a pod that changes: {each * 1e6:.0f} µs of CPU in the table")
    with namespace():
        async with LocalCluster() as cluster:
            await fill(cluster.client)
            pods = Informer(cluster.client, WatchedPod, resource=resource_of(core_v1.Pod))
            cluster.tasks.start(pods.run(), "pods")
            enforcer = PolicyEnforcer(
                Informers(cluster.client, cluster.tasks), pods, "n1", TABLE, nft
            )
            began = time.perf_counter()
            cluster.tasks.start(enforcer.run(), "enforcer")
            while not enforcer.transactions:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            print(f"from nothing until all of it is in force: {time.perf_counter() - began:.2f} s")
            used = time.process_time() + _children()
            took = await latency(cluster.client, enforcer)
            used = (time.process_time() + _children() - used) / CHANGES
            median, most = statistics.median(took) * 1000, max(took) * 1000
            figures = f"{median:.0f} ms, at most {most:.0f} ms"
            print(f"a changed label until it is in force: {figures}   (to reach 100)")
            print(f"CPU for it, API server, agent and nft together: {used * 1000:.1f} ms")


@contextlib.contextmanager
def namespace() -> Iterator[None]:
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    asyncio.run(main())

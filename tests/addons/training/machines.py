"""Nodes whose pods are whatever a test makes of them, each with an address of its own on loopback.

They stand in for a kubelet: pods that the scheduler puts on them run, end and go. What runs in a
pod is real: a process, or a server in the test.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from tiphys.api import coordination_v1, core_v1
from tiphys.api.base import Quantity
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.client.informer import Informers
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.testing import LocalCluster

_networks = itertools.count(os.getpid() % 200)


class Workload(Protocol):
    """What runs in a pod."""

    async def wait(self) -> int:
        """Returns its exit code when it ends."""

    async def kill(self) -> None: ...


Starter = Callable[[core_v1.Pod, str], Coroutine[Any, Any, Workload]]


class Machines:
    """`starter` starts what a pod runs, at an address."""

    def __init__(self, cluster: LocalCluster, starter: Starter, now: Callable[[], float]) -> None:
        self._cluster = cluster
        self._client = cluster.client
        self._starter = starter
        self._now = now
        self._network = next(_networks) % 250 + 1
        self._addresses = itertools.count(1)
        self._informers = Informers(cluster.client, cluster.tasks)
        self.alive: set[str] = set()  # names of those that work
        self.workloads: dict[str, Workload] = {}  # by pod's uid

    async def start(self, *names: str, cpu: str = "2") -> None:
        for name in names:
            await self._add(name, cpu)
        pods = self._informers.of(core_v1.Pod)
        await self._informers.synced()
        pods.on_change(self._pod_changed)
        self._cluster.tasks.start(self._renew(), "leases")

    async def stop(self) -> None:
        for workload in list(self.workloads.values()):
            await workload.kill()

    async def _add(self, name: str, cpu: str) -> None:
        node = core_v1.Node(metadata=ObjectMeta(name=name, labels={"kubernetes.io/hostname": name}))
        await self._client.create(node)
        amounts = {"cpu": Quantity(cpu), "memory": Quantity("8Gi"), "pods": Quantity("20")}
        node.status.capacity = node.status.allocatable = amounts
        await self._report(name, "True", {"capacity": amounts, "allocatable": amounts})
        self.alive.add(name)

    async def add(self, name: str, cpu: str = "2") -> None:
        await self._add(name, cpu)

    async def _report(self, name: str, ready: str, more: dict[str, Any] | None = None) -> None:
        now = timestamps.rfc3339(self._now())
        condition = {
            "type": "Ready",
            "status": ready,
            "reason": "KubeletReady" if ready == "True" else "NodeStatusUnknown",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        patch = {"status": {"conditions": [condition], **(more or {})}}
        await self._client.patch(core_v1.Node, name, patch, "", "status", media=MERGE)

    async def lose(self, name: str) -> None:
        """The machine stops: its processes are gone, and it answers nobody any more."""
        self.alive.discard(name)
        for pod in self._informers.of(core_v1.Pod):
            workload = self.workloads.pop(pod.metadata.uid, None)
            if workload is not None and pod.spec.node_name == name:
                await workload.kill()
            elif workload is not None:
                self.workloads[pod.metadata.uid] = workload
        await self._report(name, "Unknown")

    async def _renew(self) -> None:
        """The controllers look at leases: a node that does not renew its own is lost."""
        while True:
            for name in sorted(self.alive):
                await self._renew_one(name)
            await asyncio.sleep(5)

    async def _renew_one(self, name: str) -> None:
        lease = coordination_v1.Lease(
            metadata=ObjectMeta(name=name, namespace="kube-node-lease"),
            spec=coordination_v1.LeaseSpec(
                holder_identity=name,
                lease_duration_seconds=40,
                renew_time=timestamps.rfc3339_micro(self._now()),
            ),
        )
        await self._client.apply(lease, manager=f"machine-{name}", force=True)

    # --- pods ---

    def _pod_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        if new is None or new.spec.node_name not in self.alive:
            return
        uid = new.metadata.uid
        if new.metadata.deletion_timestamp:
            self._cluster.tasks.start(self._remove(new), "remove")
        elif uid not in self.workloads and new.status.phase == "Pending":
            self.workloads[uid] = _Starting()
            self._cluster.tasks.start(self._run(new), "run")

    async def _run(self, pod: core_v1.Pod) -> None:
        address = f"127.{self._network}.{next(self._addresses)}.1"
        workload = await self._starter(pod, address)
        if isinstance(self.workloads.get(pod.metadata.uid), _Starting):
            self.workloads[pod.metadata.uid] = workload
        else:
            await workload.kill()
            return
        await self._show(pod, address, "Running")
        code = await workload.wait()
        if pod.metadata.uid in self.workloads and pod.spec.node_name in self.alive:
            await self._show(pod, address, "Failed" if code else "Succeeded")

    async def _show(self, pod: core_v1.Pod, address: str, phase: str) -> None:
        patch = {
            "status": {
                "phase": phase,
                "podIP": address,
                "podIPs": [{"ip": address}],
                "startTime": timestamps.rfc3339(self._now()),
                "conditions": [{"type": "Ready", "status": str(phase == "Running")}],
            }
        }
        try:
            await self._client.patch(
                core_v1.Pod, pod.metadata.name, patch, pod.metadata.namespace, "status", media=MERGE
            )
        except StatusError as error:
            if not is_not_found(error):
                raise

    async def _remove(self, pod: core_v1.Pod) -> None:
        workload = self.workloads.pop(pod.metadata.uid, None)
        if workload is not None:
            await workload.kill()
        try:
            await self._client.delete(
                core_v1.Pod,
                pod.metadata.name,
                pod.metadata.namespace,
                grace=0,
                uid=pod.metadata.uid,
            )
        except StatusError as error:
            if not is_not_found(error) and error.code != 409:
                raise


class _Starting:
    """A place for what is not there yet."""

    async def wait(self) -> int:
        return 0

    async def kill(self) -> None:
        return None

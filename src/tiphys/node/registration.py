"""The node as the cluster sees it: its Node object, its conditions, its heartbeat."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import os
import platform
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from tiphys.api import coordination_v1, core_v1
from tiphys.api.base import canonical_quantity
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.client.client import Client, Unreachable
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.nodes import matches_node

Health = Callable[[], Awaitable[tuple[bool, str]]]

log = logging.getLogger(__name__)

VERSION = "v1.36.0+tiphys"
BEAT, REPORT = 10.0, 300.0  # seconds between lease renewals and between status updates
_LEASE_SECONDS = 40
PODS = 110

_GOOD = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _os_image() -> str:
    try:
        for line in Path("/etc/os-release").read_text().splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip('"')
    except OSError:
        pass
    return "Linux"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def capacity(hollow: bool, disk: Path) -> dict[str, Any]:
    """What the machine has; a hollow node pretends to have much."""
    if hollow:
        return {
            "cpu": canonical_quantity("32"),
            "memory": canonical_quantity("256Gi"),
            "ephemeral-storage": canonical_quantity("1Ti"),
            "pods": canonical_quantity(str(PODS)),
        }
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    storage = shutil.disk_usage(disk).total
    return {
        "cpu": canonical_quantity(str(os.cpu_count() or 1)),
        "memory": canonical_quantity(f"{memory // 1024}Ki"),
        "ephemeral-storage": canonical_quantity(f"{storage // 1024}Ki"),
        "pods": canonical_quantity(str(PODS)),
    }


class Registration:
    def __init__(
        self,
        client: Client,
        name: str,
        address: str,
        port: int,
        runtime: str,
        resources: dict[str, Any],
        labels: dict[str, str],
        pod_cidr: str = "",
    ) -> None:
        self._client = client
        self._name, self._address, self._port = name, address, port
        self._runtime, self.resources, self._labels = runtime, resources, labels
        self._pod_cidr = pod_cidr
        self.images: list[tuple[list[str], int]] = []
        self._uid = ""
        self._node = core_v1.Node()
        self._asked = asyncio.Event()

    def _info(self) -> core_v1.NodeSystemInfo:
        boot = _read("/proc/sys/kernel/random/boot_id")
        return core_v1.NodeSystemInfo(
            machine_id=_read("/etc/machine-id"),
            system_uuid=_read("/etc/machine-id"),
            boot_id=boot,
            kernel_version=platform.release(),
            os_image=_os_image(),
            container_runtime_version=self._runtime,
            kubelet_version=VERSION,
            kube_proxy_version="",
            operating_system="linux",
            architecture=_architecture(),
        )

    def _conditions(
        self, before: list[core_v1.NodeCondition], ready: bool, why: str
    ) -> list[core_v1.NodeCondition]:
        stamp, standing = timestamps.rfc3339(time.time()), {c.type: c for c in before}
        rows = [(kind, "False", reason, text) for kind, reason, text in _GOOD]
        rows.append(
            ("Ready", "True", "KubeletReady", "kubelet is posting ready status")
            if ready
            else ("Ready", "False", "KubeletNotReady", why)
        )
        made = []
        for kind, status, reason, text in rows:
            old = standing.pop(kind, None)
            since = old.last_transition_time if old is not None and old.status == status else stamp
            made.append(
                core_v1.NodeCondition(
                    type=kind,
                    status=status,
                    reason=reason,
                    message=text,
                    last_heartbeat_time=stamp,
                    last_transition_time=since,
                )
            )
        return [*standing.values(), *made]

    def _fill(self, node: core_v1.Node, ready: bool, why: str) -> None:
        status = node.status
        # What others put there, extended resources, is theirs; all of it can be allocated, as upstream's kubelet says.
        status.capacity = {**status.capacity, **self.resources}
        status.allocatable = dict(status.capacity)
        status.addresses = [
            core_v1.NodeAddress(type="InternalIP", address=self._address),
            core_v1.NodeAddress(type="Hostname", address=self._name),
        ]
        status.node_info = self._info()
        status.daemon_endpoints = core_v1.NodeDaemonEndpoints(
            kubelet_endpoint=core_v1.DaemonEndpoint(port=self._port)
        )
        status.conditions = self._conditions(status.conditions, ready, why)
        listed = sorted(self.images, key=lambda image: -image[1])[:50]
        status.images = [
            core_v1.ContainerImage(names=names, size_bytes=size) for names, size in listed
        ]

    def _own_labels(self) -> dict[str, str]:
        arch = _architecture()
        return {
            "beta.kubernetes.io/arch": arch,
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": arch,
            "kubernetes.io/hostname": self._name,
            "kubernetes.io/os": "linux",
            **self._labels,
        }

    async def register(self) -> core_v1.Node:
        """Makes the Node object, or brings the one there up to date."""
        node = core_v1.Node(metadata=ObjectMeta(name=self._name, labels=self._own_labels()))
        if self._pod_cidr:
            node.spec.pod_cidr, node.spec.pod_cidrs = self._pod_cidr, [self._pod_cidr]
        self._fill(node, True, "")
        try:
            made = await self._client.create(node)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            made = await self._client.get(core_v1.Node, self._name)
            if any(made.metadata.labels.get(k) != v for k, v in self._own_labels().items()):
                made = await self._client.patch(
                    core_v1.Node, self._name, {"metadata": {"labels": self._own_labels()}}
                )
            made = await self.report(True)
        self._uid, self._node = made.metadata.uid, made
        return made

    def node_changed(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        """For an informer: a capacity that somebody else gave or took is answered at once, and so is being taken for
        dead."""
        if new is None:
            return
        self._node = new
        given_up = any(c.type == "Ready" and c.status == "Unknown" for c in new.status.conditions)
        if given_up or new.status.allocatable != {**new.status.capacity, **self.resources}:
            self._asked.set()

    async def suits(self, spec: core_v1.PodSpec) -> bool:
        """Whether the node has the labels that a pod wants of it."""
        if not spec.node_selector and not (spec.affinity and spec.affinity.node_affinity):
            return True
        if not matches_node(spec, self._node):  # labels change
            self._node = await self._client.get(core_v1.Node, self._name)
        return matches_node(spec, self._node)

    async def report(self, ready: bool, why: str = "") -> core_v1.Node:
        node = await self._client.get(core_v1.Node, self._name)
        changed = copy.deepcopy(node)
        self._fill(changed, ready, why)
        self._node = await self._client.update_status(changed)
        return self._node

    async def beat(self) -> None:
        """Renews the node's lease."""
        stamp = timestamps.rfc3339_micro(time.time())
        spec = coordination_v1.LeaseSpec(
            holder_identity=self._name, lease_duration_seconds=_LEASE_SECONDS, renew_time=stamp
        )
        owner = OwnerReference(api_version="v1", kind="Node", name=self._name, uid=self._uid)
        meta = ObjectMeta(name=self._name, namespace="kube-node-lease", owner_references=[owner])
        await self._client.update(coordination_v1.Lease(metadata=meta, spec=spec))

    async def run(self, health: Health, beat: float = BEAT) -> None:
        """Heartbeats for ever, every `beat` seconds; `health()` says (ready, why not)."""
        heart = _Heart(self._client, beat)
        while True:
            try:
                await heart.within(self.beat())
                ready, why = await health()
                if self._asked.is_set() or heart.must_report(ready):
                    self._asked.clear()
                    await heart.within(self.report(ready, why))
                    heart.reported(ready)
                pause = beat
            except StatusError as error:
                pause = await self._refused(error, heart)
            except Unreachable as error:
                log.info("heartbeat: %s", error)
                pause = heart.unheard()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), pause)

    async def _refused(self, error: StatusError, heart: _Heart) -> float:
        """Seconds until the next try."""
        if error.code != 404:
            log.info("heartbeat: %s", error)
            return heart.unheard()
        try:
            await heart.within(self.register())
        except (StatusError, Unreachable) as failure:
            log.info("registering: %s", failure)
            return heart.unheard()
        return heart.beat


class _Heart:
    """What was reported when, and how long to wait after a failure.

    A node whose writes failed may be taken for dead by now: it tries again soon, and reports as soon as one gets through
    (upstream's kubelet patches its status every ten seconds).
    """

    def __init__(self, client: Client, beat: float) -> None:
        self._client, self.beat = client, beat
        self._at = time.monotonic()
        self._ready: bool | None = True
        self._failures = 0

    def must_report(self, ready: bool) -> bool:
        return self._failures > 0 or ready != self._ready or time.monotonic() - self._at > REPORT

    def reported(self, ready: bool) -> None:
        self._at, self._ready, self._failures = time.monotonic(), ready, 0

    def unheard(self) -> float:
        """Seconds until the next try: a tenth of a beat, up to four."""
        self._failures += 1
        return self.beat * min(0.1 * self._failures, 0.4) * random.uniform(0.75, 1.0)

    async def within(self, call: Coroutine[Any, Any, Any]) -> None:
        """An answer that takes longer than a beat is none. Connections that say nothing are given up, all of them: a
        broken way is not told from a slow one, and the system would wait on it for many minutes. Raises Unreachable."""
        try:
            async with asyncio.timeout(self.beat):
                await call
        except TimeoutError:
            await self._client.drop_connections()
            raise Unreachable(f"no answer for {self.beat:g} s") from None

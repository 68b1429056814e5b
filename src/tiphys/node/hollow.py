"""A runtime without containers: pods go through the same life cycle, on the clock, and nothing
runs.

Annotations of a pod say what its containers do: ``hollow.tiphys.io/exit-after`` (seconds) and
``hollow.tiphys.io/exit-code``.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tiphys.api import core_v1
from tiphys.node.abilities import EVERYTHING, IdRange, RuntimeAbilities
from tiphys.node.drivervolumes import DriverVolumes, Growth
from tiphys.node.naming import Resolver
from tiphys.node.references import References
from tiphys.node.resources.capacity import capacity
from tiphys.node.runtime import (
    ContainerPlan,
    DeviceNode,
    Mount,
    PodVolumes,
    RuntimeFault,
    Streams,
)
from tiphys.node.states import (
    EXITED,
    RUNNING,
    ContainerState,
    PodIdentity,
    PodState,
    SandboxState,
    Usage,
)

EXIT_AFTER, EXIT_CODE = "hollow.tiphys.io/exit-after", "hollow.tiphys.io/exit-code"
_NO_CONTAINERS = "a hollow node runs no containers"
_FIRST_ADDRESSES = 250  # pods of a node whose addresses have the node in their third number


class HollowRuntime:
    """`number` is the node's among hollow nodes: its pods get addresses of their own, one of each
    of the `versions` of IP."""

    name = "hollow://1.0"
    runs_processes = False
    abilities = RuntimeAbilities(others=EVERYTHING, strict_groups=True, app_armor=True)
    applies_cdi = False
    parallel_starts = 64

    def __init__(
        self,
        number: int = 0,
        now: Callable[[], float] = time.time,
        versions: Sequence[int] = (4,),
    ) -> None:
        self._now = now
        self._pods: dict[str, PodState] = {}
        self._uids: dict[str, str] = {}  # container id -> pod uid
        self._addresses = itertools.count(2)
        self._number = number
        self._versions = versions
        self._wake: Callable[[str], None] = lambda id: None
        self._timers: set[asyncio.TimerHandle] = set()

    def capacity(self, disk: Path) -> dict[str, Any]:
        """More than the pods of any test ask for."""
        return capacity(cpu="32", memory="256Gi", storage="1Ti")

    def volumes(
        self,
        root: Path,
        references: References,
        allocatable: dict[str, str],
        drivers: DriverVolumes,
        growth: Growth,
    ) -> PodVolumes:
        return NoVolumes()

    async def start(self, wake: Callable[[str], None]) -> None:
        self._wake = wake

    async def close(self) -> None:
        for timer in self._timers:
            timer.cancel()

    async def pods(self) -> dict[str, PodState]:
        return dict(self._pods)

    async def pod(self, uid: str) -> PodState:
        return self._pods.get(uid) or PodState(uid)

    async def container(self, known: ContainerState) -> ContainerState:
        return self._find(known.id) or known

    # --- images ---

    async def image_id(self, image: str) -> str:
        return image

    async def has_image(self, image: str) -> bool:
        return True

    async def image_user(self, image: str) -> tuple[int | None, str]:
        return 1, ""

    async def image_size(self, image: str) -> int:
        return 0

    async def pull(self, image: str, auth: dict[str, str] | None) -> None: ...

    async def mount_image(self, image: str, uid: str, volume: str, place: Path) -> None: ...

    async def remove_image(self, image: str) -> None: ...

    async def release_images(self, uid: str) -> None: ...

    async def images(self) -> list[tuple[list[str], int]]:
        return []

    # --- sandboxes ---

    async def reserve(
        self, pod: core_v1.Pod, spec: core_v1.PodSpec, growing: bool = False
    ) -> None: ...

    async def run_sandbox(
        self,
        pod: core_v1.Pod,
        attempt: int,
        resolver: Resolver,
        hostname: str,
        handler: str = "",
        users: IdRange | None = None,
    ) -> SandboxState:
        meta = pod.metadata
        state = self._pods.setdefault(meta.uid, PodState(meta.uid, meta.name, meta.namespace))
        count = next(self._addresses)
        first, *others = (self._address(version, count) for version in self._versions)
        id = f"{meta.uid}-{attempt}"
        state.sandbox = SandboxState(id, attempt, True, first, self._now())
        state.sandbox.additional_ips = tuple(others)
        return state.sandbox

    def _address(self, version: int, count: int) -> str:
        if version == 6:
            return f"fd10:192:{self._number:x}::{count:x}"
        if count < _FIRST_ADDRESSES:
            return f"10.192.{self._number % 256}.{count % 254 + 1}"
        return f"10.{128 + self._number % 64}.{count >> 8 & 255}.{count & 255}"

    async def stop_sandbox(self, id: str) -> None:
        for state in self._pods.values():
            if state.sandbox is not None and state.sandbox.id == id:
                state.sandbox.ready = False

    async def remove_sandbox(self, id: str) -> None:
        for uid, state in list(self._pods.items()):
            if state.sandbox is not None and state.sandbox.id == id:
                for container in state.containers.values():
                    self._uids.pop(container.id, None)
                del self._pods[uid]

    def forget(self, uid: str) -> None:
        self._pods.pop(uid, None)

    # --- containers ---

    async def start_container(
        self, pod: core_v1.Pod, sandbox: SandboxState, plan: ContainerPlan
    ) -> ContainerState:
        name = plan.container.name
        now = self._now()
        key = f"{sandbox.id}/{name}/{plan.attempt}"
        id = hashlib.sha256(key.encode()).hexdigest()
        container = ContainerState(
            id,
            name,
            plan.attempt,
            RUNNING,
            created_at=now,
            started_at=now,
            image=plan.image,
            image_ref=plan.image,
            asked_image=plan.image,
        )
        state = self._pods[pod.metadata.uid]
        if name in state.containers:
            state.previous[name] = state.containers[name]
        state.containers[name] = container
        self._uids[id] = pod.metadata.uid
        exit_after = _exit_after(pod, plan)
        if exit_after is not None:
            code = int(pod.metadata.annotations.get(EXIT_CODE, "0"))
            self._finish_later(exit_after, container, code)
        return container

    def _finish_later(self, seconds: float, container: ContainerState, code: int) -> None:
        def finish() -> None:
            self._timers.discard(timer)
            self._finish(container, code)

        timer = asyncio.get_running_loop().call_later(seconds, finish)
        self._timers.add(timer)

    def _finish(self, container: ContainerState, code: int) -> None:
        if container.state != RUNNING:
            return
        container.state = EXITED
        container.exit_code = code
        container.finished_at = self._now()
        container.reason = "Error" if code else "Completed"
        self._wake(container.id)

    def _find(self, id: str) -> ContainerState | None:
        state = self._pods.get(self._uids.get(id, ""))
        if state is None:
            return None
        return next(
            (container for container in state.containers.values() if container.id == id), None
        )

    async def resize_container(
        self, pod: core_v1.Pod, container: core_v1.Container, id: str
    ) -> None: ...

    async def pin_container(self, id: str, cpus: str) -> None: ...

    async def stop_container(
        self, container: ContainerState, grace: float, signal: str = ""
    ) -> None:
        found = self._find(container.id)
        if found is not None:
            self._finish(found, 0)

    async def ended(self, container: ContainerState) -> ContainerState:
        return await self.container(container)

    async def remove_container(self, id: str) -> None:
        container = self._find(id)
        uid = self._uids.pop(id, "")
        if container is not None:
            del self._pods[uid].containers[container.name]

    async def usage(self) -> dict[str, dict[str, Usage]]:
        return {}

    async def processes(self, pod: core_v1.Pod) -> int:
        return 0

    # --- streams and logs: of containers that run ---

    async def exec(self, id: str, command: list[str], timeout: float) -> tuple[int, bytes]:
        return 0, b""

    async def exec_url(self, id: str, command: list[str], streams: Streams) -> str:
        raise RuntimeFault("Unimplemented", _NO_CONTAINERS)

    async def attach_url(self, id: str, streams: Streams) -> str:
        raise RuntimeFault("Unimplemented", _NO_CONTAINERS)

    async def port_forward_url(self, sandbox: str, ports: list[int]) -> str:
        raise RuntimeFault("Unimplemented", _NO_CONTAINERS)

    def open_log(self, pod: PodIdentity, container: str, attempt: int) -> int:
        raise FileNotFoundError(_NO_CONTAINERS)

    def log_folder(self, pod: PodIdentity) -> Path | None:
        return None

    async def rotate_log(self, pod: PodIdentity, container: ContainerState) -> None: ...

    def remove_log(self, pod: PodIdentity, container: ContainerState) -> None: ...

    def pods_with_logs(self) -> set[str]:
        return set()

    def remove_logs(self, uid: str) -> None: ...


def _exit_after(pod: core_v1.Pod, plan: ContainerPlan) -> float | None:
    """Seconds after which a container ends; None if it runs on. Init containers end at once, and
    so do those of pods that are not restarted whatever happens."""
    if EXIT_AFTER in pod.metadata.annotations:
        return float(pod.metadata.annotations[EXIT_AFTER])
    ends = pod.spec.restart_policy != "Always"
    for init in pod.spec.init_containers:
        if init.name == plan.container.name and init.restart_policy != "Always":
            ends = True
    return 0.0 if ends else None


class NoVolumes:
    """The volumes of a hollow node: its pods have no files."""

    refresh_every: float | None = None

    def folder(self, uid: str) -> Path:
        return Path("/nonexistent")

    def path(self, pod: core_v1.Pod, volume: core_v1.Volume) -> Path:
        return self.folder(pod.metadata.uid)

    async def set_up(self, pod: core_v1.Pod) -> dict[str, str]:
        return {volume.name: str(self.path(pod, volume)) for volume in pod.spec.volumes}

    async def refresh(self, pod: core_v1.Pod) -> None: ...

    def mounts(
        self,
        pod: core_v1.Pod,
        container: Any,
        paths: dict[str, str],
        env: dict[str, str],
        attempt: int,
    ) -> list[Mount]:
        return []

    def write_hosts(
        self, pod: core_v1.Pod, ips: Sequence[str], hostname: str, domain: str
    ) -> None: ...

    def pod_uids(self) -> set[str]:
        return set()

    async def give_back(self, uid: str) -> None: ...

    def devices(self, container: Any, paths: dict[str, str]) -> list[DeviceNode]:
        return []

    def release(self, uid: str) -> None: ...

    def tear_down(self, uid: str) -> None: ...

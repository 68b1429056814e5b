"""A runtime without containers: pods go through the same life cycle, on the clock, and nothing runs.

What a pod does can be said in annotations: ``hollow.tiphys.io/exit-after`` (seconds) and ``hollow.tiphys.io/exit-code``.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Callable
from pathlib import Path

from tiphys.api import core_v1
from tiphys.node.runtime import (
    EXITED,
    RUNNING,
    ContainerPlan,
    ContainerState,
    PodState,
    RuntimeFault,
    SandboxState,
    Usage,
)

EXIT_AFTER, EXIT_CODE = "hollow.tiphys.io/exit-after", "hollow.tiphys.io/exit-code"
_WHY = "a hollow node runs no containers"


class HollowRuntime:
    """`subnet` is the first two numbers of the addresses that pods seem to have."""

    name = "hollow://1.0"
    gives_devices = True

    def __init__(self, number: int = 0, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._pods: dict[str, PodState] = {}
        self._of: dict[str, str] = {}
        self._count = itertools.count(2)
        self._number = number
        self._wake: Callable[[str], None] = lambda id: None
        self._timers: set[asyncio.TimerHandle] = set()

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

    async def has_image(self, image: str) -> bool:
        return True

    async def image_user(self, image: str) -> tuple[int | None, str]:
        return 1, ""

    async def image_size(self, image: str) -> int:
        return 0

    async def pull(self, image: str, auth: dict[str, str] | None) -> None:
        return None

    async def mount_image(self, image: str, uid: str, volume: str, place: Path) -> None:
        return None

    async def release_images(self, uid: str) -> None:
        return None

    async def images(self) -> list[tuple[list[str], int]]:
        return []

    async def run_sandbox(
        self,
        pod: core_v1.Pod,
        attempt: int,
        dns: tuple[list[str], list[str], list[str]],
        hostname: str,
    ) -> SandboxState:
        meta, number = pod.metadata, next(self._count)
        state = self._pods.setdefault(meta.uid, PodState(meta.uid, meta.name, meta.namespace))
        ip = (
            f"10.{192 + (number >> 16 & 31)}.{self._number % 256}.{number % 254 + 1}"
            if number < 250
            else f"10.{128 + self._number % 64}.{number >> 8 & 255}.{number & 255}"
        )
        state.sandbox = SandboxState(f"{meta.uid}-{attempt}", attempt, True, ip, self._now())
        return state.sandbox

    async def start_container(
        self, pod: core_v1.Pod, sandbox: SandboxState, plan: ContainerPlan
    ) -> ContainerState:
        state, now = self._pods[pod.metadata.uid], self._now()
        id = hashlib.sha256(
            f"{sandbox.id}/{plan.container.name}/{plan.attempt}".encode()
        ).hexdigest()
        made = ContainerState(
            id,
            plan.container.name,
            plan.attempt,
            RUNNING,
            now,
            now,
            image=plan.image,
            image_ref=plan.image,
        )
        if plan.container.name in state.containers:
            state.previous[made.name] = state.containers[made.name]
        state.containers[made.name] = made
        self._of[id] = pod.metadata.uid
        ends = self._ends_after(pod, plan)
        if ends is not None:
            code = int(pod.metadata.annotations.get(EXIT_CODE, "0"))
            self._later(ends, made, code)
        return made

    @staticmethod
    def _ends_after(pod: core_v1.Pod, plan: ContainerPlan) -> float | None:
        init = any(
            c.name == plan.container.name and c.restart_policy != "Always"
            for c in pod.spec.init_containers
        )
        if EXIT_AFTER in pod.metadata.annotations:
            return float(pod.metadata.annotations[EXIT_AFTER])
        return 0.0 if init or pod.spec.restart_policy != "Always" else None

    def _later(self, seconds: float, container: ContainerState, code: int) -> None:
        def end() -> None:
            self._timers.discard(timer)
            self._finish(container, code)

        timer = asyncio.get_running_loop().call_later(seconds, end)
        self._timers.add(timer)

    def _finish(self, container: ContainerState, code: int) -> None:
        if container.state == RUNNING:
            container.state, container.exit_code, container.finished_at = EXITED, code, self._now()
            container.reason = "Error" if code else "Completed"
            self._wake(container.id)

    def _find(self, id: str) -> ContainerState | None:
        state = self._pods.get(self._of.get(id, ""))
        return next((c for c in state.containers.values() if c.id == id), None) if state else None

    async def resize_container(
        self, pod: core_v1.Pod, container: core_v1.Container, id: str
    ) -> None:
        return None

    async def stop_container(self, id: str, grace: float) -> None:
        found = self._find(id)
        if found is not None:
            self._finish(found, 0)

    async def remove_container(self, id: str) -> None:
        self._of.pop(id, None)

    async def stop_sandbox(self, id: str) -> None:
        for state in self._pods.values():
            if state.sandbox is not None and state.sandbox.id == id:
                state.sandbox.ready = False

    async def remove_sandbox(self, id: str) -> None:
        for uid, state in list(self._pods.items()):
            if state.sandbox is not None and state.sandbox.id == id:
                for container in state.containers.values():
                    self._of.pop(container.id, None)
                del self._pods[uid]

    def forget(self, uid: str) -> None:
        self._pods.pop(uid, None)

    async def exec(self, id: str, command: list[str], timeout: float) -> tuple[int, bytes]:
        return 0, b""

    async def exec_url(
        self, id: str, command: list[str], stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> str:
        raise RuntimeFault("Unimplemented", _WHY)

    async def attach_url(self, id: str, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> str:
        raise RuntimeFault("Unimplemented", _WHY)

    def open_log(self, namespace: str, pod: str, uid: str, container: str, attempt: int) -> int:
        raise FileNotFoundError(_WHY)

    def log_folder(self, namespace: str, pod: str, uid: str) -> Path | None:
        return None

    async def rotate_log(
        self, namespace: str, pod: str, uid: str, container: ContainerState
    ) -> None:
        return None

    def remove_log(self, namespace: str, pod: str, uid: str, container: ContainerState) -> None:
        return None

    def log_folders(self) -> set[str]:
        return set()

    def remove_logs(self, uid: str) -> None:
        return None

    async def usage(self) -> dict[str, dict[str, Usage]]:
        return {}

"""The logs that a CRI runtime writes, a folder for each pod and in it one for each container.

No link is followed: pods that have the node's /var/log mounted may put links there.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

from tiphys.machinery import handles
from tiphys.node.cri import messages as m
from tiphys.node.cri import rotation
from tiphys.node.cri.client import CRIClient
from tiphys.node.runtime import RuntimeFault
from tiphys.node.states import ContainerState, PodIdentity


class LogLimits(NamedTuple):
    """Bytes of one file, and how many files a container has at most, at least two."""

    bytes: int = rotation.LARGEST
    files: int = rotation.MOST


class CRILogs:
    """The part of `runtime.Runtime` that is about logs, which are below the folder `logs`."""

    def __init__(self, client: CRIClient, logs: Path, limits: LogLimits) -> None:
        self._client = client
        self._logs = logs
        self._limits = limits

    def make_log_folder(self, pod: PodIdentity, container: str = "") -> None:
        """Makes the folder of a pod's logs, or of one of its containers. Raises OSError."""
        self._logs.mkdir(parents=True, exist_ok=True)
        path = f"{_folder(pod)}/{container}"
        with handles.folder(self._logs) as logs, handles.folder(path, logs, make=0o755):
            pass

    def open_log(self, pod: PodIdentity, container: str, attempt: int) -> int:
        path = f"{_folder(pod)}/{container}/{_file(attempt)}"
        with handles.folder(self._logs) as logs:
            return handles.open_file(logs, path)

    def log_folder(self, pod: PodIdentity) -> Path:
        return self._logs / _folder(pod)

    async def rotate_log(self, pod: PodIdentity, container: ContainerState) -> None:
        folder = f"{_folder(pod)}/{container.name}"
        name = _file(container.attempt)
        if not rotation.is_full(self._logs, folder, name, self._limits.bytes):
            return
        most = self._limits.files
        rotated = await asyncio.to_thread(rotation.rotate, self._logs, folder, name, most)
        request = m.ReopenContainerLogRequest(container_id=container.id)
        try:
            await self._client.call(
                "RuntimeService/ReopenContainerLog", request, m.ReopenContainerLogResponse
            )
        except (RuntimeFault, TimeoutError):
            rotation.put_back(self._logs, folder, rotated, name)
            raise

    def remove_log(self, pod: PodIdentity, container: ContainerState) -> None:
        folder = f"{_folder(pod)}/{container.name}"
        rotation.remove(self._logs, folder, _file(container.attempt))

    def pods_with_logs(self) -> set[str]:
        return set(rotation.folders_by_uid(self._logs))

    def remove_logs(self, uid: str) -> None:
        if folder := rotation.folders_by_uid(self._logs).get(uid):
            rotation.remove_folder(self._logs, folder)


def _folder(pod: PodIdentity) -> str:
    return f"{pod.namespace}_{pod.name}_{pod.uid}"


def _file(attempt: int) -> str:
    return f"{attempt}.log"

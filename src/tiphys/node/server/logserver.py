"""Serves the logs of containers, as `kubectl logs` asks for them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import NamedTuple

from aiohttp import web

from tiphys.api import core_v1
from tiphys.machinery import timestamps
from tiphys.machinery.query import truth
from tiphys.node.containers.logs import LogOptions, read
from tiphys.node.server.pages import Host
from tiphys.node.states import RUNNING, ContainerState, PodIdentity, PodState


def log_options(query: Mapping[str, str], now: float) -> LogOptions:
    """Of the parameters of PodLogOptions; `now`: seconds since the epoch. Raises ValueError."""
    since = timestamps.parse(query.get("sinceTime"))
    if not since and "sinceSeconds" in query:
        since = now - int(query["sinceSeconds"])
    return LogOptions(
        follow=truth(query.get("follow")),
        timestamps=truth(query.get("timestamps")),
        since=since or 0.0,
        tail=int(query["tailLines"]) if "tailLines" in query else None,
        limit=int(query["limitBytes"]) if "limitBytes" in query else None,
    )


def waiting_reason(pod: core_v1.Pod, container: str) -> str:
    """Why a container has not been created, as the pod's status says."""
    for status in [*pod.status.container_statuses, *pod.status.init_container_statuses]:
        if status.name == container and status.state.waiting is not None:
            return status.state.waiting.reason
    return "ContainerCreating"


class ContainerLog(NamedTuple):
    """The log of one attempt of a container."""

    host: Host
    pod: PodIdentity
    container: ContainerState

    def open(self) -> int:
        """Raises OSError."""
        return self.host.runtime.open_log(self.pod, self.container.name, self.container.attempt)

    def open_newer(self, file: int) -> int | None:
        """The log that was started after the open one became too long; None if there is none."""
        try:
            newer = self.open()
        except OSError:
            return None  # it is about to be made
        if os.path.sameopenfile(file, newer):
            os.close(newer)
            return None
        return newer

    def is_written(self) -> bool:
        """Whether the attempt still runs."""
        pod_and_state = self.host.find(self.pod.namespace, self.pod.name)
        if pod_and_state is None:
            return False
        current = pod_and_state[1].containers.get(self.container.name)
        if current is None or current.id != self.container.id:
            return False
        return current.state == RUNNING


def attempt_of(state: PodState, container: str, query: Mapping[str, str]) -> ContainerState | None:
    """The attempt that a client asks for: the last one, or the one before."""
    attempts = state.previous if truth(query.get("previous")) else state.containers
    return attempts.get(container)


async def serve_log(
    request: web.BaseRequest, log: ContainerLog, options: LogOptions
) -> web.StreamResponse:
    """Sends a log, and what is written to it while the container runs if the client follows it."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    with contextlib.suppress(OSError):  # there is no log yet, or the client has gone
        file = log.open()
        try:
            async for chunk in read(file, options, log.is_written, log.open_newer):
                await response.write(chunk)
        finally:
            os.close(file)
    with contextlib.suppress(ConnectionError):
        await response.write_eof()
    return response

"""What a node's server answers to a plain GET: pods, usage, configuration, and the machine's
logs."""

from __future__ import annotations

import asyncio
import html
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from tiphys.api import core_v1
from tiphys.api.base import encode
from tiphys.client.exposition import render
from tiphys.machinery import handles
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.runtime import Runtime
from tiphys.node.server import usagemetrics
from tiphys.node.server.summary import summary
from tiphys.node.states import PodState

_LOGS = Path("/var/log")
_CHUNK = 256 << 10  # bytes of a file that are sent at once


class Host(Protocol):
    """The node that the server is of."""

    name: str
    runtime: Runtime
    metrics: KubeletMetrics

    def pods(self) -> list[core_v1.Pod]: ...

    def find(self, namespace: str, name: str) -> tuple[core_v1.Pod, PodState] | None: ...

    def configuration(self) -> dict[str, Any]:
        """The options of the node under the names of upstream's KubeletConfiguration."""
        ...


async def page(
    host: Host, started_at: float, parts: Sequence[str], request: web.BaseRequest
) -> web.StreamResponse | None:
    """The answer to a path, given as its parts; None if there is no such page. Raises
    RuntimeFault."""
    match list(parts):
        case ["healthz"] | ["healthz", "ping" | "syncloop" | "log"]:
            return web.Response(text="ok")
        case ["pods"]:
            return _pod_list(host.pods())
        case ["runningpods"]:
            running = [_running_pod(host, pod) for pod in host.pods()]
            return _pod_list([pod for pod in running if pod is not None])
        case ["configz"]:
            return web.json_response({"kubeletconfig": host.configuration()})
        case ["stats", "summary"]:
            usage = await host.runtime.usage()
            body = summary(host.name, started_at, host.pods(), usage, time.time())
            return web.json_response(body)
        case ["metrics"]:
            return await _metrics(host, request)
        case ["metrics", "resource"]:
            usage = await host.runtime.usage()
            return web.Response(text=usagemetrics.resource_metrics(host.pods(), usage))
        case ["metrics", "cadvisor"]:
            usage = await host.runtime.usage()
            return web.Response(text=usagemetrics.container_metrics(host.pods(), usage))
        case ["metrics", "probes"]:
            return web.Response(text="")
        case ["logs", *path]:
            return await _log(request, "/".join(path))
    return None


async def _metrics(host: Host, request: web.BaseRequest) -> web.Response:
    accept = request.headers.get("Accept", "")
    accept_encoding = request.headers.get("Accept-Encoding", "")
    shown = await asyncio.to_thread(render, host.metrics.registry, accept, accept_encoding)
    return web.Response(body=shown.body, headers=shown.headers)


def _pod_list(pods: list[core_v1.Pod]) -> web.Response:
    typed = len(b'{"apiVersion":"v1","kind":"Pod",')  # what the items of a list do not say
    items = b",".join(b"{" + encode(pod)[typed:] for pod in pods)
    body = b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[' + items + b"]}"
    return web.Response(body=body, content_type="application/json")


def _running_pod(host: Host, pod: core_v1.Pod) -> core_v1.Pod | None:
    """A pod with those of its containers that run; None if none does."""
    meta = pod.metadata
    pod_and_state = host.find(meta.namespace, meta.name)
    if pod_and_state is None:
        return None
    running = {container.name for container in pod_and_state[1].running()}
    containers = [
        core_v1.Container(name=container.name, image=container.image)
        for container in (*pod.spec.init_containers, *pod.spec.containers)
        if container.name in running
    ]
    if not containers:
        return None
    shown = core_v1.Pod()
    shown.metadata.name = meta.name
    shown.metadata.namespace = meta.namespace
    shown.metadata.uid = meta.uid
    shown.spec.containers = containers
    return shown


async def _log(request: web.BaseRequest, path: str) -> web.StreamResponse:
    """A file of the machine's logs, or what is in a folder of them. No link is followed: pods that
    have the folder mounted may put one there to any file."""
    try:
        shown = _open(path)
    except (OSError, ValueError):
        return web.Response(status=404, text="404 page not found\n")
    if isinstance(shown, web.Response):
        return shown
    with os.fdopen(shown, "rb") as file:
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        while block := file.read(_CHUNK):
            await response.write(block)
        await response.write_eof()
        return response


def _open(path: str) -> int | web.Response:
    """A handle of a file, or the page of a folder. Raises OSError, ValueError."""
    folder, _, name = path.rpartition("/")
    with handles.folder(_LOGS) as logs, handles.folder(folder, logs) as parent:
        mode = os.stat(name or ".", dir_fd=parent, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            with handles.folder(name, parent) as listed:
                return _listing(listed)
        return handles.open_file(parent, name)


def _listing(folder: int) -> web.Response:
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            names.append(f"{entry.name}/" if is_folder else entry.name)
    links = [f'<a href="{html.escape(name)}">{html.escape(name)}</a>\n' for name in sorted(names)]
    text = f"<!doctype html>\n<pre>\n{''.join(links)}</pre>\n"
    return web.Response(text=text, content_type="text/html")

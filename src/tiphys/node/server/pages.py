"""What a node's server answers to a plain GET: pods, usage, configuration, and the machine's
logs."""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry

from tiphys.api import core_v1
from tiphys.api.base import encode
from tiphys.client.exposition import render
from tiphys.machinery import handles
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.runtime import Runtime
from tiphys.node.server import usagemetrics
from tiphys.node.server.nodelogquery import BadQuery, Options, in_journal, journal, parse
from tiphys.node.server.summary import summary
from tiphys.node.states import PodState, VolumeUsage

_LOGS = Path("/var/log")
_CHUNK = 256 << 10  # bytes of a file that are sent at once


class Host(Protocol):
    """The node that the server is of."""

    name: str
    runtime: Runtime
    metrics: KubeletMetrics
    answers_log_queries: bool

    def pods(self) -> list[core_v1.Pod]: ...

    def find(self, namespace: str, name: str) -> tuple[core_v1.Pod, PodState] | None: ...

    def volume_usage(self) -> Mapping[str, list[VolumeUsage]]:
        """How full volumes of drivers are, by pod uid."""
        ...

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
            volumes = host.volume_usage()
            body = summary(host.name, started_at, host.pods(), usage, time.time(), volumes)
            return web.json_response(body)
        case ["metrics"]:
            return await _metrics(host.metrics.registry, request)
        case ["metrics", "resource"]:
            usage = await host.runtime.usage()
            return web.Response(text=usagemetrics.resource_metrics(host.pods(), usage))
        case ["metrics", "cadvisor"]:
            usage = await host.runtime.usage()
            return web.Response(text=usagemetrics.container_metrics(host.pods(), usage))
        case ["metrics", "probes"]:
            return await _metrics(host.metrics.probes.registry, request)
        case ["logs", *path]:
            return await _logs(host, request, "/".join(path))
    return None


async def _metrics(registry: CollectorRegistry, request: web.BaseRequest) -> web.Response:
    accept = request.headers.get("Accept", "")
    accept_encoding = request.headers.get("Accept-Encoding", "")
    shown = await asyncio.to_thread(render, registry, accept, accept_encoding)
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


async def _logs(host: Host, request: web.BaseRequest, path: str) -> web.StreamResponse:
    """The machine's logs, or what a query finds in them."""
    try:
        query = parse(list(request.query.items())) if host.answers_log_queries else None
    except BadQuery as error:
        return web.Response(status=error.code, text=f"{error}\n")
    if query is None:
        return await _log(request, path)
    if query.files:
        return await _log(request, query.files[0].removeprefix("/"))
    in_files = [
        service_name for service_name in query.services if not await in_journal(service_name)
    ]
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await response.prepare(request)
    if not in_files:
        async with contextlib.aclosing(journal(query, query.services)) as chunks:
            async for chunk in chunks:
                await response.write(chunk)
    elif query.options != Options():
        names = " ".join(in_files)
        await response.write(
            f"\noptions present and query resolved to log files for [{names}]\n"
            "try without specifying options\n".encode()
        )
    else:
        for service in in_files:
            await _write_file_of(service, response)
    await response.write_eof()
    return response


async def _write_file_of(service: str, response: web.StreamResponse) -> None:
    """A service's log, at one of the places where services have it."""
    for name in (service, f"{service}.log", f"{service}/{service}.log"):
        try:
            opened = _open(name)
        except (OSError, ValueError):
            continue
        if isinstance(opened, web.Response):  # a folder
            continue
        with os.fdopen(opened, "rb") as file:
            while block := file.read(_CHUNK):
                await response.write(block)
        return
    await response.write(f"\nlog not found for {service}\n".encode())


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

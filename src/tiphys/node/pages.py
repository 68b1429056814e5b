"""What a node's server answers to a plain GET: what there is, how it does, what was configured, the machine's logs."""

from __future__ import annotations

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
from tiphys.machinery import handles
from tiphys.node import metrics
from tiphys.node.runtime import RUNNING, PodState, Runtime
from tiphys.node.summary import summary

_LOGS = Path("/var/log")
_CHUNK = 256 << 10


class Shown(Protocol):
    """What the pages are about."""

    name: str
    runtime: Runtime

    def pods(self) -> list[core_v1.Pod]: ...

    def find(self, namespace: str, name: str) -> tuple[core_v1.Pod, PodState] | None: ...

    def configuration(self) -> dict[str, Any]:
        """The options of the node under the names of upstream's KubeletConfiguration."""
        ...


async def page(
    host: Shown, started: float, parts: Sequence[str], request: web.BaseRequest
) -> web.StreamResponse | None:
    """The answer to a path, given as its parts; None if there is no such page. Raises RuntimeFault."""
    match list(parts):
        case ["healthz"] | ["healthz", "ping" | "syncloop" | "log"]:
            return web.Response(text="ok")
        case ["pods"]:
            return _list_of(host.pods())
        case ["runningpods"]:
            return _list_of(
                [one for pod in host.pods() if (one := _running(host, pod)) is not None]
            )
        case ["configz"]:
            return web.json_response({"kubeletconfig": host.configuration()})
        case ["stats", "summary"]:
            usage = await host.runtime.usage()
            return web.json_response(summary(host.name, started, host.pods(), usage, time.time()))
        case ["metrics"]:
            count = len(host.pods())
            return web.Response(
                text=f"# TYPE kubelet_running_pods gauge\nkubelet_running_pods {count}\n"
            )
        case ["metrics", "resource"]:
            return web.Response(text=metrics.of_resources(host.pods(), await host.runtime.usage()))
        case ["metrics", "cadvisor"]:
            return web.Response(text=metrics.of_containers(host.pods(), await host.runtime.usage()))
        case ["metrics", "probes"]:
            return web.Response(text="")
        case ["logs", *below]:
            return await _log(request, "/".join(below))
    return None


def _list_of(pods: list[core_v1.Pod]) -> web.Response:
    typed = len(b'{"apiVersion":"v1","kind":"Pod",')  # what the items of a list do not say
    items = b",".join(b"{" + encode(pod)[typed:] for pod in pods)
    body = b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[' + items + b"]}"
    return web.Response(body=body, content_type="application/json")


def _running(host: Shown, pod: core_v1.Pod) -> core_v1.Pod | None:
    """A pod with those of its containers that the runtime shows to run, if any do."""
    found = host.find(pod.metadata.namespace, pod.metadata.name)
    states = found[1].containers if found is not None else {}
    every = (*pod.spec.init_containers, *pod.spec.containers)
    running = [c for c in every if c.name in states and states[c.name].state == RUNNING]
    if not running:
        return None
    made = core_v1.Pod()
    meta = pod.metadata
    made.metadata.name, made.metadata.namespace, made.metadata.uid = (
        meta.name,
        meta.namespace,
        meta.uid,
    )
    made.spec.containers = [core_v1.Container(name=c.name, image=c.image) for c in running]
    return made


async def _log(request: web.BaseRequest, path: str) -> web.StreamResponse:
    """A file of the machine's logs, or what is in a folder of them. No link is followed: pods that have the folder mounted
    put them there, to read any file with."""
    try:
        with handles.folder(_LOGS) as top:
            folder, _, name = path.rpartition("/")
            with handles.folder(folder, top) as at:
                kind = os.stat(name or ".", dir_fd=at, follow_symlinks=False).st_mode
                if stat.S_ISDIR(kind):
                    with handles.folder(name, at) as shown:
                        return _listing(shown)
                file = handles.open_file(at, name)
    except (OSError, ValueError):
        return web.Response(status=404, text="404 page not found\n")
    with os.fdopen(file, "rb") as opened:
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        while block := opened.read(_CHUNK):
            await response.write(block)
        await response.write_eof()
        return response


def _listing(handle: int) -> web.Response:
    with os.scandir(handle) as entries:
        names = sorted(e.name + ("/" if e.is_dir(follow_symlinks=False) else "") for e in entries)
    rows = "".join(f'<a href="{html.escape(name)}">{html.escape(name)}</a>\n' for name in names)
    return web.Response(text=f"<!doctype html>\n<pre>\n{rows}</pre>\n", content_type="text/html")

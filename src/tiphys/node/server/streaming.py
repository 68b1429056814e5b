"""The node's own server: logs, exec, attach, port-forward, and the pages of `pages`. `access`
decides who may ask for what."""

from __future__ import annotations

import time
from pathlib import Path

from aiohttp import web

from tiphys.api import core_v1
from tiphys.client.front import Front, Site, room_for_connections
from tiphys.client.servertls import server_context
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.query import truth
from tiphys.node.runtime import RuntimeFault, Streams
from tiphys.node.server.access import Access, AccessError
from tiphys.node.server.logserver import (
    ContainerLog,
    attempt_of,
    log_options,
    serve_log,
    waiting_reason,
)
from tiphys.node.server.pages import Host, page
from tiphys.node.server.spdybridge import TUNNEL, V5, channels_of, join, offers, translate, tunnel
from tiphys.node.states import RUNNING, PodIdentity, PodState

_MOST_CONNECTIONS = 2000  # every pod can reach the node's server
_BACKLOG = 256
_SHUTDOWN = 1  # seconds that connections have when the server stops


class StreamingServer:
    """Serves the pods of one node over TLS."""

    def __init__(self, host: Host, access: Access) -> None:
        self._host = host
        self._access = access
        self._started_at = time.time()
        self._tasks = TaskGroup("streaming")
        self._runner: web.ServerRunner | None = None

    async def start(self, address: str, port: int, certificate: Path, key: Path, ca: Path) -> int:
        """Listens and returns the port, which the system chooses for 0."""
        context = server_context(certificate, key, ca)  # clients without one come with a token
        most = room_for_connections(_MOST_CONNECTIONS)
        server = Front(self._handle, most=most)
        self._runner = web.ServerRunner(server, access_log=None, shutdown_timeout=_SHUTDOWN)
        await self._runner.setup()
        site = Site(self._runner, address, port, ssl_context=context, backlog=_BACKLOG)
        await site.start()
        return site.port

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await self._tasks.stop()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        authorization = request.headers.get("Authorization", "")
        parts = request.path.strip("/").split("/")
        try:
            await self._access.check(certificate, authorization, request.method, parts)
        except AccessError as error:
            return web.Response(status=error.code, text=f"{error}\n")
        try:
            return await self._answer(request, parts)
        except RuntimeFault as fault:
            return web.Response(status=500, text=f"{fault}\n")

    async def _answer(self, request: web.BaseRequest, parts: list[str]) -> web.StreamResponse:
        match parts:
            case ["containerLogs", namespace, name, container]:
                return await self._logs(request, namespace, name, container)
            case ["exec" | "attach" as kind, namespace, name, container]:
                return await self._exec(request, kind, namespace, name, container)
            case ["portForward", namespace, name]:
                return await self._port_forward(request, namespace, name)
        if request.method in ("GET", "HEAD"):
            response = await page(self._host, self._started_at, parts, request)
            if response is not None:
                return response
        return web.Response(status=404, text="404 page not found\n")

    def _find(self, namespace: str, name: str) -> tuple[core_v1.Pod, PodState]:
        pod_and_state = self._host.find(namespace, name)
        if pod_and_state is None:
            raise RuntimeFault("NotFound", f'pod "{name}" not found')
        return pod_and_state

    async def _logs(
        self, request: web.BaseRequest, namespace: str, name: str, container: str
    ) -> web.StreamResponse:
        pod, state = self._find(namespace, name)
        attempt = attempt_of(state, container, request.query)
        if attempt is not None:
            try:
                options = log_options(request.query, time.time())
            except ValueError as error:
                return _bad_request(f"invalid options of a log: {error}")
            log = ContainerLog(self._host, PodIdentity.of(pod), attempt)
            return await serve_log(request, log, options)
        where = f'container "{container}" in pod "{name}"'
        if truth(request.query.get("previous")):
            return _bad_request(f"previous terminated {where} not found")
        return _bad_request(f"{where} is waiting to start: {waiting_reason(pod, container)}")

    async def _exec(
        self, request: web.BaseRequest, kind: str, namespace: str, name: str, container: str
    ) -> web.StreamResponse:
        _, state = self._find(namespace, name)
        current = state.containers.get(container)
        if current is None or current.state != RUNNING:
            return _bad_request(f'container not found ("{container}")')
        query = request.query
        streams = Streams(*(truth(query.get(stream)) for stream in Streams._fields))
        if kind == "exec":
            command = query.getall("command", [])
            url = await self._host.runtime.exec_url(current.id, command, streams)
        else:
            url = await self._host.runtime.attach_url(current.id, streams)
        if offers(request, V5):
            return await translate(request, url, channels_of(streams), self._tasks)
        return await join(request, url)

    async def _port_forward(
        self, request: web.BaseRequest, namespace: str, name: str
    ) -> web.StreamResponse:
        pod_and_state = self._host.find(namespace, name)
        sandbox = pod_and_state[1].sandbox if pod_and_state is not None else None
        if sandbox is None:
            return _bad_request(f'pod "{name}" is not running')
        listed = request.query.getall("ports", []) + request.query.getall("port", [])
        words = [word for word in ",".join(listed).split(",") if word]
        if not all(word.isascii() and word.isdigit() and len(word) <= 5 for word in words):
            return _bad_request("ports are numbers")
        ports = [int(word) for word in words]
        url = await self._host.runtime.port_forward_url(sandbox.id, ports)
        if offers(request, TUNNEL):
            return await tunnel(request, url, self._tasks)
        return await join(request, url)


def _bad_request(message: str) -> web.Response:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "BadRequest",
        "code": 400,
    }
    return web.json_response(status, status=400)

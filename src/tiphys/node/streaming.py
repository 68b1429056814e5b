"""The node's own server: logs, exec, attach, port-forward, and the pages of `pages`. `access` says who may ask what.

A runtime's streaming server speaks SPDY and an older WebSocket protocol. A client that speaks one of those is joined
to it byte for byte; the newer WebSocket protocol (which can close stdin) is translated to SPDY.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import ssl
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import WSMessage, WSMsgType, web

from tiphys.api import core_v1
from tiphys.client.upgrade import request_head, splice
from tiphys.machinery import timestamps
from tiphys.machinery.query import truth
from tiphys.machinery.spdy import SPDYClient
from tiphys.node.access import Access, AccessError
from tiphys.node.logs import LogOptions, read
from tiphys.node.pages import Shown, page
from tiphys.node.runtime import RUNNING, ContainerState, PodState, RuntimeFault

log = logging.getLogger(__name__)

_V5, _V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
_TUNNEL = "SPDY/3.1+portforward.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
_NAMES = {STDIN: "stdin", STDOUT: "stdout", STDERR: "stderr", ERROR: "error", RESIZE: "resize"}


class Hosted(Shown, Protocol):
    """What the server asks the agent."""

    async def port_forward_url(self, sandbox: str, ports: list[int]) -> str: ...


_HEAD_LIMIT = 1 << 20  # bytes of a request line: the command to run stands in it


class StreamingServer:
    def __init__(self, host: Hosted, access: Access) -> None:
        self._host, self._access, self._started = host, access, time.time()
        self._runner: web.ServerRunner | None = None

    async def start(self, address: str, port: int, certificate: Path, key: Path, ca: Path) -> int:
        """Listens and returns the port (chosen by the system when 0 is asked for)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_OPTIONAL  # others come with a token
        front = web.Server(
            self._handle, access_log=None, max_line_size=_HEAD_LIMIT, max_field_size=_HEAD_LIMIT
        )
        self._runner = web.ServerRunner(front, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port, ssl_context=context)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    # --- routing ---

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        peer = request.transport.get_extra_info("peercert") if request.transport else None
        parts = request.path.strip("/").split("/")
        try:
            await self._access.check(
                peer, request.headers.get("Authorization", ""), request.method, parts
            )
        except AccessError as refused:
            return web.Response(status=refused.code, text=f"{refused}\n")
        try:
            match parts:
                case ["containerLogs", namespace, name, container]:
                    return await self._logs(request, namespace, name, container)
                case ["exec" | "attach" as kind, namespace, name, container]:
                    return await self._exec(request, kind, namespace, name, container)
                case ["portForward", namespace, name]:
                    return await self._port_forward(request, namespace, name)
            if request.method in ("GET", "HEAD"):
                answer = await page(self._host, self._started, parts, request)
                if answer is not None:
                    return answer
        except RuntimeFault as fault:
            return web.Response(status=500, text=f"{fault}\n")
        return web.Response(status=404, text="404 page not found\n")

    def _container(
        self, namespace: str, name: str, container: str
    ) -> tuple[core_v1.Pod, PodState, ContainerState | None]:
        found = self._host.find(namespace, name)
        if found is None:
            raise RuntimeFault("NotFound", f'pod "{name}" not found')
        return *found, found[1].containers.get(container)

    # --- logs ---

    async def _logs(
        self, request: web.BaseRequest, namespace: str, name: str, container: str
    ) -> web.StreamResponse:
        pod, state, found = self._container(namespace, name, container)
        query = request.query
        if truth(query.get("previous")):
            found = state.previous.get(container)
            if found is None:
                return _bad(
                    f'previous terminated container "{container}" in pod "{name}" not found'
                )
        if found is None:
            waiting = next(
                (
                    s.state.waiting
                    for s in [*pod.status.container_statuses, *pod.status.init_container_statuses]
                    if s.name == container
                ),
                None,
            )
            why = waiting.reason if waiting else "ContainerCreating"
            return _bad(f'container "{container}" in pod "{name}" is waiting to start: {why}')
        since = timestamps.parse(query.get("sinceTime")) or (
            time.time() - int(query["sinceSeconds"]) if "sinceSeconds" in query else 0.0
        )
        options = LogOptions(
            follow=truth(query.get("follow")),
            timestamps=truth(query.get("timestamps")),
            since=since,
            tail=int(query["tailLines"]) if "tailLines" in query else None,
            limit=int(query["limitBytes"]) if "limitBytes" in query else None,
        )
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with contextlib.suppress(OSError):  # no log yet, or the client has gone
            file = self._host.runtime.open_log(
                namespace, name, pod.metadata.uid, container, found.attempt
            )
            attempt = found.attempt

            def renewed(old: int) -> int | None:
                return self._renewed_log(old, namespace, name, pod.metadata.uid, container, attempt)

            try:
                async for chunk in read(
                    file, options, lambda: self._runs(namespace, name, container, found.id), renewed
                ):
                    await response.write(chunk)
            finally:
                os.close(file)
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    def _renewed_log(
        self, old: int, namespace: str, name: str, uid: str, container: str, attempt: int
    ) -> int | None:
        """The log that was begun since, when the open one became too long."""
        try:
            file = self._host.runtime.open_log(namespace, name, uid, container, attempt)
        except OSError:
            return None  # it is about to be
        if os.path.sameopenfile(old, file):
            os.close(file)
            return None
        return file

    def _runs(self, namespace: str, name: str, container: str, id: str) -> bool:
        found = self._host.find(namespace, name)
        current = found[1].containers.get(container) if found else None
        return current is not None and current.id == id and current.state == RUNNING

    # --- exec and attach ---

    async def _exec(
        self, request: web.BaseRequest, kind: str, namespace: str, name: str, container: str
    ) -> web.StreamResponse:
        _, _, found = self._container(namespace, name, container)
        if found is None or found.state != RUNNING:
            return _bad(f'container not found ("{container}")')
        query = request.query
        stdin, stdout, stderr, tty = (
            truth(query.get(n)) for n in ("stdin", "stdout", "stderr", "tty")
        )
        if kind == "exec":
            url = await self._host.runtime.exec_url(
                found.id, query.getall("command", []), stdin, stdout, stderr, tty
            )
        else:
            url = await self._host.runtime.attach_url(found.id, stdin, stdout, stderr, tty)
        offered = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if request.headers.get("Upgrade", "").lower() == "websocket" and _V5 in offered:
            channels = [
                ERROR,
                *([STDIN] if stdin else []),
                *([STDOUT] if stdout else []),
                *([STDERR] if stderr and not tty else []),
                *([RESIZE] if tty else []),
            ]
            return await self._translate(request, url, channels)
        return await self._join(request, url)

    async def _join(self, request: web.BaseRequest, url: str) -> web.StreamResponse:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        writer.write(request_head(request.method, target, parts.netloc, request.headers))
        await splice(request, reader, writer)
        return web.StreamResponse()

    async def _upgrade_to_spdy(
        self, url: str, protocol: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "SPDY/3.1",
            "X-Stream-Protocol-Version": protocol,
            "Content-Length": "0",
        }
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        writer.write(request_head("POST", target, parts.netloc, headers))
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            writer.close()
            raise RuntimeFault("Upgrade", head.split(b"\r\n")[0].decode(errors="replace"))
        return reader, writer

    async def _translate(
        self, request: web.BaseRequest, url: str, channels: list[int]
    ) -> web.StreamResponse:
        """WebSocket v5 on one side, SPDY on the other: a channel is a stream."""
        socket = web.WebSocketResponse(protocols=(_V5,), heartbeat=None, max_msg_size=16 << 20)
        await socket.prepare(request)
        try:
            reader, writer = await self._upgrade_to_spdy(url, _V4)
        except (RuntimeFault, OSError) as error:
            await self._fail(socket, str(error))
            return socket
        spdy, streams = SPDYClient(), dict[int, int]()
        for channel in channels:
            stream, data = spdy.open({"streamType": _NAMES[channel]})
            streams[channel] = stream
            writer.write(data)
        back = asyncio.get_running_loop().create_task(
            self._from_spdy(reader, writer, spdy, streams, socket), name="exec-output"
        )
        try:
            async for message in socket:
                sent = _payload(message)
                if not sent:
                    continue
                channel = sent[0]
                if channel == 255 and len(sent) > 1 and sent[1] in streams:
                    writer.write(spdy.data(streams[sent[1]], b"", end=True))
                elif channel in streams and len(sent) > 1:
                    writer.write(spdy.data(streams[channel], sent[1:]))
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            if not back.done():
                back.cancel()
            writer.close()
        return socket

    async def _from_spdy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        spdy: SPDYClient,
        streams: dict[int, int],
        socket: web.WebSocketResponse,
    ) -> None:
        channels, waiting = (
            {stream: channel for channel, stream in streams.items()},
            {STDOUT, STDERR, ERROR} & streams.keys(),
        )
        said = False
        with contextlib.suppress(ConnectionError):
            while waiting and (data := await reader.read(65536)):
                for event in spdy.feed(data):
                    channel = channels.get(event.stream, -1)
                    if event.kind == "data" and channel in (STDOUT, STDERR, ERROR):
                        said = said or channel == ERROR
                        await socket.send_bytes(bytes([channel]) + event.data)
                    elif event.kind in ("end", "reset"):
                        waiting.discard(channel)
                    elif event.kind == "ping":
                        writer.write(spdy.pong(event.data))
            if not said:
                await socket.send_bytes(bytes([ERROR]) + b'{"metadata":{},"status":"Success"}')
            await socket.close()

    async def _fail(self, socket: web.WebSocketResponse, why: str) -> None:
        status = {
            "metadata": {},
            "status": "Failure",
            "reason": "InternalError",
            "message": why,
            "code": 500,
        }
        await socket.send_bytes(bytes([ERROR]) + json.dumps(status).encode())
        await socket.close()

    # --- port-forward ---

    async def _port_forward(
        self, request: web.BaseRequest, namespace: str, name: str
    ) -> web.StreamResponse:
        found = self._host.find(namespace, name)
        if found is None or found[1].sandbox is None:
            return _bad(f'pod "{name}" is not running')
        ports = [
            int(p)
            for value in request.query.getall("ports", []) + request.query.getall("port", [])
            for p in value.split(",")
            if p
        ]
        url = await self._host.port_forward_url(found[1].sandbox.id, ports)
        offered = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if request.headers.get("Upgrade", "").lower() != "websocket" or _TUNNEL not in offered:
            return await self._join(request, url)
        socket = web.WebSocketResponse(protocols=(_TUNNEL,), max_msg_size=16 << 20)
        await socket.prepare(request)
        reader, writer = await self._upgrade_to_spdy(url, "portforward.k8s.io")

        async def back() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    await socket.send_bytes(data)
                await socket.close()

        task = asyncio.get_running_loop().create_task(back(), name="port-forward")
        try:
            async for message in socket:
                if sent := _payload(message):
                    writer.write(sent)
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            task.cancel()
            writer.close()
        return socket


def _payload(message: WSMessage) -> bytes:
    """The bytes of a frame: upstream takes them of text frames, too, and Python's client writes stdin in such."""
    if message.type == WSMsgType.TEXT:
        return str(message.data).encode()
    return bytes(message.data) if message.type == WSMsgType.BINARY else b""


def _bad(message: str) -> web.Response:
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

"""Streams to where the containers are: logs, exec, attach, port-forward, and HTTP proxies to pods, services, nodes.

An upgrade (WebSocket or SPDY) is passed to the node byte for byte: the node's streaming server speaks both.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp import web

from tiphys.api import core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH, Resource
from tiphys.apiserver.admission import Attributes
from tiphys.apiserver.registry import Registry
from tiphys.apiserver.request import Call
from tiphys.apiserver.webhooks import endpoint_of
from tiphys.client.upgrade import request_head, splice
from tiphys.machinery import errors
from tiphys.machinery.query import truth

_PODS = BY_PATH["", "v1", "pods"]
_NODES = BY_PATH["", "v1", "nodes"]
_SERVICES = BY_PATH["", "v1", "services"]
_SLICES = BY_PATH["discovery.k8s.io", "v1", "endpointslices"]
_STREAMS = {
    "exec": core_v1.PodExecOptions,
    "attach": core_v1.PodAttachOptions,
    "portforward": core_v1.PodPortForwardOptions,
}
_PROXIES = {"pods": core_v1.PodProxyOptions, "services": core_v1.ServiceProxyOptions, "nodes": core_v1.NodeProxyOptions}
_HOP = frozenset(
    (
        "connection",
        "upgrade",
        "host",
        "transfer-encoding",
        "content-length",
        "authorization",
        "keep-alive",
        "te",
        "trailer",
        "content-encoding",
    )
)


_BASE64 = "base64.binary.k8s.io"


class Connector:
    """`tls` is the context with this server's client certificate, as nodes expect it."""

    def __init__(self, registry: Registry, tls: ssl.SSLContext | None) -> None:
        self._registry = registry
        self._tls = tls
        self._plain_tls = ssl.create_default_context()
        self._plain_tls.check_hostname, self._plain_tls.verify_mode = False, ssl.CERT_NONE
        self._session: aiohttp.ClientSession | None = None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None, sock_connect=10)
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    # --- where things are ---

    def _pod(self, call: Call) -> core_v1.Pod:
        return decode(self._registry.entry(_PODS, call.info.namespace, call.info.name).data, core_v1.Pod)

    def _node_address(self, name: str) -> tuple[str, int]:
        node = decode(self._registry.entry(_NODES, "", name).data, core_v1.Node)
        addresses = {a.type: a.address for a in node.status.addresses}
        address = addresses.get("InternalIP") or addresses.get("Hostname")
        port = node.status.daemon_endpoints.kubelet_endpoint.port
        if not address or not port:
            raise errors.unavailable(f"no preferred addresses found; known addresses: {list(addresses.values())}")
        return address, port

    def _container(self, pod: core_v1.Pod, asked: str) -> str:
        spec = pod.spec
        names = [c.name for c in (*spec.containers, *spec.init_containers)] + [
            c.name for c in spec.ephemeral_containers
        ]
        if asked:
            if asked not in names:
                raise errors.bad_request(f"container {asked} is not valid for pod {pod.metadata.name}")
            return asked
        annotated = pod.metadata.annotations.get("kubectl.kubernetes.io/default-container")
        if len(spec.containers) == 1:
            return spec.containers[0].name
        if annotated in names:
            return str(annotated)
        listed = "[" + " ".join(c.name for c in spec.containers) + "]"
        init = (
            " or one of the init containers: [" + " ".join(c.name for c in spec.init_containers) + "]"
            if spec.init_containers
            else ""
        )
        raise errors.bad_request(
            f"a container name must be specified for pod {pod.metadata.name}, choose one of: {listed}{init}"
        )

    # --- logs ---

    async def log(self, call: Call, resource: Resource) -> web.StreamResponse:
        pod = self._pod(call)
        container = self._container(pod, call.query.get("container", ""))
        if not pod.spec.node_name:
            return web.Response(body=b"", content_type="text/plain")
        host, port = self._node_address(pod.spec.node_name)
        names = ("follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream")
        query = urlencode({name: call.query[name] for name in names if name in call.query})
        path = f"/containerLogs/{pod.metadata.namespace}/{pod.metadata.name}/{container}"
        url = f"https://{host}:{port}{path}" + (f"?{query}" if query else "")
        if "websocket" in call.http.headers.get("Upgrade", "").lower():
            return await self._over_socket(call, url)
        return await self._relay(call, url, "GET", self._tls)

    async def _over_socket(self, call: Call, url: str) -> web.StreamResponse:
        """What a node answers, over a WebSocket: in binary frames, or in base64 for clients that have no others."""
        socket = web.WebSocketResponse(protocols=("binary.k8s.io", _BASE64))
        await socket.prepare(call.http)
        with contextlib.suppress(ConnectionError, aiohttp.ClientError, TimeoutError):
            async with self._http().get(url, ssl=self._tls or self._plain_tls) as answer:
                async for chunk in answer.content.iter_any():
                    if socket.ws_protocol == _BASE64:
                        await socket.send_str(base64.b64encode(chunk).decode())
                    else:
                        await socket.send_bytes(chunk)
        await socket.close()
        return socket

    # --- upgrades ---

    async def stream(self, call: Call, resource: Resource) -> web.StreamResponse:
        pod, kind = self._pod(call), call.info.subresource
        await self._admit(call, resource, _STREAMS[kind])
        if not pod.spec.node_name:
            raise errors.bad_request(f"pod {pod.metadata.name} does not have a host assigned")
        if kind == "attach" or kind == "exec":
            if pod.status.phase in ("Succeeded", "Failed"):
                raise errors.bad_request(
                    f"cannot {kind} a container in a completed pod; current phase is {pod.status.phase}"
                )
            container = "/" + self._container(pod, call.query.get("container", ""))
        else:
            container = ""
        host, port = self._node_address(pod.spec.node_name)
        path = f"/{ {'portforward': 'portForward'}.get(kind, kind) }/{pod.metadata.namespace}/{pod.metadata.name}{container}"
        return await self._tunnel(call, host, port, path + ("?" + call.query_text if call.query_text else ""))

    async def _admit(self, call: Call, resource: Resource, kind: Any) -> None:
        """A stream is a request like others: what judges writes may judge it."""
        info = call.info
        options = kind()
        for field, name in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
            if name in call.query and name not in ("apiVersion", "kind"):
                text = call.query[name]
                value: Any = truth(text) if isinstance(getattr(options, field), bool) else text
                setattr(options, field, [text] if isinstance(getattr(options, field), list) else value)
        attributes = Attributes(
            resource, "CONNECT", info.namespace, info.name, options, None, call.user, subresource=info.subresource,
            kind=f"v1/{options.kind}",
        )  # fmt: skip
        await self._registry.admission.mutate(attributes)
        await self._registry.admission.validate(attributes)

    async def _tunnel(self, call: Call, host: str, port: int, target: str) -> web.StreamResponse:
        if "upgrade" not in call.http.headers.get("Connection", "").lower():
            raise errors.bad_request("Upgrade request required")
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port, ssl=self._tls), 10)
        except (TimeoutError, OSError) as error:
            raise errors.internal(f"error dialing backend: {error}") from None
        writer.write(request_head(call.http.method, target, f"{host}:{port}", call.http.headers))
        await splice(call.http, reader, writer)
        return web.StreamResponse()

    # --- proxies ---

    async def proxy(self, call: Call, resource: Resource) -> web.StreamResponse:
        scheme, name, port = _split(call.info.name)
        kind = call.info.resource
        tls = self._plain_tls
        await self._admit(call, resource, _PROXIES[kind])
        if kind == "pods":
            pod = decode(self._registry.entry(_PODS, call.info.namespace, name).data, core_v1.Pod)
            host = pod.status.pod_ip
            number = int(port) if port.isdigit() else _pod_port(pod, port)
        elif kind == "services":
            host, number = self._endpoint(call.info.namespace, name, port)
        else:
            host, number = self._node_address(name)
            scheme, tls = "https", self._tls or tls
        if not host:
            raise errors.unavailable(f"no endpoints available for {kind[:-1]} {name!r}".replace("'", '"'))
        at = call.info.path.split("/proxy", 1)[1] if "/proxy" in call.info.path else ""
        if not at and call.http.method in ("GET", "HEAD"):
            where = call.info.path + "/" + (f"?{call.query_text}" if call.query_text else "")
            return web.Response(status=301, headers={"Location": where})
        url = f"{scheme}://{host}:{number}{quote(at or '/', safe='/%:@!$&()*+,;=~-._')}" + (
            f"?{call.query_text}" if call.query_text else ""
        )
        return await self._relay(call, url, call.http.method, tls)

    def _endpoint(self, namespace: str, name: str, port: str) -> tuple[str, int]:
        service = decode(self._registry.entry(_SERVICES, namespace, name).data, core_v1.Service)
        wanted = next((p for p in service.spec.ports if port in ("", p.name, str(p.port))), None)
        if wanted is None:
            raise errors.unavailable(f'no service port "{port}" found for service "{name}"')
        found = endpoint_of(self._registry.cache(_SLICES), namespace, name, wanted.name)
        if found is None:
            raise errors.unavailable(f'no endpoints available for service "{name}"')
        return found

    async def _relay(self, call: Call, url: str, method: str, tls: ssl.SSLContext | None) -> web.StreamResponse:
        import yarl

        return await relay(self._http(), call, yarl.URL(url, encoded=True), [], tls or self._plain_tls, None, method)


async def relay(
    session: aiohttp.ClientSession, call: Call, url: Any, identity: list[tuple[str, str]], tls: ssl.SSLContext,
    server_name: str | None, method: str = "",
) -> web.StreamResponse:  # fmt: skip
    """Passes a request on and its answer back, as it comes. `identity` are headers that say who asks: those that the
    client sent under such names are dropped. Raises 503."""
    method = method or call.http.method
    claims = ("x-remote-",)
    headers = [
        (k, v) for k, v in call.http.headers.items() if k.lower() not in _HOP and not k.lower().startswith(claims)
    ]
    data = await call.http.read() if method in ("POST", "PUT", "PATCH", "DELETE") else None
    try:
        answer = await session.request(
            method, url, headers=[*headers, *identity], data=data or None, ssl=tls, server_hostname=server_name,
            allow_redirects=False, skip_auto_headers=("Content-Type", "User-Agent"),  # what the client did not say
        )  # fmt: skip
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise errors.unavailable(f"error trying to reach service: {error}") from None
    async with answer:
        response = web.StreamResponse(status=answer.status)
        for key, value in answer.headers.items():
            if key.lower() not in ("connection", "transfer-encoding", "keep-alive", "content-length"):
                response.headers.add(key, value)
        if "Content-Length" in answer.headers and method != "HEAD":
            response.content_length = int(answer.headers["Content-Length"])
        await response.prepare(call.http)
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
    return response


def _split(name: str) -> tuple[str, str, str]:
    """(scheme, name, port) of ``[https:]name[:port]``."""
    parts = name.split(":")
    if len(parts) == 3:
        return parts[0] or "http", parts[1], parts[2]
    if len(parts) == 2:
        return ("http", parts[0], parts[1]) if parts[0] not in ("http", "https") else (parts[0], parts[1], "")
    return "http", name, ""


def _pod_port(pod: core_v1.Pod, name: str) -> int:
    ports = [p for c in pod.spec.containers for p in c.ports]
    if not name:
        return ports[0].container_port if ports else 80
    return next((p.container_port for p in ports if p.name == name), 80)

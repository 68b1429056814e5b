"""Streams to where the containers are: logs, exec, attach, port-forward, and HTTP proxies to pods,
services, nodes.

An upgrade (WebSocket or SPDY) is passed to the node byte for byte: the node's streaming server
speaks both.
"""

from __future__ import annotations

import base64
import contextlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import yarl
from aiohttp import web

from tiphys.api import core_v1, discovery_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH, Resource
from tiphys.apiserver.http.request import Call, RequestInfo
from tiphys.apiserver.proxying.forwarding import (
    METHODS,
    Backend,
    Named,
    new_session,
    port_number,
    quoted_path,
    raw_target,
    relay,
    split_name,
    split_path,
    tunnel,
)
from tiphys.apiserver.proxying.links import Rewriter
from tiphys.apiserver.proxying.webhooks import endpoint_of
from tiphys.apiserver.registry.admission import Attributes
from tiphys.apiserver.registry.registry import Registry
from tiphys.client.upgrade import is_upgrade
from tiphys.client.websockets import upgrade, wants_socket
from tiphys.machinery import errors, goformat
from tiphys.machinery.addresses import authority, is_global_unicast, plain
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.names import is_ip
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
_PROXIES = {
    "pods": core_v1.PodProxyOptions,
    "services": core_v1.ServiceProxyOptions,
    "nodes": core_v1.NodeProxyOptions,
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_LEAST_OF_LOGS = {"tailLines": 0, "sinceSeconds": 1, "limitBytes": 1}
_BASE64 = "base64.binary.k8s.io"


class Connector:
    """`tls` is the context with this server's client certificate, as nodes expect it."""

    def __init__(self, registry: Registry, tls: ssl.SSLContext | None) -> None:
        self._registry = registry
        self._tls = tls
        self._plain_tls = ssl.create_default_context()
        self._plain_tls.check_hostname = False
        self._plain_tls.verify_mode = ssl.CERT_NONE
        self._session: aiohttp.ClientSession | None = None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = new_session()
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    # --- where things are ---

    def _pod(self, call: Call) -> core_v1.Pod:
        return decode(
            self._registry.entry(_PODS, call.info.namespace, call.info.name).data, core_v1.Pod
        )

    def _node_address(self, name: str) -> tuple[str, int]:
        """Where a node's own server listens. Names are not resolved: a node's status has its
        address. Raises 404 and 503."""
        node = decode(self._registry.entry(_NODES, "", name).data, core_v1.Node)
        addresses = {a.type: a.address for a in reversed(node.status.addresses)}  # the first
        known = (addresses.get(kind, "") for kind in ("InternalIP", "ExternalIP"))
        address = next((address for address in known if is_ip(address)), "")
        port = node.status.daemon_endpoints.kubelet_endpoint.port
        if not address or not 0 < port < 1 << 16:
            raise errors.unavailable(
                f"no preferred addresses found; known addresses: {list(addresses.values())}"
            )
        return address, port

    def _container(self, pod: core_v1.Pod, asked: str) -> str:
        """The container that was asked for, or the pod's only or default one. Raises 400."""
        spec = pod.spec
        names = [container.name for container in (*spec.containers, *spec.init_containers)]
        names += [container.name for container in spec.ephemeral_containers]
        if asked:
            if asked not in names:
                raise errors.bad_request(
                    f"container {asked} is not valid for pod {pod.metadata.name}"
                )
            return asked
        annotated = pod.metadata.annotations.get("kubectl.kubernetes.io/default-container")
        if len(spec.containers) == 1:
            return spec.containers[0].name
        if annotated in names:
            return str(annotated)
        choices = f"[{' '.join(container.name for container in spec.containers)}]"
        if spec.init_containers:
            init = " ".join(container.name for container in spec.init_containers)
            choices += f" or one of the init containers: [{init}]"
        raise errors.bad_request(
            f"a container name must be specified for pod {pod.metadata.name}, "
            f"choose one of: {choices}"
        )

    # --- logs ---

    async def log(self, call: Call, resource: Resource) -> web.StreamResponse:
        pod = self._pod(call)
        _check_log_options(call.query, pod.metadata.name)
        container = self._container(pod, call.query.get("container", ""))
        if not pod.spec.node_name:
            return web.Response(body=b"", content_type="text/plain")
        host, port = self._node_address(pod.spec.node_name)
        names = (
            "follow",
            "previous",
            "sinceSeconds",
            "sinceTime",
            "timestamps",
            "tailLines",
            "limitBytes",
            "stream",
        )
        query = urlencode({name: call.query[name] for name in names if name in call.query})
        path = f"/containerLogs/{pod.metadata.namespace}/{pod.metadata.name}/{container}"
        url = yarl.URL(
            f"https://{authority(host, port)}{path}" + (f"?{query}" if query else ""), encoded=True
        )
        if wants_socket(call.http):
            return await self._over_socket(call, url, pod.spec.node_name)
        return await relay(
            self._http(), call, url, [], self._tls or self._plain_tls, pod.spec.node_name
        )

    async def _over_socket(self, call: Call, url: yarl.URL, node: str) -> web.StreamResponse:
        """What a node answers, over a WebSocket: in binary frames, or in base64 for clients that
        have no others."""
        socket = web.WebSocketResponse(protocols=("binary.k8s.io", _BASE64))
        await upgrade(socket, call.http)
        with contextlib.suppress(ConnectionError, aiohttp.ClientError, TimeoutError):
            async with self._http().get(
                url,
                ssl=self._tls or self._plain_tls,
                server_hostname=node,
                # a node does not send this server, and its certificate, elsewhere
                allow_redirects=False,
            ) as answer:
                async for chunk in answer.content.iter_any():
                    if socket.ws_protocol == _BASE64:
                        await socket.send_str(base64.b64encode(chunk).decode())
                    else:
                        await socket.send_bytes(chunk)
        await socket.close()
        return socket

    # --- upgrades ---

    async def stream(self, call: Call, resource: Resource) -> web.StreamResponse:
        pod = self._pod(call)
        kind = call.info.subresource
        await self._admit(call, resource, _STREAMS[kind])
        if not pod.spec.node_name:
            raise errors.bad_request(f"pod {pod.metadata.name} does not have a host assigned")
        if kind == "attach" or kind == "exec":
            if pod_finished(pod):
                raise errors.bad_request(
                    f"cannot {kind} a container in a completed pod; current phase is "
                    f"{pod.status.phase}"
                )
            container = "/" + self._container(pod, call.query.get("container", ""))
        else:
            container = ""
        host, port = self._node_address(pod.spec.node_name)
        verb = "portForward" if kind == "portforward" else kind
        path = f"/{verb}/{pod.metadata.namespace}/{pod.metadata.name}{container}"
        target = path + ("?" + call.query_text if call.query_text else "")
        if not is_upgrade(call.http.headers):
            raise errors.bad_request("Upgrade request required")
        backend = Backend(host, port, self._tls or self._plain_tls, pod.spec.node_name)
        return await tunnel(call, backend, target, [])

    async def _admit(
        self, call: Call, resource: Resource, kind: Any, path: str | None = None
    ) -> None:
        """A stream passes admission, as a CONNECT."""
        info = call.info
        options = kind()
        for field, name in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
            if name in call.query and name not in ("apiVersion", "kind"):
                text = call.query[name]
                value: Any = truth(text) if isinstance(getattr(options, field), bool) else text
                setattr(
                    options, field, [text] if isinstance(getattr(options, field), list) else value
                )
        if path is not None:
            options.path = path
        attributes = Attributes(
            resource,
            "CONNECT",
            info.namespace,
            info.name,
            options,
            None,
            call.user,
            subresource=info.subresource,
            kind=f"v1/{options.kind}",
        )
        await self._registry.admission.mutate(attributes)
        await self._registry.admission.validate(attributes)

    # --- proxies ---

    async def proxy(self, call: Call, resource: Resource) -> web.StreamResponse:
        if call.http.method not in METHODS:
            raise errors.method_refused()
        kind = call.info.resource
        prefix, path = split_path(call.info)
        await self._admit(call, resource, _PROXIES[kind], path)
        target = self._target(call.info, split_name(call.info.name, kind[:-1]))
        query = raw_target(f"?{call.query_text}") if call.query_text else ""
        if not path and call.http.method in ("GET", "HEAD"):
            return web.Response(status=301, headers={"Location": f"{quoted_path(prefix)}/{query}"})
        host = authority(target.host, target.port)
        url = yarl.URL(f"{target.scheme}://{host}{quoted_path(path or '/')}{query}", encoded=True)
        links = Rewriter(quoted_path(prefix), host, call.http.headers.get("Host", ""))
        extra = [("X-Forwarded-Uri", quoted_path(prefix + path))]
        if (peer := call.http.remote) is not None:
            forwarded = call.http.headers.getall("X-Forwarded-For", [])
            extra.append(("X-Forwarded-For", ", ".join([*forwarded, plain(peer)])))
        if is_upgrade(call.http.headers):
            tls = target.tls if target.scheme == "https" else None
            backend = Backend(target.host, target.port, tls, target.server_name)
            return await tunnel(call, backend, url.raw_path_qs, extra)
        return await relay(self._http(), call, url, extra, target.tls, target.server_name, links)

    def _target(self, info: RequestInfo, named: Named) -> _Target:
        """Where a proxied request goes: never back to this machine, or to what only it can reach.
        Raises 400 and 503."""
        if info.resource == "services":
            host, port = self._endpoint(info.namespace, named.name, named.port)
            return _Target(named.scheme, host, port, self._plain_tls)
        if info.resource == "nodes":
            return self._node_target(named)
        pod = decode(self._registry.entry(_PODS, info.namespace, named.name).data, core_v1.Pod)
        host = pod.status.pod_ips[0].ip if pod.status.pod_ips else pod.status.pod_ip
        _check_address(host)
        return _Target(named.scheme, host, _pod_port(pod, named), self._plain_tls)

    def _node_target(self, named: Named) -> _Target:
        host, port = self._node_address(named.name)
        _check_address(host)
        asked = port_number(named.port) if named.port else port
        if asked == port:
            return _Target("https", host, port, self._tls or self._plain_tls, named.name)
        return _Target(named.scheme, host, asked, self._plain_tls)

    def _endpoint(self, namespace: str, name: str, port: str) -> tuple[str, int]:
        service = decode(self._registry.entry(_SERVICES, namespace, name).data, core_v1.Service)
        wanted = next((p for p in service.spec.ports if port in ("", p.name, str(p.port))), None)
        if wanted is None:
            raise errors.unavailable(f'no service port "{port}" found for service "{name}"')
        address = endpoint_of(
            self._registry.cache(_SLICES),
            namespace,
            name,
            wanted.name,
            lambda endpoint: self._is_a_pods(namespace, endpoint),
        )
        if address is None:
            raise errors.unavailable(f'no endpoints available for service "{name}"')
        return address

    def _is_a_pods(self, namespace: str, endpoint: discovery_v1.Endpoint) -> bool:
        """Whether an endpoint is a pod of the namespace: the author of endpoints does not choose
        where this server connects to."""
        reference = endpoint.target_ref
        if reference is None or reference.kind != "Pod" or reference.namespace != namespace:
            return False
        pod = self._registry.lookup("pods", namespace, reference.name)
        addresses = (
            {pod.status.pod_ip, *(ip.ip for ip in pod.status.pod_ips)} if pod is not None else set()
        )
        return endpoint.addresses[0] in addresses


@dataclass(frozen=True)
class _Target:
    """`server_name` is what the other side's certificate must be for, where it is verified."""

    scheme: str
    host: str
    port: int
    tls: ssl.SSLContext
    server_name: str | None = None


def _check_log_options(query: Mapping[str, str], pod: str) -> None:
    """Raises 400 for what is no number, 422 for one that is too small, as upstream's
    `ValidatePodLogOptions`."""
    violations = []
    for name, least in _LEAST_OF_LOGS.items():
        text = query.get(name)
        if text is None:
            continue
        if _INTEGER.fullmatch(text) is None:
            detail = f"strconv.ParseInt: parsing {goformat.quoted(text[:100])}: invalid syntax"
            raise errors.bad_request(detail)
        if int(text) < least:
            rule = "greater than 0" if least else "greater than or equal to 0"
            violations.append(errors.invalid_value(name, int(text), f"must be {rule}"))
    if "sinceSeconds" in query and "sinceTime" in query:
        detail = "at most one of `sinceTime` or `sinceSeconds` may be specified"
        violations.append(errors.forbidden_field("", detail))
    if violations:
        raise errors.invalid("PodLogOptions", "", pod, violations)


def _check_address(host: str) -> None:
    if not is_global_unicast(host):
        raise errors.bad_request("address not allowed")


def _pod_port(pod: core_v1.Pod, named: Named) -> int:
    """A port by number or by its name in the pod; none asked for: the first there is, or the
    scheme's own."""
    ports = [port for container in pod.spec.containers for port in container.ports]
    if named.port:
        by_name = next((port.container_port for port in ports if port.name == named.port), 0)
        return by_name or port_number(named.port)
    if ports:
        return ports[0].container_port
    return 443 if named.scheme == "https" else 80

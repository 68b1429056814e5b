"""Probes and hooks of a pod of the mesh: the kubelet has no identity, so it asks the sidecar, which
asks the container.

A probe becomes one over HTTP on the sidecar's own port; what it was stands in an annotation, from
which the sidecar's routes are made. An HTTP probe is passed on. A connection and a gRPC health
check are made by the sidecar itself, every second, and the kubelet gets the result of the last.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tiphys.addons.mesh import GROUP
from tiphys.addons.mesh.ports import PROBES

ANNOTATION = f"{GROUP}/probes"
_PROBES = {"livenessProbe": "liveness", "readinessProbe": "readiness", "startupProbe": "startup"}
_HOOKS = {"postStart": "post-start", "preStop": "pre-stop"}
_ASKED = ("httpGet", "tcpSocket", "grpc")
_MOST = 64


class Probe(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the kubelet would have probed at 127.0.0.1. `path` is of HTTP, `service` of gRPC."""

    kind: Literal["http", "https", "tcp", "grpc"]
    port: int
    path: str = ""
    service: str = ""


def rewrite(container: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Probe]]:
    """The container (plain data) as it asks the sidecar, and the probes that were there by the name
    under which the sidecar has them. The container that is given stays as it is."""
    changed = dict(container)
    original: dict[str, Probe] = {}

    def replaced(handler: dict[str, Any], kind: str) -> dict[str, Any]:
        probe = _probe(handler, container)
        if probe is None:
            return handler
        name = f"{container['name']}/{kind}"
        original[name] = probe
        return _asked_of_sidecar(handler, name)

    for field, kind in _PROBES.items():
        if container.get(field):
            changed[field] = replaced(container[field], kind)
    hooks = dict(container.get("lifecycle") or {})
    for field, kind in _HOOKS.items():
        if (hooks.get(field) or {}).get("httpGet"):  # the only kind of hook that uses the network
            hooks[field] = replaced(hooks[field], kind)
            changed["lifecycle"] = hooks
    return changed, original


def _probe(handler: dict[str, Any], container: dict[str, Any]) -> Probe | None:
    """None for what does not go to the pod over the network, or names no port."""
    field = next((one for one in _ASKED if handler.get(one)), "")
    if not field or handler[field].get("host"):
        return None
    action = handler[field]
    port = _number(action.get("port"), container)
    if not 0 < port < 65536:
        return None
    if field == "httpGet":
        kind: Literal["http", "https"] = "https" if action.get("scheme") == "HTTPS" else "http"
        path = action.get("path") or "/"
        return Probe(kind, port, path if path.startswith("/") else f"/{path}")
    if field == "grpc":
        return Probe("grpc", port, service=action.get("service") or "")
    return Probe("tcp", port)


def _number(port: Any, container: dict[str, Any]) -> int:
    if isinstance(port, int):
        return port
    for named in container.get("ports") or ():
        if named.get("name") == port and named.get("containerPort"):
            return int(named["containerPort"])
    return int(port) if str(port).isdecimal() else 0


def _asked_of_sidecar(handler: dict[str, Any], name: str) -> dict[str, Any]:
    action: dict[str, Any] = {"path": f"/probes/{name}", "port": PROBES, "scheme": "HTTP"}
    headers = (handler.get("httpGet") or {}).get("httpHeaders")
    if headers:
        action["httpHeaders"] = headers
    kept = {field: value for field, value in handler.items() if field not in _ASKED}
    return {**kept, "httpGet": action}


def written(probes: dict[str, Probe]) -> str:
    return msgspec.json.encode(probes).decode()


def read(annotations: dict[str, str]) -> dict[str, Probe]:
    """Those of a pod. A hand-written annotation harms that pod alone."""
    try:
        probes = msgspec.json.decode(annotations.get(ANNOTATION, "{}"), type=dict[str, Probe])
    except msgspec.DecodeError:
        return {}
    usable = {
        name: probe
        for name, probe in probes.items()
        if 0 < probe.port < 65536 and probe.path.isprintable() and name.isascii()
    }
    return dict(sorted(usable.items())[:_MOST])

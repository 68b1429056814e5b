"""Makes a pod one of the mesh: the operations of a JSON patch for a pod (plain data, as it comes to
an admission webhook). Pure.

First comes an init container that redirects the pod's traffic and ends; then Envoy, as a native
sidecar (an init container that is always restarted): it is ready before any other container starts,
outlives them all, and does not keep a Job from completing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiphys.addons.mesh import AUDIENCE, GROUP, INJECT
from tiphys.addons.mesh.bootstrap import FOLDER
from tiphys.addons.mesh.ports import METRICS, PROBES, USER
from tiphys.addons.mesh.probes import ANNOTATION, Probe, rewrite, written
from tiphys.addons.mesh.redirect import ruleset

PROXY = "mesh-proxy"
_REDIRECT = "mesh-redirect"
_VOLUMES = ("mesh-token", "mesh-own")
STATUS = f"{GROUP}/status"
INJECTED = "injected"
SKIP_INBOUND = f"{GROUP}/skip-inbound-ports"
SKIP_OUTBOUND = f"{GROUP}/skip-outbound-ports"
_MIRROR = "kubernetes.io/config.mirror"
_TOKEN_LIFETIME = 3600  # seconds; the kubelet replaces it before
_SCRAPED = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(METRICS),
    "prometheus.io/path": "/metrics",
}
Operation = dict[str, Any]


class InjectionError(ValueError):
    """A pod's annotations for the mesh are invalid; the text is for its creator."""


@dataclass(frozen=True)
class Proxy:
    """How sidecars are: their image, Envoy's first configuration (JSON), and the seconds that they
    outlive the containers."""

    image: str
    bootstrap: str
    drain: int


def has_sidecar(pod: Any) -> bool:
    """Of a pod as a struct: whether it is one of the mesh."""
    return any(one.name == PROXY for one in pod.spec.init_containers)


def inject(pod: dict[str, Any], proxy: Proxy) -> list[Operation]:
    """None for a pod that is in it already, stays out, or is its node's. Raises InjectionError."""
    annotations = dict((pod.get("metadata") or {}).get("annotations") or {})
    spec = pod.get("spec") or {}
    init_containers = spec.get("initContainers") or []
    wanted = annotations.get(INJECT, "enabled")
    if wanted not in ("enabled", "disabled"):
        raise InjectionError(f"annotation {INJECT}: {wanted!r} is neither enabled nor disabled")
    is_in = any(one.get("name") == PROXY for one in init_containers)
    if wanted == "disabled" or is_in or spec.get("hostNetwork") or _MIRROR in annotations:
        return []
    rules = ruleset(_ports(annotations, SKIP_INBOUND), _ports(annotations, SKIP_OUTBOUND))
    probes: dict[str, Probe] = {}
    operations: list[Operation] = []
    for index, container in enumerate(spec.get("containers") or ()):
        changed, original = rewrite(container)
        probes |= original
        if original:
            operations.append(_set("replace", f"spec/containers/{index}", changed))
    following = []
    for container in init_containers:
        changed, original = rewrite(container)
        probes |= original
        following.append(changed)
    if not any(name.startswith("prometheus.io/") for name in annotations):
        annotations |= _SCRAPED
    annotations |= {STATUS: INJECTED, ANNOTATION: written(probes)}
    own = [_redirect(proxy, rules), _sidecar(proxy)]
    return [
        *operations,
        _set("add", "spec/initContainers", [*own, *following]),
        _set("add", "spec/volumes", [*(spec.get("volumes") or []), *_volumes()]),
        _set("add", "metadata/annotations", annotations),
    ]


def _set(operation: str, path: str, value: Any) -> Operation:
    return {"op": operation, "path": f"/{path}", "value": value}


def _ports(annotations: dict[str, str], name: str) -> list[int]:
    ports = []
    for word in annotations.get(name, "").replace(",", " ").split():
        if not (word.isascii() and word.isdecimal() and len(word) < 6 and 0 < int(word) < 65536):
            raise InjectionError(f"annotation {name}: {word!r} is no port")
        ports.append(int(word))
    return ports


def _redirect(proxy: Proxy, rules: str) -> dict[str, Any]:
    return {
        "name": _REDIRECT,
        "image": proxy.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/sbin/nft", rules],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        "securityContext": {
            "runAsUser": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        },
    }


def _sidecar(proxy: Proxy) -> dict[str, Any]:
    return {
        "name": PROXY,
        "image": proxy.image,
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "args": [
            *("--config-yaml", proxy.bootstrap),
            *("--service-node", "$(POD_NAMESPACE)/$(POD_NAME)", "--service-cluster", "mesh"),
            *("-l", "warning", "--component-log-level", "misc:error"),  # no word of deprecation
            *("--concurrency", "2", "--drain-time-s", "5"),
            "--use-dynamic-base-id",
        ],
        "env": [_field("POD_NAME", "metadata.name"), _field("POD_NAMESPACE", "metadata.namespace")],
        "ports": [{"name": "mesh-metrics", "containerPort": METRICS, "protocol": "TCP"}],
        "startupProbe": {
            "httpGet": {"path": "/ready", "port": PROBES, "scheme": "HTTP"},
            "periodSeconds": 1,
            "failureThreshold": 120,
        },
        **({"lifecycle": {"preStop": {"sleep": {"seconds": proxy.drain}}}} if proxy.drain else {}),
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "volumeMounts": [
            {"name": "mesh-token", "mountPath": f"{FOLDER}/token", "readOnly": True},
            {"name": "mesh-own", "mountPath": f"{FOLDER}/own"},
        ],
        "securityContext": {
            "runAsUser": USER,
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _volumes() -> list[dict[str, Any]]:
    token = {"path": "token", "audience": AUDIENCE, "expirationSeconds": _TOKEN_LIFETIME}
    return [
        {"name": _VOLUMES[0], "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": _VOLUMES[1], "emptyDir": {}},
    ]

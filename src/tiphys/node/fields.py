"""Values of a pod's own fields and resources, for environment variables and downward API files."""

from __future__ import annotations

import re
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery import quantity

_SUBSCRIPT = re.compile(r"(.+)\['(.+)'\]$")


def field(pod: core_v1.Pod, path: str, host_ip: str = "") -> str:
    """Raises KeyError for a path that is not one of upstream's."""
    meta, spec, status = pod.metadata, pod.spec, pod.status
    match = _SUBSCRIPT.match(path)
    if match:
        source = {"metadata.labels": meta.labels, "metadata.annotations": meta.annotations}[
            match[1]
        ]
        return source.get(match[2], "")
    host = status.host_ip or host_ip
    values: dict[str, Any] = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _lines(meta.labels),
        "metadata.annotations": _lines(meta.annotations),
        "spec.nodeName": spec.node_name,
        "spec.serviceAccountName": spec.service_account_name,
        "status.hostIP": host,
        "status.hostIPs": host,
        "status.podIP": status.pod_ip,
        "status.podIPs": ",".join(p.ip for p in status.pod_ips),
    }
    return str(values[path])


def _lines(items: dict[str, str]) -> str:
    return "\n".join(f'{key}="{_quoted(items[key])}"' for key in sorted(items))


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource(
    pod: core_v1.Pod,
    container: Any,
    selector: core_v1.ResourceFieldSelector,
    allocatable: dict[str, str],
) -> str:
    """A limit or request in units of the divisor, rounded up; a missing limit is what the node has."""
    if selector.container_name:
        everyone = [*pod.spec.containers, *pod.spec.init_containers]
        container = next((c for c in everyone if c.name == selector.container_name), container)
    kind, _, name = selector.resource.partition(".")
    values = container.resources.limits if kind == "limits" else container.resources.requests
    value = values.get(name) or (allocatable.get(name, "0") if kind == "limits" else "0")
    divisor = quantity.nano(selector.divisor or "0") or (quantity.NANO)
    return str(-(-quantity.nano(value) // divisor))

"""Values of a pod's own fields and resources, for environment variables and downward API files.
Pure."""

from __future__ import annotations

import re
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery import quantity

_OVERCOMMITTED = ("cpu", "memory", "ephemeral-storage")  # what a container takes without a limit
_OF_PODS = ("cpu", "memory")  # what the limits of a pod as a whole may be of
_SUBSCRIPT = re.compile(r"(.+)\['(.+)'\]$")


Addresses = tuple[str, ...]


def field(pod: core_v1.Pod, path: str, host_ips: Addresses = (), pod_ips: Addresses = ()) -> str:
    """The value of a field that upstream lets a pod see of itself.

    `host_ips` and `pod_ips` are what the node knows before the pod's status says it. Raises
    KeyError for any other path.
    """
    meta = pod.metadata
    spec = pod.spec
    status = pod.status
    match = _SUBSCRIPT.match(path)
    if match:
        maps = {"metadata.labels": meta.labels, "metadata.annotations": meta.annotations}
        return maps[match[1]].get(match[2], "")
    hosts = tuple(host_ip.ip for host_ip in status.host_ips) or host_ips
    own = tuple(pod_ip.ip for pod_ip in status.pod_ips) or pod_ips
    values: dict[str, Any] = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _lines(meta.labels),
        "metadata.annotations": _lines(meta.annotations),
        "spec.nodeName": spec.node_name,
        "spec.host": spec.node_name,  # as old clients call it
        "spec.serviceAccountName": spec.service_account_name,
        "status.hostIP": status.host_ip or next(iter(hosts), ""),
        "status.hostIPs": ",".join(hosts),
        "status.podIP": status.pod_ip or next(iter(own), ""),
        "status.podIPs": ",".join(own),
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
    """A limit or request in units of the divisor, rounded up. A limit that is not set is the pod's,
    or what the node has; a request that is not set is 0."""
    if selector.container_name:
        for candidate in [*pod.spec.containers, *pod.spec.init_containers]:
            if candidate.name == selector.container_name:
                container = candidate
                break
    kind, _, name = selector.resource.partition(".")
    if kind == "limits":
        value = _limit(pod, container, name, allocatable)
    else:
        value = container.resources.requests.get(name) or "0"
    divisor = quantity.nano(selector.divisor or "0") or quantity.NANO
    return str(_divide_up(quantity.nano(value), divisor))


def _limit(pod: core_v1.Pod, container: Any, name: str, allocatable: dict[str, str]) -> str:
    """Huge pages are never more than what is asked for, so the node's are no limit of theirs."""
    own = container.resources.limits.get(name, "0")
    if quantity.nano(own) or name not in _OVERCOMMITTED:
        return str(own)
    of_pod = pod.spec.resources.limits.get(name, "0") if pod.spec.resources is not None else "0"
    if name in _OF_PODS and quantity.nano(of_pod):
        return str(of_pod)
    return allocatable.get(name, "0")


def _divide_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)

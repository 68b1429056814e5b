"""Waiting for a cluster: its runtime, its API server, its nodes, and the pods that ran before."""

from __future__ import annotations

import contextlib
import datetime
import socket
import time
from typing import Any, NamedTuple

from tiphys.cluster import apiclient, components, images
from tiphys.cluster.sandboxes import places
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.machinery.finished import is_final

# A node with one of these taints takes no pods until the controllers have seen that it is ready.
_UNSETTLED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
# A container that waits for one of these reasons may never run: it is not waited for.
_PATIENCE, _PATIENCE_PER_NODE = 60.0, 0.05  # seconds until nodes are ready
_HOPELESS = (
    "CrashLoopBackOff",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)


class Nodes(NamedTuple):
    """How many nodes there are, and how many of them are ready."""

    ready: int
    all: int


# --- the runtime ---


def load_pause(cluster: Cluster, seconds: float = 30.0) -> None:
    """Gives every containerd, once it answers, the image that holds a pod's namespaces. Raises
    ClusterError when one does not answer in time, or crashes."""
    archive = cluster.root / "pause.tar"
    images.build(archive, images.PAUSE, {"pause": images.pause_program()}, ["/pause"])
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(ClusterError):
            if all(place.socket.exists() for place in places(cluster)):
                images.load(cluster, archive)
                return
        if time.monotonic() > deadline:
            log = cluster.logs / "containerd.log"
            raise ClusterError(f"containerd did not start; see {log}")
        for place in places(cluster):
            _check_no_crash_loop(cluster, f"containerd{place.suffix}")
        time.sleep(0.03)


# --- the API server ---


def wait_for_server(cluster: Cluster, seconds: float = 60.0) -> None:
    """Returns when /readyz reports ok. Raises ClusterError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not apiclient.is_ready(cluster):
        if time.monotonic() > deadline:
            log = cluster.logs / "apiserver.log"
            raise ClusterError(f"the API server did not become ready in {seconds:g} s; see {log}")
        _check_no_crash_loop(cluster, "apiserver")
        time.sleep(0.02)


def wait_for_api_address(cluster: Cluster, seconds: float = 30.0) -> None:
    """Returns when the address that is to lead to any API server does. Raises ClusterError when it
    does not in time."""
    if not cluster.api_address:
        return
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection((cluster.api_address, cluster.port), 1.0).close()
            return
        if time.monotonic() > deadline:
            raise ClusterError(
                f"nothing answers at --api-address {cluster.api_address}; see "
                f"{cluster.logs / 'controllers.log'}"
            )
        time.sleep(0.05)


def _check_no_crash_loop(cluster: Cluster, name: str) -> None:
    rows = components.read(cluster)["components"]
    row = next((row for row in rows if row["name"] == name), None)
    if row is None or row.get("failures", 0) < components.CRASH_LOOP:
        return
    log = cluster.logs / f"{name}.log"
    lines = log.read_text(errors="replace").strip().splitlines()
    last_line = lines[-1] if lines else "no output"
    raise ClusterError(f"{name} is in a crash loop: {last_line}; see {log}")


# --- nodes ---


def nodes_ready(cluster: Cluster) -> Nodes:
    """Of the whole cluster."""
    nodes = apiclient.items(cluster, "/api/v1/nodes")
    return Nodes(_count_ready(cluster, nodes), len(nodes))


def _count_ready(cluster: Cluster, nodes: list[dict[str, Any]]) -> int:
    """What a node of this machine reported before its agent started last does not count."""
    since = components.started(cluster, "node")
    own = _own_nodes(cluster)
    times = [since if own is None or node["metadata"]["name"] in own else 0.0 for node in nodes]
    return sum(is_node_ready(node, time) for node, time in zip(nodes, times, strict=True))


def _own_nodes(cluster: Cluster) -> set[str] | None:
    """The names of this machine's nodes; None for all that there are."""
    return {place.name for place in places(cluster)} or None


def own_nodes_ready(cluster: Cluster) -> int:
    """How many nodes of this machine are ready."""
    own = _own_nodes(cluster)
    nodes = apiclient.items(cluster, "/api/v1/nodes")
    mine = [node for node in nodes if own is None or node["metadata"]["name"] in own]
    return _count_ready(cluster, mine)


def is_node_ready(node: dict[str, Any], since: float) -> bool:
    """`since`: seconds since the epoch; an older heartbeat is from before the last restart."""
    if any(taint["key"] in _UNSETTLED for taint in node["spec"].get("taints", ())):
        return False
    conditions = node["status"].get("conditions", ())
    ready = next((condition for condition in conditions if condition["type"] == "Ready"), None)
    if ready is None or ready["status"] != "True":
        return False
    return _seconds(ready.get("lastHeartbeatTime")) >= int(since)


def wait_for_nodes(cluster: Cluster, timeout: float = 0.0) -> None:
    """Returns when all nodes are ready. Raises ClusterError when they are not in time: in `timeout`
    seconds, or in what so many nodes may take on a busy machine."""
    timeout = timeout or _PATIENCE + _PATIENCE_PER_NODE * cluster.nodes
    deadline = time.monotonic() + timeout
    agents = ["node", *(f"node{place.suffix}" for place in places(cluster))]
    while True:
        began = time.monotonic()
        if own_nodes_ready(cluster) >= cluster.nodes:
            return
        if time.monotonic() > deadline:
            log = cluster.logs / "node.log"
            raise ClusterError(f"not all nodes became ready in {timeout:g} s; see {log}")
        for agent in agents:
            _check_no_crash_loop(cluster, agent)
        # To look at five thousand nodes takes the server as long as to make some.
        time.sleep(max(0.05, 2 * (time.monotonic() - began)))


# --- pods ---


def wait_for_pods(cluster: Cluster, timeout: float = 60.0) -> list[str]:
    """Waits until the pods that were there before run again on this machine. Returns those that do
    not after `timeout` seconds, as ``namespace/name``."""
    own = _own_nodes(cluster)
    since = components.started(cluster, "containerd")
    deadline = time.monotonic() + timeout
    while True:
        pods = apiclient.items(cluster, "/api/v1/pods")
        mine = [pod for pod in pods if own is None or pod["spec"].get("nodeName") in own]
        pending = [_name(pod) for pod in mine if is_awaited(pod, since)]
        if not pending or time.monotonic() > deadline:
            return pending
        time.sleep(0.1)


def is_awaited(pod: dict[str, Any], since: float) -> bool:
    """Whether a pod that is bound to a node is about to run. `since`: when the runtime started, in
    seconds since the epoch; what was reported of containers before is no longer true."""
    pod_status = pod["status"]
    if not pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp"):
        return False
    if is_final(pod_status.get("phase", "")):
        return False
    for container in pod_status.get("containerStatuses", ()):
        state = container.get("state", {})
        if state.get("waiting", {}).get("reason") in _HOPELESS:
            return False
        if "running" in state and _seconds(state["running"].get("startedAt")) < int(since):
            return True
    conditions = {
        condition["type"]: condition["status"] for condition in pod_status.get("conditions", ())
    }
    return conditions.get("Ready") != "True"


def _name(pod: dict[str, Any]) -> str:
    metadata = pod["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"


def _seconds(timestamp: str | None) -> float:
    """Seconds since the epoch of a timestamp as the API writes it; 0 for none."""
    return datetime.datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0

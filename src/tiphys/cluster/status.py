"""How a cluster is: what `tiphys status` shows."""

from __future__ import annotations

import time
from typing import Any

from tiphys.cluster import apiclient, components, kubeconfig, readiness
from tiphys.cluster.state import Cluster


def summary(cluster: Cluster) -> dict[str, Any]:
    """What `tiphys status` shows."""
    running = components.is_running(cluster)
    ready = running and apiclient.is_ready(cluster)
    nodes = readiness.nodes_ready(cluster) if ready else readiness.Nodes(0, 0)
    report = components.read(cluster)
    rows = report["components"] if running else []
    return {
        "name": cluster.name,
        "running": running,
        "server": cluster.server,
        "node": cluster.joined.node if cluster.joined else "",
        "runtime": cluster.runtime,
        "store": cluster.store,
        "dataDir": cluster.data_dir,
        "kubeconfig": str(kubeconfig.user_file()),
        "context": cluster.name,
        "nodesReady": nodes.ready,
        "nodes": nodes.all,
        "components": [_component(row, ready) for row in rows],
        "supervisor": report["supervisor"] if running else None,
    }


def _component(row: dict[str, Any], server_ready: bool) -> dict[str, Any]:
    words = components.health(row, time.time())
    if words == "ok" and row["name"] == "apiserver" and not server_ready:
        words = "starting"
    return {**row, "health": words, "memory": components.memory_of(row["pid"])}

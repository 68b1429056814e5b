"""What a cluster publishes for machines that want to join: cluster-info, which anybody may read and
believes because it is signed with the token (as kubeadm's), and the configuration of nodes.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from tiphys.cluster import apiclient
from tiphys.cluster.sandboxes import pod_networks
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.machinery.addresses import authority

CONFIG = "tiphys-config"
INFO = "cluster-info"
_MERGE = "application/merge-patch+json"
_CONFLICT = 409


_ENDPOINTS = "/api/v1/namespaces/default/endpoints/kubernetes"


def publish(cluster: Cluster) -> None:
    """Writes both, as the cluster is now. Raises ClusterError, OSError, HTTPException."""
    _write(cluster, "kube-public", INFO, {"kubeconfig": _kubeconfig(cluster)})
    data = configuration(cluster) | {"servers": ",".join(_servers(cluster))}
    _write(cluster, "kube-system", CONFIG, data)


def _servers(cluster: Cluster) -> list[str]:
    """``HOST:PORT`` of every API server, this machine's first."""
    own = authority(cluster.machine_address, cluster.port)
    answer = apiclient.get(cluster, _ENDPOINTS)
    subsets = json.loads(answer.body).get("subsets") or [] if answer.status == 200 else []
    others = [
        authority(row["ip"], port["port"])
        for subset in subsets
        for row in subset.get("addresses", ())
        for port in subset["ports"]
    ]
    return list(dict.fromkeys([own, *others]))


def configuration(cluster: Cluster) -> dict[str, str]:
    """What a node needs to know. Lists have commas."""
    return {
        "servers": authority(cluster.machine_address, cluster.port),
        "serviceNetwork": ",".join(cluster.service_cidrs),
        "clusterDNS": cluster.dns_address,
        "clusterDomain": cluster.domain,
        "podNetworks": ",".join(pod_networks(cluster)),
        "podRoutes": cluster.pod_routes,
        "loadBalancerPools": ",".join(cluster.load_balancer_pools),
        "apiAddress": cluster.api_address,
    }


def _kubeconfig(cluster: Cluster) -> str:
    """A kubeconfig without a user, as kubeadm writes it."""
    authority = base64.b64encode((cluster.pki / "ca.crt").read_bytes()).decode()
    return (
        "apiVersion: v1\n"
        "clusters:\n"
        "- cluster:\n"
        f"    certificate-authority-data: {authority}\n"
        f"    server: {cluster.server}\n"
        '  name: ""\n'
        "contexts: null\n"
        'current-context: ""\n'
        "kind: Config\n"
        "preferences: {}\n"
        "users: null\n"
    )


def _write(cluster: Cluster, namespace: str, name: str, data: dict[str, str]) -> None:
    """Makes a ConfigMap, or sets these keys of the one there: cluster-info has signatures, too."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    config_map: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": data,
    }
    answer = apiclient.request(cluster, "POST", path, config_map)
    if answer.status == _CONFLICT:
        answer = apiclient.request(cluster, "PATCH", f"{path}/{name}", {"data": data}, _MERGE)
    if answer.status >= 300:
        raise ClusterError(f"ConfigMap {namespace}/{name} cannot be written: {answer.message}")

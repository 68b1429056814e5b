"""The processes of a cluster: what the supervisor starts, with which flags, in which order."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from tiphys.cluster import supervisor
from tiphys.cluster.sandboxes import NodePlace, places, pod_networks
from tiphys.cluster.state import Cluster

# Certificates of a machine that has joined, each with its key.
NODE_PEM, KUBELET_PEM, POLICY_PEM = "node.pem", "kubelet.pem", "network-policy.pem"

_TIPHYS = (sys.executable, "-m", "tiphys.cli.main")


@dataclass(frozen=True)
class Process:
    """A process of the plan: a row of the file that `supervisor.read_plan` reads. `address` is
    what `tiphys status` shows, `env` is added to the supervisor's environment, and `listen` is the
    address (``host:port``) of a socket that the supervisor holds for it."""

    name: str
    command: list[str]
    address: str = ""
    env: dict[str, str] = field(default_factory=dict)
    listen: str = ""
    patience: float = supervisor.PATIENCE  # seconds that it may take to end


def write(cluster: Cluster, without: Collection[str] = ()) -> Path:
    """Writes the plan into the cluster's folder, at once, and returns its path. Processes whose
    names are in `without` are left out."""
    file = cluster.root / "components.json"
    rows = [asdict(process) for process in processes(cluster) if process.name not in without]
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps({"components": rows}))
    temporary.rename(file)
    return file


def processes(cluster: Cluster) -> list[Process]:
    """The processes of a cluster, in the order of their start."""
    return list(_processes(cluster))


def _processes(cluster: Cluster) -> Iterator[Process]:
    if cluster.joined:
        for place in places(cluster):
            yield _containerd(place)
            yield _node(place)
        return
    if cluster.store == "etcd":
        yield etcd(cluster)
    yield _apiserver(cluster)
    for place in places(cluster):
        yield _containerd(place)
    yield _controllers(cluster)
    if cluster.runtime == "hollow":
        yield _hollow_nodes(cluster)
    for place in places(cluster):
        yield _node(place)
    if cluster.addons:
        yield _addons(cluster)


def etcd_ports(port: int) -> tuple[int, int]:
    """(client, peer) ports of a cluster's own etcd, apart from those of its neighbours: 16443 and
    16444 for 6443."""
    base = port + 10000 if port + 10001 <= 65535 else port - 10000
    return base, base + 1


class MonitoringPorts(NamedTuple):
    """Where the components of a cluster serve their metrics, on 127.0.0.1."""

    controllers: int
    scheduler: int
    addons: int


def monitoring_ports(port: int) -> MonitoringPorts:
    """Upstream's for a cluster at 6443; for its neighbours on the machine those after etcd's."""
    first = port + 10002 if port + 10004 <= 65535 else port - 9998
    if port == 6443:
        return MonitoringPorts(10257, 10259, first)
    return MonitoringPorts(first, first + 1, first + 2)


def _monitoring_flags(cluster: Cluster, port: int) -> dict[str, str]:
    return {
        "--secure-port": str(port),
        "--tls-cert-file": str(cluster.pki / "components.crt"),
        "--tls-private-key-file": str(cluster.pki / "components.key"),
        "--client-ca-file": str(cluster.pki / "ca.crt"),
    }


def etcd(cluster: Cluster) -> Process:
    """The cluster's own etcd."""
    client, peer = (f"http://127.0.0.1:{port}" for port in etcd_ports(cluster.port))
    flags = {
        "--data-dir": str(cluster.root / "etcd"),
        "--listen-client-urls": client,
        "--advertise-client-urls": client,
        "--listen-peer-urls": peer,
        "--initial-advertise-peer-urls": peer,
        "--initial-cluster": f"default={peer}",
        "--log-level": "warn",
    }
    return Process("etcd", ["etcd", *_words(flags)], client)


def _apiserver(cluster: Cluster) -> Process:
    store = cluster.store
    if store == "etcd":
        client_port, _ = etcd_ports(cluster.port)
        store = f"http://127.0.0.1:{client_port}"
    flags = {
        "--pki": str(cluster.pki),
        "--data-dir": str(cluster.root),
        "--port": str(cluster.port),
        "--address": cluster.address,
        "--store": store,
        "--service-cidr": ",".join(cluster.service_cidrs),
    }
    if cluster.api_workers:
        flags["--workers"] = str(cluster.api_workers)
    if cluster.encryption_config:
        flags["--encryption-provider-config"] = cluster.encryption_config
        flags["--encryption-provider-config-automatic-reload"] = "true"
    if cluster.audit_policy:
        flags["--audit-policy-file"] = cluster.audit_policy
        flags["--audit-log-path"] = str(cluster.root / "audit" / "audit.log")
    # Of a cluster without TLS to etcd there are no files.
    flags |= zip(("--etcd-ca", "--etcd-cert", "--etcd-key"), cluster.etcd_tls, strict=False)
    command = [*_TIPHYS, "apiserver", *_words(flags)]
    # Clients wait while one API server follows another, and are not refused.
    return Process("apiserver", command, cluster.server, listen=f"0.0.0.0:{cluster.port}")


def _containerd(place: NodePlace) -> Process:
    flags = {"--config": str(place.containerd_config), "--log-level": "warn"}
    command = place.inside("containerd", *_words(flags))
    # Go's garbage collector returns memory sooner, for a little more work.
    environment = {"GOGC": "50"}
    return Process(f"containerd{place.suffix}", command, str(place.socket), environment)


def _controllers(cluster: Cluster) -> Process:
    ports = monitoring_ports(cluster.port)
    flags = {
        "--kubeconfig": str(cluster.pki / "controllers.kubeconfig"),
        "--scheduler-kubeconfig": str(cluster.pki / "scheduler.kubeconfig"),
        "--ca": str(cluster.pki / "ca.crt"),
        "--ca-key": str(cluster.pki / "ca.key"),
        "--leader-elect": "false",
        "--scheduler-secure-port": str(ports.scheduler),
        **_monitoring_flags(cluster, ports.controllers),
    }
    if cluster.machine_address:
        flags["--cluster-cidr"] = cluster.pod_network
        flags["--service-cluster-ip-range"] = cluster.service_cidr
        flags["--server-certificate"] = str(cluster.pki / "apiserver.crt")
    if cluster.load_balancer_pools:
        flags["--load-balancer-pools"] = ",".join(cluster.load_balancer_pools)
    if cluster.scheduler_config:
        flags["--scheduler-config"] = cluster.scheduler_config
    address = f"https://127.0.0.1:{ports.controllers}"
    return Process("controllers", [*_TIPHYS, "controllers", *_words(flags)], address)


def _hollow_nodes(cluster: Cluster) -> Process:
    flags = {
        "--kubeconfig": str(cluster.pki / "node.kubeconfig"),
        "--runtime": "hollow",
        "--data-dir": str(cluster.root / "node"),
        "--nodes": str(cluster.nodes),
    }
    return Process("node", [*_TIPHYS, "node", *_words(flags)])


def _node(place: NodePlace) -> Process:
    cluster = place.cluster
    flags = {
        "--kubeconfig": str(place.kubeconfig),
        "--runtime": "containerd",
        "--data-dir": str(place.data),
        "--name": place.name,
        "--ca": str(cluster.pki / "ca.crt"),
        **_serving_flags(place),
        "--address": place.address,
        "--addresses": ",".join(place.addresses),
        "--socket": str(place.socket),
        "--logs": str(place.pod_logs),
        "--cgroup": place.cgroup,
        **_network_flags(place),
        "--cluster-cidr": ",".join(pod_networks(cluster)),
        "--service-cidr": ",".join(cluster.service_cidrs),
        "--dns": cluster.dns_address,
        "--table": cluster.table,
        "--policy-kubeconfig": str(cluster.pki / "network-policy.kubeconfig"),
        "--images": str(place.containerd_root),
    }
    if cluster.kubelet_config:
        flags["--config"] = cluster.kubelet_config
    if place.index:
        # The machine's name server may listen on its loopback, which a sandbox cannot reach: it
        # asks the machine's DNS server instead.
        flags["--forward-dns"] = cluster.node_address
    command = place.inside(*_TIPHYS, "node", *_words(flags))
    patience = supervisor.PATIENCE + shutdown_seconds(cluster)
    return Process(f"node{place.suffix}", command, place.address, patience=patience)


def shutdown_seconds(cluster: Cluster) -> int:
    """How long a node of the cluster takes to end its pods when it shuts down."""
    if not cluster.kubelet_config:
        return 0
    from tiphys.cluster.nodeprocess import read_kubelet_config
    from tiphys.node.configuration import ConfigurationError
    from tiphys.node.shutdown.periods import total

    try:
        return total(read_kubelet_config(Path(cluster.kubelet_config)).shutdown)
    except (ConfigurationError, OSError):  # the node itself says what is wrong
        return 0


def _serving_flags(place: NodePlace) -> dict[str, str]:
    """The certificate of the node's own server."""
    pki = place.cluster.pki
    if place.cluster.joined:
        # One file of both, which the node renews itself.
        file = str(pki / KUBELET_PEM)
        return {"--certificate": file, "--key": file}
    return {
        "--certificate": str(pki / f"kubelet{place.suffix}.crt"),
        "--key": str(pki / f"kubelet{place.suffix}.key"),
    }


def _network_flags(place: NodePlace) -> dict[str, str]:
    """The node's range of pods, and how it reaches those of others."""
    cluster = place.cluster
    flags = {"--pod-cidr": "" if cluster.joined else ",".join(place.pod_cidrs)}
    if not cluster.machine_address:
        return flags
    flags |= {
        "--pod-routes": cluster.pod_routes,
        "--pod-link": place.link,
        "--route-metric": str(cluster.number + 1),
    }
    if cluster.joined:
        flags |= {
            "--domain": cluster.domain,
            "--node-certificate": str(cluster.pki / NODE_PEM),
            "--policy-certificate": str(cluster.pki / POLICY_PEM),
            "--cni": str(place.cni),
            "--cni-name": place.cni_name,
            "--leases": str(place.run / "ipam"),
        }
    return flags


def _addons(cluster: Cluster) -> Process:
    port = monitoring_ports(cluster.port).addons
    flags = {
        "--kubeconfig": str(cluster.pki / "addons.kubeconfig"),
        "--data-dir": str(cluster.root / "addons"),
        **_monitoring_flags(cluster, port),
    }
    address = f"https://127.0.0.1:{port}"
    return Process("addons", [*_TIPHYS, "addons", *_words(flags)], address)


def _words(flags: dict[str, str]) -> Iterator[str]:
    """Flags and their values as words of a command."""
    for flag, value in flags.items():
        yield flag
        yield value

"""The processes of a cluster: what the supervisor starts, with which flags, in which order."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from tiphys.cluster import machinerecords, planfiles
from tiphys.cluster.machinerecords import RUNNING
from tiphys.cluster.sandboxes import NodePlace, places, pod_networks
from tiphys.cluster.state import Cluster
from tiphys.machinery.addresses import authority

# Certificates of a machine that has joined, each with its key.
NODE_PEM, KUBELET_PEM, POLICY_PEM = "node.pem", "kubelet.pem", "network-policy.pem"

_TIPHYS = (sys.executable, "-m", "tiphys.cli.main")


@dataclass(frozen=True)
class Process:
    """A process of the plan: a row of the file that `planfiles.read_plan` reads. `address` is
    what `tiphys status` shows, `env` is added to the supervisor's environment, and `listen` is the
    address (``host:port``) of a socket that the supervisor holds for it."""

    name: str
    command: list[str]
    address: str = ""
    env: dict[str, str] = field(default_factory=dict)
    listen: str = ""
    patience: float = planfiles.PATIENCE  # seconds that it may take to end


@dataclass(frozen=True)
class Change:
    """What is to happen to processes that run, by their names: those in `without` end, the sockets
    of those in `closes` are closed, for no replacement follows them, and another process is started
    beside each in `replaces` and follows it."""

    without: Collection[str] = ()
    closes: Collection[str] = ()
    replaces: Collection[str] = ()


NO_CHANGE = Change()


def write(cluster: Cluster, change: Change = NO_CHANGE) -> Path:
    """Writes the plan into the cluster's folder, at once, and returns its path."""
    file = cluster.root / "components.json"
    planned = processes(cluster)
    rows = [asdict(process) for process in planned if process.name not in change.without]
    closed = [process.listen for process in planned if process.name in change.closes]
    plan = {"components": rows, "closes": closed, "replaces": list(change.replaces)}
    if has_machines(cluster):
        plan["machines"] = str(machines_socket(cluster))
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(plan))
    temporary.rename(file)
    return file


def processes(cluster: Cluster) -> list[Process]:
    """The processes of a cluster, in the order of their start."""
    return list(_processes(cluster))


def _processes(cluster: Cluster) -> Iterator[Process]:
    if cluster.has_server:
        if cluster.store == "etcd":
            yield etcd(cluster)
        yield _apiserver(cluster)
    for place in places(cluster):
        if place.record is None or place.record.has_runtime:
            yield _containerd(place)
    if cluster.has_server:
        yield _controllers(cluster)
    if cluster.runtime == "hollow":
        yield _hollow_nodes(cluster)
    for place in places(cluster):
        if place.record is None or place.record.state == RUNNING:
            yield _node(place)
    if cluster.addons:
        yield _addons(cluster)


def names_of(place: NodePlace) -> list[str]:
    """The processes of a containerd node."""
    return [f"containerd{place.suffix}", f"node{place.suffix}"]


def has_machines(cluster: Cluster) -> bool:
    """Whether add-ons may have nodes made."""
    return cluster.runtime == "containerd" and not cluster.machine_address


def machines_socket(cluster: Cluster) -> Path:
    """Where they ask for them."""
    return cluster.run / "machines.sock"


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
    urls = etcd_urls(cluster)
    flags = {
        "--name": etcd_name(cluster),
        "--data-dir": str(cluster.root / "etcd"),
        "--listen-client-urls": ",".join(dict.fromkeys([urls.local, urls.client])),
        "--advertise-client-urls": urls.client,
        "--listen-peer-urls": urls.peer,
        "--initial-advertise-peer-urls": urls.peer,
        "--initial-cluster": f"{etcd_name(cluster)}={urls.peer}",
        "--log-level": "warn",
    }
    if cluster.is_replicated:
        flags |= _etcd_tls(cluster.pki / "etcd")
    if cluster.control:
        flags["--initial-cluster"] = cluster.control.etcd_members
        flags["--initial-cluster-state"] = "existing"
    switches = ["--client-cert-auth", "--peer-client-cert-auth"] if cluster.is_replicated else []
    return Process("etcd", ["etcd", *_words(flags), *switches], urls.local)


class EtcdURLs(NamedTuple):
    """Where a machine's etcd is: for itself, for clients elsewhere, for the other members."""

    local: str
    client: str
    peer: str


def etcd_urls(cluster: Cluster) -> EtcdURLs:
    client, peer = etcd_ports(cluster.port)
    if not cluster.is_replicated:
        local = f"http://127.0.0.1:{client}"
        return EtcdURLs(local, local, f"http://127.0.0.1:{peer}")
    address = cluster.machine_address
    return EtcdURLs(
        f"https://127.0.0.1:{client}",
        f"https://{authority(address, client)}",
        f"https://{authority(address, peer)}",
    )


def etcd_name(cluster: Cluster) -> str:
    """Of this machine's member: the first one's is etcd's default."""
    return cluster.joined.node if cluster.joined else "default"


def _etcd_tls(pki: Path) -> dict[str, str]:
    """All clients show a certificate of etcd's own authority, as with kubeadm."""
    return {
        "--cert-file": str(pki / "server.crt"),
        "--key-file": str(pki / "server.key"),
        "--trusted-ca-file": str(pki / "ca.crt"),
        "--peer-cert-file": str(pki / "peer.crt"),
        "--peer-key-file": str(pki / "peer.key"),
        "--peer-trusted-ca-file": str(pki / "ca.crt"),
    }


def etcd_client_files(cluster: Cluster) -> list[str]:
    """CA, certificate and key by which etcd is spoken to; none without TLS."""
    if not cluster.is_replicated:
        return cluster.etcd_tls
    pki = cluster.pki / "etcd"
    return [str(pki / name) for name in ("ca.crt", "client.crt", "client.key")]


def _apiserver(cluster: Cluster) -> Process:
    store = cluster.store
    if store == "etcd":
        store = etcd_urls(cluster).local
    flags = {
        "--pki": str(cluster.pki),
        "--data-dir": str(cluster.root),
        "--port": str(cluster.port),
        "--address": cluster.address,
        "--store": store,
        "--service-cidr": ",".join(cluster.service_cidrs),
    }
    if cluster.has_ipv6:
        flags["--bind"] = "::"
    if cluster.api_workers:
        flags["--workers"] = str(cluster.api_workers)
    if cluster.encryption_config:
        flags["--encryption-provider-config"] = cluster.encryption_config
        flags["--encryption-provider-config-automatic-reload"] = "true"
    if cluster.audit_policy:
        flags["--audit-policy-file"] = cluster.audit_policy
        flags["--audit-log-path"] = str(cluster.root / "audit" / "audit.log")
    # Of a cluster without TLS to etcd there are no files.
    etcd_files = ("--etcd-ca", "--etcd-cert", "--etcd-key")
    flags |= zip(etcd_files, etcd_client_files(cluster), strict=False)
    command = [*_TIPHYS, "apiserver", *_words(flags)]
    # Clients wait while one API server follows another, and are not refused.
    listen = authority("::" if cluster.has_ipv6 else "0.0.0.0", cluster.port)
    return Process("apiserver", command, cluster.server, listen=listen)


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
        "--leader-elect": "true" if cluster.is_replicated else "false",
        "--scheduler-secure-port": str(ports.scheduler),
        **_monitoring_flags(cluster, ports.controllers),
    }
    if cluster.machine_address:
        flags["--cluster-cidr"] = ",".join(cluster.joining_pods)
        flags["--service-cluster-ip-range"] = ",".join(cluster.service_cidrs)
        flags["--server-certificate"] = str(cluster.pki / "apiserver.crt")
    if cluster.api_address:
        flags["--api-address"] = authority(cluster.api_address, cluster.port)
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
        "--address": cluster.loopbacks[0],
        "--addresses": ",".join(cluster.loopbacks),
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
        "--load-balancer-pools": ",".join(cluster.announced_networks),
    }
    if cluster.api_address and cluster.has_server:
        flags["--api-address"] = cluster.api_address
    if cluster.kubelet_config:
        flags["--config"] = cluster.kubelet_config
    if place.record:
        flags["--machine"] = str(machinerecords.file_of(cluster, place.index))
    if place.index:
        # The machine's name server may listen on its loopback, which a sandbox cannot reach: it
        # asks the machine's DNS server instead.
        flags["--forward-dns"] = cluster.node_address
    command = place.inside(*_TIPHYS, "node", *_words(flags))
    patience = planfiles.PATIENCE + shutdown_seconds(cluster)
    return Process(f"node{place.suffix}", command, place.address, patience=patience)


def shutdown_seconds(cluster: Cluster) -> int:
    """How long a node of the cluster takes to end its pods when it shuts down."""
    if not cluster.kubelet_config:
        return 0
    from tiphys.cluster.kubeletconfig import read_kubelet_config
    from tiphys.node.configuration import ConfigurationError
    from tiphys.node.shutdown.periods import total

    try:
        return total(read_kubelet_config(Path(cluster.kubelet_config)).shutdown)
    except (ConfigurationError, OSError):  # the node itself says what is wrong
        return 0


def _serving_flags(place: NodePlace) -> dict[str, str]:
    """The certificate of the node's own server."""
    pki = place.cluster.pki
    if not place.cluster.has_server:
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
        "--servers": str(cluster.servers_file),
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
    if has_machines(cluster):
        flags["--machines"] = str(machines_socket(cluster))
    address = f"https://127.0.0.1:{port}"
    return Process("addons", [*_TIPHYS, "addons", *_words(flags)], address)


def _words(flags: dict[str, str]) -> Iterator[str]:
    """Flags and their values as words of a command."""
    for flag, value in flags.items():
        yield flag
        yield value

"""What the command line of `tiphys node` says."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from tiphys.machinery.addresses import version_of


@dataclass(frozen=True)
class NodeProcess:
    """Everything the command line says. `nodes` counts hollow nodes.

    pod_cidr:            the node's ranges of pods, with commas; "" for a machine that is given one
    cluster_cidr:        the networks of all pods, with commas
    pod_routes:          of `network.podroutes.MODES`; "" where all pods are on one machine
    pod_link:            the device that holds the node's address among its pods
    route_metric:        distinguishes routes from those of other clusters of this machine
    node_certificate:    of a machine that has joined, with its key, as policy_certificate
    load_balancer_pools: networks of addresses that nodes announce, with commas
    api_address:         at which any API server is found, of a machine that has one
    servers:             file that it keeps the addresses of API servers in
    machine:             file with what the node is to be, of one that an add-on has had made
    cni, leases:         folders that a machine which has joined writes its pods' network to
    """

    kubeconfig: Path
    runtime: str
    data_dir: Path
    name: str = "node"
    nodes: int = 1
    ca: Path = Path()
    certificate: Path = Path()
    key: Path = Path()
    address: str = "127.0.0.1"
    port: int = 10250
    socket: str = ""
    logs: Path = Path("/var/log/pods")
    cgroup: str = "/tiphys"
    addresses: str = ""  # all of the node's, with commas; "" for `address` alone
    pod_cidr: str = ""
    cluster_cidr: str = ""
    service_cidr: str = ""
    dns: str = ""
    table: str = "tiphys"
    policy_kubeconfig: Path | None = None
    domain: str = "cluster.local"
    forward_dns: str = ""
    images: Path | None = None
    config: Path | None = None
    pod_routes: str = ""
    pod_link: str = ""
    route_metric: int = 1
    node_certificate: Path | None = None
    policy_certificate: Path | None = None
    cni: Path = Path()
    cni_name: str = ""
    leases: Path = Path()
    servers: Path | None = None
    machine: Path | None = None
    load_balancer_pools: str = ""
    api_address: str = ""

    @property
    def gateways(self) -> tuple[str, ...]:
        """The node's addresses among its pods, one of each family."""
        ranges = filter(None, self.pod_cidr.split(","))
        return tuple(str(ipaddress.ip_network(text)[1]) for text in ranges)

    @property
    def gateway(self) -> str:
        """The first of them."""
        return next(iter(self.gateways), self.address)

    @property
    def versions(self) -> list[int]:
        """Of IP, that the cluster has, in its order."""
        return [version_of(text) for text in self.service_cidr.split(",")]

    @property
    def all_addresses(self) -> tuple[str, ...]:
        """The node's, the first family's first."""
        return tuple(self.addresses.split(",")) if self.addresses else (self.address,)

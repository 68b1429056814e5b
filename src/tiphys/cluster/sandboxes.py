"""The nodes of a cluster on this machine. The first is the machine itself; each further one is a
network namespace with a containerd, an agent, a proxy and a DNS server of its own, a route away
from the first.

Routes lead from the machine to each sandbox, and from each sandbox to the machine for everything
else; so a pod reaches a pod of another node without any translation, as Kubernetes asks of a
network.
"""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass
from pathlib import Path

from tiphys.cluster import machinerecords
from tiphys.cluster.families import FAMILIES
from tiphys.cluster.machinerecords import Record
from tiphys.cluster.state import Cluster
from tiphys.machinery.addresses import version_of
from tiphys.network import podroutes, pods, tunnel
from tiphys.network.pods import run

MOST = 16  # containerd nodes of one cluster: what the plan of addresses has room for


@dataclass(frozen=True)
class NodePlace:
    """Where one containerd node lives. `index` 0 is the machine itself; `record` is of one that an
    add-on has had made."""

    cluster: Cluster
    index: int
    record: Record | None = None

    @property
    def suffix(self) -> str:
        """Sets the node's files and processes apart from those of the first."""
        return f"-{self.index + 1}" if self.index else ""

    @property
    def name(self) -> str:
        if self.record:
            return self.record.name
        if self.cluster.joined:
            return self.cluster.joined.node
        host = socket.gethostname().lower().split(".")[0] or "node"
        return (host if self.cluster.number == 0 else f"{host}-{self.cluster.name}") + self.suffix

    @property
    def network(self) -> str:
        """The first three numbers of the node's addresses: 10.244.N for the machine, 10.225.N to
        10.239.N after it."""
        return f"10.{244 if not self.index else 224 + self.index}.{self.cluster.number}"

    @property
    def network6(self) -> str:
        """The same of IPv6, whose four groups stand for those three numbers."""
        return "fd" + self.network.replace(".", ":")

    @property
    def pod_cidrs(self) -> list[str]:
        """One of each family that the cluster has; none of a machine that has joined until it was
        given one."""
        if self.cluster.joined:
            return _recorded_ranges(self)
        return self.cluster.of_families(f"{self.network}.0/24", f"{self.network6}::/64")

    @property
    def gateways(self) -> list[str]:
        """The node's addresses among its pods, one of each family."""
        return self.cluster.of_families(f"{self.network}.1", f"{self.network6}::1")

    @property
    def address(self) -> str:
        """Where others reach the node."""
        return self.cluster.machine_address or self.gateways[0]

    @property
    def addresses(self) -> list[str]:
        """`address`, and one of the other family where the cluster has it: the machine's own, or
        that among its pods (which a machine that has joined is yet to be given)."""
        cluster = self.cluster
        others = [] if cluster.joined else self.gateways[1:]
        if cluster.other_address:
            others = [cluster.other_address]
        return [self.address, *others]

    @property
    def namespace(self) -> str:
        """The network namespace, "" for the machine's own."""
        return self.link if self.index else ""

    @property
    def link(self) -> str:
        """The device on the machine: what holds its address among pods, or what leads to the
        sandbox."""
        return f"tiphys{self.cluster.number}{self.suffix}"

    @property
    def tunnel(self) -> str:
        """The device that leads to the pods of nodes on other networks."""
        return f"{self.link}-vx"

    @property
    def run(self) -> Path:
        return self.cluster.run / f"node{self.suffix}" if self.index else self.cluster.run

    @property
    def socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def containerd_config(self) -> Path:
        return self.cluster.root / f"containerd{self.suffix}.toml"

    @property
    def containerd_root(self) -> Path:
        return self.cluster.root / f"containerd{self.suffix}"

    @property
    def cni(self) -> Path:
        return self.cluster.root / f"cni{self.suffix}"

    @property
    def cni_name(self) -> str:
        return f"tiphys-{self.cluster.name}{self.suffix}"

    @property
    def data(self) -> Path:
        return self.cluster.root / f"node{self.suffix}"

    @property
    def pod_logs(self) -> Path:
        return self.cluster.logs / f"pods{self.suffix}"

    @property
    def cgroup(self) -> str:
        return f"{self.cluster.cgroup}/node{self.suffix}" if self.index else self.cluster.cgroup

    @property
    def kubeconfig(self) -> Path:
        return self.cluster.pki / f"node{self.suffix}.kubeconfig"

    def inside(self, *command: str) -> list[str]:
        """The command as it runs in the node. (`ip netns exec` would hide the control groups behind
        a new /sys.) What starts there, and pods on the node's network, see the node's name as the
        host's."""
        if not self.index:
            return list(command)
        named = 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"'
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--uts"]
        return [*enter, "sh", "-c", named, self.name, *command]


def places(cluster: Cluster) -> list[NodePlace]:
    """The containerd nodes of a cluster, the machine itself first, those of add-ons last."""
    if cluster.runtime != "containerd":
        return []
    own = [NodePlace(cluster, index) for index in range(cluster.nodes)]
    of_machines = [
        NodePlace(cluster, record.index, record) for record in machinerecords.read(cluster)
    ]
    return [*own, *of_machines]


def pod_networks(cluster: Cluster) -> list[str]:
    """The networks of all pods of the cluster."""
    if cluster.joined:
        return cluster.joined.pod_networks
    if cluster.machine_address:
        own = [network for place in places(cluster) for network in place.pod_cidrs]
        return [*own, *cluster.joining_pods]
    # Also of nodes that add-ons may make later: these are not announced.
    every = [NodePlace(cluster, index) for index in range(MOST)]
    return [network for place in every for network in place.pod_cidrs]


def _recorded_ranges(place: NodePlace) -> list[str]:
    """The ranges that the node's process has written down when it was given them."""
    try:
        written = json.loads((place.cni / pods.CNI_FILE).read_text())
        ranges = written["plugins"][-1]["ipam"]["ranges"]
        return [str(subnets[0]["subnet"]) for subnets in ranges]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def set_up(place: NodePlace) -> None:
    """The node's place in the network; what depends on the range that a machine is given when it
    has joined is left to its node process. Raises NetworkError."""
    first = NodePlace(place.cluster, 0)
    place.run.mkdir(parents=True, exist_ok=True)
    for leftover in (place.run / "ipam").glob("*/last_reserved_ip.*"):
        leftover.unlink(missing_ok=True)
    if place.cluster.joined:
        return
    pods.write_cni(
        place.cni, place.cni_name, place.pod_cidrs, place.run / "ipam", _pod_mtu(place.cluster)
    )
    if not place.index:
        pods.set_up_link(place.link, place.gateways)
        cluster = place.cluster
        pods.route(place.link, [*cluster.service_cidrs, *cluster.announced_networks])
    elif not Path("/run/netns", place.namespace).exists():
        _set_up_namespace(place, first.gateways)


def _pod_mtu(cluster: Cluster) -> int:
    if not cluster.machine_address:
        return pods.MTU
    link = tunnel.link_mtu(cluster.machine_address)
    return podroutes.pod_mtu(link, link, cluster.pod_routes, FAMILIES[cluster.ip_family])


def _set_up_namespace(place: NodePlace, machine: list[str]) -> None:
    name = place.namespace
    run("ip", "netns", "add", name)
    run("ip", "link", "del", place.link, check=False)
    run("ip", "link", "add", place.link, "type", "veth", "peer", "name", "eth0", "netns", name)
    run("ip", "link", "set", place.link, "up")
    run("ip", "-n", name, "link", "set", "lo", "up")
    run("ip", "-n", name, "link", "set", "eth0", "up")
    for address, far, network in zip(place.gateways, machine, place.pod_cidrs, strict=True):
        _route(place, address, far, network)
    for forwarding in pods.forwarding(place.gateways):
        run(*place.inside("sh", "-c", f"echo 1 > {forwarding}"))


def _route(place: NodePlace, address: str, machine: str, network: str) -> None:
    """From the sandbox to everywhere by the machine, and from there to the sandbox's pods."""
    inside = ("ip", "-n", place.namespace)
    run(*inside, "addr", "add", *pods.alone(address), "dev", "eth0")
    if ":" in address:
        # A neighbour is found by the addresses of the link alone, unlike IPv4's.
        run("ip", "addr", "add", *pods.alone(machine), "dev", place.link)
    run(*inside, "route", "add", "default", "via", machine, "dev", "eth0", "onlink")
    way = ("via", address, "dev", place.link, "onlink", "src", machine)
    run("ip", "route", "replace", network, *way)


def pod_links(place: NodePlace) -> list[tuple[str, str]]:
    """(link, network namespace) of the node's pods: where the routes to their addresses lead."""
    ip = ("ip", "-n", place.namespace) if place.index else ("ip",)
    if not place.pod_cidrs or (place.index and not Path("/run/netns", place.namespace).exists()):
        return []
    links = []
    network = place.pod_cidrs[0]
    family = f"-{version_of(network)}"
    routes = run(*ip, family, "-o", "route", "show", "root", network, check=False)
    for route in map(str.split, routes.splitlines()):
        if "dev" not in route:
            continue
        link = route[route.index("dev") + 1]
        shown = run(*ip, "-o", "link", "show", link, check=False).split()
        if "link-netns" in shown:
            links.append((link, shown[shown.index("link-netns") + 1]))
    return links


def tear_down(place: NodePlace) -> None:
    """Takes the node's place in the network away, with those of its pods."""
    for link, namespace in pod_links(place):
        run("ip", "netns", "del", namespace, check=False)
        if not place.index:
            run("ip", "link", "del", link, check=False)
    if place.index:
        with contextlib.suppress(pods.NetworkError):
            run("ip", "netns", "del", place.namespace)
    tunnel.remove(place.tunnel, place.cluster.number + 1)
    pods.tear_down_link(place.link)

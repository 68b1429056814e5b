"""What is checked before anything starts, so that a user's mistake costs a line and not a broken
cluster.

Every check raises ClusterError with a sentence that says what to do.
"""

from __future__ import annotations

import ipaddress
import shutil
import socket
import tempfile
import time
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tiphys.cluster import certificates, containerd, encryption, kubeconfig, state
from tiphys.cluster.families import FAMILIES
from tiphys.cluster.plan import etcd_ports
from tiphys.cluster.sandboxes import places
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.controllers.podranges import MASKS, Network, PodRanges, RangeError
from tiphys.machinery.addresses import version_of
from tiphys.machinery.names import is_ip
from tiphys.network import tunnel
from tiphys.network.pods import NetworkError, run

if TYPE_CHECKING:
    from tiphys.node.configuration import KubeletConfiguration

_KUBELET_PORT = 10250
_SOCKETS = {4: socket.AF_INET, 6: socket.AF_INET6}
_BEFORE_OUR_TIME = 1_700_000_000  # seconds since the epoch: no clock that is right shows less


def check(cluster: Cluster) -> None:
    """Whether the cluster can run on this machine as it is configured."""
    if cluster.runtime == "containerd":
        containerd.check()
    if time.time() < _BEFORE_OUR_TIME:
        raise ClusterError(
            "the clock of this machine is years behind: certificates would not be valid; set it "
            "and try again"
        )
    if cluster.has_ipv6 and not Path("/proc/sys/net/ipv6").exists():
        raise ClusterError(
            f"--ip-family {cluster.ip_family} needs IPv6, which this machine's kernel has not"
        )
    check_store(cluster)
    encryption.check(cluster)
    check_pools(cluster)
    check_api_address(cluster)
    if cluster.machine_address:
        _check_machines(cluster)
    if cluster.scheduler_config:
        _check_profiles(Path(cluster.scheduler_config))
    if cluster.kubelet_config:
        _check_kubelet_config(Path(cluster.kubelet_config), cluster.nodes)
    if cluster.audit_policy:
        _check_audit_policy(Path(cluster.audit_policy))
    kubeconfig.check()
    certificates.check(cluster.pki)
    check_port(cluster.port)


def changed_options(running: Cluster, asked: Cluster) -> list[str]:
    """The options of `tiphys up` by which `asked` differs from the running cluster, as a user would
    write them."""
    pairs = (
        ("--port", running.port, asked.port),
        ("--runtime", running.runtime, asked.runtime),
        ("--nodes", running.nodes, asked.nodes),
        ("--store", running.store, asked.store),
        ("--etcd-tls", running.etcd_tls, asked.etcd_tls),
        ("--ip-family", running.ip_family, asked.ip_family),
        ("--scheduler-config", running.scheduler_config, asked.scheduler_config),
        ("--api-workers", running.api_workers, asked.api_workers),
        ("--encryption-config", running.encryption_config, asked.encryption_config),
        ("--kubelet-config", running.kubelet_config, asked.kubelet_config),
        ("--audit-policy", running.audit_policy, asked.audit_policy),
        ("--address", _addresses(running), _addresses(asked)),
        ("--pod-network", running.pod_network, asked.pod_network),
        ("--pod-routes", running.pod_routes, asked.pod_routes),
        ("--load-balancer-pool", running.pools, asked.pools),
        ("--api-address", running.api_address, asked.api_address),
    )
    return [f"{option} {_as_typed(new)}" for option, old, new in pairs if old != new]


def check_unchanged(running: Cluster, asked: Cluster) -> None:
    """A cluster that runs keeps its options until it is taken down."""
    changed = changed_options(running, asked)
    if not changed:
        return
    options = " ".join(changed)
    raise ClusterError(
        f"{running.name} is running without {options}, and nothing was changed; to restart it so "
        "(the data stays): "
        f"tiphys down --name {running.name} && tiphys up --name {running.name} {options}"
    )


def _addresses(cluster: Cluster) -> str:
    return ",".join(filter(None, (cluster.machine_address, cluster.other_address)))


def _as_typed(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


def _check_audit_policy(file: Path) -> None:
    from tiphys.apiserver.audit.policy import load
    from tiphys.machinery.configfiles import ConfigFileError

    try:
        load(file)
    except ConfigFileError as error:
        raise ClusterError(str(error)) from None


def check_store(cluster: Cluster) -> None:
    """Whether the store of a cluster can be used. Raises ClusterError."""
    store = cluster.store
    if store == "sqlite":
        return
    if store == "etcd":
        if shutil.which("etcd") is None:
            raise ClusterError("--store etcd needs the etcd program: apt-get install etcd-server")
        return
    for endpoint in store.split(","):
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClusterError(
                f"--store {store} is not a store: use sqlite, etcd (a local one), or the "
                "addresses of an etcd cluster "
                "(https://HOST:2379,...)"
            )
    for file in cluster.etcd_tls:
        if not Path(file).is_file():
            raise ClusterError(
                f"{file} of --etcd-tls is not there; give the PEM files of CA, certificate and key"
            )


def check_pools(cluster: Cluster) -> None:
    """Whether load balancers can have addresses of what the user names. Raises ClusterError."""
    for pool in cluster.pools:
        try:
            network = ipaddress.ip_network(pool)
        except ValueError as error:
            raise ClusterError(
                f"--load-balancer-pool {pool} is not a network ({error}); write 192.0.2.240/28"
            ) from None
        if network.version not in FAMILIES[cluster.ip_family]:
            raise ClusterError(
                f"--load-balancer-pool {pool} needs --ip-family dual: this cluster has no "
                f"IPv{network.version}"
            )


def check_api_address(cluster: Cluster) -> None:
    """Whether the machines can claim the address that is to lead to any API server. Raises
    ClusterError."""
    address = cluster.api_address
    if not address:
        return
    if not cluster.machine_address or cluster.runtime != "containerd":
        raise ClusterError("--api-address is for several machines: it needs --address, and nodes")
    from tiphys.network.announcing import announcer

    first = FAMILIES[cluster.ip_family][0]
    if not is_ip(address) or version_of(address) != first:
        raise ClusterError(f"--api-address {address} is not an address of IPv{first}")
    try:
        links = announcer.links()
    except NetworkError as error:
        raise ClusterError(str(error)) from None
    if not any(link.has(ipaddress.ip_address(address)) for link in links):
        raise ClusterError(
            f"--api-address {address} is on no network of this machine: take a free address of "
            "the machines' own"
        )
    if address in (cluster.machine_address, cluster.other_address):
        raise ClusterError(f"--api-address {address} is this machine's own: take a free one")


def _check_machines(cluster: Cluster) -> None:
    """Whether other machines can join."""
    if cluster.runtime == "hollow":
        raise ClusterError(
            "hollow nodes have no network that other machines could reach; with --address use "
            "--runtime containerd, or none"
        )
    check_addresses(cluster)
    if cluster.runtime == "containerd" and cluster.nodes > 1:
        raise ClusterError(
            "--address and --nodes cannot both be given: with --address, further nodes are "
            "machines that join"
        )
    check_pod_network(cluster)


def check_addresses(cluster: Cluster) -> None:
    """Whether a node can be reached at the addresses that were given for the machine: the first
    one is of the cluster's first family, as the API server's has to be for upstream, and another
    one of the second. Raises ClusterError."""
    addresses = list(filter(None, (cluster.machine_address, cluster.other_address)))
    for address, version in zip_longest(addresses, FAMILIES[cluster.ip_family]):
        if address is not None and (not is_ip(address) or version != version_of(address)):
            raise ClusterError(_unfit(cluster, address))
    for address in addresses:
        check_machine_address(address)


def _unfit(cluster: Cluster, address: str) -> str:
    if not is_ip(address):
        return f"--address {address} is not an address"
    families = " and ".join(f"IPv{version}" for version in FAMILIES[cluster.ip_family])
    return (
        f"--address {address} does not fit: the cluster has {families}, and its machines have an "
        "address of the first family, or one of each in that order with a comma between them; "
        "another --ip-family makes another cluster"
    )


def check_machine_address(address: str) -> None:
    """Whether a node can be reached at this address of the machine. Raises ClusterError."""
    try:
        tunnel.link_mtu(address)
    except NetworkError as error:
        raise ClusterError(f"{error}; give one that it has with --address") from None
    with socket.socket(_SOCKETS[version_of(address)]) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, _KUBELET_PORT))
        except OSError as error:
            raise ClusterError(
                f"port {_KUBELET_PORT} of {address} cannot be used ({error.strerror}): another "
                "node runs on this machine; stop it, or give another address with --address"
            ) from None


def check_neighbours(cluster: Cluster) -> None:
    """Whether neither this machine nor another cluster's services here have addresses of this
    one's services. Raises ClusterError."""
    own = [ipaddress.ip_network(cidr) for cidr in cluster.service_cidrs]
    for services in own:
        if ipaddress.ip_address(cluster.machine_address) in services:
            raise ClusterError(
                f"{cluster.machine_address} is among the addresses of the cluster's services, "
                f"{services}: this machine would not be reached at it; give another with --address"
            )
    try:
        tables = run("nft", "list", "tables").split()
    except NetworkError:
        return
    for other in state.everyone():
        if other.name == cluster.name or other.table not in tables:
            continue
        for services in own:
            if any(_overlap(services, ipaddress.ip_network(cidr)) for cidr in other.service_cidrs):
                raise ClusterError(
                    f"cluster {other.name} runs on this machine with services in {services}, too; "
                    f"take it down first: tiphys down --name {other.name}"
                )


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def check_pod_network(cluster: Cluster) -> None:
    """Raises ClusterError when machines that join cannot be given parts of the pod networks."""
    versions = FAMILIES[cluster.ip_family]
    texts = cluster.joining_pods
    networks = [_pod_network(text) for text in texts]
    if [network.version for network in networks] != list(versions):
        wanted = " and one of ".join(f"IPv{version}" for version in versions)
        raise ClusterError(
            f"--pod-network {','.join(texts)} does not fit --ip-family {cluster.ip_family}: give a "
            f"network of {wanted}, with a comma between two"
        )
    own = [network for place in places(cluster) for network in place.pod_cidrs]
    addresses = filter(None, (cluster.machine_address, cluster.other_address))
    for other in (*own, *cluster.service_cidrs, *addresses):
        if any(_overlap(network, ipaddress.ip_network(other)) for network in networks):
            raise ClusterError(
                f"--pod-network {','.join(texts)} overlaps with {other}; choose another"
            )


def _pod_network(text: str) -> Network:
    """A network of which nodes can be given parts. Raises ClusterError."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ClusterError(f"--pod-network {text} is not a network; write 10.0.0.0/12") from None
    part = MASKS[network.version]
    if network.prefixlen > part:
        raise ClusterError(f"--pod-network {text} is too small: every machine gets a /{part} of it")
    try:
        PodRanges(network)
    except RangeError as error:
        raise ClusterError(f"--pod-network {text} cannot be used: {error}") from None
    return network


def _check_profiles(file: Path) -> None:
    from tiphys.scheduler.configuration import ConfigurationError
    from tiphys.scheduler.profiles import read_profiles

    try:
        read_profiles(file)
    except (ConfigurationError, OSError) as error:
        raise ClusterError(f"{file}: {error}") from None


def _check_kubelet_config(file: Path, nodes: int) -> None:
    from tiphys.cluster.kubeletconfig import read_kubelet_config
    from tiphys.node.configuration import ConfigurationError

    try:
        configuration = read_kubelet_config(file)
        _check_managers(configuration, nodes)
    except (ConfigurationError, ValueError, OSError) as error:
        raise ClusterError(f"{file}: {error}") from None


def _check_managers(configuration: KubeletConfiguration, nodes: int) -> None:
    """Whether this machine has what its nodes are to give away. Raises ValueError."""
    from tiphys.node.managers import options
    from tiphys.node.managers.discovery import discover
    from tiphys.node.managers.placement import place
    from tiphys.node.resources.capacity import machine_capacity
    from tiphys.node.resources.reservation import kept_back

    settings = configuration.managers
    gives = settings.cpu_policy == options.STATIC or settings.memory_policy == options.MEMORY_STATIC
    if gives and nodes > 1:
        raise ValueError(
            "nodes of one machine would give the same cores and memory away; use --nodes 1, or no "
            "static policy"
        )
    with tempfile.TemporaryDirectory() as folder:
        capacity = machine_capacity(Path(folder))
        kept = kept_back(capacity, settings.reserved(), configuration.eviction_hard)
        place(settings, discover(), kept, Path(folder))


def check_member(cluster: Cluster) -> None:
    """Whether this machine can be one of the control plane of a cluster that it has joined. Raises
    ClusterError."""
    check_store(cluster)
    encryption.check(cluster)
    kubeconfig.check()
    certificates.check(cluster.pki)
    for port in (cluster.port, *etcd_ports(cluster.port)):
        check_port(port)


def check_port(port: int) -> None:
    """Raises ClusterError when nothing can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            raise ClusterError(
                f"port {port} cannot be used ({error.strerror}); choose another with --port"
            ) from None

"""What a cluster remembers of itself: one JSON file in its data directory, and where everything
else lies."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from tiphys.cluster import families
from tiphys.machinery.addresses import authority


class ClusterError(Exception):
    """The user can do something about it; the text says what."""


def home() -> Path:
    """The folder of all clusters of this user."""
    if os.geteuid() == 0:
        return Path("/var/lib/tiphys")
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "tiphys"


_ALWAYS_SAID = ("name", "data_dir", "port", "runtime", "nodes", "store", "number")
_FIRST_SERVICES = 96  # second number of the addresses of the first cluster's services


@dataclass
class Joined:
    """What a machine that has joined knows of the cluster that it is a node of. `servers` are
    ``HOST:PORT`` of its API servers, `service_network` has a comma between those of two
    families."""

    node: str
    servers: list[str]
    service_network: str
    dns: str
    domain: str
    pod_networks: list[str]
    load_balancer_pools: list[str] = field(default_factory=list)


@dataclass
class Control:
    """What a machine knows that has joined a cluster's control plane, beside what its node does.

    pod_network:  of which machines that join get a part each, with a comma between two
    etcd_members: how its etcd finds the others when it joins them: ``NAME=URL``, commas
    """

    pod_network: str
    etcd_members: str = ""


@dataclass
class Cluster:
    """`number` sets clusters of one machine apart: it is in their networks and names."""

    name: str
    data_dir: str
    port: int = 6443
    runtime: str = "containerd"
    nodes: int = 1
    store: str = "sqlite"
    number: int = 0
    etcd_tls: list[str] = field(default_factory=list)  # files: CA, certificate, key

    scheduler_config: str = ""  # file: a KubeSchedulerConfiguration
    api_workers: int = 0  # processes of the API server that serve clients; none: it does itself
    release: str = ""  # of tiphys that ran it last
    certificate_days: float = 0  # that certificates last, 0: a year
    encryption_config: str = ""  # file: an EncryptionConfiguration
    kubelet_config: str = ""  # file: a KubeletConfiguration
    audit_policy: str = ""  # file: an audit Policy
    ip_family: str = families.DEFAULT  # of pods and services, of `families.FAMILIES`
    pools: list[str] = field(default_factory=list)  # of load balancers' addresses; none: our own
    addons: bool = False  # whether add-ons are enabled, which a process of their own runs

    # where other machines reach this one, "" where there are none
    machine_address: str = ""
    other_address: str = ""  # the same in the second family, where the machine has one
    api_address: str = ""  # at which any of several API servers is found; "" where there is none
    pod_network: str = ""  # of which machines that join get a part each; "" for our own
    pod_routes: str = "auto"  # how nodes reach each other's pods, of `network.podroutes.MODES`
    joined: Joined | None = None  # this machine is a node of a cluster that is elsewhere
    control: Control | None = None  # and has an API server and an etcd of it, too

    def __post_init__(self) -> None:
        if isinstance(self.joined, dict):
            self.joined = Joined(**self.joined)
        if isinstance(self.control, dict):
            self.control = Control(**self.control)

    @property
    def has_server(self) -> bool:
        """Whether an API server of the cluster runs on this machine."""
        return self.joined is None or self.control is not None

    @property
    def is_replicated(self) -> bool:
        """Whether this machine's etcd may be one of several, so that it speaks TLS at the machine's
        address."""
        return self.has_server and self.store == "etcd" and bool(self.machine_address)

    # --- where things lie ---

    @property
    def root(self) -> Path:
        return Path(self.data_dir)

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Sockets and state that do not outlive the machine's uptime."""
        return Path(f"/run/tiphys/{self.name}") if os.geteuid() == 0 else self.root / "run"

    @property
    def status_file(self) -> Path:
        return self.root / "status.json"

    @property
    def servers_file(self) -> Path:
        """Where the API servers of the cluster are, see `client.servers`."""
        return self.pki / "servers"

    # --- the network ---

    def of_families(self, ipv4: str, ipv6: str) -> list[str]:
        """The one or both of these that the cluster has a use for, in the order of its families."""
        return families.in_order(self.ip_family, ipv4, ipv6)

    @property
    def has_ipv6(self) -> bool:
        return 6 in families.FAMILIES[self.ip_family]

    @property
    def is_dual(self) -> bool:
        return len(families.FAMILIES[self.ip_family]) > 1

    @property
    def node_addresses(self) -> list[str]:
        """Of the machine among pods, one of each family."""
        return self.of_families(f"10.244.{self.number}.1", f"fd10:244:{self.number}::1")

    @property
    def node_address(self) -> str:
        return self.node_addresses[0]

    @property
    def service_cidrs(self) -> list[str]:
        """The ranges of services' addresses, one of each family."""
        if self.joined:
            return self.joined.service_network.split(",")
        second = _FIRST_SERVICES + self.number
        return families.service_networks(self.ip_family, second, self.number)

    @property
    def joining_pods(self) -> list[str]:
        """The networks of which machines that join get a part each, one of each family."""
        asked = self.control.pod_network if self.control else self.pod_network
        return asked.split(",") if asked else families.joined_pods(self.ip_family)

    @property
    def load_balancer_pools(self) -> list[str]:
        """The networks of load balancers' addresses, which the nodes of the cluster answer at."""
        if self.joined:
            return self.joined.load_balancer_pools
        if self.pools:
            return self.pools
        if self.runtime != "containerd":
            return []
        return self.of_families(f"10.224.{self.number}.0/24", f"fd10:224:{self.number}::/120")

    @property
    def announced_networks(self) -> list[str]:
        """The networks of addresses that this machine's node may claim on its own."""
        if not self.api_address:
            return self.load_balancer_pools
        return [*self.load_balancer_pools, str(ipaddress.ip_network(self.api_address))]

    @property
    def dns_address(self) -> str:
        """The tenth of the first range of services, as kubeadm has it."""
        if self.joined:
            return self.joined.dns
        return str(ipaddress.ip_network(self.service_cidrs[0])[10])

    @property
    def domain(self) -> str:
        return self.joined.domain if self.joined else "cluster.local"

    @property
    def table(self) -> str:
        return f"tiphys-{self.number}"

    @property
    def cgroup(self) -> str:
        return f"/tiphys-{self.number}"

    @property
    def address(self) -> str:
        """Where pods and components find the API server."""
        if self.machine_address:
            return self.machine_address
        return self.node_address if self.runtime == "containerd" else self.loopbacks[0]

    @property
    def loopbacks(self) -> list[str]:
        """Where a machine finds itself, in each family of the cluster."""
        return self.of_families("127.0.0.1", "::1")

    @property
    def server(self) -> str:
        if self.joined and not self.control:
            return f"https://{self.joined.servers[0]}"
        return f"https://{authority(self.machine_address or '127.0.0.1', self.port)}"

    @property
    def public_server(self) -> str:
        """Where clients from outside find the API server, or whichever of several is there."""
        if not self.api_address:
            return self.server
        return f"https://{authority(self.api_address, self.port)}"

    # --- the file ---

    def save(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.root / "cluster.json.new"
        plain = asdict(Cluster(self.name, self.data_dir))
        # What is as in every cluster is left out, so that a release from before it was there can
        # read the file.
        saved = {
            name: value
            for name, value in asdict(self).items()
            if name in _ALWAYS_SAID or value != plain[name]
        }
        temporary.write_text(json.dumps(saved, indent=1))
        temporary.rename(self.root / "cluster.json")


def load(name: str, data_dir: Path | None = None) -> Cluster | None:
    """The cluster of that name, if there is one. Raises ClusterError when its file cannot be
    read."""
    known = _registry().get(name)
    root = data_dir or (Path(known) if known else home() / name)
    file = root / "cluster.json"
    try:
        saved = json.loads(file.read_text())
        newer = saved.keys() - {option.name for option in fields(Cluster)}
        if newer:
            raise ClusterError(
                f"{file} is of a newer release (it has {', '.join(sorted(newer))}); "
                "install that one again"
            )
        return Cluster(**saved)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise ClusterError(
            f"{file}: permission denied; are you the user who made this cluster?"
        ) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ClusterError(
            f"{file} is damaged ({error}); restore it from a backup, or remove {root} to begin "
            "afresh without its data"
        ) from None


def _registry_file() -> Path:
    return home() / "clusters.json"


def _registry() -> dict[str, str]:
    try:
        known = json.loads(_registry_file().read_text())
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in known.items()}


@contextmanager
def _registry_lock() -> Iterator[dict[str, str]]:
    home().mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(home() / "clusters.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _registry()
        yield known
        temporary = _registry_file().with_suffix(".new")
        temporary.write_text(json.dumps(known, indent=1))
        temporary.rename(_registry_file())


def remember(cluster: Cluster) -> None:
    """Enters a new cluster into the user's list and gives it a number that no other has, and whose
    addresses of services are not those of the machine's own network."""
    with _registry_lock() as known:
        others = {name: folder for name, folder in known.items() if name != cluster.name}
        taken = set(_numbers(others.values()))
        if cluster.machine_address.startswith("10."):
            taken.add(int(cluster.machine_address.split(".")[1]) - _FIRST_SERVICES)
        # Its own again if it can be: objects in its store have addresses of its networks.
        cluster.number = next(n for n in (cluster.number, *range(128)) if n not in taken)
        cluster.save()
        known[cluster.name] = cluster.data_dir


def _numbers(folders: Iterable[str]) -> Iterator[int]:
    """Of clusters in these folders; also of those whose files only another release can read."""
    for folder in folders:
        with suppress(OSError, ValueError, KeyError, TypeError):
            yield int(json.loads(Path(folder, "cluster.json").read_text())["number"])


def forget(cluster: Cluster) -> None:
    with _registry_lock() as known:
        known.pop(cluster.name, None)


def everyone() -> list[Cluster]:
    """Every cluster of this user whose file can be read."""
    return list(_readable(_registry()))


def _readable(names: Iterable[str]) -> Iterator[Cluster]:
    for name in sorted(names):
        with suppress(ClusterError):
            cluster = load(name)
            if cluster is not None:
                yield cluster

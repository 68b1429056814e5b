"""A node with two versions of IP and four pods, as network namespaces, and what the proxy has it
do."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator

from tests.network.builders import endpoint, slice_with
from tests.network.sockets import inside, ip
from tiphys.api import core_v1, discovery_v1
from tiphys.network.netlink import transact
from tiphys.network.nft import NftError
from tiphys.network.proxy import flows
from tiphys.network.proxy.endpoints import Place
from tiphys.network.proxy.kernel import KernelTable
from tiphys.network.proxy.rules import Part
from tiphys.network.proxy.serviceports import service_part
from tiphys.network.proxy.table import Table
from tiphys.network.proxy.wire import IPV4, IPV6, Family

TABLE = "proxy-test"
PODS = {4: [f"10.1.0.{n}" for n in range(1, 5)], 6: [f"fd01::{n}" for n in range(1, 5)]}
NODE = {4: "10.1.255.1", 6: "fd01::ffff"}
OUTSIDE = {4: "192.0.2.7", 6: "2001:db8::7"}
POD_CIDR = {4: "10.1.0.0/16", 6: "fd01::/64"}
SERVICE_CIDR = {4: "10.96.0.0/16", 6: "fd96::/112"}
CLUSTER_IP = {4: "10.96.0.9", 6: "fd96::9"}
FAMILIES = {4: IPV4, 6: IPV6}
PORT = 8080
_PATIENCE = 3.0  # seconds, on a busy machine
_QUIET = 0.3


class NamespaceKernel:
    """The kernel of a network namespace; `refusals` transactions are refused."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.refusals = 0

    def nft(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = ["nsenter", f"--net=/run/netns/{self._namespace}", "nft", *words]
        return subprocess.run(command, input=text, capture_output=True, text=True)

    def script(self, text: str) -> None:
        finished = self.nft("-f", "-", text=text)
        if finished.returncode:
            raise NftError(finished.stderr)

    def transact(self, messages: list[bytes]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError("refused")
        with inside(self._namespace):
            transact(messages)

    def list(self) -> str:
        finished = self.nft("list", "ruleset")
        assert finished.returncode == 0, finished.stderr
        return finished.stdout


class ServiceNode:
    """Pods serve at PORT, over TCP and UDP; `outside` is a host beyond the node."""

    def __init__(self) -> None:
        self._prefix = f"sn{os.getpid()}"
        self.node = self._made("node")
        self.pods = [self._made(f"pod{number}") for number in range(4)]
        self.outside = self._made("out")
        ip("-n", self.node, "link", "set", "lo", "up")
        for number, name in enumerate(self.pods):
            self._link(name, f"veth{number}", {v: PODS[v][number] for v in (4, 6)})
        self._link(self.outside, "uplink", OUTSIDE)
        for version, address in OUTSIDE.items():
            way = ("default", "via", address, "dev", "uplink", "onlink")
            ip("-n", self.node, f"-{version}", "route", "add", *way)
        with inside(self.node):
            for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                with open(f"/proc/sys/net/{name}", "w") as forward:
                    forward.write("1")
        self.kernel = NamespaceKernel(self.node)
        self.tables = {version: Table() for version in (4, 6)}
        self._kernels = {version: self._kernel_table(FAMILIES[version]) for version in (4, 6)}
        self._servers = [self._serve(name) for name in self.pods]

    def _made(self, what: str) -> str:
        name = f"{self._prefix}-{what}"
        ip("netns", "add", name)
        return name

    def _link(self, name: str, device: str, addresses: dict[int, str]) -> None:
        peer = ("peer", "name", "eth0", "netns", name)
        ip("link", "add", device, "netns", self.node, "type", "veth", *peer)
        ip("-n", name, "link", "set", "lo", "up")
        for version, address in addresses.items():
            bits = "32" if version == 4 else "128"
            ip("-n", name, "addr", "add", f"{address}/{bits}", "dev", "eth0", "nodad")
            ip("-n", self.node, "addr", "add", f"{NODE[version]}/{bits}", "dev", device, "nodad")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", self.node, "link", "set", device, "up")
        for version, address in addresses.items():
            ip("-n", self.node, f"-{version}", "route", "add", address, "dev", device)
            way = ("default", "via", NODE[version], "dev", "eth0", "onlink")
            ip("-n", name, f"-{version}", "route", "add", *way)

    def _kernel_table(self, family: Family) -> KernelTable:
        version = family.version
        networks = [POD_CIDR[version]], [SERVICE_CIDR[version]]
        table = KernelTable(family, TABLE, *networks, self.kernel)
        self.tables[version].forget()
        table.replace(self.tables[version].take())
        return table

    def _serve(self, namespace: str) -> list[socket.socket]:
        with inside(namespace):
            tcp = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
            tcp.listen(512)
            udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            udp.bind(("::", PORT))
        for one in (tcp, udp):
            one.settimeout(_PATIENCE)
        return [tcp, udp]

    def close(self) -> None:
        for server in self._servers:
            for one in server:
                one.close()
        for name in (*self.pods, self.outside, self.node):
            ip("netns", "del", name)

    # --- what the proxy does ---

    def put(self, version: int, owner: str, part: Part) -> None:
        self.tables[version].put(owner, part)
        changes = self.tables[version].take()
        self._kernels[version].change(changes)
        stale = list(flows.stale(changes.flows))
        with inside(self.node):
            flows.forget(version, stale)

    def proxy(
        self, service: core_v1.Service, slices: list[discovery_v1.EndpointSlice], node: str = "n1"
    ) -> None:
        for version in (4, 6):
            part = service_part(service, slices, Place(node), version)
            self.put(version, service.metadata.name, part)

    # --- what packets do ---

    def connect(self, source: str, address: str, port: int, times: int = 1) -> list[int]:
        """Which pods answer so many connections, one after the other, by number; -1 for nobody."""
        return [self._connect(source, address, port)[0] for _ in range(times)]

    def is_closed(self, source: str, address: str, port: int) -> bool:
        """Whether nobody answers within the time that an answer takes on a machine at rest."""
        return self._connect(source, address, port, _QUIET)[0] < 0

    def _connect(
        self, source: str, address: str, port: int, within: float = _PATIENCE
    ) -> tuple[int, str]:
        """The pod that answers, and the client's address that it sees."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with inside(source):
            client = socket.socket(family)
        with client, contextlib.suppress(OSError):
            client.settimeout(within)
            client.connect((address, port))
            return self._accept()
        return -1, ""

    def _accept(self) -> tuple[int, str]:
        with selectors.DefaultSelector() as selector:
            for number, (tcp, _) in enumerate(self._servers):
                selector.register(tcp, selectors.EVENT_READ, number)
            (key, _), *_ = selector.select(_PATIENCE)
        server = self._servers[key.data][0]
        connection, peer = server.accept()
        connection.close()
        return key.data, peer[0].removeprefix("::ffff:")

    def refused(self, source: str, address: str, port: int) -> None:
        """Raises what a connection raises."""
        with inside(source):
            client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        with client:
            client.settimeout(_PATIENCE)
            client.connect((address, port))

    def seen_from(self, source: str, address: str, port: int) -> str:
        """The address under which a pod sees a client."""
        return self._connect(source, address, port)[1]

    def counts(self, source: str, address: str, port: int, times: int) -> Counter[int]:
        return Counter(self.connect(source, address, port, times))

    def udp_client(self, source: str, address: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with inside(source):
            client = socket.socket(family, socket.SOCK_DGRAM)
        client.settimeout(_PATIENCE)
        return client

    def send(self, client: socket.socket, address: str, port: int) -> int:
        """Which pod a datagram of a client comes to; -1 for none."""
        client.sendto(b"x", (address, port))
        with selectors.DefaultSelector() as selector:
            for number, (_, udp) in enumerate(self._servers):
                selector.register(udp, selectors.EVENT_READ, number)
            for key, _ in selector.select(_PATIENCE):
                self._servers[key.data][1].recvfrom(10)
                return int(key.data)
        return -1


def backed(
    name: str, version: int, numbers: Iterable[int] = range(4), protocol: str = "TCP", **more: str
) -> discovery_v1.EndpointSlice:
    """A slice with the pods of these numbers."""
    rows = [endpoint(PODS[version][number], **more) for number in numbers]  # type: ignore[arg-type]
    built = slice_with(name, rows, (("http", PORT, protocol),))
    built.address_type = f"IPv{version}"
    return built


class LonelyNode:
    """A node whose own address is that of the first pod, before it has any rules."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._address = PODS[version][0]
        self._name = f"ln{os.getpid()}"
        ip("netns", "add", self._name)
        ip("-n", self._name, "link", "set", "lo", "up")
        bits = "32" if version == 4 else "128"
        # As on a machine, the first address is another one: what is masqueraded would get that.
        for name, peer in (("uplink", "beyond"), ("own", "other")):
            ip("-n", self._name, "link", "add", name, "type", "veth", "peer", "name", peer)
            ip("-n", self._name, "link", "set", name, "up")
        first = f"{OUTSIDE[version]}/{bits}"
        ip("-n", self._name, "addr", "add", first, "dev", "uplink", "nodad")
        ip("-n", self._name, "addr", "add", f"{self._address}/{bits}", "dev", "own", "nodad")

    def close(self) -> None:
        ip("netns", "del", self._name)

    def connected(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection of the node to itself."""
        family = socket.AF_INET6 if self._version == 6 else socket.AF_INET
        with inside(self._name):
            server = socket.create_server((self._address, PORT), family=family)
            client = socket.create_connection((self._address, PORT), timeout=_PATIENCE)
        accepted, _ = server.accept()
        server.close()
        return client, accepted

    def install(self, slice_: discovery_v1.EndpointSlice, service: core_v1.Service) -> None:
        """The first rules, with one service."""
        version, table = self._version, Table()
        networks = [POD_CIDR[version]], [SERVICE_CIDR[version]]
        kernel = KernelTable(FAMILIES[version], TABLE, *networks, NamespaceKernel(self._name))
        table.forget()
        table.put("s", service_part(service, [slice_], Place("n1"), version))
        kernel.replace(table.take())


@contextlib.contextmanager
def node_alone(version: int) -> Iterator[LonelyNode]:
    node = LonelyNode(version)
    try:
        yield node
    finally:
        node.close()

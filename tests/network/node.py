"""A node in the kernel: it, its pods on point-to-point links, and somebody outside, as network
namespaces."""

from __future__ import annotations

import os
import subprocess

from tests.network.cluster import OUTSIDE, PODS
from tests.network.sockets import Servers, inside, ip
from tiphys.network.policy.script import base, script
from tiphys.network.policy.table import PolicyTable

HERE = [pod for pod in PODS if pod.node == "n1"][:4]


class Node:
    """Namespaces: `node` forwards between those of the pods and `outside`."""

    def __init__(self) -> None:
        self._prefix = f"tp{os.getpid()}"
        self.node, self.outside = self.name("node"), self.name("outside")
        self.pods = {pod.address: self.name(str(number)) for number, pod in enumerate(HERE)}
        ip("netns", "add", self.node)
        ip("-n", self.node, "link", "set", "lo", "up")
        for number, (address, name) in enumerate(self.pods.items()):
            self._link(name, address, f"veth{number}")
        self._link(self.outside, OUTSIDE.address, "uplink")
        ip("-n", self.node, "addr", "add", "10.0.255.1/32", "dev", "lo")
        with inside(self.node), open("/proc/sys/net/ipv4/ip_forward", "w") as forward:
            forward.write("1")
        self.servers = Servers([*self.pods.values(), self.outside, self.node])

    def name(self, what: str) -> str:
        return f"{self._prefix}-{what}"

    def _link(self, name: str, address: str, device: str) -> None:
        ip("netns", "add", name)
        ip(
            "link",
            "add",
            device,
            "netns",
            self.node,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            name,
        )
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "addr", "add", f"{address}/32", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", self.node, "link", "set", device, "up")
        ip("-n", self.node, "route", "add", f"{address}/32", "dev", device)
        ip("-n", name, "route", "add", "default", "via", "10.0.255.1", "dev", "eth0", "onlink")

    def nft(self, text: str) -> None:
        with inside(self.node):
            done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + text

    def enforce(self, table: PolicyTable) -> None:
        self.nft(base("t-policy") + script("t-policy", table.everything()))

    def close(self) -> None:
        self.servers.close()
        for name in (*self.pods.values(), self.outside, self.node):
            ip("netns", "del", name)

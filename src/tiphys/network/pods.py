"""Pod addresses: the CNI configuration that the container runtime reads, and the address the node
has among pods.

Each pod has a point-to-point link to the node (CNI's ptp), so that traffic between two pods of one
node passes the node's routing, where the service proxy sees both directions; a shared bridge would
need br_netfilter for that.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

CNI_FILE = "10-tiphys.conflist"
MTU = 1500  # of pods whose packets leave the machine through its router alone
_AT_ONCE = "tiphys-at-once"
_AT_ONCE_SCRIPT = """#!/bin/sh
# A CNI plugin that lets a pod use its IPv6 addresses at once.
case "$CNI_COMMAND" in
ADD)
    nsenter --net="$CNI_NETNS" sh -c 'echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad' &&
        echo '{"cniVersion": "0.4.0"}'
    ;;
VERSION)
    echo '{"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]}'
    ;;
esac
"""


class NetworkError(Exception):
    """The machine's network cannot be set up; the text says what to do."""


def cni_config(name: str, subnets: list[str], leases: Path, mtu: int = MTU) -> dict[str, Any]:
    """The CNI network list of a node's pods, which get an address of each subnet; `leases` is the
    folder of addresses in use."""
    ranges = [[{"subnet": subnet}] for subnet in subnets]
    ipam = {"type": "host-local", "ranges": ranges, "dataDir": str(leases)}
    routes = [{"dst": "::/0" if ":" in subnet else "0.0.0.0/0"} for subnet in subnets]
    link = {
        "type": "ptp",
        "ipMasq": False,
        "mtu": mtu,
        "ipam": {**ipam, "routes": routes},
    }
    first = [{"type": _AT_ONCE}] if any(":" in subnet for subnet in subnets) else []
    return {"cniVersion": "0.4.0", "name": name, "plugins": [*first, link]}


def write_plugins(folder: Path, standing: Path) -> None:
    """A folder with the plugins that stand in another, and one of ours. A new IPv6 address asks for
    one to two seconds whether it is taken, and CNI's plugins wait for that: each pod would
    start so much later. On a point-to-point link it is not."""
    folder.mkdir(parents=True, exist_ok=True)
    for plugin in standing.iterdir():
        link = folder / plugin.name
        if not link.is_symlink():
            link.symlink_to(plugin)
    script = folder / _AT_ONCE
    script.write_text(_AT_ONCE_SCRIPT)
    script.chmod(0o755)


def write_cni(folder: Path, name: str, subnets: list[str], leases: Path, mtu: int = MTU) -> None:
    """At once: the runtime reads the folder whenever something changes there."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{CNI_FILE}.new"
    temporary.write_text(json.dumps(cni_config(name, subnets, leases, mtu), indent=1))
    temporary.rename(folder / CNI_FILE)


def run(*command: str, check: bool = True) -> str:
    """Runs a command; raises NetworkError with its output."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        raise NetworkError(f"{command[0]} is not installed") from None
    if done.returncode and check:
        raise NetworkError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def set_up_link(link: str, addresses: list[str]) -> None:
    """A link that only holds the node's addresses among its pods, and forwarding between links. The
    address of an earlier range goes."""
    if link not in run("ip", "-o", "link", "show"):
        run("ip", "link", "add", link, "type", "bridge")
    for address in addresses:
        family = "-6" if ":" in address else "-4"
        single = alone(address)[0]
        if f" {single} " not in run("ip", "-o", family, "addr", "show", "dev", link):
            run("ip", family, "addr", "flush", "dev", link, "scope", "global")
        run("ip", "addr", "replace", *alone(address), "dev", link)
    run("ip", "link", "set", link, "up")
    if any(":" in address for address in addresses):
        _keep_advertised_routes()
    for forwarding_of_family in forwarding(addresses):
        Path(forwarding_of_family).write_text("1")


def alone(address: str) -> tuple[str, ...]:
    """The address as `ip addr` takes it, without a network around it. It is not taken: IPv6 does
    not have to probe for a second."""
    return (f"{address}/128", "nodad") if ":" in address else (f"{address}/32",)


def forwarding(addresses: list[str]) -> list[str]:
    """The kernel's files that let packets pass between links."""
    files = {4: "/proc/sys/net/ipv4/ip_forward", 6: "/proc/sys/net/ipv6/conf/all/forwarding"}
    return [
        files[version] for version in sorted({6 if ":" in address else 4 for address in addresses})
    ]


def _keep_advertised_routes(folder: Path = Path("/proc/sys/net/ipv6/conf")) -> None:
    """A machine that forwards IPv6 takes no more routes from its routers' advertisements, unless
    it is set to (2 instead of 1): it would lose its way out some minutes later."""
    for file in folder.glob("*/accept_ra"):
        if file.read_text().strip() == "1":
            file.write_text("2")


def route(link: str, networks: list[str]) -> None:
    """Addresses of services are nowhere, but the machine has to have a way to them, also one that
    has no way out (for IPv6 most have none). No packet gets as far as the link."""
    for network in networks:
        run("ip", "route", "replace", network, "dev", link)


def tear_down_link(link: str) -> None:
    run("ip", "link", "del", link, check=False)

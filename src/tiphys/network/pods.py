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


class NetworkError(Exception):
    """The machine's network cannot be set up; the text says what to do."""


def cni_config(name: str, subnet: str, leases: Path, mtu: int = MTU) -> dict[str, Any]:
    """The CNI network list of a node's pods; `leases` is the folder of addresses in use."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": subnet}]], "dataDir": str(leases)}
    link = {
        "type": "ptp",
        "ipMasq": False,
        "mtu": mtu,
        "ipam": {**ipam, "routes": [{"dst": "0.0.0.0/0"}]},
    }
    return {"cniVersion": "0.4.0", "name": name, "plugins": [link]}


def write_cni(folder: Path, name: str, subnet: str, leases: Path, mtu: int = MTU) -> None:
    """At once: the runtime reads the folder whenever something changes there."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{CNI_FILE}.new"
    temporary.write_text(json.dumps(cni_config(name, subnet, leases, mtu), indent=1))
    temporary.rename(folder / CNI_FILE)


def run(*command: str, check: bool = True) -> str:
    """Runs a command; raises NetworkError with what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        raise NetworkError(f"{command[0]} is not installed") from None
    if done.returncode and check:
        raise NetworkError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def set_up_link(link: str, address: str) -> None:
    """A link that only holds the node's address among its pods, and forwarding between links. The
    address of an earlier range goes."""
    if link not in run("ip", "-o", "link", "show"):
        run("ip", "link", "add", link, "type", "bridge")
    if f" {address}/32 " not in run("ip", "-o", "-4", "addr", "show", "dev", link):
        run("ip", "-4", "addr", "flush", "dev", link)
    run("ip", "addr", "replace", f"{address}/32", "dev", link)
    run("ip", "link", "set", link, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def tear_down_link(link: str) -> None:
    run("ip", "link", "del", link, check=False)

"""How the nodes of the cluster find the registry by its names: files that containerd reads when it
pulls (`hosts.toml`). Pure, but for writing them."""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
from collections.abc import Iterable
from pathlib import Path

from tiphys.addons.registry import NAME
from tiphys.api import core_v1
from tiphys.machinery.addresses import authority
from tiphys.machinery.names import is_ip


def hosts_toml(server: str, mirror: str) -> str:
    """Has containerd ask the mirror first, then the server; both are URLs. Without a server that is
    the registry of the image's name (for docker.io its ``registry-1.docker.io``)."""
    named = f'server = "{server}"\n\n' if server else ""
    return f'{named}[host."{mirror}"]\n  capabilities = ["pull", "resolve"]\n'


def write_hosts(folder: Path, mirrors: Iterable[str], port: int, address: str) -> None:
    """A folder for each name that images of the registry have, and for each registry that it
    mirrors. On a node in a namespace of its own localhost is not this machine, so all are led to
    the machine's address among nodes."""
    registry_url = f"http://{authority(address, port)}"
    localhost = f"localhost:{port}"
    servers = dict.fromkeys(mirrors, "") | {NAME: registry_url, localhost: f"http://{localhost}"}
    for name, server in servers.items():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        temporary = place / "hosts.new"
        temporary.write_text(hosts_toml(server, registry_url))
        temporary.rename(place / "hosts.toml")


def remove_hosts(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def address_of(node: core_v1.Node) -> str:
    """Of a node on containerd, "" where it has none. Hollow nodes pull nothing. Nodes say their
    addresses themselves: one that others could reach from afar is none of theirs here."""
    if node.metadata.labels.get("type") == "hollow":
        return ""
    for node_address in node.status.addresses:
        if node_address.type == "InternalIP" and is_ip(node_address.address):
            ip = ipaddress.ip_address(node_address.address)
            if ip.is_private and not (ip.is_loopback or ip.is_unspecified):
                return node_address.address
    return ""

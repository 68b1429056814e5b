"""`tiphys join`: makes this machine a node of a cluster that is elsewhere, and starts it later."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from tiphys.client.client import Client, Unreachable
from tiphys.client.config import Config
from tiphys.cluster import (
    apiclient,
    containerd,
    controlplane,
    discovery,
    families,
    kubeconfig,
    preflight,
    state,
)
from tiphys.cluster.certificates import write_private
from tiphys.cluster.discovery import Discovered
from tiphys.cluster.plan import NODE_PEM, POLICY_PEM
from tiphys.cluster.state import Cluster, ClusterError, Joined
from tiphys.machinery.errors import StatusError
from tiphys.machinery.names import dns_subdomain_errors
from tiphys.network import podroutes
from tiphys.node import certificates
from tiphys.node.certificates import CertificateError


@dataclass(frozen=True)
class Wanted:
    """The command line of `tiphys join`. `node_name` and `address` "" for what the machine says;
    `certificate_key` "" for a machine without a part in the control plane."""

    name: str
    server: str
    token: str
    ca_hash: str
    node_name: str = ""
    address: str = ""
    data_dir: Path | None = None
    certificate_key: str = ""


def join(wanted: Wanted) -> Cluster:
    """This machine as a member of the cluster, with the certificate of its node; nothing has been
    started. Raises ClusterError; then nothing is left of it."""
    server = discovery.parse_server(wanted.server)
    token = discovery.parse_token(wanted.token)
    node = wanted.node_name or socket.gethostname().lower()
    check_node_name(node)
    containerd.check()
    discovered = discovery.discover(server, token, wanted.ca_hash)
    cluster = _cluster(wanted, discovered, node)
    check_machine(cluster)
    _ensure_certificate(cluster, discovered, wanted.token)
    if wanted.certificate_key:
        controlplane.receive(cluster, discovered, token, wanted.certificate_key)
        preflight.check_member(cluster)
    return cluster


def check_node_name(node: str) -> None:
    """Raises ClusterError for what cannot be a Node's name."""
    if dns_subdomain_errors(node):
        raise ClusterError(
            f"{node!r} cannot be a node's name: use lower case letters, digits, hyphens and dots; "
            "choose one with --node-name"
        )


def _cluster(wanted: Wanted, discovered: Discovered, node: str) -> Cluster:
    folder = (wanted.data_dir or state.home() / wanted.name).absolute()
    cluster = Cluster(wanted.name, str(folder), port=discovered.server.port)
    cluster.joined = discovered.joined(node)
    cluster.ip_family = _families(cluster.joined)
    address = wanted.address or discovered.own
    cluster.machine_address, _, cluster.other_address = address.partition(",")
    cluster.api_address = discovered.config.get("apiAddress", "")
    cluster.pod_routes = discovered.config.get("podRoutes", podroutes.AUTO)
    return cluster


def _families(joined: Joined) -> str:
    """The cluster's, which are those of its services. Raises ClusterError."""
    try:
        return families.named(joined.service_network.split(","))
    except KeyError:
        raise ClusterError(
            f"the cluster's services are in {joined.service_network}, which this release does not "
            "understand; install the server's release here"
        ) from None


def check_machine(cluster: Cluster) -> None:
    """Whether this machine can be a node at its address. Raises ClusterError."""
    preflight.check_addresses(cluster)
    preflight.check_neighbours(cluster)


# --- certificates ---


def _ensure_certificate(cluster: Cluster, discovered: Discovered, token: str) -> None:
    """The node's client certificate: the one that is there, or a new one for the token."""
    assert cluster.joined is not None
    node = cluster.joined.node
    pki = cluster.pki
    if is_member(cluster) and (pki / "ca.crt").read_bytes() == discovered.authority:
        return
    discovery.check_name(
        discovered.server, discovered.authority, discovery.parse_token(token), node
    )
    pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(pki / "ca.crt", discovered.authority)
    config = Config(f"https://{discovered.server.text}", ca=pki / "ca.crt", token=token)
    pem = asyncio.run(_client_certificate(config, node))
    certificates.write(pki / NODE_PEM, pem)


async def _client_certificate(config: Config, node: str) -> bytes:
    async with Client(config, "tiphys-join") as client:
        try:
            return await certificates.obtain(client, certificates.node_client(node))
        except CertificateError as error:
            raise ClusterError(f"no certificate for node {node}: {error}") from None
        except (StatusError, Unreachable) as error:
            raise ClusterError(f"the server gives no certificate: {error}") from None


def is_member(cluster: Cluster) -> bool:
    """Whether the machine's own certificate is there, of its node's name and valid."""
    assert cluster.joined is not None
    certificate = certificates.read(cluster.pki / NODE_PEM)
    if certificate is None:
        return False
    is_own = certificates.says(certificate, certificates.node_client(cluster.joined.node))
    return is_own and certificates.renewed_at(certificate, 1.0) > time.time()


def check_member(cluster: Cluster) -> None:
    """Raises ClusterError when a machine that has joined cannot prove any more that it has."""
    if not is_member(cluster):
        raise ClusterError(
            "this machine's certificate has expired, or is gone: join again with a new token "
            "(on the server: tiphys token create)"
        )


def write_kubeconfigs(cluster: Cluster) -> None:
    """Where the node's process finds the API server, and as whom it speaks."""
    pki = cluster.pki
    for stem, pem in (("node", NODE_PEM), ("network-policy", POLICY_PEM)):
        file = pki / f"{stem}.kubeconfig"
        kubeconfig.component(
            file, cluster.server, pki / "ca.crt", pki / pem, pki / pem, cluster.servers_file
        )
    if not cluster.servers_file.exists():
        assert cluster.joined is not None
        cluster.servers_file.write_text("".join(f"{server}\n" for server in cluster.joined.servers))


def describe(cluster: Cluster) -> str:
    """One line about a machine that has joined."""
    assert cluster.joined is not None
    part = ", with an API server of its own" if cluster.control else ""
    return f"node {cluster.joined.node} of {cluster.server}{part}"


def reason_unready(cluster: Cluster) -> str:
    """What the cluster says of a node that is not ready, "" when it says nothing."""
    assert cluster.joined is not None
    name = cluster.joined.node
    try:
        answer = apiclient.get(cluster, f"/api/v1/nodes/{name}")
        node = json.loads(answer.body) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return f"{cluster.server} does not answer"
    if node is None:
        return f"the server does not know node {name}: {answer.message}"
    if not node["spec"].get("podCIDRs"):
        return (
            "the cluster has no range of pods left for this machine; remove nodes that are gone, "
            "or make it larger with tiphys up --pod-network on the server"
        )
    conditions = node["status"].get("conditions", ())
    return next((str(row["message"]) for row in conditions if row["type"] == "Ready"), "")

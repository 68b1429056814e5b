"""A machine's part in a control plane of several: its etcd becomes one of the cluster's members
before its API server starts, and stops to be one before it leaves."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tiphys.cluster import apiclient, discovery, plan, sharing, up
from tiphys.cluster.discovery import Discovered
from tiphys.cluster.plan import Change, etcd_client_files, etcd_name, etcd_ports, etcd_urls
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.machinery.addresses import authority
from tiphys.machinery.bootstraptokens import Token
from tiphys.store import etcdpb as pb
from tiphys.store.engine import StoreError
from tiphys.store.members import Members

LABEL = "node-role.kubernetes.io/control-plane"
_MERGE = "application/merge-patch+json"
_PATIENCE_OF_WRITES = 30.0  # seconds: etcd may be choosing another leader
_PATIENCE = 120.0  # seconds for a new member to be sent everything


# --- a new machine ---


def receive(cluster: Cluster, discovered: Discovered, token: Token, key: str) -> None:
    """Takes the cluster's keys, which the join command's token may read and its key opens. Raises
    ClusterError."""
    reply = discovery.ask(discovered, sharing.path(token.id), token)
    if reply.status != 200:
        raise ClusterError(
            f"token {token.id} cannot read the cluster's keys (HTTP {reply.status}): make one that "
            "can on a machine of the control plane: tiphys token create --control-plane"
        )
    sharing.take(cluster, sharing.unseal(reply.json().get("data") or {}, key))


def is_entered(cluster: Cluster) -> bool:
    """Whether this machine's etcd is a member already."""
    return cluster.control is not None and bool(cluster.control.etcd_members)


def enter(cluster: Cluster) -> None:
    """Makes this machine's etcd a member of the cluster's, and starts it, with nothing else. Raises
    ClusterError; then it is none."""
    assert cluster.control is not None and cluster.joined is not None
    host = urlsplit(f"//{cluster.joined.servers[0]}").hostname or ""
    peer = etcd_urls(cluster).peer
    shutil.rmtree(cluster.root / "etcd", ignore_errors=True)  # of an attempt that failed
    with _members(cluster, host) as members:
        _forget(members, peer)
        added = members.add(peer, _PATIENCE)
        try:
            names = _initial(added, etcd_name(cluster))
            cluster.control.etcd_members = names
            up.start(cluster, _others_than_etcd(cluster))
            members.promote(added.member.id, _PATIENCE)
        except BaseException:
            cluster.control.etcd_members = ""
            cluster.save()
            members.remove(added.member.id)
            raise


def _forget(members: Members, peer: str) -> None:
    """Removes what an earlier attempt of this machine has left."""
    for member in members.list():
        if peer in member.peer_urls:
            members.remove(member.id)


def _initial(added: pb.MemberAddResponse, name: str) -> str:
    """Where etcd finds the members, itself among them, whose name is not known yet."""
    rows = [
        (name if member.id == added.member.id else member.name, url)
        for member in added.members
        for url in member.peer_urls
    ]
    return ",".join(f"{name}={url}" for name, url in rows)


def _others_than_etcd(cluster: Cluster) -> list[str]:
    return [process.name for process in plan.processes(cluster) if process.name != "etcd"]


def show(cluster: Cluster) -> None:
    """Says in the Node of this machine that it is of the control plane, as kubeadm does. Raises
    ClusterError."""
    assert cluster.joined is not None
    change = {"metadata": {"labels": {LABEL: ""}}}
    _ask(cluster, "PATCH", f"/api/v1/nodes/{cluster.joined.node}", change)


# --- the machines there are ---


def check(cluster: Cluster) -> None:
    """Whether others can join this cluster's control plane; has the members know where this
    machine's etcd is. Raises ClusterError."""
    if not cluster.is_replicated:
        raise ClusterError(
            f"a control plane of several machines needs etcd, and an address: {cluster.name} has "
            f"--store {cluster.store}" + ("" if cluster.machine_address else " and no --address")
        )
    urls = etcd_urls(cluster)
    with _members(cluster) as members:
        for member in members.list():
            # One that was made without an address has another.
            if member.name == etcd_name(cluster) and member.peer_urls != [urls.peer]:
                members.move(member.id, urls.peer)


class LastError(ClusterError):
    """There is no control plane without this machine."""


def check_not_last(cluster: Cluster) -> None:
    """Raises LastError, and another ClusterError when etcd does not say."""
    peer = etcd_urls(cluster).peer
    with _members(cluster) as members:
        peers = members.list()
    if all(peer in member.peer_urls for member in peers):
        raise LastError(
            f"this is the last machine of the cluster's control plane: nothing would be left; to "
            f"end the cluster: tiphys down --name {cluster.name} --purge"
        )


def withdraw(cluster: Cluster) -> None:
    """Ends this machine's API server and controllers, and then its membership of etcd. Raises
    ClusterError."""
    peer = etcd_urls(cluster).peer
    with _members(cluster) as members:
        ends = ("apiserver", "controllers")
        up.reload(cluster, Change(without=ends, closes=("apiserver",)))
        up.wait_for_end(cluster, ends)
        _forget(members, peer)


def remove(cluster: Cluster, node: str) -> None:
    """Takes a machine that is gone for good out of the cluster: its member of etcd, if it has one,
    and its Node. Raises ClusterError, also when it is not gone."""
    answer = apiclient.get(cluster, f"/api/v1/nodes/{node}")
    existing = json.loads(answer.body) if answer.status == 200 else None
    if existing is not None and _is_ready(existing):
        raise ClusterError(f"node {node} is ready; on that machine, run: tiphys leave")
    had_member = cluster.is_replicated and _remove_member(cluster, node, existing)
    if existing is None and not had_member:
        raise ClusterError(f"there is no machine {node}; see: kubectl get nodes")
    if existing is not None:
        _ask(cluster, "DELETE", f"/api/v1/nodes/{node}")


def _is_ready(node: Mapping[str, object]) -> bool:
    status = node.get("status")
    conditions = status.get("conditions", ()) if isinstance(status, dict) else ()
    return any(row["type"] == "Ready" and row["status"] == "True" for row in conditions)


def _remove_member(cluster: Cluster, name: str, node: Mapping[str, object] | None) -> bool:
    """Whether there was one, known by the name or the addresses of the node."""
    status = (node or {}).get("status")
    addresses = status.get("addresses", ()) if isinstance(status, dict) else ()
    hosts = {row["address"] for row in addresses}
    own = etcd_urls(cluster).peer
    with _members(cluster) as members:
        for member in members.list():
            is_at = any(urlsplit(url).hostname in hosts for url in member.peer_urls)
            if own not in member.peer_urls and (is_at or member.name == name):
                members.remove(member.id)
                return True
    return False


def _ask(cluster: Cluster, method: str, path: str, body: object = None) -> None:
    try:
        answer = apiclient.request(cluster, method, path, body, _MERGE, _PATIENCE_OF_WRITES)
    except (OSError, http.client.HTTPException) as error:
        raise ClusterError(f"the API server of {cluster.name} does not answer: {error}") from None
    if answer.status >= 300 and answer.status != 404:
        raise ClusterError(answer.message)


@contextmanager
def _members(cluster: Cluster, host: str = "127.0.0.1") -> Iterator[Members]:
    """The members of etcd, as the one at `host` knows them. Raises ClusterError."""
    files = [Path(file).read_bytes() for file in etcd_client_files(cluster)]
    endpoint = authority(host, etcd_ports(cluster.port)[0])
    try:
        with Members(endpoint, (files[0], files[1], files[2])) as members:
            yield members
    except StoreError as error:
        raise ClusterError(
            f"{error}; TCP ports {etcd_ports(cluster.port)[0]} and {etcd_ports(cluster.port)[1]} "
            "of every machine of the control plane must be reachable from the others"
        ) from None

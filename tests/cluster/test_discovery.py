"""What a machine that wants to join finds out, and what it is told when it may not."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest

from tests.cluster.builders import token
from tests.machinery.builders import TOKEN
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.cluster import certificates, discovery
from tiphys.cluster.discovery import Discovered, Server
from tiphys.cluster.state import ClusterError
from tiphys.machinery.bootstraptokens import Token
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

NOW = 1_800_000_000.0
LIMITED = Token("limits", "0123456789abcdef")  # signs, but lets nobody in
STRANGER = Token("others", "0123456789abcdef")  # lets in, but into no group of nodes
CONFIG = {
    "servers": "192.0.2.1:6443",
    "serviceNetwork": "10.96.0.0/16",
    "clusterDNS": "10.96.0.10",
    "clusterDomain": "cluster.local",
    "podNetworks": "10.244.0.0/24,10.244.128.0/17",
    "podRoutes": "auto",
}


@pytest.fixture
async def joinable(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalCluster]:
    """A cluster that machines can join with TOKEN."""
    monkeypatch.setattr(discovery, "_SIGNED_WITHIN", 0.5)
    async with LocalCluster(controllers=True) as cluster:
        authority = base64.b64encode(cluster.authority.path.read_bytes()).decode()
        kubeconfig = f"clusters: [{{cluster: {{certificate-authority-data: {authority}}}}}]"
        await config_map(cluster, "kube-public", "cluster-info", {"kubeconfig": kubeconfig})
        await config_map(cluster, "kube-system", "tiphys-config", CONFIG)
        await token(cluster, TOKEN)
        await token(cluster, LIMITED, {"usage-bootstrap-authentication": "false"})
        await token(cluster, STRANGER, {"auth-extra-groups": "system:bootstrappers:others"})
        await cluster.eventually(lambda: is_signed(cluster, TOKEN, LIMITED, STRANGER))
        yield cluster


async def is_signed(cluster: LocalCluster, *tokens: Token) -> bool:
    info = await cluster.client.get(core_v1.ConfigMap, "cluster-info", "kube-public")
    return all(f"jws-kubeconfig-{each.id}" in info.data for each in tokens)


async def config_map(
    cluster: LocalCluster, namespace: str, name: str, data: dict[str, str]
) -> None:
    meta = ObjectMeta(name=name, namespace=namespace)
    await cluster.client.create(core_v1.ConfigMap(metadata=meta, data=data))


def pin(cluster: LocalCluster) -> str:
    return certificates.pin(cluster.authority.path.read_bytes())


async def discovered(cluster: LocalCluster, **changes: Any) -> Discovered | str:
    """What was found, or why not."""
    server = Server("127.0.0.1", cluster.port)
    given = {"server": server, "token": TOKEN, "ca_hash": pin(cluster), **changes}
    try:
        return await asyncio.to_thread(lambda: discovery.discover(**given))
    except ClusterError as error:
        return str(error)


async def test_a_machine_finds_its_cluster_with_a_token_and_a_hash(joinable: LocalCluster) -> None:
    found = await discovered(joinable)
    assert isinstance(found, Discovered), found
    assert found.authority == joinable.authority.path.read_bytes() and found.own == "127.0.0.1"
    joined = found.joined("n1")
    assert joined.pod_networks == ["10.244.0.0/24", "10.244.128.0/17"]
    assert (joined.servers, joined.dns) == (["192.0.2.1:6443"], "10.96.0.10")


class Refusal(NamedTuple):
    changes: dict[str, Any]
    says: str
    advises: str


NEW_TOKEN = "make a new one on the server: tiphys token create"
REFUSALS = {
    "unknown token": Refusal(
        {"token": Token("nobody", "x" * 16)}, "does not know token", NEW_TOKEN
    ),
    "wrong secret": Refusal({"token": TOKEN._replace(secret="x" * 16)}, "the secret of", NEW_TOKEN),
    "no right to log in": Refusal({"token": LIMITED}, "is not accepted", NEW_TOKEN),
    "no node's group": Refusal({"token": STRANGER}, "(HTTP 403)", "in the group system:bootstrap"),
    "another hash": Refusal({"ca_hash": "sha256:" + "0" * 64}, "has the hash", "compare with"),
    "clock behind": Refusal({"now": time.time() - 3600}, "min behind the server", "timedatectl"),
    "clock ahead": Refusal({"now": time.time() + 7200}, "min ahead of the", "timedatectl"),
    "nobody there": Refusal(
        {"server": Server("127.0.0.1", free_port())}, "nothing listens at", "is the cluster up"
    ),
    "no such name": Refusal(
        {"server": Server("n.invalid", 6443)}, "cannot be resolved", "give the server's address"
    ),
}


async def test_every_refusal_says_what_is_wrong_and_what_to_do(joinable: LocalCluster) -> None:
    for name, refusal in REFUSALS.items():
        said = await discovered(joinable, **refusal.changes)
        assert isinstance(said, str), name
        assert refusal.says in said and refusal.advises in said and "\n" not in said, (name, said)


async def test_a_token_that_has_expired_signs_nothing_any_more(joinable: LocalCluster) -> None:
    assert isinstance(await discovered(joinable), Discovered)
    secret = f"bootstrap-token-{TOKEN.id}"
    past = {"stringData": {"expiration": "2026-01-01T00:00:00Z"}}
    await joinable.client.patch(core_v1.Secret, secret, past, "kube-system", media=MERGE)

    async def is_forgotten() -> bool:
        listed = (await joinable.client.list(core_v1.Secret, "kube-system")).items
        is_there = secret in [one.metadata.name for one in listed]
        return not is_there and not await is_signed(joinable, TOKEN)

    await joinable.eventually(is_forgotten)
    assert "does not know token abcdef: it has expired" in str(await discovered(joinable))


async def test_the_name_of_a_node_at_work_is_taken(joinable: LocalCluster) -> None:
    node = core_v1.Node(metadata=ObjectMeta(name="busy"))
    node.status.conditions = [core_v1.NodeCondition(type="Ready", status="True")]
    await joinable.client.create(node)
    server = Server("127.0.0.1", joinable.port)
    authority = joinable.authority.path.read_bytes()
    check = discovery.check_name
    await asyncio.to_thread(check, server, authority, TOKEN, "free")
    with pytest.raises(ClusterError, match=r"named busy .* choose another name with --node-name"):
        await asyncio.to_thread(check, server, authority, TOKEN, "busy")


# --- servers that are none ---


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_server_that_is_no_api_server_is_told(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_SECONDS", 0.2)
    with pytest.raises(ClusterError, match="does not speak as an API server does"):
        discovery.discover(Server("127.0.0.1", silent), TOKEN, "sha256:x")


def test_a_port_that_a_firewall_blocks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full backlog drops whoever connects, as a firewall does."""
    monkeypatch.setattr(discovery, "_SECONDS", 0.2)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        server = Server("127.0.0.1", listening.getsockname()[1])
        with (
            socket.create_connection(server),
            pytest.raises(ClusterError, match="look at firewalls"),
        ):
            discovery.reach(server)


# --- what is held against what ---


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("10.0.0.1", Server("10.0.0.1", 6443)),
        ("https://api.example.com:443/", Server("api.example.com", 443)),
        ("[2001:db8::1]:443", Server("2001:db8::1", 443)),
        ("https://[2001:db8::1]", Server("2001:db8::1", 6443)),
        ("2001:db8::1", Server("2001:db8::1", 6443)),
        ("[2001:db8::1", None),
        ("host:0", None),
        ("user@host", None),
        ("host:port", None),
        ("host:70000", None),
        (":6443", None),
        ("http://host/path", None),
        ("", None),
    ],
)
def test_a_server_is_a_host_and_a_port(text: str, server: Server | None) -> None:
    if server is not None:
        assert discovery.parse_server(text) == server
        assert discovery.parse_server(server.text) == server
        return
    with pytest.raises(ClusterError, match="is not a server; write HOST or HOST:PORT"):
        discovery.parse_server(text)


@pytest.mark.parametrize(
    ("own", "refusal"),
    [
        ((1, 36), ""),
        ((1, 33), ""),
        ((1, 32), "too old for the server's (1.36)"),
        ((1, 37), "newer than the server's (1.36)"),
        ((2, 0), "newer than the server's"),
    ],
)
def test_a_node_may_be_three_releases_older_than_its_server(
    own: tuple[int, int], refusal: str
) -> None:
    server = {"major": "1", "minor": "36+"}
    if not refusal:
        return discovery.check_version(server, own)
    with pytest.raises(ClusterError, match=f"{re.escape(refusal)}.*install the server's release"):
        discovery.check_version(server, own)


@pytest.mark.parametrize(
    ("seconds", "fits"), [(-299, True), (299, True), (-301, False), (301, False)]
)
def test_a_clock_may_be_five_minutes_off(seconds: float, fits: bool) -> None:
    date = email.utils.formatdate(NOW, usegmt=True)
    if fits:
        return discovery.check_clock(date, NOW + seconds)
    with pytest.raises(ClusterError, match="the clock of this machine is 5 min"):
        discovery.check_clock(date, NOW + seconds)

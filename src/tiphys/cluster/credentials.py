"""The certificates and kubeconfigs of a cluster's components, made once and renewed when due."""

from __future__ import annotations

import datetime
import ipaddress
import socket

from tiphys.cluster import kubeconfig
from tiphys.cluster.certificates import LIFETIME, Authority, key_pem, new_key, write_private
from tiphys.cluster.sandboxes import NodePlace, places
from tiphys.cluster.state import Cluster
from tiphys.machinery.addresses import authority as authority_of

# (file stem, user) of the components that every cluster has.
_COMPONENTS = (
    ("controllers", "system:kube-controller-manager"),
    ("scheduler", "system:kube-scheduler"),
    ("addons", "tiphys:addons"),
)
_LOOPBACKS = ("127.0.0.1", "::1")


def ensure(cluster: Cluster, renews_all: bool = False) -> None:
    """Writes below the cluster's `pki` what is missing there or due for renewal; everything that an
    authority signs with `renews_all`."""
    if not cluster.has_server:
        return  # they were asked for
    pki = cluster.pki
    lifetime = datetime.timedelta(days=cluster.certificate_days) or LIFETIME
    authority = Authority(pki, lifetime, renews_all)
    authority.ensure("apiserver", "kube-apiserver", (), _server_names(cluster), server=True)
    authority.ensure(
        "apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)
    )
    authority.ensure("admin", "kubernetes-admin", ("system:masters",))
    # What controllers, scheduler and add-ons serve their metrics with.
    local = ("localhost", *_LOOPBACKS)
    authority.ensure("components", "tiphys-components", (), local, server=True)
    # An authority of its own: servers behind the API server trust any client it signs, whatever
    # user they name.
    front_proxy = Authority(pki / "front-proxy", lifetime, renews_all)
    front_proxy.ensure("front-proxy-client", "front-proxy-client")
    for stem, user in _COMPONENTS:
        _kubeconfig(cluster, authority, stem, user)
    if cluster.runtime == "hollow":
        _kubeconfig(cluster, authority, "node", "tiphys:hollow-nodes")
    if cluster.is_replicated:
        _of_etcd(cluster, lifetime, renews_all)
    if cluster.runtime == "containerd" and not cluster.joined:
        policy_host = cluster.address
        _kubeconfig(cluster, authority, "network-policy", "tiphys:network-policy", host=policy_host)
    for place in places(cluster):
        _of_node(cluster, authority, place)
    if not (pki / "sa.key").exists():
        write_private(pki / "sa.key", key_pem(new_key()))


def ensure_node(place: NodePlace) -> None:
    """What one more node of this machine needs."""
    cluster = place.cluster
    lifetime = datetime.timedelta(days=cluster.certificate_days) or LIFETIME
    _of_node(cluster, Authority(cluster.pki, lifetime), place)


def _server_names(cluster: Cluster) -> tuple[str, ...]:
    """The names and addresses under which clients know the API server."""
    services = (str(ipaddress.ip_network(cidr)[1]) for cidr in cluster.service_cidrs)
    machine = (cluster.machine_address, cluster.other_address, cluster.api_address)
    return (
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        *_LOOPBACKS,
        *services,
        *(cluster.node_addresses if not cluster.joined else ()),
        *filter(None, machine),
        socket.gethostname().lower(),
    )


def _of_etcd(cluster: Cluster, lifetime: datetime.timedelta, renews_all: bool) -> None:
    """What etcd shows its clients and the other members, and what we show it; of an authority of
    its own: no other clients may read the store."""
    authority = Authority(cluster.pki / "etcd", lifetime, renews_all)
    names = ("localhost", *_LOOPBACKS, cluster.machine_address)
    authority.ensure("server", "tiphys-etcd", (), names, server=True)
    authority.ensure("peer", "tiphys-etcd-peer", (), names, server=True)
    authority.ensure("client", "tiphys-apiserver-etcd-client")


def _of_node(cluster: Cluster, authority: Authority, place: NodePlace) -> None:
    """A node's client certificate, and the one its own server shows."""
    user = f"system:node:{place.name}"
    groups = ("system:nodes",)
    names = (place.name, *place.addresses, *_LOOPBACKS)
    host = place.cluster.address
    if not cluster.joined:  # such a node has asked for its own
        _kubeconfig(cluster, authority, place.kubeconfig.stem, user, groups, host)
    authority.ensure(f"kubelet{place.suffix}", user, groups, names, server=True)


def _kubeconfig(
    cluster: Cluster,
    authority: Authority,
    stem: str,
    user: str,
    groups: tuple[str, ...] = (),
    host: str = "127.0.0.1",
) -> None:
    """A client certificate and a kubeconfig with it, for a component that finds the API server at
    `host`."""
    certificate, key = authority.ensure(stem, user, groups)
    server = f"https://{authority_of(host, cluster.port)}"
    file = cluster.pki / f"{stem}.kubeconfig"
    # Also of a cluster that has one server yet: it may move to etcd and get more, and no one would
    # start these components again for that.
    others = cluster.servers_file if cluster.machine_address else None
    kubeconfig.component(file, server, authority.path, certificate, key, others)

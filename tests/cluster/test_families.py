"""The networks of a cluster in the families that it has."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import pytest

from tiphys.client.config import load
from tiphys.cluster import credentials, families, plan, preflight
from tiphys.cluster.certificates import names_of
from tiphys.cluster.sandboxes import places
from tiphys.cluster.state import Cluster, ClusterError, Control, Joined

ORDERS = [("ipv4", [4]), ("ipv6", [6]), ("dual", [4, 6]), ("dual-ipv6", [6, 4])]


def cluster(tmp_path: Path, ip_family: str, **options: object) -> Cluster:
    made = Cluster("mine", str(tmp_path / "data"), number=3, ip_family=ip_family)
    for name, value in options.items():
        setattr(made, name, value)
    return made


def versions(networks: list[str]) -> list[int]:
    return [ipaddress.ip_interface(network).version for network in networks]


@pytest.mark.parametrize(("ip_family", "order"), ORDERS)
def test_everything_has_one_of_each_family_in_the_order_of_the_cluster(
    tmp_path: Path, ip_family: str, order: list[int]
) -> None:
    made = cluster(tmp_path, ip_family)
    place = places(made)[0]
    for networks in (
        made.service_cidrs,
        made.joining_pods,
        made.load_balancer_pools,
        made.node_addresses,
        made.loopbacks,
        place.pod_cidrs,
        place.gateways,
        place.addresses,
    ):
        assert versions(networks) == order
    assert ipaddress.ip_address(made.dns_address) in ipaddress.ip_network(made.service_cidrs[0])


def test_ranges_of_ipv6_are_as_long_as_upstreams(tmp_path: Path) -> None:
    made = cluster(tmp_path, "ipv6")
    assert made.service_cidrs == ["fd10:96:3::/108"] and made.dns_address == "fd10:96:3::a"
    assert [ipaddress.ip_network(range).prefixlen for range in places(made)[0].pod_cidrs] == [64]


def test_what_machines_that_join_are_given_is_apart_from_what_the_first_has(
    tmp_path: Path,
) -> None:
    made = cluster(tmp_path, "dual-ipv6", nodes=16, pod_network="")
    joining = [ipaddress.ip_network(network) for network in made.joining_pods]
    for place in places(made):
        for range in map(ipaddress.ip_network, place.pod_cidrs):
            assert not any(one.version == range.version and one.overlaps(range) for one in joining)


def test_the_api_server_is_known_by_its_addresses_of_every_family(tmp_path: Path) -> None:
    made = cluster(tmp_path, "dual", machine_address="192.0.2.1", other_address="2001:db8::1")
    credentials.ensure(made)
    expected = {"127.0.0.1", "::1", "192.0.2.1", "2001:db8::1", "10.99.0.1", "fd10:96:3::1"}
    assert names_of(made.pki / "apiserver.crt") >= expected
    kubelet = names_of(made.pki / "kubelet.crt")
    assert kubelet >= {"192.0.2.1", "2001:db8::1"}


def test_addresses_have_brackets_where_a_port_follows(tmp_path: Path) -> None:
    made = cluster(tmp_path, "ipv6", machine_address="2001:db8::1", store="etcd")
    credentials.ensure(made)
    assert made.server == "https://[2001:db8::1]:6443"
    assert f'server: "{made.server}"' in (made.pki / "node.kubeconfig").read_text()
    assert plan.etcd_urls(made).peer == "https://[2001:db8::1]:16444"
    listening = {row.name: row.listen for row in plan.processes(made)}
    assert listening["apiserver"] == "[::]:6443"


def test_a_machine_of_the_control_plane_gives_the_networks_that_the_first_was_told(
    tmp_path: Path,
) -> None:
    joined = Joined("n2", ["[fd00::1]:6443"], "fd10:96::/108,10.96.0.0/16", "fd10:96::a", "d", [])
    assert families.named(joined.service_network.split(",")) == "dual-ipv6"
    member = cluster(tmp_path, "dual-ipv6", joined=joined, control=Control("fd01::/48,10.9.0.0/16"))
    assert member.service_cidrs == ["fd10:96::/108", "10.96.0.0/16"]
    assert member.joining_pods == ["fd01::/48", "10.9.0.0/16"]


@pytest.mark.parametrize(
    ("ip_family", "options", "refusal"),
    [
        ("ipv4", {"machine_address": "::1"}, "--address ::1 does not fit: the cluster has IPv4"),
        ("dual-ipv6", {"machine_address": "127.0.0.1"}, "the cluster has IPv6 and IPv4"),
        ("ipv6", {"machine_address": "::1", "other_address": "127.0.0.1"}, "does not fit"),
        ("ipv6", {"machine_address": "here"}, "--address here is not an address"),
        ("ipv6", {"pool": "10.9.0.0/24"}, "this cluster has no IPv4"),
        ("ipv6", {"pod_network": "10.9.0.0/16"}, "does not fit --ip-family ipv6"),
        ("ipv6", {"pod_network": "fd00::/72"}, "is too small: every machine gets a /64 of it"),
        ("ipv6", {"pod_network": "fd00::/40"}, "has too many parts of /64"),
        ("dual", {"pod_network": "10.9.0.0/16"}, "give a network of IPv4 and one of IPv6"),
        ("ipv6", {"pod_network": "fd10:96:3::/48"}, "overlaps with fd10:96:3::/108"),
    ],
)
def test_what_does_not_fit_the_families_is_refused(
    tmp_path: Path, ip_family: str, options: dict[str, str], refusal: str
) -> None:
    pools = [options.pop("pool")] if "pool" in options else []
    made = cluster(tmp_path, ip_family, pools=pools, runtime="none", **options)
    with pytest.raises(ClusterError, match=re.escape(refusal)):
        if pools:
            preflight.check_pools(made)
        elif made.machine_address:
            preflight.check_addresses(made)
        else:
            preflight.check_pod_network(made)


def test_components_of_a_machine_that_others_reach_learn_of_further_servers(
    tmp_path: Path,
) -> None:
    """Also before there is one: the store may move to etcd while they run."""
    made = cluster(tmp_path, "ipv4", machine_address="192.0.2.1", runtime="containerd")
    credentials.ensure(made)
    for stem in ("node", "controllers", "network-policy"):
        assert load(made.pki / f"{stem}.kubeconfig").servers == made.servers_file

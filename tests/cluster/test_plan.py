"""Which processes a cluster has, and what they are started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiphys.cluster import plan
from tiphys.cluster.plan import Process
from tiphys.cluster.planfiles import read_plan
from tiphys.cluster.state import Cluster, Joined


def processes(**options: Any) -> dict[str, Process]:
    return {process.name: process for process in plan.processes(Cluster("c", "/d", **options))}


def flag(process: Process, name: str) -> str:
    return process.command[process.command.index(name) + 1]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, "apiserver containerd controllers node"),
        ({"nodes": 2}, "apiserver containerd containerd-2 controllers node node-2"),
        ({"runtime": "hollow", "nodes": 9}, "apiserver controllers node"),
        ({"runtime": "none"}, "apiserver controllers"),
        ({"runtime": "none", "addons": True}, "apiserver controllers addons"),
        ({"runtime": "none", "store": "etcd"}, "etcd apiserver controllers"),
        ({"runtime": "none", "store": "https://e:2379"}, "apiserver controllers"),
    ],
)
def test_processes_in_the_order_of_their_start(options: dict[str, Any], names: str) -> None:
    assert list(processes(**options)) == names.split()


def test_the_server_asks_the_clusters_own_etcd() -> None:
    started = processes(runtime="none", store="etcd", port=7000)
    assert flag(started["apiserver"], "--store") == "http://127.0.0.1:17000"
    assert flag(started["etcd"], "--listen-client-urls") == "http://127.0.0.1:17000"
    assert flag(started["etcd"], "--listen-peer-urls") == "http://127.0.0.1:17001"
    assert not [word for word in started["etcd"].command if "fsync" in word]


def test_the_server_shows_its_certificate_to_another_etcd() -> None:
    files = ["ca", "cert", "key"]
    server = processes(runtime="none", store="https://e:2379", etcd_tls=files)["apiserver"]
    assert [flag(server, f"--etcd-{name}") for name in ("ca", "cert", "key")] == files
    assert "--etcd-ca" not in processes(runtime="none")["apiserver"].command


def test_only_a_node_in_a_sandbox_asks_the_machine_for_other_names() -> None:
    started = processes(nodes=2)
    assert "--forward-dns" not in started["node"].command
    assert flag(started["node-2"], "--forward-dns") == "10.244.0.1"
    networks = flag(started["node-2"], "--cluster-cidr").split(",")
    assert networks[:2] == ["10.244.0.0/24", "10.225.0.0/24"]


JOINED = Joined("n1", ["192.0.2.1:6443"], "10.97.0.0/16", "10.97.0.10", "c.local", ["10.9.0.0/16"])


def test_a_machine_that_has_joined_runs_containers_and_asks_the_server_for_the_rest() -> None:
    started = processes(joined=JOINED, machine_address="192.0.2.2", number=3)
    assert list(started) == ["containerd", "node"]
    node = started["node"]
    assert (flag(node, "--name"), flag(node, "--address")) == ("n1", "192.0.2.2")
    assert (flag(node, "--pod-cidr"), flag(node, "--cluster-cidr")) == ("", "10.9.0.0/16")
    assert flag(node, "--certificate") == flag(node, "--key") == "/d/pki/kubelet.pem"
    assert (flag(node, "--service-cidr"), flag(node, "--dns")) == ("10.97.0.0/16", "10.97.0.10")
    assert (flag(node, "--table"), flag(node, "--route-metric")) == ("tiphys-3", "4")


def test_where_others_join_nodes_get_ranges_and_routes() -> None:
    started = processes(machine_address="192.0.2.1", pod_routes="vxlan")
    assert flag(started["controllers"], "--cluster-cidr") == "10.244.128.0/17"
    assert flag(started["controllers"], "--server-certificate") == "/d/pki/apiserver.crt"
    node = started["node"]
    assert (flag(node, "--address"), flag(node, "--pod-routes")) == ("192.0.2.1", "vxlan")
    assert flag(node, "--cluster-cidr") == "10.244.0.0/24,10.244.128.0/17"
    assert flag(started["apiserver"], "--address") == "192.0.2.1"
    assert "--pod-routes" not in processes()["node"].command


def test_nodes_may_claim_the_address_of_all_api_servers_and_no_service_is_given_it() -> None:
    options: dict[str, Any] = {"machine_address": "192.0.2.1", "api_address": "192.0.2.200"}
    started = processes(**options, pools=["192.0.2.240/28"])
    assert flag(started["controllers"], "--api-address") == "192.0.2.200:6443"
    assert flag(started["controllers"], "--load-balancer-pools") == "192.0.2.240/28"
    assert flag(started["node"], "--api-address") == "192.0.2.200"
    assert flag(started["node"], "--load-balancer-pools") == "192.0.2.240/28,192.0.2.200/32"
    cluster = Cluster("c", "/d", **options)
    assert cluster.server == "https://192.0.2.1:6443"
    assert cluster.public_server == "https://192.0.2.200:6443"
    assert Cluster("c", "/d").public_server == "https://127.0.0.1:6443"
    assert "--api-address" not in processes()["controllers"].command
    worker = processes(joined=JOINED, **options)["node"]
    assert "--api-address" not in worker.command, "it has no server that could be away"


def test_a_scheduler_configuration_is_passed_on() -> None:
    started = processes(runtime="none", scheduler_config="/s.yaml")
    assert flag(started["controllers"], "--scheduler-config") == "/s.yaml"
    assert "--scheduler-config" not in processes(runtime="none")["controllers"].command


def test_the_server_gets_its_workers() -> None:
    started = processes(runtime="none", api_workers=2)
    assert flag(started["apiserver"], "--workers") == "2"
    assert "--workers" not in processes(runtime="none")["apiserver"].command


def test_an_audit_policy_is_passed_on_with_a_log() -> None:
    server = processes(runtime="none", audit_policy="/p.yaml")["apiserver"]
    assert flag(server, "--audit-policy-file") == "/p.yaml"
    assert flag(server, "--audit-log-path").endswith("/audit/audit.log")
    assert "--audit-log-path" not in processes(runtime="none")["apiserver"].command


def test_the_supervisor_reads_what_is_written(tmp_path: Path) -> None:
    cluster = Cluster("c", str(tmp_path))
    components = read_plan(plan.write(cluster))
    assert [component.command for component in components] == [
        process.command for process in plan.processes(cluster)
    ]
    assert {component.name: component.env for component in components}["containerd"]


def test_components_serve_their_metrics_with_the_clusters_certificate() -> None:
    started = processes(runtime="none", addons=True, port=7000)
    controllers = started["controllers"]
    assert controllers.address == "https://127.0.0.1:17002"
    assert flag(controllers, "--secure-port") == "17002"
    assert flag(controllers, "--scheduler-secure-port") == "17003"
    assert flag(controllers, "--tls-cert-file").endswith("/pki/components.crt")
    assert flag(started["addons"], "--secure-port") == "17004"


def test_a_cluster_at_the_usual_port_has_upstreams_ports_for_metrics() -> None:
    assert plan.monitoring_ports(6443)[:2] == (10257, 10259)


@pytest.mark.parametrize("port", [6443, 6500, 55_531, 55_533, 65_535])
def test_no_two_components_have_one_port(port: int) -> None:
    ports = [port, *plan.etcd_ports(port), *plan.monitoring_ports(port)]
    assert len(set(ports)) == len(ports) and max(ports) <= 65_535

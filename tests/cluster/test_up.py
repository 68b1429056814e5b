"""What `tiphys up`, `down` and `status` say and do when something is not as it should be."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.builders import machine_address
from tiphys.cli.main import cli
from tiphys.cluster import (
    certificates,
    components,
    kubeconfig,
    preflight,
    readiness,
    removal,
    state,
)
from tiphys.cluster.certificates import Authority
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.testing.cluster import free_port

NOW = 1_790_000_000.0
STAMP = "2026-09-21T14:13:20Z"  # NOW
EARLIER = "2026-09-21T14:13:19Z"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    made = Cluster("mine", str(tmp_path / "data"), free_port(), "hollow")
    made.save()
    Authority(made.pki).ensure("admin", "admin", ("system:masters",))
    return made


# --- before anything starts ---


def test_options_that_a_running_cluster_does_not_have_are_told_with_what_to_do(
    cluster: Cluster,
) -> None:
    asked = Cluster("mine", cluster.data_dir, cluster.port, "hollow", nodes=3, store="etcd")
    with pytest.raises(ClusterError) as refused:
        preflight.check_unchanged(cluster, asked)
    assert "without --nodes 3 --store etcd, and nothing was changed" in str(refused.value)
    assert "tiphys down --name mine && tiphys up --name mine --nodes 3 --store etcd" in str(
        refused.value
    )
    preflight.check_unchanged(cluster, cluster)


@pytest.mark.parametrize("store", ["foo", "ftp://x", "https://", "http://a:1,b"])
def test_what_is_no_store_is_refused(cluster: Cluster, store: str) -> None:
    cluster.store = store
    with pytest.raises(ClusterError, match="is not a store: use sqlite, etcd"):
        preflight.check(cluster)


@pytest.mark.parametrize(
    ("fields", "nodes", "problem"),
    [
        ("cpuManagerPolicy: static", 1, "requires systemreserved.cpu + kubereserved.cpu to be"),
        ('reservedSystemCPUs: "9999"', 1, "reserved-cpus: 9999 is not a subset of online-cpus"),
        ("memoryManagerPolicy: Static", 1, "is not equal to the value"),
        ("cpuManagerPolicy: static", 2, "nodes of one machine would give the same cores"),
    ],
)
def test_a_machine_that_cannot_give_what_is_asked_of_it_is_refused(
    cluster: Cluster, tmp_path: Path, fields: str, nodes: int, problem: str
) -> None:
    file = tmp_path / "kubelet.yaml"
    head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
    file.write_text(head + fields)
    cluster.kubelet_config = str(file)
    cluster.nodes = nodes
    with pytest.raises(ClusterError) as refused:
        preflight.check(cluster)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"machine_address": "192.0.2.99"}, "no link of this machine has the address 192.0.2.99"),
        ({"runtime": "hollow"}, "with --address use --runtime containerd, or none"),
        ({"pod_network": "ten"}, "is not a network; write 10.0.0.0/12"),
        ({"pod_network": "10.9.0.0/25"}, "is too small: every machine gets a /24 of it"),
        ({"pod_network": "10.96.0.0/12"}, "overlaps with 10.96.0.0/16; choose another"),
    ],
)
@pytest.mark.needs("ip")
def test_what_other_machines_cannot_join_is_refused(
    cluster: Cluster, options: dict[str, str], refusal: str
) -> None:
    cluster.runtime, cluster.machine_address = "none", machine_address()
    for name, value in options.items():
        setattr(cluster, name, value)
    with pytest.raises(ClusterError, match=re.escape(refusal)):
        preflight.check(cluster)


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"machine_address": ""}, "it needs --address, and nodes"),
        ({"runtime": "none"}, "it needs --address, and nodes"),
        ({"api_address": "here"}, "--api-address here is not an address of IPv4"),
        ({"api_address": "2001:db8::1"}, "--api-address 2001:db8::1 is not an address of IPv4"),
        ({"api_address": "203.0.113.9"}, "is on no network of this machine"),
        ({"api_address": machine_address()}, "is this machine's own: take a free one"),
    ],
)
@pytest.mark.needs("ip")
def test_an_address_that_cannot_be_all_servers_is_refused(
    cluster: Cluster, options: dict[str, str], refusal: str
) -> None:
    cluster.runtime, cluster.machine_address = "containerd", machine_address()
    for name, value in {"api_address": "203.0.113.9", **options}.items():
        setattr(cluster, name, value)
    with pytest.raises(ClusterError, match=re.escape(refusal)):
        preflight.check_api_address(cluster)


@pytest.mark.parametrize(
    ("address", "services"),
    [("10.96.0.7", "10.97.0.0/16"), ("10.9.0.7", "10.96.0.0/16"), ("", "10.96.0.0/16")],
)
def test_services_have_no_addresses_of_the_machines_network(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, services: str
) -> None:
    monkeypatch.setattr(state, "home", lambda: tmp_path / "home")
    cluster.machine_address = address
    state.remember(cluster)
    assert cluster.service_cidrs == [services]


@pytest.mark.parametrize("text", ["{ broken: [", "just words", "users: 3", "clusters: [1]", "\x00"])
def test_a_kubeconfig_that_is_none_is_found_and_left_alone(cluster: Cluster, text: str) -> None:
    kubeconfig.user_file().write_text(text)
    with pytest.raises(ClusterError, match="set KUBECONFIG to another file"):
        preflight.check(cluster)
    assert kubeconfig.user_file().read_text() == text


def test_a_truncated_cluster_file_is_told_and_forgotten_by_nobody(cluster: Cluster) -> None:
    (cluster.root / "cluster.json").write_text('{"name": "mi')
    with pytest.raises(
        ClusterError, match=r"cluster\.json is damaged .* to begin afresh without its data"
    ):
        state.load("mine", cluster.root)


def test_an_authority_that_is_damaged_or_halved_is_told(cluster: Cluster) -> None:
    certificates.check(cluster.pki)
    (cluster.pki / "ca.key").unlink()
    with pytest.raises(ClusterError, match=r"ca\.crt and ca\.key cannot be used \(No such file"):
        certificates.check(cluster.pki)
    (cluster.pki / "ca.crt").write_text("x")
    with pytest.raises(ClusterError, match="Unable to load PEM file"):
        certificates.check(cluster.pki)


@pytest.mark.parametrize("spoil", [lambda file: file.write_text("x"), lambda file: file.unlink()])
def test_a_leaf_that_is_damaged_or_missing_is_made_again(
    cluster: Cluster, spoil: Callable[[Path], Any]
) -> None:
    spoil(cluster.pki / "admin.crt")
    certificate, _ = Authority(cluster.pki).ensure("admin", "admin", ("system:masters",))
    assert certificate.read_text().startswith("-----BEGIN CERTIFICATE")


def test_a_leaf_of_another_authority_is_made_again(cluster: Cluster) -> None:
    before = (cluster.pki / "admin.crt").read_bytes()
    for name in ("ca.crt", "ca.key"):
        (cluster.pki / name).unlink()
    Authority(cluster.pki).ensure("admin", "admin", ("system:masters",))
    assert (cluster.pki / "admin.crt").read_bytes() != before


# --- what is running ---


def node(heartbeat: str, status: str = "True", taint: str = "") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": status, "lastHeartbeatTime": heartbeat}]
    return {
        "spec": {"taints": [{"key": taint}] if taint else []},
        "status": {"conditions": conditions},
    }


def test_a_node_is_ready_by_what_it_said_since_its_agent_started() -> None:
    assert readiness.is_node_ready(node(STAMP), NOW)
    assert not readiness.is_node_ready(node(EARLIER), NOW)
    assert not readiness.is_node_ready(node(STAMP, "Unknown"), NOW)
    assert not readiness.is_node_ready(node(STAMP, taint="node.kubernetes.io/not-ready"), NOW)


def pod(state_: dict[str, Any], ready: str = "True", **other: Any) -> dict[str, Any]:
    status = {
        "containerStatuses": [{"state": state_}],
        "conditions": [{"type": "Ready", "status": ready}],
        **other,
    }
    return {"metadata": {}, "spec": {"nodeName": "here"}, "status": status}


def test_pods_of_an_earlier_life_are_awaited_and_hopeless_ones_are_not() -> None:
    assert readiness.is_awaited(pod({"running": {"startedAt": EARLIER}}), NOW)
    assert readiness.is_awaited(pod({"running": {"startedAt": STAMP}}, ready="False"), NOW)
    assert not readiness.is_awaited(pod({"running": {"startedAt": STAMP}}), NOW)
    assert not readiness.is_awaited(
        pod({"waiting": {"reason": "CrashLoopBackOff"}}, ready="False"), NOW
    )
    assert not readiness.is_awaited(pod({}, ready="False", phase="Succeeded"), NOW)


@pytest.mark.parametrize(
    ("runs", "failures", "age", "words"),
    [
        (True, 0, 1, "ok"),
        (True, 5, 60, "ok"),
        (True, 5, 1, "crash loop (exit 1)"),
        (False, 3, 60, "crash loop (exit 1)"),
        (False, 1, 60, "restarting (exit 1)"),
    ],
)
def test_a_component_that_dies_again_and_again_is_in_a_crash_loop(
    runs: bool, failures: int, age: float, words: str
) -> None:
    pid = os.getpid() if runs else None
    row = {"pid": pid, "failures": failures, "started": NOW - age, "last_exit": 1}
    assert components.health(row, NOW) == words


def test_down_chooses_another_context_when_there_is_one(cluster: Cluster) -> None:
    theirs = {"clusters": [], "users": [], "contexts": [{"name": "work", "context": {}}]}
    kubeconfig.user_file().write_text(yaml.safe_dump(theirs))
    kubeconfig.merge(cluster)
    assert kubeconfig.remove(cluster) == "work"
    assert yaml.safe_load(kubeconfig.user_file().read_text())["current-context"] == "work"


# --- the command ---


def test_a_mistake_is_one_line_and_no_traceback(cluster: Cluster) -> None:
    result = CliRunner().invoke(
        cli, ["up", "--name", "mine", "--data-dir", cluster.data_dir, "--store", "foo"]
    )
    assert result.exit_code == 1 and result.output.startswith("Error: --store foo is not a store")
    assert len(result.output.splitlines()) == 1 and not (cluster.root / "logs").exists()


def test_a_running_cluster_keeps_its_options_and_an_interrupted_up_leaves_nothing(
    cluster: Cluster,
) -> None:
    command = [
        sys.executable,
        "-m",
        "tiphys.cli.main",
        "up",
        "--name",
        "mine",
        "--data-dir",
        cluster.data_dir,
    ]
    up = subprocess.Popen(
        [*command, "--wait"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert up.stderr is not None
    assert "Certificates" in up.stderr.readline()
    up.send_signal(signal.SIGTERM)
    _, said = up.communicate(timeout=60)
    assert up.returncode == 1 and "Nothing of mine is left running" in said
    assert not components.is_running(cluster)
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    try:
        again = subprocess.run(
            [*command, "--port", "1"], capture_output=True, text=True, timeout=60
        )
        assert (
            again.returncode == 1
            and "running without --port 1, and nothing was changed" in again.stderr
        )
    finally:
        removal.down(cluster, purge=True)

"""Machines that join a cluster with a command, work in it, are lost, come back and leave."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import EXAMPLE
from tests.e2e.machines import (
    ANNEX,
    BIG,
    OFFICE,
    Host,
    Networks,
    condition,
    daemon_set,
    node,
    service,
    workload,
)
from tiphys.cluster import containerd

pytestmark = pytest.mark.slow


class Office:
    """Three machines: `head` has the control plane, `near` is its neighbour, `far` is behind a
    router."""

    def __init__(self, root: Path) -> None:
        # The line between the networks is narrower than all else: packets that are too long for it
        # are lost, or cut.
        self.networks = Networks(f"tj{os.getpid() % 100000}", line=1400)
        self.head = self.networks.host("head", OFFICE, 1, root)
        self.near = self.networks.host("near", OFFICE, 2, root)
        self.far = self.networks.host("far", ANNEX, 3, root)

    def start(self, image: Path) -> None:
        self.head.up("--wait")
        command = self.head.join_command()
        for host in (self.near, self.far):
            host.join(command)
        for host in self.networks.hosts:
            host.tiphys("image", "load", "--name", host.name, str(image))
        self.apply(daemon_set(), service())
        self.head.kubectl("rollout", "status", "ds/web", "--timeout=90s")

    def apply(self, *objects: dict[str, Any]) -> None:
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.head.kubectl("apply", "-f", "-", stdin=body)

    def pods(self, app: str = "web") -> dict[str, Any]:
        """By the name of their node."""
        rows = self.head.get("pods", "-l", f"app={app}")["items"]
        return {row["spec"]["nodeName"]: row for row in rows}

    def ready(self, host: Host) -> str:
        return condition(node(self.head, host.name))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    if os.geteuid() != 0 or containerd.missing() or shutil.which("kubectl") is None:
        pytest.skip("needs root, containerd and kubectl")
    import sys

    sys.path.insert(0, str(EXAMPLE))
    from image import build  # type: ignore[import-not-found]

    root = tmp_path_factory.mktemp("join")
    made = Office(root)
    try:
        made.start(build(root / "hello.tar"))
        yield made
    finally:
        made.networks.close()


def fetch(url: str) -> str:
    return f"wget -q -O - {url}"


def address(pod: Any) -> str:
    return str(pod["status"]["podIP"])


# --- what works on three machines ---


def test_machines_that_join_are_nodes_with_ranges_of_their_own(office: Office) -> None:
    nodes = office.head.get("nodes")["items"]
    ranges = {found["spec"]["podCIDR"] for found in nodes}
    assert len(nodes) == len(ranges) == 3 and all(condition(found) == "True" for found in nodes)
    status = json.loads(office.far.tiphys("status", "--name", office.far.name, "-o", "json"))
    assert (status["nodesReady"], status["nodes"]) == (3, 3)
    assert [row["name"] for row in status["components"]] == ["containerd", "node"]


def test_neighbours_are_reached_directly_and_others_through_a_tunnel(office: Office) -> None:
    lines = office.head.sh("ip route show proto 84").splitlines()
    devices = {line.split()[0]: line.split()[line.split().index("dev") + 1] for line in lines}
    ranges = {
        host: node(office.head, host.name)["spec"]["podCIDR"] for host in (office.near, office.far)
    }
    assert devices[ranges[office.near]] == "eth0"
    assert devices[ranges[office.far]].endswith("-vx")


def test_pods_reach_pods_everywhere_under_their_own_addresses(office: Office) -> None:
    pods = office.pods()
    assert len(pods) == 3
    for pod in pods.values():
        for other in pods.values():
            url = f"http://{address(other)}:8080"
            script = f"{fetch(url)} && {fetch(url + '/big')} | wc -c"
            answer = office.head.kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", script)
            assert answer.split() == [other["metadata"]["name"], str(BIG)]


def test_machines_reach_pods_everywhere(office: Office) -> None:
    for host in office.networks.hosts:
        for pod in office.pods().values():
            got = host.sh(f"curl -sS -m 20 http://{address(pod)}:8080/big | wc -c")
            assert int(got) == BIG


def test_services_and_their_names_lead_to_pods_of_all_machines(office: Office) -> None:
    names = {pod["metadata"]["name"] for pod in office.pods().values()}
    loop = f"for i in $(seq 60); do {fetch('http://web.default.svc.cluster.local')}; done"
    for name in names:
        answer = office.head.kubectl("exec", name, "--", "sh", "-c", loop)
        assert set(answer.split()) == names


def test_a_pods_address_is_seen_as_it_is_on_another_machine(office: Office) -> None:
    """Else policies about pods would mean nothing there: one lets in the pod of one node alone."""
    pods = office.pods()
    friend, target = pods[office.far.name], pods[office.near.name]
    stranger = next(
        pod for name, pod in pods.items() if name not in (office.far.name, office.near.name)
    )
    for pod, role in ((friend, "friend"), (stranger, "stranger"), (target, "target")):
        office.head.kubectl("label", "pod", pod["metadata"]["name"], f"role={role}")
    rule = {"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}
    spec = {"podSelector": {"matchLabels": {"role": "target"}}, "ingress": [rule]}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    office.apply({**kind, "metadata": {"name": "friends"}, "spec": spec})
    url = f"http://{address(target)}:8080"

    def gets(pod: Any) -> bool:
        script = f"timeout 2 {fetch(url)} || true"
        said = office.head.kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", script)
        return bool(said.strip())

    try:
        office.head.eventually(lambda: not gets(stranger))
        assert gets(friend)
    finally:
        office.head.kubectl("delete", "networkpolicy", "friends")


def test_kubectl_reaches_into_pods_of_machines_that_joined(office: Office) -> None:
    name = office.pods()[office.far.name]["metadata"]["name"]
    assert office.head.kubectl("exec", name, "--", "hostname").strip() == name
    office.head.kubectl("logs", name)
    forwarded = f"kubectl port-forward pod/{name} 18080:8080 >/dev/null & sleep 0.1; "
    ask = "until curl -sf http://127.0.0.1:18080/; do :; done; kill $!"
    assert office.head.sh(forwarded + ask).strip() == name
    top = office.head.eventually(lambda: office.head.kubectl("top", "nodes", check=False))
    office.head.eventually(
        lambda: office.far.name in office.head.kubectl("top", "nodes", check=False)
    )
    assert top


# --- restarts ---


def test_a_machine_that_was_restarted_is_the_same_node(office: Office) -> None:
    far = office.far
    before = node(office.head, far.name)
    far.tiphys("down", "--name", far.name)
    far.tiphys("join", "--name", far.name)
    after = node(office.head, far.name)
    assert before["metadata"]["uid"] == after["metadata"]["uid"]
    assert before["spec"]["podCIDR"] == after["spec"]["podCIDR"]
    office.head.kubectl("rollout", "status", "ds/web", "--timeout=90s")
    again = far.tiphys("up", "--name", far.name)
    assert "already running as a node of" in again


def test_a_node_that_was_deleted_by_hand_comes_back_with_a_range(office: Office) -> None:
    near = office.near
    office.head.kubectl("delete", "node", near.name)

    def is_back() -> bool:
        found = office.head.kubectl("get", "node", near.name, "-o", "json", check=False)
        return found.startswith("{") and condition(json.loads(found)) == "True"

    office.head.eventually(is_back, 60)
    office.head.eventually(lambda: serves_in_its_range(office, near), 90)


def serves_in_its_range(office: Office, host: Host) -> bool:
    """Whether the host's pod is in the host's range and answers a machine that is far."""
    network = ip_network(node(office.head, host.name)["spec"]["podCIDR"])
    pod = office.pods().get(host.name)
    if pod is None or "podIP" not in pod["status"] or ip_address(address(pod)) not in network:
        return False
    got = office.far.sh(f"curl -s -m 5 http://{address(pod)}:8080/", check=False)
    return got.strip() == pod["metadata"]["name"]


# --- a machine is lost ---


def test_a_machine_whose_link_is_cut_is_given_up_and_taken_back(office: Office) -> None:
    far = office.far
    tolerations = [
        {
            "key": f"node.kubernetes.io/{key}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 1,
        }
        for key in ("unreachable", "not-ready")
    ]
    movable = workload("Deployment", "movable", "sleep 100000")
    movable["spec"]["template"]["spec"]["tolerations"] = tolerations
    movable["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": far.name}
    office.apply(movable)
    office.head.kubectl("rollout", "status", "deploy/movable", "--timeout=60s")
    name = office.pods("movable")[far.name]["metadata"]["name"]
    cut = time.monotonic()
    far.cut()
    try:
        office.head.eventually(lambda: office.ready(far) == "Unknown", 90)
        # 50 s after the last sign of life, which may be 10 s old; the machine may be busy.
        assert 39 < time.monotonic() - cut < 65
        office.head.eventually(lambda: deleted(office, name), 30)
    finally:
        far.mend()
    back = time.monotonic()
    office.head.eventually(lambda: office.ready(far) == "True", 30)
    assert time.monotonic() - back < 15
    office.head.eventually(lambda: gone(office, name), 60)
    office.head.kubectl("delete", "deploy", "movable")


def deleted(office: Office, name: str) -> bool:
    found = office.head.kubectl("get", "pod", name, "-o", "json", check=False)
    return not found.startswith("{") or "deletionTimestamp" in json.loads(found)["metadata"]


def gone(office: Office, name: str) -> bool:
    return "NotFound" in office.head.kubectl("get", "pod", name, check=False)


# --- who may not join, and who leaves ---


def test_a_machine_that_may_not_join_is_told_why_and_nothing_is_left(office: Office) -> None:
    guest = office.networks.host("guest", OFFICE, 9, office.head.root.parent)
    command = office.head.join_command("--ttl", "1h")
    options = ["--name", guest.name, "--data-dir", str(guest.root / "data")]
    taken = guest.refused(*command, *options, "--node-name", office.near.name)
    assert f"there is a node named {office.near.name} in the cluster, and it is ready" in taken
    guest.sh(
        f"nft 'add table ip wall; add chain ip wall out {{ type filter hook output priority 0; }}; "
        f"add rule ip wall out ip daddr {office.head.address} tcp dport 6443 drop'"
    )
    blocked = guest.refused(*command, *options, "--node-name", "guest")
    assert "must be reachable from here; look at firewalls" in blocked
    guest.sh("nft delete table ip wall")
    office.head.tiphys("token", "delete", "--name", office.head.name, command[3])
    expired = guest.refused(*command, *options, "--node-name", "guest")
    assert "tiphys token create" in expired
    assert not (guest.root / "data").exists() or not list((guest.root / "data").rglob("*"))
    assert "there is no cluster named" in guest.refused("status", "--name", guest.name)


def test_a_machine_leaves_when_budgets_allow_it_and_leaves_no_trace(office: Office) -> None:
    near, head = office.near, office.head
    office.apply(workload("Deployment", "kept", "sleep 100000", replicas=3), budget("kept", 3))
    head.kubectl("rollout", "status", "deploy/kept", "--timeout=60s")
    assert near.name in office.pods("kept")
    refusal = near.refused("leave", "--name", near.name, "--timeout", "3")
    assert "these pods are still here after 3 s: default/kept-" in refusal
    assert "disruption budgets" in refusal and node(head, near.name)["spec"]["unschedulable"]
    office.apply(budget("kept", 2))
    near.tiphys("leave", "--name", near.name)
    assert near.name not in head.kubectl("get", "nodes")
    head.eventually(lambda: near.name not in office.pods("kept") and near.name not in office.pods())
    assert f"kube-dns-{near.name}" not in head.kubectl("get", "endpointslices", "-n", "kube-system")
    assert not near.sh(
        "ip route show proto 84; ip -o link show type vxlan; nft list tables"
    ).strip()
    assert not (near.root / "data").exists()
    head.eventually(lambda: len(head.sh("ip route show proto 84").splitlines()) == 1)


def budget(app: str, least: int) -> dict[str, Any]:
    spec = {"minAvailable": least, "selector": {"matchLabels": {"app": app}}}
    kind = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
    return {**kind, "metadata": {"name": app}, "spec": spec}

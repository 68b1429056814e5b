"""Upstream's scenarios of network policies: pods of three namespaces on two nodes, every one tries
to reach every other."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.machine import IMAGE, Machine
from tests.network.policies import allowed, policy
from tests.network.sockets import Servers, Try, namespaces_by_address
from tiphys.api.base import encode
from tiphys.network.policy.model import NamedPort, PodFacts

SPACES, NAMES = ("np-x", "np-y", "np-z"), ("a", "b", "c")
PORTS = [
    NamedPort(f"serve-{n}-{p.lower()}", p, n) for n in (80, 81) for p in ("TCP", "UDP", "SCTP")
]
LABEL = "kubernetes.io/metadata.name"


def _pod(namespace: str, name: str) -> dict[str, Any]:
    ports = [{"name": p.name, "protocol": p.protocol, "containerPort": p.number} for p in PORTS]
    container = {"name": "c", "image": IMAGE, "command": ["sleep", "3600"], "ports": ports}
    meta = {"name": name, "namespace": namespace, "labels": {"pod": name}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _service(namespace: str, name: str) -> dict[str, Any]:
    ports = [
        {"name": p.name, "protocol": p.protocol, "port": p.number}
        for p in PORTS
        if p.protocol != "SCTP"
    ]
    spec = {"selector": {"pod": name}, "ports": ports}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"s-{name}", "namespace": namespace},
        "spec": spec,
    }


def _list(items: Iterable[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)})


@dataclass
class World:
    machine: Machine
    pods: list[PodFacts]
    places: dict[str, str]
    services: dict[str, str]  # pod → address of its service
    servers: Servers

    def labels(self) -> dict[str, dict[str, str]]:
        rows = self.machine.get("namespaces")["items"]
        return {row["metadata"]["name"]: row["metadata"]["labels"] for row in rows}

    def apply(self, *policies: Any) -> None:
        self.machine.kubectl(
            "apply", "-f", "-", stdin=_list(json.loads(encode(one)) for one in policies)
        )

    def clear(self) -> None:
        self.machine.kubectl("delete", "networkpolicy", "--all", "--all-namespaces")

    def holds(
        self, policies: Any, protocol: str, port: int, through_services: bool = False
    ) -> None:
        """Waits until exactly what is documented gets through."""
        namespaces, tries = self.labels(), {}
        for source in self.pods:
            for target in self.pods:
                if source is target and not through_services:
                    continue
                address = self.services[target.key] if through_services else target.address
                one = Try(self.places[source.address], address, protocol, port)
                tries[one] = allowed(policies, namespaces, source, target, protocol, port)
        expected = {one for one, passes in tries.items() if passes}
        self.machine.eventually(lambda: self.servers.reached(tries) == expected, 15)


@pytest.fixture(scope="module")
def world(machine: Machine) -> Iterator[World]:
    spaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}} for space in SPACES
    ]
    objects = [make(space, name) for make in (_pod, _service) for space in SPACES for name in NAMES]
    machine.kubectl("apply", "-f", "-", stdin=_list(spaces + objects))
    for space in SPACES:
        machine.kubectl(
            "wait", "pods", "--all", "-n", space, "--for=condition=Ready", "--timeout=40s"
        )
    rows = [row for space in SPACES for row in machine.get("pods", "-n", space)["items"]]
    pods = [
        PodFacts(
            meta["namespace"],
            meta["name"],
            meta["labels"],
            row["status"]["podIP"],
            row["spec"]["nodeName"],
            tuple(PORTS),
        )
        for row in rows
        if (meta := row["metadata"])
    ]
    assert len({pod.node for pod in pods}) == 2
    services = {
        f"{space}/{row['metadata']['name'][2:]}": row["spec"]["clusterIP"]
        for space in SPACES
        for row in machine.get("services", "-n", space)["items"]
    }
    places = namespaces_by_address()
    places = {pod.address: places[pod.address] for pod in pods}
    servers = Servers(places.values())
    try:
        yield World(machine, pods, places, services, servers)
    finally:
        servers.close()
        machine.kubectl("delete", "namespace", *SPACES, "--wait=false")


@pytest.fixture(autouse=True)
def none_left(world: World) -> Iterator[None]:
    yield
    world.clear()


def _pods(*names: str) -> dict[str, Any]:
    return {
        "podSelector": {"matchExpressions": [{"key": "pod", "operator": "In", "values": names}]}
    }


def _space(*names: str) -> dict[str, Any]:
    return {
        "namespaceSelector": {
            "matchExpressions": [{"key": LABEL, "operator": "In", "values": names}]
        }
    }


A = {"podSelector": {"matchLabels": {"pod": "a"}}}
SCENARIOS: dict[str, tuple[list[Any], list[tuple[str, int]]]] = {
    "nothing comes in": (
        [policy("p", "np-x", policyTypes=["Ingress"])],
        [("TCP", 80), ("UDP", 80), ("SCTP", 80)],
    ),
    "nothing comes in or goes out": (
        [policy("p", "np-x", policyTypes=["Ingress", "Egress"])],
        [("TCP", 80)],
    ),
    "pods of two namespaces": (
        [
            policy(
                "p",
                "np-x",
                **A,
                policyTypes=["Ingress"],
                ingress=[{"from": [_space("np-y", "np-z") | _pods("b", "c")]}],
            )
        ],
        [("TCP", 80)],
    ),
    "pods or namespaces": (
        [
            policy(
                "p",
                "np-x",
                **A,
                policyTypes=["Ingress"],
                ingress=[{"from": [_space("np-y"), _pods("b")]}],
            )
        ],
        [("UDP", 81)],
    ),
    "stacked ports": (
        [
            policy(
                "p",
                "np-x",
                **A,
                policyTypes=["Ingress"],
                ingress=[{"from": [_space("np-y")], "ports": [{"port": 80}]}],
            ),
            policy(
                "q",
                "np-x",
                **A,
                policyTypes=["Ingress"],
                ingress=[{"from": [_space("np-y")], "ports": [{"port": 81}]}],
            ),
        ],
        [("TCP", 80), ("TCP", 81)],
    ),
    "a named port in": (
        [
            policy(
                "p",
                "np-x",
                policyTypes=["Ingress"],
                ingress=[{"ports": [{"port": "serve-80-tcp"}]}],
            )
        ],
        [("TCP", 80), ("TCP", 81)],
    ),
    "a named port out": (
        [
            policy(
                "p",
                "np-x",
                **A,
                policyTypes=["Egress"],
                egress=[{"ports": [{"port": "serve-80-tcp"}]}],
            )
        ],
        [("TCP", 80), ("TCP", 81)],
    ),
    "a protocol": (
        [
            policy(
                "p",
                "np-x",
                policyTypes=["Ingress"],
                ingress=[{"ports": [{"protocol": "SCTP", "port": 80, "endPort": 81}]}],
            )
        ],
        [("SCTP", 81), ("TCP", 81), ("UDP", 81)],
    ),
    "in and out, over all": (
        [
            policy(
                "p",
                "np-x",
                **A,
                policyTypes=["Egress"],
                egress=[{"to": [_space("np-y") | _pods("a")]}],
            ),
            policy("q", "np-y", policyTypes=["Ingress"], ingress=[{"from": [_space("np-x")]}]),
            policy("r", "np-z", policyTypes=["Egress"], egress=[{}]),
        ],
        [("TCP", 80)],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_pod_reaches_those_it_may(world: World, name: str) -> None:
    policies, ports = SCENARIOS[name]
    world.apply(*policies)
    for protocol, port in ports:
        world.holds(policies, protocol, port)


def test_services_lead_to_pods_that_policies_are_about(world: World) -> None:
    """A pod that is led to itself is let through, too."""
    policies = [
        policy("p", "np-x", policyTypes=["Ingress", "Egress"], egress=[{"to": [_space("np-x")]}])
    ]
    world.apply(*policies)
    world.holds(policies, "TCP", 80, through_services=True)


def test_pods_of_a_service_are_known_to_each_other_through_it(world: World) -> None:
    """Endpoints of one service on two nodes: whoever is led to another comes with its own address."""
    spec = {"selector": {"example": "all"}, "ports": [{"name": "p", "port": 80}]}
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "all", "namespace": "np-x"},
        "spec": spec,
    }
    world.machine.kubectl("label", "pods", "--all", "-n", "np-x", "example=all")
    world.machine.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    world.apply(
        policy("p", "np-x", policyTypes=["Ingress"], ingress=[{"from": [{"podSelector": {}}]}])
    )
    address = world.machine.get("service/all", "-n", "np-x")["spec"]["clusterIP"]
    tries = {pod.key: Try(world.places[pod.address], address, "TCP", 80) for pod in world.pods}
    inside = {one for key, one in tries.items() if key.startswith("np-x/")}
    world.machine.eventually(lambda: world.servers.reached(tries.values()) == inside)
    assert all(world.servers.reached(tries.values()) == inside for _ in range(6))


def test_networks_are_let_in_but_for_their_exceptions(world: World) -> None:
    first, second = (f"{pod.address}/32" for pod in world.pods[:2])
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": [first, second]}}
    again = {"ipBlock": {"cidr": first}}
    policies = [
        policy("p", "np-x", policyTypes=["Egress"], egress=[{"to": [block]}, {"to": [again]}])
    ]
    world.apply(*policies)
    world.holds(policies, "TCP", 80)


def test_changed_labels_policies_and_namespaces_are_followed(world: World) -> None:
    peer = {"namespaceSelector": {"matchLabels": {"team": "new"}}}
    policies = [policy("p", "np-x", policyTypes=["Ingress"], ingress=[{"from": [peer]}])]
    world.apply(*policies)
    world.holds(policies, "TCP", 80)
    world.machine.kubectl("label", "namespace", "np-y", "team=new")
    world.holds(policies, "TCP", 80)
    policies = [
        policy(
            "p",
            "np-x",
            policyTypes=["Ingress"],
            ingress=[{"from": [{"podSelector": {"matchLabels": {"role": "new"}}}]}],
        )
    ]
    world.apply(*policies)
    world.holds(policies, "TCP", 80)
    world.machine.kubectl("label", "pod", "b", "-n", "np-x", "role=new")
    pod = next(pod for pod in world.pods if pod.key == "np-x/b")
    world.pods[world.pods.index(pod)] = PodFacts(
        pod.namespace, pod.name, {"pod": "b", "role": "new"}, pod.address, pod.node, pod.ports
    )
    world.holds(policies, "TCP", 80)


def test_what_is_in_force_outlives_the_agents(world: World) -> None:
    policies = [policy("p", "np-x", policyTypes=["Ingress"])]
    world.apply(*policies)
    world.holds(policies, "TCP", 80)
    tries = {
        Try(world.places[s.address], t.address, "TCP", 80)
        for s in world.pods[3:]
        for t in world.pods[:3]
    }

    def agents() -> set[int]:
        rows = world.machine.status()["components"]
        return {
            row["pid"] for row in rows if row["name"].startswith("node") and row["health"] == "ok"
        }

    before = agents()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    while len(now := agents() - before) < len(before):
        assert not world.servers.reached(tries), now
    world.holds(policies, "TCP", 80)
    world.clear()
    world.holds([], "TCP", 80)


def test_the_first_container_of_a_pod_finds_it_isolated(world: World) -> None:
    """Pods whose first act is what a policy forbids, made while others come, too."""
    world.apply(
        policy("p", "np-x", podSelector={"matchLabels": {"app": "eager"}}, policyTypes=["Egress"])
    )
    world.holds([], "TCP", 80)
    target = world.pods[0].address
    script = f"nc -w 1 {target} 80 </dev/null && echo reached; echo done; sleep 3600"
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    meta = {"namespace": "np-x", "labels": {"app": "eager"}}
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**meta, "name": f"eager-{number}"},
            "spec": spec,
        }
        for number in range(6)
    ]
    world.machine.kubectl("apply", "-f", "-", stdin=_list(pods))
    for number in range(6):
        said = world.machine.eventually(lambda name=f"eager-{number}": _logs(world, name))
        assert "reached" not in said
    world.machine.kubectl("delete", "pods", "-n", "np-x", "-l", "app=eager", "--wait=false")


def _logs(world: World, name: str) -> str:
    said = world.machine.kubectl("logs", name, "-n", "np-x", check=False)
    return said if "done" in said else ""


def test_names_are_looked_up_only_by_those_who_may(world: World) -> None:
    dns = {
        "namespaceSelector": {"matchLabels": {LABEL: "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    world.apply(
        policy("none", "np-x", policyTypes=["Egress"]),
        policy(
            "dns",
            "np-y",
            policyTypes=["Egress"],
            egress=[{"to": [dns], "ports": [{"protocol": "UDP", "port": 53}]}],
        ),
    )
    silent, asking = (
        next(pod for pod in world.pods if pod.namespace == space) for space in ("np-x", "np-y")
    )

    def looked_up(pod: PodFacts) -> bool:
        lookup = ("nslookup", "-timeout=1", "kubernetes.default.svc.cluster.local")
        return (
            "Address"
            in world.machine.kubectl(
                "exec", pod.name, "-n", pod.namespace, "--", *lookup, check=False
            ).partition("\n\n")[2]
        )

    world.machine.eventually(lambda: looked_up(asking) and not looked_up(silent))


def test_probes_reach_pods_that_nobody_else_reaches(world: World) -> None:
    world.apply(policy("p", "np-x", policyTypes=["Ingress", "Egress"]))
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    container = {
        "name": "c",
        "image": IMAGE,
        "command": ["httpd", "-f", "-p", "8080"],
        "readinessProbe": probe,
    }
    body = _pod("np-x", "probed")
    body["spec"]["containers"] = [container]
    world.machine.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    world.machine.kubectl(
        "wait", "pod/probed", "-n", "np-x", "--for=condition=Ready", "--timeout=20s"
    )
    world.machine.kubectl("delete", "pod", "probed", "-n", "np-x", "--wait=false")

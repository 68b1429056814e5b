"""Services, host ports and pods of real containers, and who reaches them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request

from tests.e2e.machine import (
    EXAMPLE,
    Machine,
    discard,
    gone,
    run_pod,
    running,
)
from tiphys.testing.cluster import free_port


def test_the_hello_example_is_served(machine: Machine) -> None:
    machine.kubectl("apply", "-f", str(EXAMPLE / "hello.yaml"))
    machine.kubectl("rollout", "status", "deploy/hello", "--timeout=60s")
    assert "unchanged" in machine.kubectl("apply", "-f", str(EXAMPLE / "hello.yaml"))
    address, seen = machine.get("service/hello")["spec"]["clusterIP"], set()
    deadline = time.monotonic() + 20
    while len(seen) < 3 and time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
            seen.add(answer.read())
    assert len(seen) == 3
    assert "Hello from Tiphys" in machine.kubectl(
        "exec", "deploy/hello", "--", "wget", "-qO-", "http://hello.default.svc.cluster.local/"
    )
    port = free_port()
    forward = subprocess.Popen(
        ["kubectl", "port-forward", "service/hello", f"{port}:80"],
        env=machine.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert forward.stdout and "Forwarding from" in forward.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert b"Hello from Tiphys" in answer.read()
    finally:
        forward.terminate()
        forward.wait()


def test_services_of_every_kind_are_reached(machine: Machine) -> None:
    run_pod(
        machine,
        "web",
        "echo page > /www/index.html; exec httpd -f -p 8080 -h /www",
        labels={"app": "web"},
    )
    running(machine, "web")
    machine.kubectl("expose", "pod", "web", "--name=plain", "--port=80", "--target-port=8080")
    machine.kubectl(
        "expose", "pod", "web", "--name=noded", "--port=80", "--target-port=8080", "--type=NodePort"
    )
    machine.kubectl("create", "service", "clusterip", "empty", "--tcp=80:80")
    run_pod(machine, "visitor", "exec sleep 3600")
    running(machine, "visitor")

    def fetch(url: str) -> str:
        return machine.kubectl("exec", "visitor", "--", "wget", "-qO-", url, check=False)

    machine.eventually(lambda: fetch("http://plain/") == "page\n")
    node = machine.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    port = machine.get("service/noded")["spec"]["ports"][0]["nodePort"]
    assert fetch(f"http://{node}:{port}/") == "page\n"
    assert machine.kubectl("exec", "web", "--", "wget", "-qO-", "http://plain/") == "page\n", (
        "a pod reaches itself through its service"
    )
    machine.eventually(lambda: "refused" in fetch("http://empty/"))
    machine.kubectl("delete", "service", "plain", "noded", "empty")
    discard(machine, "web", "visitor")


def test_host_ports_lead_to_their_pods_from_loopback_addresses_too(machine: Machine) -> None:
    port, node = free_port(), machine.get("nodes")["items"][0]
    address = node["status"]["addresses"][0]["address"]
    for name, told in (("anywhere", {}), ("loopback", {"hostIP": "127.0.0.1"})):
        script = f"mkdir w; echo {name} > w/index.html; httpd -f -p 8080 -h w"
        ports = [{"containerPort": 8080, "hostPort": port + (name == "loopback"), **told}]
        container = {"ports": ports, "readinessProbe": {"tcpSocket": {"port": 8080}}}
        run_pod(machine, name, script, container=container, nodeName=node["metadata"]["name"])
    running(machine, "anywhere")
    running(machine, "loopback")

    def fetch(host: str, at: int) -> str:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://{host}:{at}/", timeout=5) as answer,
        ):
            return str(answer.read().decode().strip())
        return ""

    machine.eventually(lambda: fetch("127.0.0.1", port) == "anywhere")
    machine.eventually(lambda: fetch("127.0.0.1", port + 1) == "loopback")
    assert fetch(address, port) == "anywhere" and fetch(address, port + 1) == ""
    assert (
        machine.kubectl("exec", "anywhere", "--", "wget", "-qO-", f"http://{address}:{port}/")
        == "anywhere\n"
    )
    gone(machine, "anywhere", "loopback")
    machine.eventually(lambda: fetch("127.0.0.1", port) == "")


def test_pods_of_two_nodes_reach_each_other_and_services(machine: Machine) -> None:
    nodes = [node["metadata"]["name"] for node in machine.get("nodes")["items"]]
    assert len(nodes) == 2
    for number, node in enumerate(nodes):
        serve = f"echo page of {number} > /tmp/index.html; httpd -f -p 8080 -h /tmp"
        run_pod(machine, f"on-{number}", serve, nodeName=node, labels={"two": "nodes"})
    machine.kubectl("expose", "pod", "on-0", "--name=across", "--port=80", "--target-port=8080")
    running(machine, "on-0")
    running(machine, "on-1")
    for here, there in ((0, 1), (1, 0)):
        address = machine.get(f"pod/on-{there}")["status"]["podIP"]
        output = machine.kubectl(
            "exec", f"on-{here}", "--", "wget", "-qO-", f"http://{address}:8080/"
        )
        assert output.strip() == f"page of {there}"
    machine.kubectl("patch", "service", "across", "-p", '{"spec":{"selector":{"two":"nodes"}}}')
    everywhere = {"page of 0", "page of 1"}
    for here in (0, 1):
        seen: set[str] = set()

        def both(here: int = here, seen: set[str] = seen) -> bool:
            seen.add(
                machine.kubectl(
                    "exec", f"on-{here}", "--", "wget", "-qO-", "http://across/"
                ).strip()
            )
            return seen >= everywhere

        machine.eventually(both)
    machine.kubectl("delete", "service", "across")
    discard(machine, "on-0", "on-1")


def test_a_local_services_node_port_answers_pods_and_nodes_without_an_endpoint_of_theirs(
    machine: Machine,
) -> None:
    nodes = machine.get("nodes")["items"]
    there, here = (node["metadata"]["name"] for node in nodes[:2])
    addresses = [node["status"]["addresses"][0]["address"] for node in nodes[:2]]
    script = "mkdir w; echo local > w/index.html; exec httpd -f -p 8080 -h w"
    run_pod(machine, "served", script, nodeName=there, labels={"app": "served"})
    run_pod(machine, "asking", "exec sleep 3600", nodeName=here)
    running(machine, "served")
    running(machine, "asking")
    ports = [{"name": "p", "port": 80, "targetPort": 8080}]
    spec = {
        "type": "NodePort",
        "externalTrafficPolicy": "Local",
        "selector": {"app": "served"},
        "ports": ports,
    }
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "stays"}, "spec": spec}
    machine.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    port = machine.get("service/stays")["spec"]["ports"][0]["nodePort"]

    def fetch(address: str) -> str:
        url = f"http://{address}:{port}/"
        return machine.kubectl("exec", "asking", "--", "wget", "-qO-", url, check=False).strip()

    machine.eventually(lambda: [fetch(address) for address in addresses] == ["local", "local"])
    with urllib.request.urlopen(f"http://{addresses[0]}:{port}/", timeout=5) as answer:
        assert answer.read() == b"local\n"
    machine.kubectl("delete", "service", "stays")
    discard(machine, "served", "asking")


def test_host_names_are_whole_names_others_or_the_nodes(machine: Machine) -> None:
    run_pod(
        machine, "whole", "exec sleep 3600", setHostnameAsFQDN=True, hostname="h", subdomain="s"
    )
    run_pod(machine, "other", "exec sleep 3600", hostnameOverride="o.example.com")
    nodes = [node["metadata"]["name"] for node in machine.get("nodes")["items"]]
    run_pod(machine, "hosted", "exec sleep 3600", hostNetwork=True, nodeName=nodes[1])
    for name in ("whole", "other", "hosted"):
        running(machine, name)
    output = [
        machine.kubectl("exec", name, "--", "hostname").strip()
        for name in ("whole", "other", "hosted")
    ]
    assert output == ["h.s.default.svc.cluster.local", "o.example.com", nodes[1]]
    discard(machine, "whole", "other", "hosted")

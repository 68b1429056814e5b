"""A cluster of both families: pods, nodes and services with two addresses, and load balancers."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import EXAMPLE, Machine, run_pod, running
from tiphys.cluster import containerd
from tiphys.testing.cluster import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if os.geteuid() != 0 or containerd.missing() or not Path("/proc/sys/net/ipv6").exists():
        pytest.skip("needs root, containerd and IPv6")
    sys.path.insert(0, str(EXAMPLE))
    from image import build

    root = tmp_path_factory.mktemp("dual")
    made = Machine(root, f"dual-{os.getpid()}")
    cluster = ["--name", made.name, "--data-dir", str(root / "data"), "--port", str(free_port())]
    options = ["--runtime", "containerd", "--nodes", "2", "--ip-family", "dual", "--wait"]
    made.tiphys("up", *cluster, *options)
    try:
        made.tiphys("image", "load", "--name", made.name, str(build(root / "hello.tar")))
        yield made
    finally:
        made.tiphys("down", "--name", made.name, "--purge", check=False)


def page(address: str, port: int = 80) -> str:
    host = f"[{address}]" if ":" in address else address
    with urllib.request.urlopen(f"http://{host}:{port}/", timeout=5) as answer:
        return str(answer.read().decode().strip())


def test_pods_nodes_and_services_have_an_address_of_each_family(dual: Machine) -> None:
    nodes = [node["metadata"]["name"] for node in dual.get("nodes")["items"]]
    for number, node in enumerate(nodes):
        serve = f"echo page of {number} > /tmp/index.html; httpd -f -p '[::]:8080' -h /tmp"
        run_pod(dual, f"on-{number}", serve, nodeName=node, labels={"app": "web"})
        running(dual, f"on-{number}")
        status = dual.get(f"pod/on-{number}")["status"]
        assert [":" in one["ip"] for one in status["podIPs"]] == [False, True]
        assert [":" in one["ip"] for one in status["hostIPs"]] == [False, True]
    options = ["--name=web", "--port=80", "--target-port=8080", "--type=LoadBalancer"]
    dual.kubectl("expose", "pod", "on-0", *options)
    change = '{"spec":{"selector":{"app":"web"},"ipFamilyPolicy":"RequireDualStack"}}'
    dual.kubectl("patch", "service", "web", "-p", change)


def test_a_service_answers_at_every_address_of_it(dual: Machine) -> None:
    everywhere = {"page of 0", "page of 1"}

    def balanced() -> list[str]:
        ingress = dual.get("service/web")["status"]["loadBalancer"].get("ingress", [])
        return [one["ip"] for one in ingress]

    dual.eventually(lambda: len(balanced()) == 2)
    addresses = [*dual.get("service/web")["spec"]["clusterIPs"], *balanced()]
    assert len(addresses) == 4
    for address in addresses:
        assert {page(address) for _ in range(4)} == everywhere, address
    node = dual.get("nodes")["items"][1]["status"]["addresses"][1]["address"]
    port = dual.get("service/web")["spec"]["ports"][0]["nodePort"]
    assert ":" in node and {page(node, port) for _ in range(4)} == everywhere
    for address in addresses:
        host = f"[{address}]" if ":" in address else address
        told = dual.kubectl("exec", "on-0", "--", "wget", "-qO-", f"http://{host}/")
        assert told.strip() in everywhere


def test_traffic_stays_on_the_node_that_a_service_prefers(dual: Machine) -> None:
    dual.kubectl(
        "patch", "service", "web", "-p", '{"spec":{"trafficDistribution":"PreferSameNode"}}'
    )

    def pages(number: int) -> set[str]:
        fetch = "for i in 1 2 3 4; do wget -qO- http://web/; done"
        return set(dual.kubectl("exec", f"on-{number}", "--", "sh", "-c", fetch).splitlines())

    dual.eventually(lambda: pages(0) == {"page of 0"} and pages(1) == {"page of 1"})

"""Clusters whose first family is IPv6: one that has no other, and one that has IPv4, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import EXAMPLE, Machine, run_pod, running
from tiphys.cluster import containerd, sandboxes, state
from tiphys.testing.cluster import free_port

pytestmark = pytest.mark.slow
SERVE = "echo page of $(hostname) > /tmp/index.html; httpd -f -p '[::]:8080' -h /tmp"
# The API server by its service, with what every pod is given to believe it.
ASK = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[2])
print(urllib.request.urlopen(f"https://[{sys.argv[1]}]/healthz", context=context).read().decode())
"""


@pytest.fixture(scope="module", params=["ipv6", "dual-ipv6"])
def cluster(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Machine]:
    if os.geteuid() != 0 or containerd.missing() or not Path("/proc/sys/net/ipv6").exists():
        pytest.skip("needs root, containerd and IPv6")
    sys.path.insert(0, str(EXAMPLE))
    from image import build

    root = tmp_path_factory.mktemp("ipv6")
    made = Machine(root, f"{request.param}-{os.getpid()}")
    where = ["--name", made.name, "--data-dir", str(root / "data"), "--port", str(free_port())]
    options = ["--runtime", "containerd", "--nodes", "2", "--ip-family", request.param, "--wait"]
    made.tiphys("up", *where, *options)
    try:
        made.tiphys("image", "load", "--name", made.name, str(build(root / "hello.tar")))
        for number, node in enumerate(made.get("nodes")["items"]):
            name = node["metadata"]["name"]
            run_pod(made, f"on-{number}", SERVE, nodeName=name, labels={"app": "web"})
            running(made, f"on-{number}")
        options = ["--name=web", "--port=80", "--target-port=8080", "--type=LoadBalancer"]
        made.kubectl("expose", "pod", "on-0", "--selector=app=web", *options)
        yield made
    finally:
        made.tiphys("down", "--name", made.name, "--purge", check=False)


def families(machine: Machine) -> list[bool]:
    """Whether each of the cluster's is IPv6."""
    return [True] if machine.name.startswith("ipv6") else [True, False]


def fetched(machine: Machine, host: str, pod: str = "on-1") -> str:
    host = f"[{host}]" if ":" in host else host
    return machine.kubectl("exec", pod, "--", "wget", "-qO-", f"http://{host}/").strip()


def test_what_has_an_address_has_one_of_ipv6_first(cluster: Machine) -> None:
    status = cluster.get("pod/on-0")["status"]
    assert ":" in status["podIP"] and ":" in status["hostIP"]
    assert [":" in one["ip"] for one in status["podIPs"]] == families(cluster)
    assert [":" in one["ip"] for one in status["hostIPs"]] == families(cluster)
    node = cluster.get("nodes")["items"][0]
    assert [":" in cidr for cidr in node["spec"]["podCIDRs"]] == families(cluster)
    for name, namespace in (("kubernetes", "default"), ("kube-dns", "kube-system")):
        spec = cluster.get(f"service/{name}", "-n", namespace)["spec"]
        assert spec["ipFamilies"] == ["IPv6"] and spec["ipFamilyPolicy"] == "SingleStack"


def test_a_service_is_ipv6_unless_it_prefers_both(cluster: Machine) -> None:
    assert cluster.get("service/web")["spec"]["ipFamilies"] == ["IPv6"]
    cluster.kubectl("create", "service", "clusterip", "both", "--tcp=80:8080")
    cluster.kubectl(
        "patch", "service", "both", "-p", '{"spec":{"ipFamilyPolicy":"PreferDualStack"}}'
    )
    addresses = cluster.get("service/both")["spec"]["clusterIPs"]
    assert [":" in one for one in addresses] == families(cluster)


def test_a_service_answers_at_its_name_its_addresses_and_its_nodes(cluster: Machine) -> None:
    pages = {"page of on-0", "page of on-1"}
    cluster.eventually(lambda: cluster.get("service/web")["status"]["loadBalancer"])
    service = cluster.get("service/web")
    balanced = service["status"]["loadBalancer"]["ingress"][0]["ip"]
    for host in ("web", service["spec"]["clusterIP"], balanced):
        assert {fetched(cluster, host) for _ in range(4)} == pages, host
    port = service["spec"]["ports"][0]["nodePort"]
    for node in cluster.get("nodes")["items"]:
        address = node["status"]["addresses"][0]["address"]
        url = f"http://[{address}]:{port}/"
        told = subprocess.run(["curl", "-sg", url], capture_output=True, text=True, check=True)
        assert told.stdout.strip() in pages


def test_names_are_answered_by_ipv6_and_forwarded(cluster: Machine) -> None:
    """What the machine's name servers say of a name that is nobody's is what a pod hears."""
    name = "kubernetes.default.svc.cluster.local"
    told = cluster.kubectl("exec", "on-1", "--", "nslookup", name)
    assert cluster.get("service/kubernetes")["spec"]["clusterIP"] in told
    outside = cluster.kubectl("exec", "on-1", "--", "nslookup", "nobody.invalid.", check=False)
    assert "NXDOMAIN" in outside or "SERVFAIL" in outside


def test_a_pod_reaches_the_api_server_by_its_service(cluster: Machine) -> None:
    address = cluster.get("service/kubernetes")["spec"]["clusterIP"]
    found = state.load(cluster.name)
    assert found is not None
    _, namespace = sandboxes.pod_links(sandboxes.places(found)[1])[0]
    authority = cluster.root / "data" / "pki" / "ca.crt"
    inside = ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-c", ASK]
    told = subprocess.run(
        [*inside, address, str(authority)], capture_output=True, text=True, timeout=30
    )
    assert told.stdout.strip() == "ok", told.stderr


def test_a_policy_holds_and_is_explained(cluster: Machine) -> None:
    own = cluster.get("pod/on-1")["status"]["podIP"]
    allowed = [{"from": [{"ipBlock": {"cidr": f"{own}/128"}}]}]
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": allowed}
    policy = {"kind": "NetworkPolicy", "metadata": {"name": "one"}, "spec": spec}
    body = json.dumps({"apiVersion": "networking.k8s.io/v1", **policy})
    cluster.kubectl("apply", "-f", "-", stdin=body)
    first = cluster.get("pod/on-0")["status"]["podIP"]
    told = cluster.tiphys("policy", "explain", "on-0", "--from", own, "--port", "8080")
    assert "default/on-1 to default/on-0 at TCP 8080: allowed" in told
    told = cluster.tiphys("policy", "explain", "on-1", "--from", first, check=False)
    assert "default/on-0 to default/on-1: denied" in told
    cluster.eventually(lambda: not opens(cluster, "on-0", own))
    assert opens(cluster, "on-1", first)


def opens(machine: Machine, pod: str, address: str) -> bool:
    """Whether a connection from a pod to port 8080 of another one is made."""
    script = f"timeout 3 wget -qO- http://[{address}]:8080/"
    return "page" in machine.kubectl("exec", pod, "--", "sh", "-c", script, check=False)

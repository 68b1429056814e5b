"""Machines that join clusters of IPv6 alone, and of both families."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import EXAMPLE
from tests.e2e.machines import ANNEX, BIG, OFFICE, Host, Networks, node, workload
from tiphys.cluster import containerd

pytestmark = pytest.mark.slow

WEB = f"mkdir /www; hostname > /www/index.html; head -c {BIG} /dev/zero > /www/big; exec httpd -f -p '[::]:8080' -h /www"
PORTS = [{"port": 80, "targetPort": 8080}]


class Office:
    """`head` has the control plane, `near` is its neighbour, `far` is behind a router and a line
    that is narrower than all else. Of two families, `far` tells others of IPv4 alone."""

    def __init__(self, root: Path, ip_family: str) -> None:
        self.ip_family = ip_family
        self.networks = Networks(f"ts{os.getpid() % 100000}", line=1400)
        self.head = self.networks.host("head", OFFICE, 1, root)
        self.near = self.networks.host("near", OFFICE, 2, root)
        self.far = self.networks.host("far", ANNEX, 3, root)

    def addresses(self, host: Host) -> str:
        return host.address6 if self.ip_family == "ipv6" else f"{host.address},{host.address6}"

    def start(self, image: Path) -> None:
        for host in self.networks.hosts if self.ip_family == "ipv6" else ():
            host.sh("ip -4 addr flush dev eth0")
        head = self.head
        where = ("--name", head.name, "--data-dir", str(head.root / "data"))
        options = ("--ip-family", self.ip_family, "--address", self.addresses(head), "--wait")
        head.tiphys("up", *where, *options)
        command = head.join_command()
        self.near.join(command, "--address", self.addresses(self.near))
        self.far.join(command)
        for host in self.networks.hosts:
            host.tiphys("image", "load", "--name", host.name, str(image))
        spec = {"selector": {"app": "web"}, "ports": PORTS, "ipFamilyPolicy": "PreferDualStack"}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
        items = [workload("DaemonSet", "web", WEB), service | {"spec": spec}]
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        head.kubectl("apply", "-f", "-", stdin=body)
        head.kubectl("rollout", "status", "ds/web", "--timeout=90s")

    def pods(self) -> list[Any]:
        return list(self.head.get("pods", "-l", "app=web")["items"])

    def ranges(self, host: Host) -> list[str]:
        return list(node(self.head, host.name)["spec"]["podCIDRs"])

    def devices(self, family: str) -> dict[str, str]:
        """Of the head's routes to other machines' pods, by range."""
        lines = self.head.sh(f"ip {family} route show proto 84").splitlines()
        return {line.split()[0]: line.split()[line.split().index("dev") + 1] for line in lines}


@pytest.fixture(scope="module", params=["ipv6", "dual"])
def office(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Office]:
    if os.geteuid() != 0 or containerd.missing() or shutil.which("kubectl") is None:
        pytest.skip("needs root, containerd and kubectl")
    sys.path.insert(0, str(EXAMPLE))
    from image import build  # type: ignore[import-not-found]

    root = tmp_path_factory.mktemp("join6")
    made = Office(root, request.param)
    try:
        made.start(build(root / "hello.tar"))
        yield made
    finally:
        made.networks.close()


def urls(pod: Any) -> list[str]:
    hosts = [one["ip"] for one in pod["status"]["podIPs"]]
    return [f"http://[{host}]:8080" if ":" in host else f"http://{host}:8080" for host in hosts]


def test_every_machine_has_a_range_of_each_family(office: Office) -> None:
    nodes = office.head.get("nodes")["items"]
    given = [range for found in nodes for range in found["spec"]["podCIDRs"]]
    families = 1 if office.ip_family == "ipv6" else 2
    assert len(set(given)) == 3 * families
    sixes = [range for range in given if ":" in range]
    assert len(sixes) == 3 and all(range.endswith("/64") for range in sixes)


def test_ways_are_direct_on_one_network_and_by_tunnel_to_another(office: Office) -> None:
    devices = {**office.devices("-4"), **office.devices("-6")}
    assert {devices[range] for range in office.ranges(office.near)} == {"eth0"}
    (far,) = {devices[range] for range in office.ranges(office.far)}
    assert far.endswith("-vx")


def test_pods_reach_pods_of_every_machine_with_packets_of_full_length(office: Office) -> None:
    pods = office.pods()
    assert len(pods) == 3
    for pod in pods:
        for other in pods:
            for url in urls(other):
                script = f"wget -qO- {url} && wget -qO- {url}/big | wc -c"
                inside = ("exec", pod["metadata"]["name"], "--", "sh", "-c", script)
                told = office.head.kubectl(*inside).split()
                assert told == [other["metadata"]["name"], str(BIG)], url


def test_services_lead_to_pods_of_all_machines_in_each_family(office: Office) -> None:
    names = {pod["metadata"]["name"] for pod in office.pods()}
    addresses = office.head.get("service/web")["spec"]["clusterIPs"]
    hosts = [f"[{one}]" if ":" in one else one for one in addresses]
    for name in names:
        for host in (*hosts, "web.default.svc.cluster.local"):
            loop = f"for i in $(seq 30); do wget -qO- http://{host}; done"
            told = office.head.kubectl("exec", name, "--", "sh", "-c", loop)
            assert set(told.split()) == names, host


def test_a_machine_that_leaves_takes_its_ways_with_it(office: Office) -> None:
    ranges = office.ranges(office.near)
    office.near.tiphys("leave", "--name", office.near.name, "--force")
    office.head.eventually(lambda: not {*office.devices("-4"), *office.devices("-6")} & set(ranges))
    for family in ("-4", "-6"):
        assert not office.near.sh(f"ip {family} route show proto 84")

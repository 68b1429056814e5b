"""Load balancers' addresses on the machines' own network: who is on it reaches them, without a
route."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import EXAMPLE
from tests.e2e.machines import OFFICE, Host, Networks, daemon_set, service
from tiphys.cluster import containerd

pytestmark = pytest.mark.slow
POOL = f"{OFFICE}.64/27"


class Street:
    """`head` and `near` are a cluster; `guest` is on the same network and knows nothing of it."""

    def __init__(self, root: Path) -> None:
        self.networks = Networks(f"ta{os.getpid() % 100000}")
        self.head, self.near, self.guest = (
            self.networks.host(name, OFFICE, number, root)
            for number, name in enumerate(("head", "near", "guest"), 1)
        )

    def start(self, image: Path) -> None:
        self.head.up("--wait", "--load-balancer-pool", POOL)
        self.near.join(self.head.join_command())
        for host in (self.head, self.near):
            host.tiphys("image", "load", "--name", host.name, str(image))
        balanced = service()
        balanced["spec"]["type"] = "LoadBalancer"
        body = {"apiVersion": "v1", "kind": "List", "items": [daemon_set(), balanced]}
        self.head.kubectl("apply", "-f", "-", stdin=json.dumps(body))
        self.head.kubectl("rollout", "status", "ds/web", "--timeout=90s")
        ready = self.head.eventually(lambda: self.head.get("service/web")["status"]["loadBalancer"])
        self.address = str(ready["ingress"][0]["ip"])

    def answers(self) -> bool:
        got = self.guest.sh(f"curl -s -m 1 http://{self.address}/", check=False)
        return got.startswith("web-")

    def holder(self) -> Host:
        """The machine that the guest's neighbour table says has the address."""
        row = json.loads(self.guest.sh(f"ip -j neigh show {self.address}"))[0]
        hosts = (self.head, self.near)
        return next(host for host in hosts if row.get("lladdr") in host.sh("ip link show eth0"))


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    if os.geteuid() != 0 or containerd.missing() or shutil.which("kubectl") is None:
        pytest.skip("needs root, containerd and kubectl")
    import sys

    sys.path.insert(0, str(EXAMPLE))
    from image import build  # type: ignore[import-not-found]

    root = tmp_path_factory.mktemp("street")
    made = Street(root)
    try:
        made.start(build(root / "hello.tar"))
        yield made
    finally:
        made.networks.close()


def test_a_machine_beside_the_cluster_reaches_a_load_balancer(street: Street) -> None:
    assert street.address.startswith(f"{OFFICE}.")
    street.head.eventually(street.answers)
    assert street.holder() in (street.head, street.near)


def test_another_machine_answers_when_the_one_that_did_is_cut_off(street: Street) -> None:
    """Whichever it is, also the one with the API server: no word of that is needed."""
    holder = street.holder()
    other = street.near if holder is street.head else street.head
    holder.cut()
    began = time.monotonic()
    try:
        street.guest.eventually(street.answers, 30)
        print(f"the address answers again after {time.monotonic() - began:.1f} s")
        assert street.holder() is other
    finally:
        holder.mend()
    street.guest.eventually(lambda: street.answers() and street.holder() is holder, 60)


def test_an_address_that_is_given_back_is_claimed_no_more(street: Street) -> None:
    street.head.kubectl("delete", "service", "web")
    street.guest.sh("ip neigh flush dev eth0")
    street.guest.eventually(lambda: not street.answers(), 30)
    street.guest.sh("ip neigh flush dev eth0")
    street.answers()
    row = json.loads(street.guest.sh(f"ip -j neigh show {street.address}") or "[{}]")[0]
    assert "lladdr" not in row

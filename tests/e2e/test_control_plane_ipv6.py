"""A control plane on machines of IPv6 alone: clients outside know one address of all its servers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machines import OFFICE, OFFICE6, Host, Networks, condition, node
from tiphys.cluster import containerd

pytestmark = pytest.mark.slow

API_ADDRESS = f"{OFFICE6}200"


class Plant:
    """Machines `a`, `b` and `c` of the control plane; `pen` is a client's."""

    def __init__(self, root: Path) -> None:
        self.networks = Networks(f"ti{os.getpid() % 100000}")
        self.a, self.b, self.c, self.pen = (
            self.networks.host(name, OFFICE, number, root)
            for number, name in enumerate(("a", "b", "c", "pen"), 1)
        )
        self.kubeconfig = self.pen.root / "outside.kubeconfig"

    def start(self) -> None:
        for host in self.networks.hosts:
            host.sh("ip -4 addr flush dev eth0")
        where = ("--name", self.a.name, "--data-dir", str(self.a.root / "data"))
        own = ("--ip-family", "ipv6", "--address", self.a.address6, "--api-address", API_ADDRESS)
        self.a.tiphys("up", *where, *own, "--store", "etcd", "--wait")
        for host in (self.b, self.c):
            host.join(self.a.join_command("--control-plane"), "--address", host.address6)
        self.kubeconfig.write_text(self.a.tiphys("kubeconfig", "--name", self.a.name))

    def answers(self) -> bool:
        """Whether kubectl on the client's machine reaches the cluster."""
        get = "get namespace default -o name --request-timeout=2s"
        return self.pen.sh(f"kubectl --kubeconfig {self.kubeconfig} {get}", check=False) == (
            "namespace/default\n"
        )

    def answering(self) -> Host:
        """The machine that has the address for all of them, as its neighbours see it."""
        row = json.loads(self.pen.sh(f"ip -6 -j neigh show {API_ADDRESS}"))[0]
        return next(
            host
            for host in (self.a, self.b, self.c)
            if row.get("lladdr") in host.sh("ip link show eth0")
        )


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    if os.geteuid() != 0 or containerd.missing() or not shutil.which("etcd"):
        pytest.skip("needs root, containerd and etcd")
    made = Plant(tmp_path_factory.mktemp("plane6"))
    try:
        made.start()
        yield made
    finally:
        made.networks.close()


def test_the_kubeconfig_names_the_address_of_all_servers(plant: Plant) -> None:
    assert f"server: https://[{API_ADDRESS}]:6443" in plant.kubeconfig.read_text()
    plant.a.eventually(plant.answers)
    for host in (plant.b, plant.c):
        plant.a.eventually(lambda name=host.name: condition(node(plant.a, name)) == "True")


def test_another_machine_answers_when_the_one_that_did_is_lost(plant: Plant) -> None:
    plant.a.eventually(plant.answers)
    lost = plant.answering()
    lost.kill()
    plant.pen.eventually(plant.answers)
    assert plant.answering() is not lost

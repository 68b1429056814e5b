"""A control plane on three machines: any one of them may be lost while somebody writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import Machine
from tests.e2e.machines import OFFICE, Host, Networks, condition
from tests.e2e.writer import LONGEST_WAIT
from tiphys.cluster import containerd

pytestmark = pytest.mark.slow

LIST_MEMBERS = """
import sys, pathlib
from tiphys.store.members import Members
files = tuple(pathlib.Path(file).read_bytes() for file in sys.argv[1:])
with Members("127.0.0.1:16443", files) as members:
    print(*(member.name for member in members.list() if not member.is_learner))
"""
# Nothing of etcd passes, neither way.
CUT = """nft -f - <<END
table inet cut {
  chain from { type filter hook input priority 0; iifname != "lo" tcp dport 16443-16444 drop; }
  chain to { type filter hook output priority 0; oifname != "lo" tcp dport 16443-16444 drop; }
}
END"""
API_ADDRESS = f"{OFFICE}.200"
LONGEST_PAUSE = 10.0  # seconds between two acknowledged writes


class Writer:
    """A client on a machine of its own, with a kubeconfig of ours."""

    def __init__(self, host: Host, kubeconfig: Path, record: Path) -> None:
        self.record = record
        command = [sys.executable, "-m", "tests.e2e.writer", str(kubeconfig), str(self.record)]
        with (host.root / "writer.log").open("w") as log:
            self.process = subprocess.Popen(
                host.inside(*command), env=host.env, stdout=log, stderr=log
            )

    def lines(self, kind: str) -> list[Any]:
        if not self.record.exists():
            return []
        rows = map(json.loads, self.record.read_text().splitlines())
        return [row for row in rows if kind in row]

    @property
    def written(self) -> list[int]:
        return [row["written"] for row in self.lines("written")]

    @property
    def longest_pause(self) -> float:
        times = [row["time"] for row in self.lines("written")]
        return max(later - earlier for earlier, later in pairwise(times))

    def stop(self) -> None:
        """Returns once the watch has shown what was written, or took too long for it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(2 * LONGEST_WAIT)

    def lost(self, there: set[str]) -> list[int]:
        """What was acknowledged and is not among the names of what is there."""
        return [number for number in self.written if f"w-{number}" not in there]

    def missed(self) -> set[int]:
        """What was acknowledged and the watch never showed."""
        return set(self.written) - {row["seen"] for row in self.lines("seen")}


class Plant:
    """Machines `a`, `b` and `c` of the control plane, `d` that waits to replace one, `pen` writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.writers: list[Writer] = []
        self.networks = Networks(f"th{os.getpid() % 100000}")
        self.a, self.b, self.c, self.d, self.pen = (
            self.networks.host(name, OFFICE, number, root)
            for number, name in enumerate(("a", "b", "c", "d", "pen"), 1)
        )

    def start(self) -> None:
        """The first one has had its objects in SQLite."""
        self.a.up("--wait", "--api-address", API_ADDRESS)
        self.a.tiphys("migrate", "--name", self.a.name, "--to", "etcd")
        for host in (self.b, self.c):
            self.enter(host, self.a)

    def enter(self, host: Host, by: Host) -> None:
        host.join(by.join_command("--control-plane"))

    def kubeconfig(self, of: Host) -> Path:
        """The administrator's, with all servers."""
        from tiphys.cluster import kubeconfig

        pki, file = of.root / "data" / "pki", self.pen.root / "admin.kubeconfig"
        files = (pki / "ca.crt", pki / "admin.crt", pki / "admin.key")
        kubeconfig.component(
            file, f"https://{self.a.address}:6443", *files, of.root / "data" / "pki" / "servers"
        )
        return file

    def writer(self, of: Host) -> Writer:
        for left_over in self.writers:  # of a test that failed
            left_over.process.kill()
        record = self.pen.root / f"record-{len(self.writers)}"
        self.writers.append(Writer(self.pen, self.kubeconfig(of), record))
        return self.writers[-1]

    def outside(self) -> bool:
        """Whether kubectl on a machine that knows one address reaches the cluster."""
        file = self.pen.root / "outside.kubeconfig"
        if not file.exists():
            file.write_text(self.c.tiphys("kubeconfig", "--name", self.c.name))
            assert f"https://{API_ADDRESS}:6443" in file.read_text()
        get = ("get", "namespace", "default", "-o", "name", "--request-timeout=2s")
        said = self.pen.sh(f"kubectl --kubeconfig {file} {' '.join(get)}", check=False)
        return said == "namespace/default\n"

    def answering(self) -> Host:
        """The machine that has the address for all of them."""
        row = json.loads(self.pen.sh(f"ip -j neigh show {API_ADDRESS}"))[0]
        hosts = (self.a, self.b, self.c)
        return next(host for host in hosts if row.get("lladdr") in host.sh("ip link show eth0"))

    def close(self) -> None:
        for writer in self.writers:
            writer.process.kill()
        self.networks.close()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    if os.geteuid() != 0 or containerd.missing() or not shutil.which("etcd"):
        pytest.skip("needs root, containerd and etcd")
    made = Plant(tmp_path_factory.mktemp("plane"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def read(host: Host, what: str) -> Any:
    """Once the store can be read: while etcd chooses a leader, it may not be."""
    get = f"kubectl get {what} -o json 2>/dev/null"
    return json.loads(host.eventually(lambda: host.sh(get, check=False)))


def read_node(host: Host, name: str) -> Any:
    return read(host, f"node/{name}")


def servers(host: Host) -> set[str]:
    """As the endpoints say."""
    subsets = read(host, "endpoints/kubernetes").get("subsets") or []
    return {row["ip"] for subset in subsets for row in subset["addresses"]}


def members(host: Host) -> set[str]:
    """Of etcd, as the machine's own knows them."""
    pki = host.root / "data" / "pki" / "etcd"
    files = [str(pki / name) for name in ("ca.crt", "client.crt", "client.key")]
    return set(host._run([sys.executable, "-c", LIST_MEMBERS, *files], True).split())


def survives(plant: Plant, lost: Host, left: Host) -> None:
    """Kills a machine while somebody writes; what was acknowledged is there, and was seen."""
    writer = plant.writer(left)
    left.eventually(lambda: len(writer.written) > 50)
    before = len(writer.written)
    lost.kill()
    killed = time.monotonic()
    left.eventually(lambda: len(writer.written) > before + 100, 60)
    left.eventually(plant.outside)
    print(f"killed {lost.name}: writes paused for {writer.longest_pause:.1f} s")
    left.eventually(lambda: lost.address not in servers(left), 60)
    print(f"gone from the endpoints after {time.monotonic() - killed:.1f} s")
    nothing_is_missing(writer, left)
    assert writer.lines("lists") == [{"lists": 1}]  # the watch was resumed, nothing was listed anew
    assert writer.longest_pause < LONGEST_PAUSE


def nothing_is_missing(writer: Writer, left: Host) -> None:
    """Ends the writer and removes what it wrote, which the next one would take for its own."""
    writer.stop()
    listed = read(left, "configmaps -l by=writer")["items"]
    assert not writer.lost({item["metadata"]["name"] for item in listed})
    assert not writer.missed()
    print(f"{len(writer.written)} writes were acknowledged, none is missing")
    own = "/api/v1/namespaces/default/configmaps?labelSelector=by%3Dwriter"
    left.kubectl("delete", "--raw", own)


def test_three_machines_are_one_control_plane(plant: Plant) -> None:
    hosts = (plant.a, plant.b, plant.c)
    for host in hosts:
        assert servers(host) == {one.address for one in hosts}
        assert (
            condition(read_node(host, host.name if host is not plant.a else head(plant))) == "True"
        )
    lines = (plant.b.root / "data" / "pki" / "servers").read_text().split()
    assert lines == sorted(f"{one.address}:6443" for one in hosts)
    assert members(plant.a) == {"default", plant.b.name, plant.c.name}


def head(plant: Plant) -> str:
    names = {found["metadata"]["name"] for found in read(plant.b, "nodes")["items"]}
    return (names - {host.name for host in plant.networks.hosts}).pop()


def test_what_one_server_was_told_another_knows(plant: Plant) -> None:
    plant.a.kubectl("create", "configmap", "told")
    assert plant.c.kubectl("get", "configmap", "told", "-o", "name") == "configmap/told\n"
    plant.b.kubectl("delete", "configmap", "told")
    assert "NotFound" in plant.a.kubectl("get", "configmap", "told", check=False)


def test_a_machine_that_was_restarted_is_a_member_still(plant: Plant) -> None:
    plant.c.tiphys("down", "--name", plant.c.name)
    plant.a.eventually(lambda: plant.c.address not in servers(plant.a))
    plant.c.tiphys("up", "--name", plant.c.name)
    plant.a.eventually(lambda: plant.c.address in servers(plant.a))
    assert members(plant.c) == {"default", plant.b.name, plant.c.name}


def test_a_machine_is_upgraded_while_the_others_serve(plant: Plant) -> None:
    said = plant.c.tiphys("upgrade", "--name", plant.c.name)
    assert "apiserver: replaced in" in said and "etcd: replaced" not in said
    assert plant.c.address in servers(plant.a)
    assert f"https://{API_ADDRESS}:6443" in plant.c.tiphys("kubeconfig", "--name", plant.c.name)


def test_kubectl_that_knows_one_address_finds_another_machine(plant: Plant) -> None:
    plant.c.eventually(plant.outside)
    lost = plant.answering()
    left = plant.b if lost is plant.c else plant.c
    lost.cut()
    began = time.monotonic()
    left.eventually(plant.outside, 30)
    print(f"{lost.name} is cut off: kubectl is answered after {time.monotonic() - began:.1f} s")
    assert plant.answering() is not lost
    lost.mend()
    left.eventually(lambda: len(servers(left)) == 3, 60)


def test_controllers_of_one_machine_work_and_the_others_wait(plant: Plant) -> None:
    """Every one has metrics, which say who leads."""

    def leads(host: Host) -> bool:
        pki = host.root / "data" / "pki"
        page = host.sh(
            f"curl -sk --cert {pki}/admin.crt --key {pki}/admin.key "
            "https://127.0.0.1:10257/metrics | grep ^leader_election_master_status",
            check=False,  # it may be about to start
        )
        return page.split()[-1:] == ["1.0"]

    plant.a.eventually(lambda: sum(map(leads, (plant.a, plant.b, plant.c))) == 1)


def test_the_keys_are_encrypted_and_belong_to_their_token(plant: Plant) -> None:
    command = plant.b.join_command("--control-plane", "--ttl", "1h")
    id = command[3].split(".")[0]
    secret = plant.a.get(f"secret/tiphys-certs-{id}", "-n", "kube-system")
    assert secret["metadata"]["ownerReferences"][0]["name"] == f"bootstrap-token-{id}"
    assert "PRIVATE" not in json.dumps(secret) and command[-1] not in json.dumps(secret)
    wrong = [*command[:-1], "00" * 32]
    own = ("--name", plant.d.name, "--data-dir", str(plant.d.root / "data"))
    refusal = plant.d.refused(*wrong, *own, "--node-name", plant.d.name)
    assert "does not open the cluster's keys" in refusal
    plant.a.tiphys("token", "delete", "--name", plant.a.name, id)
    for kind in ("secret", "role", "rolebinding"):
        plant.a.eventually(lambda kind=kind: gone(plant.a, f"{kind}/tiphys-certs-{id}"))


def gone(host: Machine, what: str) -> bool:
    return "NotFound" in host.kubectl("get", what, "-n", "kube-system", check=False)


def test_a_machine_whose_etcd_is_cut_off_is_left_and_used_again(plant: Plant) -> None:
    """It lives, and its API server answers: with errors, or late."""
    writer = plant.writer(plant.b)  # its own server is the first one
    plant.b.eventually(lambda: len(writer.written) > 50)
    before = len(writer.written)
    plant.a.sh(CUT)
    cut = time.monotonic()
    plant.b.eventually(plant.outside)
    plant.b.eventually(lambda: plant.answering() is not plant.a)
    print(f"cut off: another machine answers kubectl after {time.monotonic() - cut:.1f} s")
    plant.b.eventually(lambda: len(writer.written) > before + 100, 60)
    print(f"cut off: writes paused for {writer.longest_pause:.1f} s")
    plant.b.eventually(lambda: plant.a.address not in servers(plant.b), 60)
    own = plant.a.root / "data" / "pki" / "servers"
    plant.b.eventually(lambda: plant.a.address not in own.read_text())  # pods' ways, too
    assert condition(read_node(plant.b, head(plant))) == "True"
    assert writer.longest_pause < LONGEST_PAUSE
    plant.a.sh("nft delete table inet cut")
    plant.b.eventually(lambda: plant.a.address in servers(plant.b), 60)
    first = f"https://{plant.a.address}:6443"
    plant.b.eventually(lambda: writer.lines("written")[-1]["server"] == first, 60)
    nothing_is_missing(writer, plant.b)


def test_the_first_machine_is_lost_and_nothing_that_was_acknowledged(plant: Plant) -> None:
    survives(plant, plant.a, plant.b)


def test_nodes_stay_ready_and_work_goes_on_without_it(plant: Plant) -> None:
    for host in (plant.b, plant.c):
        plant.b.eventually(lambda host=host: condition(read_node(plant.b, host.name)) == "True", 60)
    plant.c.kubectl("create", "deployment", "later", "--image=tiphys.local/none:1")
    plant.c.eventually(lambda: len(plant.c.get("pods", "-l", "app=later")["items"]) == 1, 60)


def test_a_dead_machine_is_replaced_with_one_command_each(plant: Plant) -> None:
    dead = head(plant)
    plant.b.eventually(lambda: condition(read_node(plant.b, dead)) == "Unknown", 90)
    plant.b.tiphys("machine", "remove", "--name", plant.b.name, dead)
    assert members(plant.b) == {plant.b.name, plant.c.name}
    plant.enter(plant.d, plant.b)
    assert members(plant.d) == {plant.b.name, plant.c.name, plant.d.name}
    plant.c.eventually(lambda: plant.d.address in servers(plant.c))


def test_another_machine_is_lost_after_that(plant: Plant) -> None:
    survives(plant, plant.b, plant.c)


def test_a_machine_of_the_control_plane_leaves(plant: Plant) -> None:
    plant.c.eventually(lambda: condition(read_node(plant.c, plant.b.name)) == "Unknown", 90)
    began = time.monotonic()
    plant.c.tiphys("machine", "remove", "--name", plant.c.name, plant.b.name)
    print(f"removed after {time.monotonic() - began:.1f} s")
    plant.d.tiphys("leave", "--name", plant.d.name, "--force")
    assert members(plant.c) == {plant.c.name}
    plant.c.eventually(lambda: servers(plant.c) == {plant.c.address})
    assert [found["metadata"]["name"] for found in plant.c.get("nodes")["items"]] == [plant.c.name]
    assert not (plant.d.root / "data").exists()
    last = plant.c.refused("leave", "--name", plant.c.name, "--force")
    assert "the last machine" in last

"""Pod addresses: what the container runtime reads, and the commands of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.network.programs import Programs
from tiphys.network import pods
from tiphys.network.pods import NetworkError, cni_config, run, write_cni, write_plugins


def test_a_pod_has_a_link_of_its_own_to_the_node(tmp_path: Path) -> None:
    config = cni_config("tiphys", ["10.244.0.0/24"], tmp_path, mtu=1400)
    [link] = config["plugins"]
    assert (config["name"], link["type"], link["mtu"]) == ("tiphys", "ptp", 1400)
    assert link["ipMasq"] is False, "the proxy masquerades what leaves the pods' network"
    assert link["ipam"] == {
        "type": "host-local",
        "ranges": [[{"subnet": "10.244.0.0/24"}]],
        "dataDir": str(tmp_path),
        "routes": [{"dst": "0.0.0.0/0"}],
    }


def test_the_runtime_finds_it(tmp_path: Path) -> None:
    write_cni(tmp_path / "net.d", "tiphys", ["10.244.0.0/24"], tmp_path)
    [written] = (tmp_path / "net.d").iterdir()
    assert written.suffix == ".conflist"
    assert json.loads(written.read_text()) == cni_config("tiphys", ["10.244.0.0/24"], tmp_path)


def test_a_command_that_fails_says_what_it_said() -> None:
    assert run("echo", "hello") == "hello\n"
    assert run("false", check=False) == ""
    with pytest.raises(NetworkError, match="sh -c echo no >&2; exit 1: no"):
        run("sh", "-c", "echo no >&2; exit 1")
    with pytest.raises(NetworkError, match="no-such-command is not installed"):
        run("no-such-command")


def test_a_pod_of_both_families_has_an_address_of_each_at_once(tmp_path: Path) -> None:
    config = cni_config("tiphys", ["10.244.0.0/24", "fd10:244:0::/64"], tmp_path)
    first, link = config["plugins"]
    assert link["ipam"]["ranges"] == [
        [{"subnet": "10.244.0.0/24"}],
        [{"subnet": "fd10:244:0::/64"}],
    ]
    assert link["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    standing = tmp_path / "cni"
    standing.mkdir()
    (standing / "ptp").write_text("")
    for _ in range(2):
        write_plugins(tmp_path / "plugins", standing)
    assert {file.name for file in (tmp_path / "plugins").iterdir()} == {"ptp", first["type"]}


# --- the node's address among its pods ---


class Machine:
    """Programs that say what they are told to, and the kernel's switches as files."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs = Programs()
        self.switches = {version: folder / f"forwarding{version}" for version in "46"}
        self.kept_routes = 0
        monkeypatch.setattr(pods, "run", self.programs)
        monkeypatch.setattr(pods, "_keep_advertised_routes", self._keep)
        monkeypatch.setattr(pods, "forwarding", self._forwarding)

    def _keep(self) -> None:
        self.kept_routes += 1

    def _forwarding(self, addresses: list[str]) -> list[str]:
        versions = sorted({"6" if ":" in address else "4" for address in addresses})
        return [str(self.switches[version]) for version in versions]

    def on(self) -> list[str]:
        return [version for version, file in self.switches.items() if file.exists()]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_a_link_that_is_not_there_is_made(machine: Machine) -> None:
    machine.programs.says = {"ip -o link show": "1: lo: <LOOPBACK>"}
    pods.set_up_link("pods0", ["10.1.0.1"])
    assert machine.programs.changes() == [
        "ip link add pods0 type bridge",
        "ip -4 addr flush dev pods0 scope global",
        "ip addr replace 10.1.0.1/32 dev pods0",
        "ip link set pods0 up",
    ]
    assert machine.on() == ["4"] and machine.switches["4"].read_text() == "1"
    assert machine.kept_routes == 0


def test_what_is_there_already_stays_and_an_earlier_address_goes(machine: Machine) -> None:
    machine.programs.says = {
        "ip -o link show": "3: pods0: <UP>",
        "ip -o -4 addr show": "3: pods0 inet 10.1.0.1/32 scope global",
        "ip -o -6 addr show": "3: pods0 inet6 fd00::9/128 scope global",
    }
    pods.set_up_link("pods0", ["10.1.0.1", "fd00::1"])
    assert machine.programs.changes() == [
        "ip addr replace 10.1.0.1/32 dev pods0",
        "ip -6 addr flush dev pods0 scope global",
        "ip addr replace fd00::1/128 nodad dev pods0",
        "ip link set pods0 up",
    ]
    assert machine.on() == ["4", "6"] and machine.kept_routes == 1


def test_services_have_a_way_that_nothing_goes(machine: Machine) -> None:
    pods.route("pods0", ["10.96.0.0/16", "fd10::/112"])
    pods.tear_down_link("pods0")
    assert machine.programs.ran == [
        "ip route replace 10.96.0.0/16 dev pods0",
        "ip route replace fd10::/112 dev pods0",
        "ip link del pods0",
    ]


@pytest.mark.parametrize(
    ("addresses", "files"),
    [
        ([], []),
        (["10.1.0.1"], ["/proc/sys/net/ipv4/ip_forward"]),
        (["fd00::1"], ["/proc/sys/net/ipv6/conf/all/forwarding"]),
        (
            ["fd00::1", "10.1.0.1", "10.1.0.2"],
            ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"],
        ),
    ],
)
def test_packets_pass_between_links_of_these_versions(
    addresses: list[str], files: list[str]
) -> None:
    assert pods.forwarding(addresses) == files


def test_routes_that_are_advertised_are_taken_on_where_they_were_taken(tmp_path: Path) -> None:
    for link, value in (("eth0", "1\n"), ("eth1", "0\n"), ("eth2", "2\n")):
        (tmp_path / link).mkdir()
        (tmp_path / link / "accept_ra").write_text(value)
    pods._keep_advertised_routes(tmp_path)
    values = {file.parent.name: file.read_text().strip() for file in tmp_path.glob("*/accept_ra")}
    assert values == {"eth0": "2", "eth1": "0", "eth2": "2"}


def test_a_folder_of_plugins_is_made_once_and_its_links_stay(tmp_path: Path) -> None:
    standing = tmp_path / "standing"
    standing.mkdir()
    (standing / "ptp").write_text("x")
    for _ in range(2):
        write_plugins(tmp_path / "made", standing)
    assert (tmp_path / "made" / "ptp").readlink() == standing / "ptp"
    script = tmp_path / "made" / "tiphys-at-once"
    assert script.stat().st_mode & 0o777 == 0o755 and "accept_dad" in script.read_text()

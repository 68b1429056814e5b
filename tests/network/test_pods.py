"""Pod addresses: what the container runtime reads, and the commands of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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

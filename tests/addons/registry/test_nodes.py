"""Where nodes are told to find the registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiphys.addons.installing import AddonError, settings_of
from tiphys.addons.registry import ADDON, NAME
from tiphys.addons.registry.nodes import address_of, remove_hosts, write_hosts
from tiphys.api import core_v1
from tiphys.api.base import from_builtins


@pytest.mark.parametrize(
    ("address", "mirror"),
    [("10.244.0.1", "http://10.244.0.1:5000"), ("fd10:244::1", "http://[fd10:244::1]:5000")],
)
def test_nodes_are_led_to_the_machines_address(tmp_path: Path, address: str, mirror: str) -> None:
    write_hosts(tmp_path, ("quay.example",), 5000, address)
    for name in (NAME, "localhost:5000", "quay.example"):
        assert f'[host."{mirror}"]' in (tmp_path / name / "hosts.toml").read_text()


def test_the_registry_itself_is_asked_for_what_its_mirror_lacks(tmp_path: Path) -> None:
    write_hosts(tmp_path, ("quay.example", NAME), 5000, "10.244.0.1")
    assert "server" not in (tmp_path / "quay.example" / "hosts.toml").read_text()
    own = (tmp_path / NAME / "hosts.toml").read_text()
    assert own.startswith('server = "http://10.244.0.1:5000"')


@pytest.mark.parametrize("mirrors", ["", "docker.io", "docker.io,quay.io", "10.0.0.7:5001"])
def test_registries_are_mirrored_by_their_names(mirrors: str) -> None:
    assert settings_of(ADDON, [f"mirrors={mirrors}"]).mirrors == mirrors


@pytest.mark.parametrize(
    "mirrors", ["../etc", "a/b", "docker.io,", "..", "docker.io quay.io", "localhost:5000", "a..b"]
)
def test_what_is_no_name_of_a_registry_is_not_mirrored(mirrors: str) -> None:
    with pytest.raises(
        AddonError, match=r"settings of registry: mirrors: .* is no name of another registry"
    ):
        settings_of(ADDON, [f"mirrors={mirrors}"])


@pytest.mark.parametrize(
    ("addresses", "type_", "found"),
    [
        ([("InternalIP", "10.244.0.7")], "", "10.244.0.7"),
        ([("InternalIP", "fd10:244::7")], "", "fd10:244::7"),
        ([("Hostname", "10.244.0.7")], "", ""),
        ([("Hostname", "n1"), ("InternalIP", "10.244.0.7")], "", "10.244.0.7"),
        ([("InternalIP", "n1")], "", ""),
        ([("InternalIP", "127.0.0.1")], "", ""),
        ([("InternalIP", "0.0.0.0")], "", ""),
        ([("InternalIP", "8.8.8.8")], "", ""),
        ([("InternalIP", "8.8.8.8"), ("InternalIP", "10.0.0.1")], "", "10.0.0.1"),
        ([("InternalIP", "10.244.0.7")], "hollow", ""),
        ([], "", ""),
    ],
)
def test_a_nodes_door_is_at_an_address_that_only_nodes_reach(
    addresses: list[tuple[str, str]], type_: str, found: str
) -> None:
    node = from_builtins(
        {
            "metadata": {"name": "n", "labels": {"type": type_}},
            "status": {"addresses": [{"type": kind, "address": at} for kind, at in addresses]},
        },
        core_v1.Node,
    )
    assert address_of(node) == found


def test_nodes_are_led_elsewhere_once_the_registry_has_gone(tmp_path: Path) -> None:
    write_hosts(tmp_path / "hosts", (), 5000, "10.244.0.1")
    for _ in range(2):  # and if they are gone already
        remove_hosts(tmp_path / "hosts")
        assert not (tmp_path / "hosts").exists()

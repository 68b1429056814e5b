"""Where nodes are told to find the registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiphys.addons.registry.nodes import write_hosts


@pytest.mark.parametrize(
    ("address", "mirror"),
    [("10.244.0.1", "http://10.244.0.1:5000"), ("fd10:244::1", "http://[fd10:244::1]:5000")],
)
def test_nodes_are_led_to_the_machines_address(tmp_path: Path, address: str, mirror: str) -> None:
    write_hosts(tmp_path, ("registry.example",), 5000, address)
    assert f'[host."{mirror}"]' in (tmp_path / "registry.example" / "hosts.toml").read_text()

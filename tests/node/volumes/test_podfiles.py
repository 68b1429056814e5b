"""Files that the node makes for containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import pod
from tiphys.node.volumes import podfiles
from tiphys.node.volumes.podfiles import make_termination_log, termination_message, write_hosts


def test_any_user_may_write_a_termination_message_and_nothing_else_there(tmp_path: Path) -> None:
    log = make_termination_log(tmp_path / "pod", "c", 2)
    assert log.name == "2" and log.stat().st_mode & 0o777 == 0o666
    assert log.parent.stat().st_mode & 0o777 == 0o755
    log.write_text("out of luck")
    assert termination_message(tmp_path / "pod", "c", 2) == "out of luck"
    assert termination_message(tmp_path / "pod", "c", 1) == ""


@pytest.mark.parametrize(
    ("spec", "domain", "lines"),
    [
        ({}, "", ["10.0.0.1\th", "fd00::1\th"]),
        ({}, "s.ns.svc", ["10.0.0.1\th.s.ns.svc\th", "fd00::1\th.s.ns.svc\th"]),
        (
            {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]},
            "",
            ["fd00::1\th", "", "# Entries added by HostAliases.", "1.2.3.4\ta\tb"],
        ),
    ],
)
def test_a_pod_finds_itself_in_its_hosts_file(
    tmp_path: Path, spec: dict[str, object], domain: str, lines: list[str]
) -> None:
    file = write_hosts(tmp_path / "p", pod(**spec), ["10.0.0.1", "fd00::1"], "h", domain)
    text = file.read_text().splitlines()
    assert text[0] == "# Kubernetes-managed hosts file." and "127.0.0.1\tlocalhost" in text
    assert text[-len(lines) :] == lines and file.stat().st_mode & 0o777 == 0o644


def test_a_pod_on_the_nodes_network_has_the_nodes_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = tmp_path / "hosts"
    machine.write_text("9.9.9.9\tnode\n")
    monkeypatch.setattr(podfiles, "_HOSTS", machine)
    one = pod(hostNetwork=True)
    text = write_hosts(tmp_path / "p", one, ["10.0.0.1"], "h", "").read_text()
    assert text == "# Kubernetes-managed hosts file (host network).\n9.9.9.9\tnode\n"
    monkeypatch.setattr(podfiles, "_MOST_HOSTS", 7)
    text = write_hosts(tmp_path / "p", one, [], "h", "").read_text()
    assert text.endswith("(host network).\n9.9.9.9")


def test_of_a_message_so_much_is_read(tmp_path: Path) -> None:
    log = make_termination_log(tmp_path / "pod", "c", 0)
    log.write_bytes(b"x" * 4095 + b"yz")
    assert termination_message(tmp_path / "pod", "c", 0) == "x" * 4095 + "y"
    log.write_bytes(b"\xff")
    assert termination_message(tmp_path / "pod", "c", 0) == "\ufffd"

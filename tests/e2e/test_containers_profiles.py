"""Profiles of seccomp that lie on the node, in real containers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import Machine, discard, run_pod, running

NO_FOLDERS = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}


def folders(machine: Machine) -> list[Path]:
    """Where each node looks for profiles."""
    found = [each / "kubelet" / "seccomp" for each in (machine.root / "data").glob("node*")]
    for folder in found:
        folder.mkdir(parents=True, exist_ok=True)
    return found


def confined(name: str) -> Any:
    return {"seccompProfile": {"type": "Localhost", "localhostProfile": name}}


def test_a_profile_of_the_node_confines_a_container(machine: Machine) -> None:
    for folder in folders(machine):
        (folder / "no-folders.json").write_text(json.dumps(NO_FOLDERS))
    script = "if mkdir /x; then exit 1; fi; exec sleep 3600"
    run_pod(machine, "confined", script, securityContext=confined("no-folders.json"))
    running(machine, "confined")
    refused = machine.kubectl("exec", "confined", "--", "mkdir", "/y", check=False)
    assert "Operation not permitted" in refused
    discard(machine, "confined")


def test_a_profile_outside_of_the_folder_is_not_read(machine: Machine) -> None:
    for folder in folders(machine):
        (folder / "out.json").symlink_to("/etc/passwd")
    run_pod(machine, "leading-out", "sleep 9", securityContext=confined("out.json"))
    run_pod(machine, "missing", "sleep 9", securityContext=confined("none.json"))
    machine.eventually(lambda: waits(machine, "leading-out") == "CreateContainerConfigError")
    machine.eventually(lambda: waits(machine, "missing") == "CreateContainerError")
    discard(machine, "leading-out", "missing")


def waits(machine: Machine, name: str) -> str:
    statuses = machine.get(f"pod/{name}")["status"].get("containerStatuses") or [{"state": {}}]
    return str(statuses[0]["state"].get("waiting", {}).get("reason"))


def test_app_armor_is_refused_where_the_kernel_has_none(machine: Machine) -> None:
    if Path("/sys/module/apparmor/parameters/enabled").exists():
        pytest.skip("this kernel has AppArmor")
    armoured = {"appArmorProfile": {"type": "RuntimeDefault"}}
    run_pod(machine, "armoured", "sleep 9", securityContext=armoured)
    machine.eventually(lambda: machine.get("pod/armoured")["status"]["phase"] == "Failed")
    status = machine.get("pod/armoured")["status"]
    assert status["reason"] == "AppArmor"
    assert "Cannot enforce AppArmor: AppArmor is not enabled on the host" in status["message"]
    discard(machine, "armoured")

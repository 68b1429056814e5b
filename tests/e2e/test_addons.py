"""What the READMEs of add-ons say, done on a real cluster from the first command to the last."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import urllib.request

import pytest

from tests.e2e.conftest import EXAMPLE
from tests.e2e.machine import Machine
from tests.e2e.readmes import ROOT, commands, run_commands
from tests.e2e.readmes import path as path
from tiphys.addons import ADDONS, OPTIONAL
from tiphys.testing.cluster import free_port

_SLOW = ("custommetrics", "gateway", "karpenter", "kueue", "registry")
SLOWER = [pytest.param(name, marks=pytest.mark.slow) for name in _SLOW]


# Those whose README takes more than seconds, or more than is on every machine, have tests of their
# own.
@pytest.mark.parametrize(
    "addon",
    [
        *(addon.name for addon in ADDONS),
        *("echo", "accelerators", "endpoints", "keda", "routeserver"),
        *SLOWER,
    ],
)
def test_the_commands_of_a_readme_work(machine: Machine, path: str, addon: str) -> None:
    if addon == "custommetrics" and shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    output = run_commands(machine, path, ROOT / "src/tiphys/addons" / addon / "README.md")
    assert output


@pytest.mark.slow  # its image has Debian's Python and grpcio
def test_the_example_of_endpoint_discovery(machine: Machine, path: str) -> None:
    folder = ROOT / "src/tiphys/addons/endpoints/example"
    output = run_commands(machine, path, folder / "README.md")
    assert "1 pods answered" in output and "3 pods answered" in output


def test_every_add_on_says_what_it_is_and_what_to_try() -> None:
    for addon in OPTIONAL.values():
        assert addon.summary and addon.try_next, addon.name
        folder = ROOT / "src/tiphys/addons" / addon.name.replace("-", "_")
        assert commands(folder / "README.md"), addon.name


def test_an_add_on_survives_a_restart_of_the_cluster(machine: Machine) -> None:
    machine.tiphys("addon", "enable", "echo", "--context", machine.name)
    host = next(row for row in machine.status()["components"] if row["name"] == "addons")
    os.kill(host["pid"], 9)

    def again() -> bool:
        rows = machine.status()["components"]
        row = next(row for row in rows if row["name"] == "addons")
        return bool(row["pid"] and row["pid"] != host["pid"])

    machine.eventually(again)
    text = '{"apiVersion":"echo.addons.tiphys.dev/v1","kind":"Echo","metadata":{"name":"again"},"spec":{"text":"hi"}}'
    machine.kubectl("create", "-f", "-", stdin=text)
    machine.kubectl("wait", "echo/again", "--for=jsonpath={.status.said}=hi", "--timeout=60s")
    machine.tiphys("addon", "disable", "echo", "--purge", "--context", machine.name)
    left = machine.tiphys("addon", "status", "echo", "--context", machine.name, check=False)
    assert "echo is not enabled" in left


@pytest.mark.slow
def test_an_ingress_is_served_by_pods_in_containers(machine: Machine) -> None:
    http_port = free_port()
    machine.kubectl("apply", "-f", str(EXAMPLE / "hello.yaml"))
    settings = ("--set", "addresses=127.0.82.0/28", "--set", f"httpPort={http_port}")
    machine.tiphys("addon", "enable", "gateway", *settings, "--context", machine.name)
    service = machine.get("service/hello")
    port = {"number": service["spec"]["ports"][0]["port"]}
    path = {
        "path": "/",
        "pathType": "Prefix",
        "backend": {"service": {"name": "hello", "port": port}},
    }
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "hello"},
        "spec": {"rules": [{"host": "hello.example", "http": {"paths": [path]}}]},
    }
    machine.kubectl("apply", "-f", "-", stdin=json.dumps(ingress))
    machine.kubectl("rollout", "status", "deploy/hello", "--timeout=60s")
    request = urllib.request.Request(
        f"http://127.0.82.1:{http_port}/", headers={"Host": "hello.example"}
    )
    seen: set[bytes] = set()

    def by_two_pods() -> bool:
        with contextlib.suppress(OSError):
            seen.add(urllib.request.urlopen(request, timeout=2).read())
        return len(seen) >= 2

    machine.eventually(by_two_pods)
    machine.kubectl("delete", "ingress/hello")
    machine.kubectl("delete", "-f", str(EXAMPLE / "hello.yaml"))
    machine.tiphys("addon", "disable", "gateway", "--purge", "--context", machine.name)

"""Names as pods resolve them: what an administrator writes, and a server that is away."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.e2e.machine import Machine, gone, run_pod, running

SERVICE = "kubernetes.default.svc.cluster.local"
EVERY_TENTH = f"""
while :; do
  nslookup {SERVICE} > /dev/null 2>&1 && echo "ok $(date +%s)" || echo "failed $(date +%s)"
  sleep 0.1
done"""


@pytest.fixture(scope="module")
def asker(machine: Machine) -> Iterator[str]:
    run_pod(machine, "asker", EVERY_TENTH)
    running(machine, "asker")
    yield "asker"
    gone(machine, "asker")


@pytest.fixture
def corefile(machine: Machine) -> Iterator[str]:
    """The Corefile of the cluster, put back afterwards."""
    text = machine.get("configmap/coredns", "-n", "kube-system")["data"]["Corefile"]
    yield text
    _configure(machine, text)


def _configure(machine: Machine, corefile: str) -> None:
    patch = json.dumps({"data": {"Corefile": corefile}})
    machine.kubectl("patch", "configmap", "coredns", "-n", "kube-system", "-p", patch)


def test_pods_see_what_an_administrator_writes_into_the_corefile(
    machine: Machine, asker: str, corefile: str
) -> None:
    hosts = "    hosts {\n        192.0.2.8 legacy.corp.example\n        fallthrough\n    }\n"
    _configure(machine, corefile.replace("    errors\n", hosts))

    def asked(name: str) -> str:
        return machine.kubectl("exec", asker, "--", "nslookup", name, check=False)

    machine.eventually(lambda: "192.0.2.8" in asked("legacy.corp.example"))
    own = machine.get("service/kubernetes")["spec"]["clusterIP"]
    assert own in asked(SERVICE)


def test_a_nodes_dns_says_that_it_is_ready_and_what_it_has_answered(
    machine: Machine, asker: str
) -> None:
    def page(path: str) -> str:
        url = f"http://kube-dns.kube-system:9153{path}"
        return machine.kubectl("exec", asker, "--", "wget", "-qO-", url, check=False)

    assert page("/ready") == "OK"
    requests = 'coredns_dns_requests_total{proto="udp",server="dns://:53",type="A"'
    assert requests in page("/metrics")


def test_names_are_answered_while_the_api_server_is_away(machine: Machine, asker: str) -> None:
    [server] = [each for each in machine.status()["components"] if each["name"] == "apiserver"]
    machine.eventually(lambda: "ok" in machine.kubectl("logs", asker))
    os.kill(server["pid"], signal.SIGSTOP)
    away_since = time.time()
    try:
        time.sleep(3)  # the time that it is away
    finally:
        os.kill(server["pid"], signal.SIGCONT)
    lines = machine.kubectl("logs", asker).splitlines()
    meanwhile = [line for line in lines if int(line.split()[1]) in _inside(away_since, 3)]
    assert len(meanwhile) >= 5 and all(line.startswith("ok") for line in meanwhile)


def _inside(began: float, seconds: int) -> range:
    """The whole seconds between the beginning and the end of a time."""
    return range(int(began) + 1, int(began) + seconds)

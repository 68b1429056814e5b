"""Services in containers that speak through their sidecars: the whole mesh, on real Envoys."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.addons.mesh.world import FOLDER, World, missing, world
from tests.e2e.readmes import path, run_addon_readme  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]
ASKER = "spiffe://cluster.local/ns/shop/sa/asker"
GREETER = "spiffe://cluster.local/ns/shop/sa/greeter"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("mesh")) as running:
        running.namespace("shop")
        running.namespace("outside", meshed=False)
        running.deployment("shop", "asker")
        running.deployment("shop", "greeter", replicas=2)
        running.deployment("shop", "canary")
        running.deployment("outside", "stranger")
        for name in ("greeter", "canary"):
            running.service("shop", name)
        running.service("outside", "stranger")
        running.ready("shop", "asker", "greeter", "canary")
        running.ready("outside", "stranger")
        yield running


def only(count: int, answers: dict[str, int]) -> bool:
    """Whether every one of so many requests was answered with 200."""
    return sum(answers.values()) == count and all(one.startswith("200 ") for one in answers)


def test_a_server_is_told_who_asks(made: World) -> None:
    status, said = made.fetch("shop", "asker", "http://greeter/hello")
    assert (status, said["name"], said["path"]) == ("200", "greeter", "/hello")
    assert f"URI={ASKER}" in said["peer"] and f"By={GREETER}" in said["peer"]


def test_nobody_says_himself_who_he_is(made: World) -> None:
    made.policy("shop", "Permissive")
    forged = "By=x;URI=spiffe://cluster.local/ns/shop/sa/admin"
    script = (
        "import sys, urllib.request as u; r = u.Request(sys.argv[1]); "
        f"r.add_header('x-forwarded-client-cert', '{forged}'); print(u.urlopen(r).read().decode())"
    )
    for namespace, deployment, seen in (("shop", "asker", ASKER), ("outside", "stranger", "")):
        url = "http://greeter.shop/"
        said = json.loads(made.run(namespace, deployment, "python3", "-c", script, url))
        assert "admin" not in said["peer"] and seen in said["peer"], said


def test_the_mesh_reaches_who_is_not_in_it(made: World) -> None:
    status, said = made.fetch("shop", "asker", "http://stranger.outside/")
    assert (status, said["name"], said["peer"]) == ("200", "stranger", "")


def test_permissive_lets_in_who_has_no_identity(made: World) -> None:
    made.policy("shop", "Permissive")
    status, said = made.fetch("outside", "stranger", "http://greeter.shop/")
    assert (status, said["peer"]) == ("200", "")
    # What is sent to a sidecar's own ports would go in circles.
    address = made.machine.get("pods", "-n", "shop", "-l", "app=greeter")["items"][0]["status"][
        "podIP"
    ]
    for port in (15001, 15006):
        assert made.fetch("outside", "stranger", f"http://{address}:{port}/")[0] == "refused:"


def test_strict_refuses_who_has_no_identity(made: World) -> None:
    made.policy("shop", "Strict")
    try:

        def refused() -> bool:
            return made.fetch("outside", "stranger", "http://greeter.shop/")[0] == "refused:"

        made.machine.eventually(refused)
        assert made.fetch("shop", "asker", "http://greeter/")[0] == "200"
        # Nor by the pod's own address, past the Service; nor with TLS of its own.
        pods = made.machine.get("pods", "-n", "shop", "-l", "app=greeter")["items"]
        address = pods[0]["status"]["podIP"]
        assert made.fetch("outside", "stranger", f"http://{address}:8080/")[0] == "refused:"
        assert made.fetch("outside", "stranger", f"https://{address}:8080/")[0] == "refused:"
    finally:
        made.policy("shop", "Permissive")


def test_probes_of_a_strict_namespace_are_answered(made: World) -> None:
    made.namespace("strict")
    made.policy("strict", "Strict")
    http = {
        "httpGet": {"path": "/healthz", "port": 8080},
        "periodSeconds": 1,
        "failureThreshold": 120,  # it takes seconds to start on a busy machine
    }
    tcp = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    made.deployment("strict", "probed", livenessProbe=http, readinessProbe=tcp)
    nobody = {"tcpSocket": {"port": 9999}, "periodSeconds": 1}
    made.deployment("strict", "unready", readinessProbe=nobody)
    made.ready("strict", "probed")
    pod = made.machine.get("pods", "-n", "strict", "-l", "app=probed")["items"][0]
    assert not any(one["restartCount"] for one in pod["status"]["containerStatuses"])
    pods = made.machine.get("pods", "-n", "strict", "-l", "app=unready")["items"]
    assert not pods[0]["status"]["containerStatuses"][0]["ready"]
    made.kubectl("delete", "namespace", "strict", "--timeout=90s")


def test_requests_are_split_by_weight(made: World) -> None:
    refs = [
        {"name": "greeter", "port": 80, "weight": 90},
        {"name": "canary", "port": 80, "weight": 10},
    ]
    made.route("shop", "greeter", backendRefs=refs)
    try:

        def both() -> bool:
            return "200 canary" in made.load("shop", "asker", "http://greeter/", 50)["answers"]

        made.machine.eventually(both)
        answers = made.load("shop", "asker", "http://greeter/", 1000)["answers"]
        spread = 4 * math.sqrt(
            1000 * 0.1 * 0.9
        )  # of a binomial distribution: 1 in 16,000 is outside
        assert only(1000, answers) and abs(answers["200 canary"] - 100) < spread, answers
    finally:
        made.kubectl("-n", "shop", "delete", "serviceroute", "--all")


def test_a_backend_that_is_not_there_fails_its_share(made: World) -> None:
    refs = [{"name": "canary", "port": 80}, {"name": "nobody", "port": 80}]
    meta = {"name": "canary", "namespace": "shop"}
    route = {"apiVersion": "mesh.tiphys.dev/v1alpha1", "kind": "ServiceRoute", "metadata": meta}
    made.apply({**route, "spec": {"service": "canary", "backendRefs": refs}})
    try:
        where = ("-n", "shop", "serviceroute/canary")
        made.kubectl("wait", *where, "--for=condition=ResolvedRefs=false", "--timeout=20s")
        answers = made.load("shop", "asker", "http://canary/", 100)["answers"]
        failed = sum(count for answer, count in answers.items() if answer.startswith("500"))
        assert 20 < failed < 80 and answers["200 canary"] == 100 - failed, answers
    finally:
        made.kubectl("-n", "shop", "delete", "serviceroute", "--all")


def test_a_retry_hides_a_backend_that_fails(made: World) -> None:
    for name, fails in (("sound", ""), ("broken", "always")):
        made.deployment("shop", name, app="flaky", env={"FAILS": fails}, readinessProbe=None)
    made.service("shop", "flaky")
    made.ready("shop", "sound", "broken")

    def fails() -> bool:
        answers = made.load("shop", "asker", "http://flaky/", 100)["answers"]
        return answers.get("503 broken", 0) > 20 and answers.get("200 sound", 0) > 20

    made.machine.eventually(fails)
    made.route("shop", "flaky", retry={"codes": [503], "attempts": 3})

    def hidden() -> bool:
        return only(200, made.load("shop", "asker", "http://flaky/", 200)["answers"])

    made.machine.eventually(hidden)
    made.kubectl("-n", "shop", "delete", "serviceroute/flaky", "svc/flaky", "deploy/broken")
    made.kubectl("-n", "shop", "delete", "deploy/sound")


def test_a_timeout_is_told_with_504(made: World) -> None:
    assert made.fetch("shop", "asker", "http://canary/?delay=1")[0] == "200"
    made.route("shop", "canary", timeouts={"request": "300ms"})
    try:

        def late() -> bool:
            return made.fetch("shop", "asker", "http://canary/?delay=1")[0] == "504"

        made.machine.eventually(late)
        assert made.fetch("shop", "asker", "http://canary/")[0] == "200"
    finally:
        made.kubectl("-n", "shop", "delete", "serviceroute", "--all")


def test_no_request_fails_while_certificates_are_replaced(made: World) -> None:
    # A connection keeps the certificate it began with, and lives as long as that: 20 s.
    seen = made.load("shop", "asker", "http://greeter/", 50 * 45, 50, "POST")
    assert only(2250, seen["answers"]), seen
    assert seen["certificates"] >= 3, "of the asker, seen by the greeters"


def test_no_request_fails_while_pods_are_replaced(made: World) -> None:
    seen: dict[str, Any] = {}

    def ask() -> None:
        seen.update(made.load("shop", "asker", "http://greeter/", 50 * 40, 50))

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(2):
        made.kubectl("-n", "shop", "rollout", "restart", "deploy/greeter")
        made.ready("shop", "greeter")
    pods = made.machine.get("pods", "-n", "shop", "-l", "app=greeter")["items"]
    made.kubectl("-n", "shop", "delete", "pod", pods[0]["metadata"]["name"])
    asking.join()
    assert only(2000, seen["answers"]), seen


def test_golden_metrics_are_by_service_and_peer(made: World) -> None:
    made.load("shop", "asker", "http://canary/", 20)
    made.fetch("shop", "asker", "http://canary/?status=418")
    pod = made.machine.get("pods", "-n", "shop", "-l", "app=asker")["items"][0]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == "15020"
    page = made.run(
        "outside", "stranger", "fetch", f"http://{pod['status']['podIP']}:15020/metrics"
    )
    service = 'service="canary.shop:80"'
    canary = "spiffe://cluster.local/ns/shop/sa/canary"
    counted = [line for line in page.splitlines() if line.startswith("envoy_mesh_requests{")]
    of_canary = [line for line in counted if service in line]
    assert any('code="418"' in line and line.endswith(" 1") for line in of_canary), of_canary
    assert all(f'source="{ASKER}"' in line for line in of_canary if 'code="200"' in line)
    assert any(f'destination="{canary}"' in line for line in of_canary)
    assert re.search(r"envoy_mesh_request_duration_bucket\{.*canary\.shop:80.*le=\"5\"\} \d+", page)


def test_what_serves_first_and_what_is_no_http_pass(made: World) -> None:
    made.service("shop", "raw", [{"port": 9000, "targetPort": 8080}])
    made.kubectl("-n", "shop", "patch", "svc/raw", "-p", '{"spec":{"selector":{"app":"canary"}}}')

    def detected() -> bool:
        status, said = made.fetch("shop", "asker", "http://raw:9000/")
        return status == "200" and f"URI={ASKER}" in said["peer"]

    made.machine.eventually(detected)
    meta = {"name": "raw", "namespace": "shop"}
    ports = [{"name": "tcp-raw", "port": 9000, "targetPort": 8080}]
    spec = {"selector": {"app": "canary"}, "ports": ports}
    made.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})

    def as_it_is() -> bool:
        status, said = made.fetch("shop", "asker", "http://raw:9000/")
        return status == "200" and said["peer"] == ""

    made.machine.eventually(as_it_is)
    made.kubectl("-n", "shop", "delete", "svc/raw")


def test_nothing_is_left_when_the_mesh_is_disabled(made: World) -> None:
    made.kubectl("delete", "namespace", "shop", "outside", "--timeout=120s")
    made.machine.tiphys("addon", "disable", "mesh", "--purge", "--context", made.machine.name)
    kinds = "crd,mutatingwebhookconfigurations,secrets,clusterroles,clusterrolebindings"
    listed = made.kubectl("get", kinds, "-A", "-o", "name")
    assert "mesh" not in listed, listed


def test_the_commands_of_the_readme_work(made: World, path: str, tmp_path: Path) -> None:  # noqa: F811
    printed = run_addon_readme(made.machine, path, FOLDER, tmp_path / "work")
    assert "URI=spiffe://cluster.local/ns/greetings/sa/asker" in printed
    assert '"200 canary"' in printed

"""Model servers in containers: the README from its first command to its last, and what stands
before them."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.addons.inference.world import endpoint
from tests.addons.mesh.world import missing
from tests.e2e.machine import Machine
from tests.e2e.readmes import path, run_addon_readme  # noqa: F401
from tiphys.addons.inference import loading
from tiphys.addons.inference.loading import Bucket
from tiphys.testing.cluster import free_port

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]
FOLDER = Path(__file__).parents[3] / "src/tiphys/addons/inference"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, f"inference-{os.getpid()}")
    where = ("--name", made.name, "--data-dir", str(tmp_path / "data"))
    port = ("--port", str(free_port()))
    made.tiphys("up", *where, *port, "--runtime", "containerd", "--nodes", "1", "--wait")
    try:
        yield made
    finally:
        made.tiphys("down", "--name", made.name, "--purge", check=False)


def test_the_commands_of_the_readme_work(machine: Machine, path: str, tmp_path: Path) -> None:  # noqa: F811
    printed = run_addon_readme(machine, path, FOLDER, tmp_path / "work")
    line = next(one for one in printed.splitlines() if '"sha256"' in one)
    said = json.loads(line)
    assert said["bytes"] == 50_000_000 and said["files"] == {"weights.bin": 50_000_000}
    assert said["pod"].startswith("deepseek-") and said["path"] == "/invocations"


def test_limits_records_and_prompts_that_are_read_elsewhere(machine: Machine) -> None:
    for recipe in ("image.yaml", "example/s3-image.yaml"):
        image = str(machine.root / f"{Path(recipe).stem}.tar")
        machine.tiphys("image", "build", str(FOLDER / recipe), "-o", image, "--load", machine.name)
    settings = ("s3Endpoint=http://s3.default:8333", f"port={free_port()}", "webhookPort=0")
    options = [word for one in settings for word in ("--set", one)]
    machine.tiphys("addon", "enable", "inference", *options, "--context", machine.name)
    machine.kubectl("apply", "-f", str(FOLDER / "example/s3.yaml"))
    machine.kubectl("rollout", "status", "deploy/s3", "--timeout=120s")
    storage = bucket(machine)
    urllib.request.urlopen(storage.request("PUT", ""), timeout=30).close()
    machine.kubectl("create", "-f", "-", stdin=json.dumps(asked()))
    ready = ("--for=condition=Ready", "--timeout=170s")
    machine.kubectl("wait", "inferenceendpointconfig/model", *ready)

    url = f"http://{address_of(machine, 'service/model')}/invocations"
    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(lambda _: posted(url), range(4)))
    assert statuses == [200, 503, 503, 503], "the server takes one at a time, and nobody waits"
    prefilling = machine.get("pods", "-l", "app=model-prefill")["items"][0]["status"]["podIP"]
    with urllib.request.urlopen(f"http://{prefilling}:8080/metrics", timeout=10) as page:
        assert page.read() == b"model_requests_total 1\n"
    below = "captured/model-pod/default/model/"
    keys = machine.eventually(lambda: [key for key, _ in storage.keys(below)], 60)
    record = json.loads(loading._read(lambda: storage.request("GET", keys[0])))
    assert record["captureData"]["endpointInput"]["data"] == '{"prompt": "Who are you?"}'
    assert '"heard": 26' in record["captureData"]["endpointOutput"]["data"]


def asked() -> dict[str, Any]:
    """An endpoint whose server takes one request at a time, for three seconds."""
    return endpoint(
        worker={
            "image": "tiphys.local/inference-server:1",
            "environmentVariables": [{"name": "ANSWER_SECONDS", "value": "3"}],
            "requestLimits": {"maxConcurrentRequests": 1, "overflowStatusCode": 503},
        },
        dataCapture={
            "s3Uri": "s3://models/captured",
            "modelPod": {"enabled": True, "bufferConfig": {"batchSize": 1}},
        },
        pdSpec={"decodingSpec": {}, "prefillSpec": {}, "routingThreshold": 0},
    )


def address_of(machine: Machine, service: str) -> str:
    return str(machine.get(service)["spec"]["clusterIP"])


def bucket(machine: Machine) -> Bucket:
    """As the machine reaches it, with the example's credentials."""
    url = f"http://{address_of(machine, 'service/s3')}:8333"
    return Bucket(url, "models", "us-east-1", "AKIDMODELS", "not-a-secret-of-anybody")


def posted(url: str) -> int:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, b'{"prompt": "Who are you?"}', headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code

"""Jobs in containers, on nodes of this machine: torch and the real agent in each pod, as the README
has it, and the real `hyp`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.addons.training.realagent import EXAMPLE, missing, python
from tests.e2e.machine import Machine
from tests.e2e.readmes import commands, path, run_script  # noqa: F401
from tiphys.cluster import containerd
from tiphys.testing.cluster import free_port

ROOT = Path(__file__).parents[3]


def why_not() -> str:
    if os.geteuid() != 0 or containerd.missing() or shutil.which("kubectl") is None:
        return "needs root, containerd and kubectl"
    return missing()


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]


def site() -> str:
    """The folder that has torch and the agent."""
    code = "import importlib.util as u; print(u.find_spec('hyperpod_elastic_agent').origin)"
    found = subprocess.run([python(), "-c", code], capture_output=True, text=True, check=True)
    return str(Path(found.stdout.strip()).parents[1])


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    root = tmp_path_factory.mktemp("training")
    made = Machine(root, f"training-{os.getpid()}")
    where = ("--name", made.name, "--data-dir", str(root / "data"), "--port", str(free_port()))
    made.tiphys("up", *where, "--runtime", "containerd", "--nodes", "3", "--wait")
    try:
        image = root / "trainer.tar"
        made.tiphys(
            "image", "build", str(EXAMPLE / "image.yaml"), "-o", str(image), "--load", made.name
        )
        code = [f"--from-file={EXAMPLE / name}" for name in ("train.py", "hyperpodrun.py")]
        made.kubectl("create", "configmap", "averages-code", *code)
        ports = ("--set", f"metricsPort={free_port()}")
        made.tiphys("addon", "enable", "training", *ports, "--context", made.name)
        yield made
    finally:
        made.tiphys("down", "--name", made.name, "--purge", check=False)


def job(machine: Machine, name: str, replicas: int = 4, spares: int = 1) -> dict[str, Any]:
    """The example's job, with folders of this machine."""
    made: dict[str, Any] = yaml.safe_load((EXAMPLE / "job.yaml").read_text())
    made["metadata"]["name"] = name
    group = made["spec"]["replicaSpecs"][0]
    group["replicas"], group["spares"] = replicas, spares
    volumes = {volume["name"]: volume for volume in group["template"]["spec"]["volumes"]}
    volumes["site"]["hostPath"]["path"] = site()
    folder = machine.root / f"checkpoints-{name}"
    folder.mkdir()
    volumes["checkpoints"]["hostPath"]["path"] = str(folder)
    return made


def waited(machine: Machine, name: str, condition: str) -> None:
    machine.eventually(
        lambda: any(
            one["type"] == condition and one["status"] == "True"
            for one in machine.get(f"hpjob/{name}").get("status", {}).get("conditions", ())
        ),
        240,
    )


def pods_of(machine: Machine, name: str) -> dict[str, tuple[str, int]]:
    """The uid and the restarts of each pod's container."""
    return {
        one["metadata"]["name"]: (
            one["metadata"]["uid"],
            sum(s["restartCount"] for s in one["status"].get("containerStatuses", ())),
        )
        for one in machine.get("pods", "-l", f"HPJob={name}")["items"]
    }


def test_a_killed_worker_costs_no_pod_and_no_container(machine: Machine) -> None:
    body = job(machine, "killed", replicas=2)
    body["spec"]["runPolicy"]["logMonitoringConfiguration"].pop()  # hyp knows no faultOnMatch
    machine.kubectl("create", "-f", "-", stdin=json.dumps(body))
    waited(machine, "killed", "Running")
    machine.eventually(lambda: "step=6" in machine.kubectl("logs", "killed-pod-1"), 120)
    before = pods_of(machine, "killed")
    kill = ("pkill", "-9", "--parent", "1", "--full", "train.py")
    machine.kubectl("exec", "killed-pod-1", "--", *kill)
    machine.eventually(lambda: machine.get("hpjob/killed")["status"].get("restartCount") == 1, 60)
    waited(machine, "killed", "Running")
    machine.eventually(lambda: "attempt=1" in machine.kubectl("logs", "killed-pod-1"), 120)
    assert pods_of(machine, "killed") == before
    hyp = Path(os.environ.get("TIPHYS_HYP_PYTHON", sys.executable)).with_name("hyp")
    if hyp.exists():
        logs = [str(hyp), "get-logs", "hyp-pytorch-job", "--job-name", "killed"]
        found = subprocess.run(
            [*logs, "--pod-name", "killed-pod-1"],
            env={**machine.env, "HOME": str(machine.root)},
            capture_output=True,
            text=True,
        )
        assert "attempt=1" in found.stdout, found.stdout + found.stderr
    machine.kubectl("delete", "hpjob", "killed", "--timeout=60s")


def test_the_commands_of_the_readme_work(machine: Machine, path: str, tmp_path: Path) -> None:  # noqa: F811
    machine.tiphys("addon", "disable", "training", "--purge", "--context", machine.name)
    machine.kubectl("delete", "configmap", "averages-code")
    example = tmp_path / "job.yaml"
    example.write_text(yaml.safe_dump(job(machine, "averages", replicas=2)))
    script = commands(EXAMPLE.parent / "README.md")
    for old, new in (
        ("--load tiphys", f"--load {machine.name}"),
        ("addon enable training", f"addon enable training --set metricsPort={free_port()}"),
        ("src/tiphys/addons/training/example/job.yaml", str(example)),
        ("-o trainer.tar", f"-o {tmp_path / 'trainer.tar'}"),
    ):
        assert old in script
        script = script.replace(old, new)
    printed = run_script(machine, path, script, ROOT, 600)
    assert '"restartType":"PLR"' in printed

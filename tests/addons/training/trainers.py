"""Jobs in containers on nodes of this machine, and what their pods say of themselves: torch and the
real agent in each, from a folder of the machine."""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.addons.training.realagent import EXAMPLE, missing, python
from tests.e2e.machine import Machine
from tiphys.cluster import containerd
from tiphys.testing.cluster import free_port

_STARTING = 600.0  # seconds: torch takes minutes to start on a busy machine
_READ_LOG = "import glob; print(open(glob.glob('/tmp/log_agent_*.log')[0]).read())"


def why_not() -> str:
    """Why there can be none here; empty: there can."""
    if os.geteuid() != 0 or containerd.missing() or shutil.which("kubectl") is None:
        return "needs root, containerd and kubectl"
    return missing()


def site() -> str:
    """The folder that has torch and the agent."""
    code = "import importlib.util as u; print(u.find_spec('hyperpod_elastic_agent').origin)"
    found = subprocess.run([python(), "-c", code], capture_output=True, text=True, check=True)
    return str(Path(found.stdout.strip()).parents[1])


@contextmanager
def trainers(root: Path, name: str, nodes: int) -> Iterator[Machine]:
    """A cluster with the add-on, and what the example's job needs."""
    made = Machine(root, f"{name}-{os.getpid()}")
    where = ("--name", made.name, "--data-dir", str(root / "data"), "--port", str(free_port()))
    made.tiphys("up", *where, "--runtime", "containerd", "--nodes", str(nodes), "--wait")
    try:
        image = str(root / "trainer.tar")
        made.tiphys("image", "build", str(EXAMPLE / "image.yaml"), "-o", image, "--load", made.name)
        code = [f"--from-file={EXAMPLE / name}" for name in ("train.py", "hyperpodrun.py")]
        made.kubectl("create", "configmap", "averages-code", *code)
        ports = ("--set", f"metricsPort={free_port()}")
        made.tiphys("addon", "enable", "training", *ports, "--context", made.name)
        yield made
    finally:
        made.tiphys("down", "--name", made.name, "--purge", check=False)


def folder_of(machine: Machine, name: str) -> Path:
    """Where a job has its checkpoints."""
    folder = machine.root / f"checkpoints-{name}"
    folder.mkdir(exist_ok=True)
    return folder


def job(
    machine: Machine, name: str, *arguments: str, replicas: int = 4, spares: int = 1, **policy: Any
) -> dict[str, Any]:
    """The example's job, with folders of this machine; `arguments` are train.py's. The agents' logs
    have the time of each line that they read."""
    made: dict[str, Any] = yaml.safe_load((EXAMPLE / "job.yaml").read_text())
    made["metadata"]["name"] = name
    made["spec"]["runPolicy"].update(policy)
    group = made["spec"]["replicaSpecs"][0]
    group["replicas"], group["spares"] = replicas, spares
    volumes = {volume["name"]: volume for volume in group["template"]["spec"]["volumes"]}
    volumes["site"]["hostPath"]["path"] = site()
    volumes["checkpoints"]["hostPath"]["path"] = str(folder_of(machine, name))
    container = group["template"]["spec"]["containers"][0]
    container["args"] += arguments
    container["env"] = [{"name": "LOGLEVEL", "value": "DEBUG"}]
    return made


def apart(body: dict[str, Any], label: str) -> dict[str, Any]:
    """The job with each pod on a node of its own, among those that have a label."""
    spec = body["spec"]["replicaSpecs"][0]["template"]["spec"]
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"HPJob": body["metadata"]["name"]}},
    }
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    spec["affinity"] = {"podAntiAffinity": required}
    spec["nodeSelector"] = {label: ""}
    return body


# --- what becomes of it ---


@contextmanager
def created(machine: Machine, body: dict[str, Any]) -> Iterator[str]:
    """The name of a job that is there for as long as the block lasts."""
    name: str = body["metadata"]["name"]
    machine.kubectl("create", "-f", "-", stdin=json.dumps(body))
    try:
        yield name
    finally:
        machine.kubectl("delete", "hpjob", name, "--timeout=600s", check=False)
        machine.eventually(lambda: not pods_of(machine, name), 600)


def status_of(machine: Machine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = machine.get(f"hpjob/{name}").get("status", {})
    return found


def restarts_of(machine: Machine, name: str) -> int:
    return int(status_of(machine, name).get("restartCount", 0))


def waited(machine: Machine, name: str, condition: str) -> dict[str, Any]:
    """Waits until a condition is true; returns it."""

    def there() -> Any:
        for one in status_of(machine, name).get("conditions", ()):
            if (one["type"], one["status"]) == (condition, "True"):
                return one
        return None

    found: dict[str, Any] = machine.eventually(there, _STARTING)
    return found


def runs_again(machine: Machine, name: str, restarts: int) -> None:
    """Waits until the job runs after so many restarts."""
    machine.eventually(lambda: restarts_of(machine, name) >= restarts, _STARTING)
    waited(machine, name, "Running")


def says(machine: Machine, pod: str, text: str) -> None:
    machine.eventually(lambda: text in machine.kubectl("logs", pod, check=False), _STARTING)


def pods_of(machine: Machine, name: str) -> dict[str, tuple[str, int]]:
    """The uid and the restarts of each pod's container."""
    return {
        one["metadata"]["name"]: (
            one["metadata"]["uid"],
            sum(s["restartCount"] for s in one["status"].get("containerStatuses", ())),
        )
        for one in machine.get("pods", "-l", f"HPJob={name}")["items"]
    }


def uids_of(machine: Machine, name: str) -> dict[str, str]:
    return {pod: uid for pod, (uid, _) in pods_of(machine, name).items()}


# --- what pods say themselves ---


def agent_of(machine: Machine, pod: str) -> dict[str, Any]:
    """What the agent in a pod says now."""
    address = machine.get(f"pod/{pod}")["status"]["podIP"]
    with urllib.request.urlopen(f"http://{address}:8080/status", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def pod_of_rank(machine: Machine, name: str, rank: int) -> str:
    """Once its agent says so; one that has just begun says nothing yet."""

    def found() -> str | None:
        for pod in pods_of(machine, name):
            with suppress(OSError, KeyError):
                if agent_of(machine, pod)["assigned_rank"] == str(rank):
                    return pod
        return None

    named: str = machine.eventually(found)
    return named


def kill_worker(machine: Machine, pod: str) -> None:
    """Once there is one."""
    kill = ("pkill", "-9", "--parent", "1", "--full", "train.py")
    machine.eventually(
        lambda: "exit code" not in machine.kubectl("exec", pod, "--", *kill, check=False), _STARTING
    )


@dataclass(frozen=True)
class Line:
    """Of a log, with its time in seconds since the epoch."""

    time: float
    text: str


def seconds_of(text: str) -> float:
    """Of a time as agents and containerd write it, the latter with nanoseconds."""
    return datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()


def lines_of(machine: Machine, pod: str) -> list[Line]:
    """What a pod's container printed, as containerd noted it."""
    printed = machine.kubectl("logs", pod, "--timestamps").splitlines()
    parts = [line.partition(" ") for line in printed]
    return [Line(seconds_of(time), text) for time, _, text in parts]


def judged(machine: Machine, pod: str) -> list[Line]:
    """What the agent's judge of logs noted: each line as it read it, and each change of its
    mind."""
    text = machine.kubectl("exec", pod, "--", "python3", "-c", _READ_LOG)
    found = re.findall(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) - \w+ - (.*)$", text, re.M)
    return [Line(seconds_of(f"{time}.{part}000+00:00"), said) for time, part, said in found]


def first(lines: list[Line], text: str) -> Line:
    return next(line for line in lines if text in line.text)


def last(lines: list[Line], pattern: str) -> Line:
    return [line for line in lines if re.search(pattern, line.text)][-1]

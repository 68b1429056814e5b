"""What breaks in a job of four ranks and a spare, each pod on a node of its own, and what that
costs: torch and the real agents in containers.

Judged are steps, objects and their order, and that nothing happens too soon. How long things take is
printed, as pods and agents note it themselves: on a busy machine everybody is late.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.addons.training import trainers
from tests.addons.training.trainers import (
    Line,
    agent_of,
    apart,
    created,
    first,
    folder_of,
    job,
    judged,
    kill_worker,
    last,
    lines_of,
    pod_of_rank,
    pods_of,
    restarts_of,
    runs_again,
    says,
    seconds_of,
    status_of,
    uids_of,
    waited,
    why_not,
)
from tests.e2e.machine import Machine
from tiphys.cluster import state
from tiphys.cluster.sandboxes import NodePlace

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]

_NODES = 7  # the machine itself, a node for each of five pods, and one for a pod that is replaced
_LABEL = "trains"
_PATIENCE = 600.0  # seconds: torch takes minutes to start where many work


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    root = tmp_path_factory.mktemp("scenario")
    with trainers.trainers(root, "scenario", _NODES) as made:
        for index in range(1, _NODES):
            made.kubectl("label", "node", place(made, index).name, f"{_LABEL}=")
        yield made


def place(machine: Machine, index: int) -> NodePlace:
    cluster = state.load(machine.name, machine.root / "data")
    assert cluster is not None
    return NodePlace(cluster, index)


def test_a_killed_worker_costs_no_pod_and_no_container(machine: Machine) -> None:
    with created(machine, apart(job(machine, "killed"), _LABEL)) as name:
        waited(machine, name, "Running")
        pod = pod_of_rank(machine, name, 2)
        says(machine, pod, "step=7 ")
        before = pods_of(machine, name)
        killed = time.time()
        kill_worker(machine, pod)
        runs_again(machine, name, 1)
        says(machine, pod, "attempt=1")
        assert len(before) == 5 and pods_of(machine, name) == before
        status = status_of(machine, name)
        assert status["restartCount"] == 1
        assert status["latestFaultyPodInstanceList"]["faultyRankList"] == ["2"]
        printed = lines_of(machine, pod)
        resumed = first(printed, "attempt=1")
        reached = last(printed[: printed.index(resumed)], "step=")
        moments = agent_of(machine, pod)["transitions"]
    for moment in ("FAULTED", "STOPPING", "READY", "RUNNING"):
        print(f"{moment.lower()} after {seconds_of(moments[moment]) - killed:.1f}s")
    print(f"next step after {resumed.time - killed:.1f}s")
    lost = step_of(reached) + 1 - step_of(resumed)  # rank 0, which saves, may be one step ahead
    assert -1 <= lost <= 5 < step_of(reached), "it goes on from the last checkpoint"


def step_of(line: Line) -> int:
    found = re.search(r"step=(\d+)", line.text)
    assert found, line.text
    return int(found[1])


def test_a_lost_node_costs_one_pod(machine: Machine) -> None:
    with created(machine, apart(job(machine, "lost"), _LABEL)) as name:
        waited(machine, name, "Running")
        pod = pod_of_rank(machine, name, 2)
        says(machine, pod, "step=7 ")
        before = uids_of(machine, name)
        node = machine.get(f"pod/{pod}")["spec"]["nodeName"]
        with cut_off(machine, node):
            runs_again(machine, name, 1)
            machine.eventually(lambda: uids_of(machine, name).get(pod) not in (None, before[pod]))
            taker = pod_of_rank(machine, name, 2)
            says(machine, taker, "attempt=1")
            after = uids_of(machine, name)
            assert [one for one in after if after[one] != before.get(one)] == [pod]
            assert len(after) == 5 and taker != pod, "the spare has the rank"
            assert restarts_of(machine, name) == 1


def ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


@contextmanager
def cut_off(machine: Machine, node: str) -> Iterator[None]:
    """The node's cable is out: neither it nor its pods answer anybody."""
    link = next(p for p in (place(machine, i) for i in range(1, _NODES)) if p.name == node).link
    routes = ip("-o", "route", "show", "dev", link).splitlines()
    ip("link", "set", link, "down")
    try:
        yield
    finally:
        ip("link", "set", link, "up")
        for route in routes:  # they went with the link
            ip("route", "replace", *route.split(), "dev", link)
        machine.kubectl("wait", f"node/{node}", "--for=condition=Ready", "--timeout=600s")


# --- rules for logs ---

RULES: dict[str, dict[str, Any]] = {
    "hang": {
        "logPattern": r".*step=\d+ loss=(\d+(\.\d+)?) .*",
        "expectedRecurringFrequencyInSeconds": 4,
    },
    "slow": {
        "logPattern": r".*took=(\d+) .*",
        "operator": "gteq",
        "metricThreshold": 5,
        "metricEvaluationDataPoints": 3,
    },
    "fault": {"logPattern": ".*error: .*", "faultOnMatch": True},
    "start": {"logPattern": ".*never.*", "expectedStartCutOffInSeconds": 12},
}
REASONS = {"hang": "LogHang", "start": "LogHang", "slow": "LogSlow", "fault": "LogFault"}


@contextmanager
def faulted(machine: Machine, rule: str, *arguments: str) -> Iterator[str]:
    """The pod that was at fault first, of a job of which one rule is broken."""
    rules = [{"name": rule, **RULES[rule]}]
    more = ("--only-first", *arguments)
    body = job(machine, rule, *more, spares=0, logMonitoringConfiguration=rules)
    with created(machine, body) as name:
        machine.eventually(lambda: restarts_of(machine, name) == 1, _PATIENCE)
        reason = f"reason={REASONS[rule]}_{rule}"
        assert machine.get("events", "--field-selector", reason)["items"]
        places = status_of(machine, name)["latestFaultyPodInstanceList"]
        yield places["faultyPodList"][0]


def test_a_loss_that_is_no_number_hangs_after_its_seconds(machine: Machine) -> None:
    with faulted(machine, "hang", "--nan-from", "6") as pod:
        noted = judged(machine, pod)
    hanging = first(noted, "to LogState.HANGING")
    matched = last(noted[: noted.index(hanging)], r"Read line.* loss=\d")
    print(f"hanging {hanging.time - matched.time:.2f}s after the last number")
    assert "step=5 " in matched.text and hanging.time - matched.time >= 3


def test_three_slow_steps_are_slow_and_two_are_not(machine: Machine) -> None:
    with faulted(machine, "slow", "--slow-from", "6") as pod:
        noted = judged(machine, pod)
    before = noted[: noted.index(first(noted, "to LogState.SLOW"))]
    slow = [line.text for line in before if "Read line" in line.text and "took=9" in line.text]
    assert len(slow) == 3 and "step=8 " in slow[-1]


def test_a_line_that_is_a_fault_is_one_at_once(machine: Machine) -> None:
    with faulted(machine, "fault", "--error-at", "6") as pod:
        said = first(lines_of(machine, pod), "error: uncorrectable")
        known = seconds_of(agent_of(machine, pod)["transitions"]["FAULTED"])
    print(f"faulted {known - said.time:.2f}s after the line")
    assert known >= said.time


def test_a_start_without_its_line_is_cut_off(machine: Machine) -> None:
    with faulted(machine, "start", "--silent", "600") as pod:
        noted = judged(machine, pod)
    took = first(noted, "to LogState.HANGING").time - first(noted, "Log agent started").time
    print(f"cut off after {took:.2f}s")
    assert took >= 11


# --- budgets ---


def test_the_fourth_restart_is_of_all_pods_and_the_eighth_the_end(machine: Machine) -> None:
    """The example's job: three restarts of processes, one of pods, and so once again."""
    with created(machine, apart(job(machine, "budget", spares=0), _LABEL)) as name:
        waited(machine, name, "Running")
        first_pods = uids_of(machine, name)
        for restarts in range(1, 8):
            before = uids_of(machine, name)
            kill_worker(machine, "budget-pod-2")
            runs_again(machine, name, restarts)
            kept = set(before.values()) & set(uids_of(machine, name).values())
            assert len(kept) == (0 if restarts == 4 else 4), restarts
        assert not set(first_pods.values()) & set(uids_of(machine, name).values())
        kill_worker(machine, "budget-pod-2")
        failed = waited(machine, name, "Failed")
    assert failed["reason"] == "RestartLimitExceeded"
    assert "WorkerCrash of rank" in failed["message"] and "maxFullJobRestarts" in failed["message"]


# --- beside a plain Job ---


def test_a_plain_job_loses_more_steps_by_the_same_fault(machine: Machine) -> None:
    """The loss is no number from step 6 on. A Job sees nothing of that and computes to the end."""
    fault = ("--steps", "100", "--nan-from", "6", "--only-first")
    rules = [{"name": "hang", **RULES["hang"]}]
    ours = job(machine, "ours", *fault, replicas=2, spares=0, logMonitoringConfiguration=rules)
    with created(machine, ours) as name:
        waited(machine, name, "Completed")
        printed = lines_of(machine, "ours-pod-0")
    lost = sum("loss=nan" in line.text for line in printed)
    assert "loss=nan" not in last(printed, "step=").text
    body = plain(job(machine, "plain", *fault))
    machine.kubectl("create", "-f", "-", stdin=json.dumps(body))
    machine.kubectl("wait", "job/plain", "--for=condition=Complete", "--timeout=800s")
    said = machine.kubectl("logs", "job/plain")
    lost_by_job = said.count("loss=nan") // 2  # two processes write into one log
    print(f"steps lost: {lost}, by a plain Job {lost_by_job}")
    assert lost < lost_by_job == 94


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """The same container as a Job of one pod, with two processes by torchrun."""
    spec = body["spec"]["replicaSpecs"][0]["template"]["spec"]
    container = spec["containers"][0]
    torchrun = ["python3", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    container["command"] = torchrun
    container["args"] = container["args"][container["args"].index("/code/train.py") :]
    template = {"spec": {**spec, "restartPolicy": "Never"}}
    made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": body["metadata"]}
    return {**made, "spec": {"template": template}}


# --- hyp ---


def hyp() -> Path:
    return Path(os.environ.get("TIPHYS_HYP_PYTHON", sys.executable)).with_name("hyp")


def listed(words: list[str]) -> str:
    """As `hyp` takes a list."""
    return f"[{', '.join(words)}]"


@pytest.mark.skipif(not hyp().exists(), reason="needs PyPI's sagemaker-hyperpod")
def test_hyp_creates_lists_describes_and_reads_logs(machine: Machine) -> None:
    def run(verb: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(hyp()), verb, "hyp-pytorch-job", *arguments],
            env={**machine.env, "HOME": str(machine.root), "COLUMNS": "200", "PYTHONPATH": ""},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    endless = ("--steps", "100000")  # it has to be there until the last question
    template = job(machine, "hyped", *endless)["spec"]["replicaSpecs"][0]["template"]["spec"]
    container = template["containers"][0]
    folders = {
        "/code": str(trainers.EXAMPLE),
        "/site": trainers.site(),
        "/checkpoints": str(folder_of(machine, "hyped")),
    }
    volumes = [
        f"name={path.strip('/')},type=hostPath,mount_path={path},path={folder},read_only=false"
        for path, folder in folders.items()
    ]
    run(
        "create",
        *("--job-name", "hyped", "--image", container["image"], "--node-count", "2"),
        *("--command", listed(container["command"])),
        *("--args", listed(container["args"])),
        *("--tasks-per-node", "1"),
        *(word for volume in volumes for word in ("--volume", volume)),
    )
    try:
        waited(machine, "hyped", "Running")
        row = next(line for line in run("list").splitlines() if line.startswith("hyped"))
        assert row.split()[:3] == ["hyped", "default", "Running"]
        assert "Replicas: 2" in run("describe", "--job-name", "hyped")
        says(machine, "hyped-pod-1", "step=3 ")
        assert "step=3 " in run("get-logs", "--job-name", "hyped", "--pod-name", "hyped-pod-1")
    finally:
        run("delete", "--job-name", "hyped")

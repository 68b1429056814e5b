"""Commands in real containers, their logs and files, and debuggers beside them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.machine import (
    IMAGE,
    Machine,
    discard,
    gone,
    phase,
    run_pod,
    running,
)


def test_the_python_client_writes_to_a_command(machine: Machine) -> None:
    """It writes text frames, where kubectl writes binary ones."""
    from kubernetes import config, stream
    from kubernetes.client import CoreV1Api

    run_pod(machine, "listener", "exec sleep 3600")
    machine.kubectl("wait", "--for=condition=Ready", "pod/listener", "--timeout=60s")
    api = CoreV1Api(config.new_client_from_config(machine.env["KUBECONFIG"]))
    wants = {"stdin": True, "stdout": True, "stderr": True, "tty": False, "_preload_content": False}
    cat = stream.stream(
        api.connect_get_namespaced_pod_exec, "listener", "default", command=["cat"], **wants
    )
    cat.write_stdin("through\n")
    assert cat.readline_stdout(timeout=20) == "through"
    cat.close()


def test_exec_logs_cp_and_a_closed_stdin(machine: Machine, tmp_path: Path) -> None:
    run_pod(machine, "shell", "echo first; sleep 0.3; echo second >&2; exec sleep 3600")
    running(machine, "shell")
    assert machine.kubectl("exec", "shell", "--", "echo", "hi") == "hi\n"
    assert machine.kubectl("exec", "-i", "shell", "--", "cat", stdin="through\n") == "through\n"
    assert "command terminated with exit code 7" in machine.kubectl(
        "exec", "shell", "--", "sh", "-c", "exit 7", check=False
    )
    machine.eventually(lambda: machine.kubectl("logs", "shell") == "first\nsecond\n")
    assert machine.kubectl("logs", "shell", "--tail=1") == "second\n"
    payload = os.urandom(300_000)
    (tmp_path / "up").write_bytes(payload)
    machine.kubectl("cp", str(tmp_path / "up"), "shell:/tmp/file")
    machine.kubectl("cp", "shell:/tmp/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == payload
    discard(machine, "shell")


def test_logs_follow_until_the_container_ends(machine: Machine) -> None:
    run_pod(
        machine, "talker", "for i in 1 2 3; do echo line $i; sleep 0.3; done", restartPolicy="Never"
    )
    machine.eventually(lambda: phase(machine, "talker") != "Pending")
    assert machine.kubectl("logs", "-f", "talker") == "line 1\nline 2\nline 3\n"
    machine.eventually(lambda: phase(machine, "talker") == "Succeeded")
    discard(machine, "talker")


def test_run_with_a_result(machine: Machine) -> None:
    run = f"run once --image={IMAGE} --restart=Never --rm -i --quiet --command --".split()
    output = machine.kubectl(*run, "sh", "-c", "cat; echo done", stdin="in\n")
    assert "in\ndone\n" in output


def test_a_debugger_joins_a_running_pod(machine: Machine) -> None:
    run_pod(machine, "patient", "exec sleep 3600")
    running(machine, "patient")
    debug = f"debug patient --image={IMAGE} --container=doctor --target=c -- sleep 3600"
    machine.kubectl(*debug.split())

    def is_running() -> bool:
        statuses = machine.get("pod/patient")["status"].get("ephemeralContainerStatuses", [])
        return [(one["name"], *one["state"]) for one in statuses] == [("doctor", "running")]

    machine.eventually(is_running)
    processes = machine.kubectl("exec", "patient", "-c", "doctor", "--", "ps")
    assert "sleep 3600" in processes
    discard(machine, "patient")


def test_a_debugger_sees_the_processes_of_its_target(machine: Machine) -> None:
    run_pod(machine, "target", "exec sleep 54321")
    running(machine, "target")
    debug = f"debug target --image={IMAGE} --target=c --profile=general --quiet -c look --".split()
    machine.kubectl(*debug, "sh", "-c", "cat /proc/[0-9]*/cmdline")
    machine.eventually(
        lambda: "54321" in machine.kubectl("logs", "target", "-c", "look", check=False)
    )
    discard(machine, "target")


def test_the_public_python_client(machine: Machine) -> None:
    """`kubernetes` from PyPI: create, watch, exec, delete."""
    kubernetes = pytest.importorskip("kubernetes")
    from kubernetes.stream import stream

    api = kubernetes.client.CoreV1Api(
        kubernetes.config.new_client_from_config(machine.env["KUBECONFIG"])
    )
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "py"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": IMAGE, "command": ["sleep", "3600"]}],
        },
    }
    api.create_namespaced_pod("default", body)
    for event in kubernetes.watch.Watch().stream(
        api.list_namespaced_pod, "default", field_selector="metadata.name=py", timeout_seconds=40
    ):
        if event["object"].status.phase == "Running":
            break
    output = stream(
        api.connect_get_namespaced_pod_exec,
        "py",
        "default",
        command=["echo", "hello"],
        stderr=True,
        stdin=False,
        stdout=True,
        tty=False,
    )
    assert output == "hello\n"
    machine.kubectl("create", "deployment", "listed", f"--image={IMAGE}", "--replicas=0")
    apps = kubernetes.client.AppsV1Api(api.api_client)
    deployments = apps.list_namespaced_deployment("default").items
    assert "listed" in [deployment.metadata.name for deployment in deployments]
    machine.kubectl("delete", "deployment", "listed")
    api.delete_namespaced_pod("py", "default")


@pytest.mark.slow
def test_logs_are_followed_over_a_rotation(machine: Machine) -> None:
    script = (
        "head -c 11000000 /dev/zero | tr '\\0' x | fold -w 9999; echo; "
        "while true; do echo more; sleep 0.2; done"
    )
    run_pod(machine, "wordy", script)
    running(machine, "wordy")
    machine.eventually(lambda: machine.kubectl("logs", "wordy", "--tail=1") == "more\n")
    uid = machine.get("pod/wordy")["metadata"]["uid"]
    [folder] = machine.root.glob(f"data/**/default_wordy_{uid}/c")
    follower = subprocess.Popen(
        ["kubectl", "logs", "-f", "--tail=1", "wordy"],
        env=machine.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    machine.eventually(lambda: len(list(folder.iterdir())) == 2)
    assert follower.stdout is not None
    for _ in range(20):  # more than four seconds of it, beyond what was read before
        assert follower.stdout.readline() == "more\n"
    follower.terminate()
    assert "x" not in machine.kubectl("logs", "wordy"), "the log is a new one"
    gone(machine, "wordy")
    machine.eventually(lambda: not folder.exists())

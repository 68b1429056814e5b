"""A user of this machine, with the commands of Tiphys and kubectl, and the pods that tests make."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMAGE = "tiphys.local/hello:1"  # built by the example and loaded before the first test
EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
_HANGS = 900.0  # seconds: an image of torch takes minutes to build where many work


class Machine:
    """The commands of one user on this machine."""

    def __init__(self, root: Path, name: str = "e2e") -> None:
        self.root, self.name = root, name
        self.env = {**os.environ, "KUBECONFIG": str(root / "kubeconfig")}

    def tiphys(self, *args: str, check: bool = True) -> str:
        return self._run([sys.executable, "-m", "tiphys.cli.main", *args], check)

    def kubectl(self, *args: str, check: bool = True, stdin: str | None = None) -> str:
        return self._run(["kubectl", *args], check, stdin)

    def _run(self, command: list[str], check: bool, stdin: str | None = None) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.env, input=stdin, timeout=_HANGS
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + ("" if check else done.stderr)

    def get(self, what: str, *args: str) -> Any:
        return json.loads(self.kubectl("get", what, *args, "-o", "json"))

    def status(self) -> Any:
        return json.loads(self.tiphys("status", "--name", self.name, "-o", "json"))

    def eventually(self, check: Callable[[], Any], seconds: float = 40.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := check()):
            assert time.monotonic() < deadline, (
                f"still not so after {seconds} s: {self.kubectl('get', 'pods', '-A', check=False)}"
            )
            time.sleep(0.1)
        return found


def run_pod(machine: Machine, name: str, script: str, **spec: Any) -> None:
    """A pod of one container `c` that runs a shell script."""
    container = {
        "name": "c",
        "image": IMAGE,
        "command": ["sh", "-c", script],
        **spec.pop("container", {}),
    }
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": spec.pop("labels", {})},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }
    machine.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def phase(machine: Machine, name: str) -> str:
    return str(machine.get(f"pod/{name}")["status"]["phase"])


def running(machine: Machine, name: str) -> None:
    machine.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=40s")


def gone(machine: Machine, *names: str) -> None:
    machine.kubectl("delete", "pod", *names, "--timeout=40s")


def discard(machine: Machine, *names: str) -> None:
    """Deletes pods that no test asks about any more: they may end while the next one runs."""
    machine.kubectl("delete", "pod", *names, "--wait=false")


def node_process(machine: Machine) -> int:
    """The id of the node's process; 0 while there is none."""
    rows = machine.status()["components"]
    return int(next(row["pid"] or 0 for row in rows if row["name"].startswith("node")))


def restart_node(machine: Machine) -> None:
    """Kills the node's agent; returns when the next one runs pods."""
    before = node_process(machine)
    os.kill(before, signal.SIGKILL)
    machine.eventually(lambda: node_process(machine) not in (0, before))
    run_pod(machine, "after", "exec sleep 3600")
    running(machine, "after")
    gone(machine, "after")


def command_line(pid: int) -> bytes:
    """Of a process: words parted by NUL. Empty for one that is gone or only waits to be reaped."""
    return _of_process(pid, "cmdline")


def control_groups(pid: int) -> str:
    """Of a process; "" for one that is gone."""
    return _of_process(pid, "cgroup").decode()


def _of_process(pid: int, file: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes()
    except OSError:
        return b""

"""Pods that run PyPI's `hyperpod-elastic-agent` and torch, as processes."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

from tiphys.api import core_v1

EXAMPLE = Path(__file__).parents[3] / "src/tiphys/addons/training/example"


def python() -> str:
    """The interpreter that has torch and the agent: the tests' own unless one is named."""
    return os.environ.get("TIPHYS_TORCH_PYTHON", sys.executable)


@functools.cache
def missing() -> str:
    """Why the real agent cannot run here; empty: it can."""
    found = subprocess.run(
        [
            python(),
            "-c",
            "import importlib.util as u; print(*(u.find_spec(m) is not None for m in "
            "('torch', 'hyperpod_elastic_agent')))",
        ],
        capture_output=True,
        text=True,
    )
    if found.stdout.split() == ["True", "True"]:
        return ""
    return "needs PyPI's torch and hyperpod-elastic-agent (TIPHYS_TORCH_PYTHON names a python)"


class RealAgents:
    """`folder` has the checkpoints and a log for each pod; `arguments` are train.py's."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.port = 0
        self._arguments = arguments
        self.processes: dict[str, AgentProcess] = {}  # by pod's name

    async def start(self, pod: core_v1.Pod, address: str) -> AgentProcess:
        name = pod.metadata.name
        given = {one.name: one.value for one in pod.spec.containers[0].env}
        environment = {
            **os.environ,
            **given,
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("PYTHONPATH", None)
        logs = self.folder / "agent" / pod.metadata.uid
        logs.mkdir(parents=True)
        if "HPJob" not in pod.metadata.labels:
            command = self._plain(logs)
        else:
            command = self._agent(address, logs, given)
        with self.log_of(name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        self.processes[name] = AgentProcess(process)
        return self.processes[name]

    def _plain(self, logs: Path) -> list[str]:
        """What a pod of a plain Job runs: torchrun, with two processes."""
        torchrun = (python(), "-m", "torch.distributed.run", "--standalone")
        folder = ("--folder", str(logs))
        return [
            *("nice", *torchrun, "--nproc-per-node", "2"),
            *(str(EXAMPLE / "train.py"), *folder, *self._arguments),
        ]

    def _agent(self, address: str, logs: Path, given: dict[str, str]) -> list[str]:
        return [
            *("nice", python(), str(EXAMPLE / "hyperpodrun.py")),
            *("--server-host", address, "--server-port", str(self.port)),
            *("--server-log-level", "warning", "--monitor-interval", "0.2"),
            *("--tee", "3", "--log-dir", str(logs)),
            *("--rdzv-conf", f"resource_config_dir={logs}"),  # else one for all on this machine
            *("--nnodes", given["NNODES"], "--nproc-per-node", given["NPROC_PER_NODE"]),
            *(str(EXAMPLE / "train.py"), "--folder", str(self.folder), *self._arguments),
        ]

    def log_of(self, pod: str) -> Path:
        return self.folder / f"{pod}.log"

    def lines(self, pod: str, pattern: str = "step=") -> list[str]:
        """What its workers said."""
        path = self.log_of(pod)
        text = path.read_text(errors="replace") if path.exists() else ""
        return [line for line in text.splitlines() if pattern in line]

    def last_step(self, pod: str) -> int:
        said = self.lines(pod)
        return int(said[-1].partition("step=")[2].split()[0]) if said else -1


class AgentProcess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def wait(self) -> int:
        return await self._process.wait()

    async def kill(self) -> None:
        if self._process.returncode is None:
            for pid in self.workers():
                _kill(pid)
            _kill(self._process.pid)
            await self._process.wait()

    def workers(self) -> list[int]:
        """The processes that train."""
        found = subprocess.run(
            ["pgrep", "--parent", str(self._process.pid), "--full", "train.py"],
            capture_output=True,
            text=True,
        )
        return [int(line) for line in found.stdout.split()]

    def kill_worker(self) -> None:
        workers = self.workers()
        assert workers
        for pid in workers:
            _kill(pid)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

"""A real cluster of real containers, on two nodes, brought up with the `tiphys` command as a user would, once for all tests
here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tiphys.cluster import containerd
from tiphys.testing.cluster import free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"


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
            command, capture_output=True, text=True, env=self.env, input=stdin, timeout=180
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


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if os.geteuid() != 0 or containerd.missing() or shutil.which("kubectl") is None:
        pytest.skip("needs root, containerd and kubectl")
    sys.path.insert(0, str(EXAMPLE))
    from image import build  # type: ignore[import-not-found]

    root = tmp_path_factory.mktemp("e2e")
    made = Machine(root, f"e2e-{os.getpid()}")  # other runs may go on beside this one
    made.tiphys(
        "up",
        "--name",
        made.name,
        "--data-dir",
        str(root / "data"),
        "--port",
        str(free_port()),
        "--runtime",
        "containerd",
        "--nodes",
        "2",
        "--wait",
    )
    try:
        made.tiphys("image", "load", "--name", made.name, str(build(root / "hello.tar")))
        yield made
    finally:
        made.tiphys("down", "--name", made.name, "--purge", check=False)

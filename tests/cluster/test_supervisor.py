"""The supervisor: what its plan says runs, and what it says no more ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiphys.testing.cluster import free_port

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]


class Supervised:
    """A supervisor process and its files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "logs").mkdir()

    def plan(self, *names: str) -> None:
        rows = [{"name": name, "command": SLEEPER} for name in names]
        (self.root / "components.json").write_text(json.dumps({"components": rows}))

    def start(self) -> None:
        plan = self.root / "components.json"
        self.process = subprocess.Popen([sys.executable, "-m", "tiphys.cluster.supervisor", plan])

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def running(self) -> dict[str, int]:
        """Process IDs by component, as the status file has them."""
        try:
            rows: list[dict[str, Any]] = json.loads((self.root / "status.json").read_text())[
                "components"
            ]
        except OSError:
            return {}
        return {row["name"]: row["pid"] for row in rows if row["pid"]}

    def until(self, *names: str) -> dict[str, int]:
        deadline = time.monotonic() + 20
        while set(self.running()) != set(names):
            assert time.monotonic() < deadline, self.running()
            time.sleep(0.01)
        return self.running()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    made = Supervised(tmp_path)
    yield made
    made.process.terminate()
    made.process.wait()


def test_a_new_plan_starts_and_ends_what_changed(supervised: Supervised) -> None:
    supervised.plan("one", "two")
    supervised.start()
    before = supervised.until("one", "two")
    supervised.plan("two", "three")
    supervised.reload()
    after = supervised.until("two", "three")
    assert after["two"] == before["two"]
    with pytest.raises(ProcessLookupError):
        os.kill(before["one"], 0)


def test_a_damaged_plan_changes_nothing(supervised: Supervised) -> None:
    supervised.plan("one")
    supervised.start()
    before = supervised.until("one")
    (supervised.root / "components.json").write_text("{")
    supervised.reload()
    supervised.plan("one", "two")
    supervised.reload()
    assert supervised.until("one", "two")["one"] == before["one"]


ACCEPTER = """
import os, socket
held = socket.socket(fileno=int(os.environ["TIPHYS_LISTENING"]))
connection, _ = held.accept()
connection.send(str(os.getpid()).encode())
"""


def test_connections_wait_for_the_next_process_while_one_is_replaced(
    supervised: Supervised,
) -> None:
    """Each takes one connection and exits: the second client waits for the second process."""
    port = free_port()
    row = {"name": "a", "command": [sys.executable, "-c", ACCEPTER], "listen": f"127.0.0.1:{port}"}
    plan = {"components": [row | {"of a later release": 1}]}
    (supervised.root / "components.json").write_text(json.dumps(plan))
    supervised.start()
    first = supervised.until("a")["a"]
    answers = set()
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            answers.add(int(connection.recv(100)))
    assert first in answers and len(answers) == 2
    supervised.process.terminate()
    supervised.process.wait(30)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=30)

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


# --- who asks for machines ---


def ask(door: Path, line: bytes) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(door))
        connection.sendall(line)
        return connection.makefile().readline()


def test_machines_are_asked_for_at_a_socket_of_this_user(supervised: Supervised) -> None:
    door = supervised.root / "door"
    plan = {"components": [{"name": "one", "command": SLEEPER}], "machines": str(door)}
    (supervised.root / "components.json").write_text(json.dumps(plan))
    supervised.start()
    supervised.until("one")
    assert door.stat().st_mode & 0o777 == 0o600
    assert "cannot be read" in ask(door, b"{\n")
    wanted = b'{"verb": "make", "machine": {"name": "n"}}\n'
    assert "there is no cluster" in ask(door, wanted)


# --- one process after another ---

SAYS_READY = "import os, signal; os.write(int(os.environ['TIPHYS_READY']), b'.'); signal.pause()"


def replace(supervised: Supervised, script: str) -> None:
    """Asks for another process beside `a`, which runs a script."""
    row = {"name": "a", "command": [sys.executable, "-c", script]}
    plan = {"components": [row], "replaces": ["a"]}
    (supervised.root / "components.json").write_text(json.dumps(plan))
    supervised.reload()


def refused(supervised: Supervised) -> int:
    rows = json.loads((supervised.root / "status.json").read_text())["components"]
    return int(rows[0]["refused"])


def test_a_process_that_is_ready_follows_the_one_that_ran(supervised: Supervised) -> None:
    supervised.plan("a")
    supervised.start()
    before = supervised.until("a")["a"]
    replace(supervised, SAYS_READY)
    deadline = time.monotonic() + 20
    while supervised.until("a")["a"] == before or os.path.exists(f"/proc/{before}"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert refused(supervised) == 0


def test_a_process_that_ends_before_it_is_ready_follows_nobody(supervised: Supervised) -> None:
    supervised.plan("a")
    supervised.start()
    before = supervised.until("a")
    replace(supervised, "raise SystemExit(1)")
    deadline = time.monotonic() + 20
    while not refused(supervised):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert supervised.until("a") == before

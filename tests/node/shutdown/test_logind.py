"""What systemd's programs say of a shutdown. The bus is a real one where there is a dbus-daemon;
logind itself is not to be had in a test."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiphys.client.tasks import TaskGroup
from tiphys.node.shutdown.logind import Logind, LogindError, announcement

# As `busctl monitor --json=short` of systemd 252 prints it.
LINE = (
    b'{"type":"signal","endian":"l","flags":1,"version":1,"cookie":2,"sender":":1.1",'
    b'"path":"/org/freedesktop/login1","interface":"org.freedesktop.login1.Manager",'
    b'"member":"PrepareForShutdown","payload":{"type":"b","data":[true]}}\n'
)
ANYBODY = "type='signal',member='PrepareForShutdown'"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (LINE, True),
        (LINE.replace(b"[true]", b"[false]"), False),
        (LINE.replace(b"PrepareForShutdown", b"PrepareForSleep"), None),
        (LINE.replace(b"[true]", b"[1]"), None),
        (LINE.replace(b"[true]", b"[]"), None),
        (b"{", None),
        (b"[]", None),
    ],
)
def test_a_line_announces_a_shutdown_or_takes_it_back(line: bytes, expected: bool | None) -> None:
    assert announcement(line) is expected


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[str]:
    """The address of a bus of its own."""
    if shutil.which("dbus-daemon") is None or shutil.which("busctl") is None:
        pytest.skip("needs dbus-daemon and busctl")
    address = f"unix:path={tmp_path}/bus"
    command = ["dbus-daemon", "--session", "--nofork", f"--address={address}", "--print-address"]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    daemon.stdout.readline()
    yield address
    daemon.kill()
    daemon.wait()


async def test_a_signal_on_the_bus_is_heard(bus: str) -> None:
    heard: list[bool] = []
    said = asyncio.Event()

    async def listen() -> None:
        async for is_going in Logind((f"--address={bus}",), match=ANYBODY).announcements():
            heard.append(is_going)
            said.set()

    tasks = TaskGroup("test")
    tasks.start(listen(), "listen")
    member = "org.freedesktop.login1.Manager.PrepareForShutdown"
    send = ["dbus-send", f"--bus={bus}", "--type=signal", "/org/freedesktop/login1", member]
    async with asyncio.timeout(20):
        while not said.is_set():  # until the monitor listens
            await asyncio.to_thread(subprocess.run, [*send, "boolean:true"], check=True)
            await asyncio.wait({asyncio.ensure_future(said.wait())}, timeout=0.1)
    await tasks.stop()
    assert heard[0] is True


async def test_a_bus_without_logind_says_so(bus: str) -> None:
    with pytest.raises(LogindError, match="login1"):
        await Logind((f"--address={bus}",)).delay()


async def test_a_machine_without_a_bus_has_no_logind(tmp_path: Path) -> None:
    with pytest.raises(LogindError):
        await Logind((f"--address=unix:path={tmp_path}/none",)).delay()


async def test_a_machine_without_systemd_has_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LogindError, match="there is no systemd-inhibit"):
        await Logind().hold()

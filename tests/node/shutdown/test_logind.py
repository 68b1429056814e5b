"""What systemd's programs say of a shutdown. The bus is a real one where there is a dbus-daemon;
logind itself is not to be had in a test."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiphys.client.tasks import TaskGroup
from tiphys.node.shutdown import logind as module
from tiphys.node.shutdown.logind import Logind, LogindError, LogindWatch, announcement

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
    with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        yield address
        daemon.kill()


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


# --- programs that answer as a test says ---

BUSCTL = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$*" in
*monitor*) cat {folder}/signals; exec sleep 9;;
*KillUnit*) cp {folder}/after {folder}/delay; exit 0;;
esac
[ -f {folder}/broken ] && echo "no such name" >&2 && exit 1
cat {folder}/delay
"""
INHIBIT = "#!/bin/sh\necho lock >> {folder}/asked\ncat > /dev/null\necho unlock >> {folder}/asked\n"


class Programs:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in (("busctl", BUSCTL), ("systemd-inhibit", INHIBIT)):
            program = folder / name
            program.write_text(text.format(folder=folder))
            program.chmod(0o755)
        self.says("delay", "t 5000000\n")
        self.says("after", "t 30000000\n")
        self.says("signals", "")

    def says(self, what: str, text: str) -> None:
        (self.folder / what).write_text(text)

    def asked(self) -> list[str]:
        file = self.folder / "asked"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Programs(tmp_path)


@pytest.fixture
def logind(programs: Programs) -> Logind:
    return Logind(drop_in=programs.folder / "conf" / "kubelet.conf")


@pytest.mark.parametrize(
    ("text", "seconds"), [("t 5000000\n", 5.0), ("t 0\n", 0.0), ("t 1500000", 1.5)]
)
async def test_how_long_a_lock_delays(
    programs: Programs, logind: Logind, text: str, seconds: float
) -> None:
    programs.says("delay", text)
    assert await logind.delay() == seconds
    assert programs.asked()[0].startswith("--system get-property org.freedesktop.login1 ")
    assert programs.asked()[0].endswith("InhibitDelayMaxUSec")


@pytest.mark.parametrize("text", ["", "s 5", "t x", "t -1"])
async def test_an_answer_of_another_kind_is_none(
    programs: Programs, logind: Logind, text: str
) -> None:
    programs.says("delay", text)
    with pytest.raises(LogindError, match="InhibitDelayMaxUSec is"):
        await logind.delay()


async def test_a_call_that_fails_says_why(programs: Programs, logind: Logind) -> None:
    programs.says("broken", "")
    with pytest.raises(LogindError, match=r"^no such name$"):
        await logind.delay()


async def test_without_its_programs_there_is_no_logind(
    logind: Logind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(LogindError, match="there is no busctl"):
        await logind.delay()
    with pytest.raises(LogindError, match="there is no systemd-inhibit"):
        await logind.hold()


async def test_a_delay_that_is_long_enough_stays(programs: Programs, logind: Logind) -> None:
    await logind.ensure_delay(5)
    assert not (programs.folder / "conf").exists() and len(programs.asked()) == 1


async def test_a_delay_is_made_longer(programs: Programs, logind: Logind) -> None:
    await logind.ensure_delay(30)
    text = (programs.folder / "conf" / "kubelet.conf").read_text()
    assert text == "# Of the node's agent.\n[Login]\nInhibitDelayMaxSec=30\n"
    assert programs.asked()[1] == (
        "--system call org.freedesktop.systemd1 /org/freedesktop/systemd1 "
        "org.freedesktop.systemd1.Manager KillUnit ssi systemd-logind.service all 1"
    )


async def test_a_delay_that_does_not_become_longer_is_told(
    programs: Programs, logind: Logind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSES", (0, 0))
    with pytest.raises(LogindError, match="InhibitDelayMaxSec does not become 31"):
        await logind.ensure_delay(31)


async def test_a_lock_is_held_until_it_is_let_go(programs: Programs, logind: Logind) -> None:
    await logind.release()
    await logind.hold()
    await logind.hold()
    await logind.release()
    await logind.release()
    assert sorted(programs.asked()) == ["lock", "lock", "unlock", "unlock"]


class Shutdown:
    periods: list[Any] = []

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.called = asyncio.Event()

    async def begin(self) -> None:
        self.calls.append("begin")
        self.called.set()

    def cancel(self) -> None:
        self.calls.append("cancel")
        self.called.set()


@pytest.mark.parametrize(("said", "does"), [("[true]", "begin"), ("[false]", "cancel")])
async def test_a_shutdown_begins_and_is_taken_back_as_logind_says(
    programs: Programs, logind: Logind, said: str, does: str
) -> None:
    programs.says("signals", LINE.decode().replace("[true]", said))
    shutdown, tasks = Shutdown(), TaskGroup("test")
    watch = LogindWatch(logind, shutdown)  # type: ignore[arg-type]
    tasks.start(watch.run(), "watch")
    async with asyncio.timeout(10):
        await shutdown.called.wait()
    assert shutdown.calls == [does] and watch.is_active
    await tasks.stop()


async def test_where_there_is_no_logind_nothing_is_watched(
    programs: Programs, logind: Logind
) -> None:
    programs.says("broken", "")
    told: list[str] = []
    watch = LogindWatch(logind, Shutdown())  # type: ignore[arg-type]
    await watch.run(told.append)
    assert not watch.is_active and "There is no logind (no such name)" in told[0]

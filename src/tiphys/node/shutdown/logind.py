"""Is notified by systemd-logind that the machine is about to shut down, and holds it back until
pods have ended: an inhibitor lock of the mode delay, as upstream's kubelet takes it
(https://systemd.io/INHIBITOR_LOCKS).

systemd's own programs speak to it, which are there wherever it is: `busctl` reads how long a lock
holds and follows the signal `PrepareForShutdown`, `systemd-inhibit` holds the lock while its
process runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tiphys.client.tasks import TaskGroup
from tiphys.node.shutdown.nodeshutdown import NodeShutdown
from tiphys.node.shutdown.periods import total

log = logging.getLogger(__name__)

DROP_IN = Path("/etc/systemd/logind.conf.d/99-kubelet.conf")
_MANAGER = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
_SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
_SIGNAL = (
    "type='signal',sender='org.freedesktop.login1',interface='org.freedesktop.login1.Manager',"
    "member='PrepareForShutdown',path='/org/freedesktop/login1'"
)
_HANGUP = "1"  # has logind read its configuration again
_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)  # seconds between looks whether it has, as upstream
_AGAIN = 1.0  # seconds after the bus went away, as upstream
_PATIENCE = 10.0  # seconds that a program has to answer


class LogindError(Exception):
    """There is no logind, or it does not do what it is asked."""


class Logind:
    """`bus` are busctl's options for the bus: ``--system`` but for tests."""

    def __init__(
        self, bus: tuple[str, ...] = ("--system",), drop_in: Path = DROP_IN, match: str = _SIGNAL
    ) -> None:
        self._bus = bus
        self._drop_in = drop_in
        self._match = match
        self._lock: asyncio.subprocess.Process | None = None

    async def delay(self) -> float:
        """Seconds that a lock delays a shutdown at most. Raises LogindError."""
        answer = await self._call("get-property", *_MANAGER, "InhibitDelayMaxUSec")
        kind, _, amount = answer.strip().partition(" ")
        if kind != "t" or not amount.isdigit():
            raise LogindError(f"InhibitDelayMaxUSec is {answer.strip()!r}")
        return int(amount) / 1_000_000

    async def ensure_delay(self, seconds: int) -> None:
        """Has locks delay that long. Raises LogindError, OSError."""
        if await self.delay() >= seconds:
            return
        self._drop_in.parent.mkdir(parents=True, exist_ok=True)
        self._drop_in.write_text(f"# Of the node's agent.\n[Login]\nInhibitDelayMaxSec={seconds}\n")
        kill = (f"{_SYSTEMD[0]}.Manager", "KillUnit", "ssi", "systemd-logind.service")
        await self._call("call", *_SYSTEMD, *kill, "all", _HANGUP)
        for pause in _PAUSES:
            if await self.delay() >= seconds:
                return
            await asyncio.sleep(pause)
        raise LogindError(f"InhibitDelayMaxSec does not become {seconds}")

    async def _call(self, *words: str) -> str:
        try:
            calling = await asyncio.create_subprocess_exec(
                "busctl",
                *self._bus,
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError:
            raise LogindError("there is no busctl") from None
        try:
            async with asyncio.timeout(_PATIENCE):
                output, problem = await calling.communicate()
        except TimeoutError:
            raise LogindError("it does not answer") from None
        finally:
            await _end(calling)
        if calling.returncode:
            raise LogindError(problem.decode(errors="replace").strip())
        return output.decode(errors="replace")

    # --- the lock ---

    async def hold(self) -> None:
        """Takes the lock. It is released when this process ends, too. Raises LogindError."""
        await self.release()
        try:
            self._lock = await asyncio.create_subprocess_exec(
                "systemd-inhibit",
                "--what=shutdown",
                "--who=kubelet",
                "--why=Kubelet needs time to handle node shutdown",
                "--mode=delay",
                "cat",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise LogindError("there is no systemd-inhibit") from None

    async def release(self) -> None:
        lock = self._lock
        self._lock = None
        if lock is not None and lock.stdin is not None:
            lock.stdin.close()  # `cat` ends, and `systemd-inhibit` with it
            await lock.wait()

    # --- the signal ---

    async def announcements(self) -> AsyncIterator[bool]:
        """Each time that the machine is about to shut down (True), or stays on after all (False).
        Ends when the bus goes away."""
        watching = await asyncio.create_subprocess_exec(
            "busctl",
            *self._bus,
            "monitor",
            f"--match={self._match}",
            "--json=short",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert watching.stdout is not None
            async for line in watching.stdout:
                announced = announcement(line)
                if announced is not None:
                    yield announced
        finally:
            await _end(watching)


def announcement(line: bytes) -> bool | None:
    """What a line of `busctl monitor` says; None if it is of something else."""
    try:
        message = json.loads(line)
        if message["member"] != "PrepareForShutdown":
            return None
        [value] = message["payload"]["data"]
    except (ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, bool) else None


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class LogindWatch:
    """Shuts a node down gracefully when logind says so. `is_active`: it does."""

    def __init__(self, logind: Logind, shutdown: NodeShutdown) -> None:
        self._logind = logind
        self._shutdown = shutdown
        self._tasks = TaskGroup("shutdown")
        self.is_active = False

    async def run(self, report: Callable[[str], None] = log.info) -> None:
        """Until cancelled; at once where there is no logind. `report` takes what is logged."""
        try:
            await self._logind.delay()
        except LogindError as error:
            report(f"There is no logind ({error}): the node shuts down gracefully on SIGTERM")
            return
        self.is_active = True
        try:
            while True:
                try:
                    await self._watch()
                except (LogindError, OSError) as error:
                    log.warning("Shutdowns of this machine cannot be watched: %s", error)
                await asyncio.sleep(_AGAIN)
        finally:
            await self._tasks.stop()
            await self._logind.release()

    async def _watch(self) -> None:
        await self._logind.ensure_delay(total(self._shutdown.periods))
        await self._logind.hold()
        async for is_going in self._logind.announcements():
            if is_going:
                self._tasks.start(self._go(), "pods")
            else:
                await self._tasks.stop()
                self._shutdown.cancel()
                await self._logind.hold()

    async def _go(self) -> None:
        await self._shutdown.begin()
        await self._logind.release()

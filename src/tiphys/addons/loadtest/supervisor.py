"""Local services: processes of the machine that the add-on runs on, so many of a version.

A stand-in for a second platform beside Kubernetes (the published conductor had Amazon's ECS). What
a service is stands in a file of the machine's administrator; who may change the ConfigMap decides
how many of which version, and nothing that could be a command.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

import msgspec

from tiphys.api.base import Struct
from tiphys.client.tasks import TaskGroup

log = logging.getLogger(__name__)

_PAUSE = 1.0  # seconds before one that ended is started again
_GRACE = 5.0  # seconds that one may take to end


class Service(Struct):
    """What a local service is: the commands by version. Each process has its number in INSTANCE."""

    versions: dict[str, list[str]]
    environment: dict[str, str] = {}


class Wanted(Struct):
    """How many of which version."""

    replicas: int
    version: str


def service_of(folder: str, name: str) -> Service | None:
    """The declaration of a service; none for a name that there is not."""
    if not folder or "/" in name or name.startswith("."):
        return None
    try:
        return msgspec.json.decode((Path(folder) / f"{name}.json").read_bytes(), type=Service)
    except (OSError, msgspec.DecodeError):
        return None


def wanted_of(text: str) -> Wanted | None:
    try:
        return msgspec.json.decode(text, type=Wanted)
    except msgspec.DecodeError:
        return None


def ends_with_us() -> list[str]:
    """What makes the kernel end a process when this one is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


class Supervisor:
    """Keeps as many processes as is wanted."""

    def __init__(self, folder: str, tasks: TaskGroup) -> None:
        self._folder = folder
        self._tasks = tasks
        self._wanted: dict[str, Wanted] = {}
        self._running: dict[tuple[str, int], tuple[str, asyncio.Task[None]]] = {}
        self._alive: set[tuple[str, int, str]] = set()

    def follow(self, data: dict[str, str]) -> None:
        """Makes what runs match the ConfigMap's data."""
        wanted = {name: wanted_of(text) for name, text in data.items()}
        self._wanted = {name: one for name, one in wanted.items() if one is not None}
        places = {
            (name, place): one.version
            for name, one in self._wanted.items()
            for place in range(one.replicas)
            if service_of(self._folder, name) is not None
        }
        for key, (version, task) in list(self._running.items()):
            if places.get(key) != version:
                del self._running[key]
                task.cancel()
        for key, version in places.items():
            if key not in self._running:
                task = self._tasks.start(self._keep(*key, version), f"{key[0]}-{key[1]}")
                self._running[key] = (version, task)

    def missing(self, name: str) -> str:
        """What a service lacks; nothing: it is as it should be."""
        wanted = self._wanted.get(name)
        if wanted is None:
            return ""
        alive = [one for one in self._alive if one[0] == name]
        right = [one for one in alive if one[2] == wanted.version]
        if len(right) < wanted.replicas:
            return f"{name} has {len(right)} of {wanted.replicas} processes"
        return f"{name} has processes too many" if len(alive) > wanted.replicas else ""

    async def _keep(self, name: str, place: int, version: str) -> None:
        while True:
            service = service_of(self._folder, name)
            command = service.versions.get(version) if service is not None else None
            if service is None or not command:
                log.warning("the local service %s has no version %s", name, version)
                await asyncio.sleep(_PAUSE)
                continue
            await self._once(name, place, version, service)
            await asyncio.sleep(_PAUSE)

    async def _once(self, name: str, place: int, version: str, service: Service) -> None:
        env = {"PATH": os.environ.get("PATH", ""), **service.environment}
        null = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *ends_with_us(),
            *service.versions[version],
            stdin=null,
            stdout=null,
            stderr=null,
            env={**env, "INSTANCE": str(place), "VERSION": version},
            cwd=self._folder,
        )
        key = (name, place, version)
        self._alive.add(key)
        try:
            code = await process.wait()
            log.warning("%s number %s ended with %s; it is started again", name, place, code)
        finally:
            await end(process)
            self._alive.discard(key)


async def end(process: asyncio.subprocess.Process, grace: float = _GRACE) -> None:
    """Asks it to end, and ends it after `grace` seconds."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), grace)
    except TimeoutError:
        process.kill()
        await process.wait()

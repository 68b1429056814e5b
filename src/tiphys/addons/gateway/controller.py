"""The add-on at work: watches everything that it compiles, feeds Envoy, and says how it all is."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from tiphys.addons.gateway.programming import Programmer
from tiphys.addons.gateway.watching import Watcher
from tiphys.addons.gateway.writing import Writer
from tiphys.addons.installing import AddonError
from tiphys.addons.optional import Context
from tiphys.network.xds.cache import Cache
from tiphys.network.xds.envoy import Envoy, NoEnvoy, program
from tiphys.network.xds.publishing import Publisher
from tiphys.network.xds.server import XdsServer

_PAUSE = 0.02  # seconds in which changes are gathered
_STARTING = 30.0  # seconds that Envoy may take until it serves


async def run(context: Context) -> None:
    """Until it is cancelled. Raises AddonError when there is no Envoy."""
    try:
        path = program(context.settings.envoy)
    except NoEnvoy as error:
        raise AddonError(str(error)) from None
    sockets = Path(tempfile.mkdtemp(prefix="tiphys-gateway-"))  # short, as names of sockets must be
    try:
        await _run(context, path, sockets)
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


async def _run(context: Context, path: str, sockets: Path) -> None:
    cache = Cache()
    server = XdsServer(cache)
    watcher = Watcher(context.informers)
    publisher = Publisher(cache, server, watcher.assignment)
    writer = Writer(
        context.client,
        context.recorder,
        context.informers,
        context.settings.published,
        context.now,
    )
    programmer = Programmer(watcher, publisher, writer, context.settings)
    envoy = Envoy(path, sockets, context.data_dir / "envoy.log")
    watcher.start(publisher.refresh)
    await context.informers.synced()
    await server.start(f"unix:{sockets / 'xds'}")
    try:
        await programmer.program()  # Envoy starts with all there is
        context.tasks.start(envoy.run(), "envoy", vital=True)
        async with asyncio.timeout(_STARTING):
            await envoy.ready()
        await _follow(context, programmer, watcher)
    finally:
        await server.stop()


async def _follow(context: Context, programmer: Programmer, watcher: Watcher) -> None:
    reported = ""
    while True:
        message = await programmer.step()
        if message != reported:
            context.ready(message)
            reported = message
        await watcher.changed.wait()
        await asyncio.sleep(_PAUSE + programmer.took)  # half of the time at most

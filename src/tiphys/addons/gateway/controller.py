"""The add-on at work: watches everything that it compiles, feeds Envoy, and says how it all is."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from pathlib import Path

from tiphys.addons.gateway.compiling import Outcome, compile_world
from tiphys.addons.gateway.envoy import ResourceMaker, Resources
from tiphys.addons.gateway.gateways import refuse
from tiphys.addons.gateway.snapshot import Objects
from tiphys.addons.gateway.watching import Watcher
from tiphys.addons.gateway.writing import Writer
from tiphys.addons.installing import AddonError
from tiphys.addons.optional import Context
from tiphys.network.xds.cache import LISTENER, Cache
from tiphys.network.xds.envoy import Envoy, NoEnvoy, program
from tiphys.network.xds.publishing import Publisher, Refused
from tiphys.network.xds.server import XdsServer

log = logging.getLogger(__name__)

_PAUSE = 0.02  # seconds in which changes are gathered
_RETRIED = 5.0  # seconds after which a listener that Envoy refused is tried again
_STARTING = 30.0  # seconds that Envoy may take until it serves


async def run(context: Context) -> None:
    """Until it is cancelled. Raises AddonError when there is no Envoy."""
    try:
        path = program(context.settings.envoy)
    except NoEnvoy as error:
        raise AddonError(str(error)) from None
    sockets = Path(tempfile.mkdtemp(prefix="tiphys-gateway-"))  # short, as names of sockets must be
    try:
        await _Gateway(context, path, sockets).run()
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


class _Gateway:
    def __init__(self, context: Context, path: str, sockets: Path) -> None:
        self._context = context
        self._sockets = sockets
        self._cache = Cache()
        self._server = XdsServer(self._cache)
        self._watcher = Watcher(context.informers)
        self._publisher = Publisher(self._cache, self._server, self._watcher.assignment)
        self._writer = Writer(
            context.client,
            context.recorder,
            context.informers,
            context.settings.published,
            context.now,
        )
        self._envoy = Envoy(path, sockets, context.data_dir / "envoy.log")
        self._maker = ResourceMaker()
        self._published: Resources | None = None  # the last ones, if none was refused
        self._reported: set[str] = set()
        self._took = 0.0  # seconds for the last compilation

    async def run(self) -> None:
        self._watcher.start(self._publisher.refresh)
        await self._context.informers.synced()
        await self._server.start(f"unix:{self._sockets / 'xds'}")
        try:
            await self._program()  # Envoy starts with all there is
            self._context.tasks.start(self._envoy.run(), "envoy", vital=True)
            async with asyncio.timeout(_STARTING):
                await self._envoy.ready()
            await self._follow()
        finally:
            await self._server.stop()

    async def _follow(self) -> None:
        reported = ""
        while True:
            message = await self._step()
            if message != reported:
                self._context.ready(message)
                reported = message
            await self._watcher.changed.wait()
            await asyncio.sleep(_PAUSE + self._took)  # half of the time at most

    async def _step(self) -> str:
        """From the objects of now to Envoy, and to statuses. Returns what `tiphys addon status`
        should say.

        An unexpected object ends nothing: Envoy continues with what it has.
        """
        try:
            outcome, refused = await self._program()
            refuse(outcome.gateways, refused)
            await self._writer.write(outcome)
        except Exception as error:
            log.exception("the last change could not be taken over")
            return f"Envoy serves what it had, for the last change failed: {error!r}"
        if refused:  # ports in use: they may become free
            asyncio.get_running_loop().call_later(_RETRIED, self._watcher.changed.set)
        return _message(outcome)

    async def _program(self) -> tuple[Outcome, dict[str, str]]:
        """Compiles and publishes. Returns also what Envoy has against listeners, by their names."""
        self._watcher.changed.clear()
        objects = self._watcher.objects()
        started = time.monotonic()
        # In a thread: a large world takes a while, and others share this loop.
        outcome, resources = await asyncio.to_thread(self._compile, objects)
        self._took = time.monotonic() - started
        if resources is self._published:  # most changes of Services and Secrets are none to Envoy
            refused = await self._publisher.unchanged(resources)
        else:
            self._published = None
            refused = await self._publisher.publish(resources)
        self._log(refused)
        # What was refused is sent again the next time.
        self._published = None if refused else resources
        return outcome, refused.get(LISTENER, {})

    def _compile(self, objects: Objects) -> tuple[Outcome, Resources]:
        """Runs in a thread, one at a time."""
        outcome = compile_world(objects, self._context.settings)
        return outcome, self._maker.resources_of(outcome.world)

    def _log(self, refused: Refused) -> None:
        """Each refusal once, however often it is tried again."""
        now = {
            f"{type_url.rpartition('.')[2]} {name}: {reason}"
            for type_url, names in refused.items()
            for name, reason in names.items()
        }
        for text in sorted(now - self._reported):
            log.error("Envoy refused %s", text)
        self._reported = now


def _message(outcome: Outcome) -> str:
    ports = ", ".join(sorted(port.name for port in outcome.world.ports)) or "no port yet"
    return f"Envoy serves {ports}"

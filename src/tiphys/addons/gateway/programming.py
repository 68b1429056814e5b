"""From the objects of a moment to Envoy, and to statuses: one step after the other."""

from __future__ import annotations

import asyncio
import logging
import time

from tiphys.addons.gateway import Settings
from tiphys.addons.gateway.compiling import Outcome, compile_world
from tiphys.addons.gateway.envoy import ResourceMaker, Resources
from tiphys.addons.gateway.gateways import refuse
from tiphys.addons.gateway.snapshot import Objects
from tiphys.addons.gateway.watching import Watcher
from tiphys.addons.gateway.writing import Writer
from tiphys.network.xds.cache import LISTENER
from tiphys.network.xds.publishing import Publisher, Refused

log = logging.getLogger(__name__)

_RETRIED = 5.0  # seconds after which a listener that Envoy refused is retried


class Programmer:
    """`took` is for how many seconds the last compilation worked."""

    def __init__(
        self, watcher: Watcher, publisher: Publisher, writer: Writer, settings: Settings
    ) -> None:
        self._watcher = watcher
        self._publisher = publisher
        self._writer = writer
        self._settings = settings
        self._maker = ResourceMaker()
        self._published: Resources | None = None  # the last ones, if none was refused
        self._reported: set[str] = set()
        self.took = 0.0

    async def step(self) -> str:
        """Applies changes to Envoy and to statuses. Returns what `tiphys addon status`
        reports.

        An unexpected object ends nothing: Envoy continues with what it has.
        """
        try:
            outcome, refused = await self.program()
            refuse(outcome.gateways, refused)
            await self._writer.write(outcome)
        except Exception as error:
            log.exception("The last change could not be applied")
            return f"Envoy serves what it had, for the last change failed: {error!r}"
        if refused:  # ports in use: they may become free
            asyncio.get_running_loop().call_later(_RETRIED, self._watcher.changed.set)
        return _message(outcome)

    async def program(self) -> tuple[Outcome, dict[str, str]]:
        """Compiles and publishes. Returns also what Envoy has against listeners, by their names."""
        self._watcher.changed.clear()
        objects = self._watcher.objects()
        started = time.monotonic()
        # In a thread: a large world takes a while, and others share this loop.
        outcome, resources = await asyncio.to_thread(self._compile, objects)
        self.took = time.monotonic() - started
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
        outcome = compile_world(objects, self._settings)
        return outcome, self._maker.resources_of(outcome.world)

    def _log(self, refused: Refused) -> None:
        """Each refusal once, however often it is retried."""
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

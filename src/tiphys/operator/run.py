"""An operator as a program: it applies its definitions and reconciles while it leads."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.client.client import Client
from tiphys.client.component import lead_and_run
from tiphys.client.config import load
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.client.tasks import TaskGroup
from tiphys.controllers.shell import Context
from tiphys.machinery import conditions
from tiphys.operator.reconcile import Reconciler, Shell

log = logging.getLogger(__name__)
_ESTABLISHED = 30.0  # seconds that a new definition may take to be served


class Operator:
    """Reconcilers under one name, which is their field manager, the source of their events and
    their lease."""

    def __init__(
        self,
        name: str,
        *reconcilers: type[Reconciler],  # type: ignore[type-arg]
        definitions: tuple[CustomResourceDefinition, ...] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._reconcilers = reconcilers
        self._definitions = definitions
        self._now = now
        self.shells: list[Shell] = []

    async def start(self, client: Client, tasks: TaskGroup) -> Informers:
        """Applies the definitions and starts every reconciler in `tasks`. Returns their informers.

        Raises TimeoutError when a definition is not served within half a minute.
        """
        await install(client, self._definitions, self.name)
        informers = Informers(client, tasks)
        recorder = EventRecorder(client, self.name)
        tasks.start(recorder.run(), "events")
        context = Context(client, informers, recorder, tasks, now=self._now)
        self.shells = [Shell(context, reconciler, self.name) for reconciler in self._reconcilers]
        for shell in self.shells:
            shell.watch()
        for shell in self.shells:
            tasks.start(shell.run(), shell.name, vital=True)
        return informers

    def run(self, kubeconfig: str | None = None, elect: bool = False) -> None:
        """Runs until SIGTERM or Ctrl-C, against the cluster of the kubeconfig or the one this pod
        is in.

        With `elect`, one of several copies works, and another takes over when it goes.
        """
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        asyncio.run(self._run(kubeconfig, elect))

    async def _run(self, kubeconfig: str | None, elect: bool) -> None:
        async with Client(load(kubeconfig), agent=self.name) as client:

            async def start(tasks: TaskGroup) -> Informers:
                return await self.start(client, tasks)

            ending = await lead_and_run(client, self.name, elect, start)
            log.info("%s ends: %s", self.name, ending.value)


async def install(
    client: Client, definitions: tuple[CustomResourceDefinition, ...], manager: str
) -> None:
    """Applies definitions and returns once they are served. Raises TimeoutError."""
    for definition in definitions:
        await client.apply(definition, manager=manager, force=True)
    async with asyncio.timeout(_ESTABLISHED):
        for definition in definitions:
            await _established(client, definition.metadata.name)


async def _established(client: Client, name: str) -> None:
    current = await client.get(CustomResourceDefinition, name)
    if conditions.is_true(current.status.conditions, "Established"):
        return
    async for event in client.watch(
        CustomResourceDefinition,
        fields=f"metadata.name={name}",
        revision=current.metadata.resource_version,
    ):
        if conditions.is_true(event.obj.status.conditions, "Established"):
            return

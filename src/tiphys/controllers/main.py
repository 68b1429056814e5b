"""`tiphys controllers`: starts every controller of the list."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.client.tasks import TaskGroup
from tiphys.controllers.registry import CONTROLLERS
from tiphys.controllers.shell import Context, Controller

log = logging.getLogger(__name__)


async def run_controllers(
    client: Client,
    tasks: TaskGroup,
    ca: str,
    ca_key: str = "",
    addons: Iterable[type[Controller]] = (),
    pools: str = "",
    machines: Mapping[str, Any] | None = None,
) -> Informers:
    """Starts every controller of the list in `tasks`, and those of `addons` before them.

    `ca` and `ca_key` are the cluster's authority in PEM; without the key no certificates are
    signed. `pools` are networks for addresses of load balancers, with commas between them.
    `machines` is what is needed where others join (`shell.Context`). Returns the informers, for
    whatever else runs in this process.
    """
    informers = Informers(client, tasks)
    recorder = EventRecorder(client, "controllers")
    tasks.start(recorder.run(), "events")
    authority = (ca.encode(), ca_key.encode()) if ca_key else None
    settings = {"ca": ca, "authority": authority, "pools": pools, **(machines or {})}
    context = Context(client, informers, recorder, tasks, settings=settings)
    controllers = [kind(context) for kind in (*addons, *CONTROLLERS)]
    # All of them first: the collector shares the informers that others have asked for.
    for controller in controllers:
        controller.watch()
    for controller in controllers:
        tasks.start(controller.run(), controller.name, vital=True)
    log.info("%d controllers were started", len(controllers))
    return informers

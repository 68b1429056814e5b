"""`tiphys controllers`: runs the controllers, one copy of the process at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket

from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.client.leader import LeaderElection
from tiphys.client.tasks import TaskGroup
from tiphys.controllers.registry import CONTROLLERS
from tiphys.controllers.shell import Context

log = logging.getLogger(__name__)


async def run_controllers(client: Client, tasks: TaskGroup, ca: str, ca_key: str = "") -> Informers:
    """Starts every controller of the list in `tasks`. `ca` and `ca_key` are PEM; without the key nothing is signed.
    Returns the informers, for whoever else runs in this process."""
    informers = Informers(client, tasks)
    recorder = EventRecorder(client, "controllers")
    tasks.start(recorder.run(), "events")
    settings = {"ca": ca, "authority": (ca.encode(), ca_key.encode()) if ca_key else None}
    context = Context(client, informers, recorder, tasks, settings=settings)
    controllers = [kind(context) for kind in CONTROLLERS]
    for controller in controllers:
        controller.watch()
    for controller in controllers:
        tasks.start(controller.run(), controller.name, vital=True)
    log.info("%d controllers started", len(controllers))
    return informers


async def lead_and_run(client: Client, name: str, elect: bool, start: object) -> bool:
    """Runs `start(tasks)` while we lead. Returns True on a signal, False when the lead or a vital task is lost."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = TaskGroup(name)
    stopping = loop.create_task(stop.wait())
    election = LeaderElection(client, name, f"{socket.gethostname()}_{os.getpid()}")
    if elect:
        acquiring = loop.create_task(election.acquire())
        await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            acquiring.cancel()
            return True
    holding = loop.create_task(election.hold() if elect else asyncio.Event().wait())
    failing = loop.create_task(tasks.failed.wait())
    tasks.start(start(tasks), "start", vital=True)  # type: ignore[operator]
    await asyncio.wait({holding, stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
    for task in (holding, stopping, failing):
        task.cancel()
    await tasks.stop()
    if elect:
        await election.release()
    return stop.is_set()

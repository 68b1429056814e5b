"""`tiphys node`: the agent, the service proxy, the routes to other nodes and the add-ons of one
node in one process; or many hollow nodes."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from tiphys.client.client import Client, Unreachable
from tiphys.client.config import load
from tiphys.client.exposition import component_registry
from tiphys.client.informer import Informers
from tiphys.client.metrics import ComponentMetrics
from tiphys.client.signals import stop_event
from tiphys.client.tasks import TaskGroup
from tiphys.client.transport import IN_FLIGHT
from tiphys.cluster import hollownodes
from tiphys.cluster.nodeoptions import NodeProcess
from tiphys.machinery.errors import StatusError
from tiphys.node.agent import Agent


async def run(options: NodeProcess) -> None:
    """Until SIGTERM or SIGINT. Pods are left running, unless SIGTERM is how this machine says that
    it shuts down, and the configuration gives them time for that."""
    stop = stop_event()
    options.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    tasks = TaskGroup("node")
    metrics = ComponentMetrics(component_registry())
    client = Client(load(options.kubeconfig), "tiphys-node", metrics)
    # Of thousands of nodes: if they wait for each other, a busy server's answers come too late.
    beats = max(IN_FLIGHT, options.nodes // 10)
    heart = Client(load(options.kubeconfig), "tiphys-node", metrics, in_flight=beats)
    agents: list[Agent] = []
    starting = tasks.start(_start(options, client, heart, tasks, agents), "start", vital=True)
    waits = TaskGroup("node-lifecycle")
    ends = [waits.start(stop.wait(), "signal"), waits.start(tasks.failed.wait(), "failure")]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    await waits.stop()
    if stop.signal == signal.SIGTERM:
        await asyncio.gather(*(agent.shut_down() for agent in agents))
    starting.cancel()
    for agent in agents:
        await agent.stop()
    await tasks.stop()
    await client.close()
    await heart.close()
    if not stop.is_set():
        raise SystemExit(1)


async def _start(
    options: NodeProcess,
    client: Client,
    heart: Client,
    tasks: TaskGroup,
    agents: list[Agent],
) -> None:
    await _server(client)
    informers = Informers(client, tasks)
    if options.runtime == "hollow":
        await hollownodes.start(options, client, heart, tasks, informers, agents)
        return
    from tiphys.cluster.containernode import ContainerNode  # imports what hollow nodes do without

    await ContainerNode(options, client, heart, tasks, informers).start(agents)


async def _server(client: Client) -> None:
    """Waits until the API server answers."""
    pause = 0.02
    while True:
        with contextlib.suppress(Unreachable, StatusError):
            await client.request("GET", "/readyz", timeout=5)
            return
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, 1.0)

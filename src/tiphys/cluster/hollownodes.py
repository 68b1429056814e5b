"""Many hollow nodes in one process: they run nothing, and show pods as if they ran."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from tiphys.api import core_v1
from tiphys.client.client import Client
from tiphys.client.events import EventBudget
from tiphys.client.informer import Informers
from tiphys.client.tasks import TaskGroup
from tiphys.cluster.nodeoptions import NodeProcess
from tiphys.machinery.addresses import version_of
from tiphys.node.agent import Agent
from tiphys.node.hollow import HollowRuntime
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.options import NodeOptions

_AT_ONCE = 32  # nodes that register at the same time


async def start(
    options: NodeProcess,
    client: Client,
    heart: Client,
    tasks: TaskGroup,
    informers: Informers,
    agents: list[Agent],
) -> None:
    """Adds the nodes' agents to `agents`, and returns when all are registered. `heart` sends their
    heartbeats."""
    by_name: dict[str, Agent] = {}
    events = EventBudget()
    metrics = KubeletMetrics(CollectorRegistry())  # of all: no server shows them
    versions = [version_of(address) for address in options.all_addresses]
    for number in range(options.nodes):
        name = f"hollow-{number}"
        own = NodeOptions(
            name,
            options.address,
            options.data_dir,
            Path(),
            Path(),
            Path(),
            10250,
            labels={"type": "hollow"},
            addresses=options.all_addresses,
        )
        runtime = HollowRuntime(number, versions=versions)
        agent = Agent(client, runtime, own, list, tasks, events, metrics=metrics, heart=heart)
        by_name[name] = agent
        agents.append(agent)
    for start in range(0, len(agents), _AT_ONCE):
        await asyncio.gather(*(agent.start() for agent in agents[start : start + _AT_ONCE]))

    def changed(old: Any, new: Any) -> None:
        agent = by_name.get((new or old).spec.node_name)
        if agent is not None:
            agent.pod_changed(old if old is None or old.spec.node_name else None, new)

    def node_changed(old: Any, new: Any) -> None:
        agent = by_name.get((new or old).metadata.name)
        if agent is not None:
            agent.node_changed(old, new)

    informers.of(core_v1.Pod).on_change(changed)
    informers.of(core_v1.Node).on_change(node_changed)

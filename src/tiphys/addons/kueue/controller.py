"""The add-on at work."""

from __future__ import annotations

from tiphys.addons.kueue.jobs.controller import JobController
from tiphys.addons.kueue.lifecycle import WorkloadController
from tiphys.addons.kueue.manager import Manager
from tiphys.addons.kueue.metrics import QueueMetrics
from tiphys.addons.optional import Context
from tiphys.controllers.shell import Context as ShellContext
from tiphys.controllers.shell import Controller


async def run(context: Context) -> None:
    """Until it is cancelled."""
    metrics = QueueMetrics(context.client.metrics.registry)
    try:
        manager = Manager(context, metrics)
        await _start(context, metrics, WorkloadController, JobController)
        context.ready("queues are open")
        await manager.run()
    finally:
        metrics.close()


async def _start(context: Context, metrics: QueueMetrics, *kinds: type[Controller]) -> None:
    shell = ShellContext(
        context.client,
        context.informers,
        context.recorder,
        context.tasks,
        now=context.now,
        settings={"settings": context.settings, "metrics": metrics},
    )
    controllers = [kind(shell) for kind in kinds]
    for controller in controllers:
        controller.watch()
    for controller in controllers:
        await controller.run()

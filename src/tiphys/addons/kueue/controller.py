"""The add-on at work."""

from __future__ import annotations

from tiphys.addons.kueue import Settings, names, webhook
from tiphys.addons.kueue.admission import review_job, review_pod, review_serving
from tiphys.addons.kueue.jobs.controller import JobController
from tiphys.addons.kueue.judging import review_resource
from tiphys.addons.kueue.leaderworkercontroller import LeaderWorkerSetController
from tiphys.addons.kueue.lifecycle import WorkloadController
from tiphys.addons.kueue.manager import Manager
from tiphys.addons.kueue.metrics import QueueMetrics
from tiphys.addons.kueue.podcontroller import PodController
from tiphys.addons.kueue.topologycontroller import TopologyController
from tiphys.addons.kueue.types.quotas import LocalQueue
from tiphys.addons.optional import Context
from tiphys.addons.reviews import Judge
from tiphys.controllers.shell import Context as ShellContext
from tiphys.controllers.shell import Controller

_CONTROLLERS: tuple[type[Controller], ...] = (
    WorkloadController,
    JobController,
    PodController,
    LeaderWorkerSetController,
    TopologyController,
)


async def run(context: Context) -> None:
    """Until it is cancelled."""
    metrics = QueueMetrics(context.client.metrics.registry)
    queues = context.informers.of(LocalQueue)

    def has_default(namespace: str) -> bool:
        return queues.get(f"{namespace}/{names.DEFAULT_QUEUE}") is not None

    judges: dict[str, Judge] = {
        webhook.JOBS: lambda request: review_job(request, has_default),
        webhook.PODS: review_pod,
        webhook.SERVING: review_serving,
        webhook.RESOURCES: review_resource,
    }
    settings: Settings = context.settings
    address = settings.address
    port = settings.webhook_port
    server = await webhook.serve(judges, address, port, context.data_dir, context.now())
    try:
        manager = Manager(context, metrics)
        await _start(context, metrics)
        await webhook.register(context.client, server)
        context.ready("queues are open")
        await manager.run()
    finally:
        await server.webhook.stop()
        metrics.close()


async def _start(context: Context, metrics: QueueMetrics) -> None:
    shell = ShellContext(
        context.client,
        context.informers,
        context.recorder,
        context.tasks,
        now=context.now,
        settings={"settings": context.settings, "metrics": metrics},
    )
    controllers = [kind(shell) for kind in _CONTROLLERS]
    for controller in controllers:
        controller.watch()
    for controller in controllers:
        await controller.run()

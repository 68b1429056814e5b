"""The add-on at work: the webhook, the metrics, and the loop over jobs."""

from __future__ import annotations

import asyncio

from tiphys.addons.optional import Context
from tiphys.addons.training import Settings
from tiphys.addons.training.agents import Agents
from tiphys.addons.training.controller import bound_to
from tiphys.addons.training.metrics import JobMetrics, MetricsServer
from tiphys.addons.training.recording import Recorder
from tiphys.addons.training.webhook import Webhook, configuration, self_signed
from tiphys.machinery.addresses import authority


async def run(context: Context) -> None:
    """Until it is cancelled. Raises OSError when an address is taken."""
    settings: Settings = context.settings
    metrics = JobMetrics()
    server = MetricsServer(metrics)
    webhook = Webhook()
    metrics_port = await server.start(settings.address, settings.metrics_port)
    try:
        certificate, tls = self_signed(settings.address)
        port = await webhook.start(settings.address, settings.webhook_port, tls)
        try:
            hook = configuration(settings.address, port, certificate)
            hook.metadata.labels = context.labels
            await context.client.apply(hook, manager="tiphys-training", force=True)
            async with Agents(settings.agent_port) as agents:
                await context.reconcile(bound_to(agents, Recorder(metrics)))
                where = authority(settings.address, metrics_port)
                context.ready(f"jobs are kept; metrics at http://{where}/metrics")
                await asyncio.Event().wait()
        finally:
            await webhook.stop()
    finally:
        await server.stop()

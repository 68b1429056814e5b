"""The add-on at work: the webhook, the metrics, and the loop over jobs."""

from __future__ import annotations

import asyncio

from tiphys.addons.authority import passing_server
from tiphys.addons.optional import Context
from tiphys.addons.training import WEBHOOK, Settings
from tiphys.addons.training.agents import Agents
from tiphys.addons.training.controller import bound_to
from tiphys.addons.training.metrics import JobMetrics, MetricsServer
from tiphys.addons.training.recording import Recorder
from tiphys.addons.training.webhook import PATH, review, webhooks
from tiphys.addons.webhook import Webhook
from tiphys.api.admissionregistration_v1 import ValidatingWebhookConfiguration
from tiphys.api.base import to_builtins
from tiphys.client.client import MERGE
from tiphys.machinery.addresses import authority


async def run(context: Context) -> None:
    """Until it is cancelled. Raises OSError when an address is taken."""
    settings: Settings = context.settings
    metrics = JobMetrics()
    server = MetricsServer(metrics)
    webhook = Webhook({PATH: review})
    metrics_port = await server.start(settings.address, settings.metrics_port)
    try:
        root, tls = passing_server(
            "Tiphys training", [settings.address], context.now(), context.data_dir
        )
        port = await webhook.start(settings.address, settings.webhook_port, tls)
        try:
            hooks = {"webhooks": to_builtins(webhooks(settings.address, port, root))}
            kind = ValidatingWebhookConfiguration
            await context.client.patch(kind, WEBHOOK, hooks, media=MERGE)
            async with Agents(settings.agent_port) as agents:
                await context.reconcile(bound_to(agents, Recorder(metrics)))
                where = authority(settings.address, metrics_port)
                context.ready(f"jobs are kept; metrics at http://{where}/metrics")
                await asyncio.Event().wait()
        finally:
            await webhook.stop()
    finally:
        await server.stop()

"""Puts the add-on together, and runs it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tiphys.addons._cloud import catalog
from tiphys.addons._cloud.machines import Cloud
from tiphys.addons.karpenter.cluster import Cluster
from tiphys.addons.karpenter.disrupting import Disrupter
from tiphys.addons.karpenter.lifecycle import NodeClaimReconciler
from tiphys.addons.karpenter.metrics import KarpenterMetrics
from tiphys.addons.karpenter.pools import (
    EC2NodeClassReconciler,
    NodeOverlayReconciler,
    NodePoolReconciler,
    TiphysNodeClassReconciler,
)
from tiphys.addons.karpenter.provisioning import Provisioner
from tiphys.addons.karpenter.reporting import Reports
from tiphys.addons.karpenter.settings import times_of
from tiphys.addons.karpenter.shared import Shared
from tiphys.addons.karpenter.upkeep import Upkeep
from tiphys.addons.optional import Context
from tiphys.api import networking_v1
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError, is_forbidden, is_not_found

_RECONCILERS = (
    TiphysNodeClassReconciler,
    EC2NodeClassReconciler,
    NodePoolReconciler,
    NodeOverlayReconciler,
    NodeClaimReconciler,
)


async def loopbacks(client: Client) -> tuple[str, ...]:
    """Addresses of the machine by itself, in the versions of IP that the cluster's services have,
    in their order."""
    try:
        ranges = (await client.get(networking_v1.ServiceCIDR, "kubernetes")).spec.cidrs
    except StatusError as error:
        if not (is_not_found(error) or is_forbidden(error)):
            raise
        ranges = []  # no cluster of ours, or an add-on that was enabled before it needed this
    return tuple("::1" if ":" in one else "127.0.0.1" for one in ranges) or ("127.0.0.1",)


async def start(context: Context) -> Shared:
    """Starts everything in the context's tasks, which end with it."""
    offered = catalog.builtin()
    cloud = Cloud(
        context.client,
        context.informers,
        context.tasks,
        offered,
        context.data_dir,
        context.now,
        context.machines,
    )
    shared = Shared(
        context,
        context.settings,
        times_of(context.settings),
        cloud,
        Cluster(context.informers, offered, context.settings.min_values_policy == "BestEffort"),
        KarpenterMetrics.of(context.client.metrics.registry),
        Reports(context.client, context.now),
    )
    await shared.reports.load()
    await context.informers.synced()
    await cloud.start(await loopbacks(context.client))
    provisioner = Provisioner(shared)
    disrupter = Disrupter(shared, provisioner)
    upkeep = Upkeep(shared, provisioner)
    await replace(context, settings=shared).reconcile(*_RECONCILERS)
    provisioner.follow()
    context.tasks.start(provisioner.run(), "provisioner", vital=True)
    context.tasks.start(disrupter.run(), "disrupter", vital=True)
    context.tasks.start(upkeep.run(), "upkeep", vital=True)
    return shared


async def run(context: Context) -> None:
    shared = await start(context)
    context.ready("nodes are made as pods need them")
    try:
        await asyncio.Event().wait()
    finally:
        await shared.cloud.close()

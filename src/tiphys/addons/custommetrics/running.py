"""The add-on at work: rules are read once, and what Prometheus has again and again."""

from __future__ import annotations

import asyncio
import logging

from tiphys.addons.aggregated import own_address
from tiphys.addons.custommetrics import GROUP, VERSIONS, Settings, rules
from tiphys.addons.custommetrics.asking import Prometheus, PrometheusError
from tiphys.addons.custommetrics.serving import Server
from tiphys.addons.installing import AddonError
from tiphys.addons.optional import NAMESPACE, Context
from tiphys.api import core_v1
from tiphys.client.client import Unreachable
from tiphys.machinery.addresses import authority
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)

_FILE = "config.yaml"  # in a ConfigMap of the adapter's chart


async def run(context: Context) -> None:
    """Until it is cancelled. Raises AddonError when the rules cannot be, OSError when the port is
    taken."""
    settings: Settings = context.settings
    try:
        read = await _rules(context, settings.rules)
        prometheus = Prometheus(context.client, settings.prometheus, settings.timeout)
    except (rules.RuleError, PrometheusError) as error:
        raise AddonError(str(error)) from None
    server = Server(context.client, prometheus, read, context.now)
    address = settings.address or own_address()
    try:
        port = await server.server.start(
            context.client, address, settings.port, context.now(), context.data_dir
        )
        names = [f"{version}.{GROUP}" for version in VERSIONS]
        await server.server.announce(context.client, address, port, names)
        await _keep_listing(context, server, authority(address, port), settings.relist)
    finally:
        await server.server.stop()
        await prometheus.close()


async def _rules(context: Context, name: str) -> list[rules.Rule]:
    if not name:
        return rules.read(rules.DEFAULT)
    config_map = await context.client.get(core_v1.ConfigMap, name, NAMESPACE)
    if _FILE not in config_map.data:
        raise rules.RuleError(f"ConfigMap {NAMESPACE}/{name} has no {_FILE}")
    return rules.read(config_map.data[_FILE])


async def _keep_listing(context: Context, server: Server, where: str, period: float) -> None:
    reported = ""
    while True:
        try:
            await server.relist()
            message = f"metrics at {where}: {len(server.catalog)} of them"
        except (PrometheusError, StatusError, Unreachable) as error:
            message = f"metrics at {where}: Prometheus was not listed: {error}"
            log.warning("%s", message)
        if message != reported:
            context.ready(message)
            reported = message
        await asyncio.sleep(period)

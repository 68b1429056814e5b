"""The add-on at work: polls, serves, and reports problems to owners of objects by events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from tiphys.addons.optional import Context
from tiphys.addons.routeserver import Settings
from tiphys.addons.routeserver.compiling.objects import Problem
from tiphys.addons.routeserver.compiling.options import Options
from tiphys.addons.routeserver.polling import Poller
from tiphys.addons.routeserver.serving import RouteServer
from tiphys.addons.routeserver.table import Tables
from tiphys.machinery.addresses import authority

_PERIOD = 5.0  # seconds between updates of what `tiphys addon status` reports


async def run(context: Context) -> None:
    """Until it is cancelled. Raises OSError when the address is taken."""
    settings: Settings = context.settings
    if settings.mode == "False":
        context.ready("mode False: nothing is served, routers read the cluster themselves")
        await asyncio.Event().wait()
    tables = Tables()
    poller = Poller(
        context.client, options_of(settings), tables, Reporter(context).report, settings.interval
    )
    server = RouteServer(tables, poller)
    port = await server.start(settings.address, settings.port)
    context.tasks.start(poller.run(), "polling", vital=True)
    where = f"http://{authority(settings.address, port)}/routes (mode {settings.mode})"
    try:
        await _tell(context.ready, where, tables)
    finally:
        await server.stop()


async def _tell(ready: Callable[[str], None], where: str, tables: Tables) -> None:
    reported = ""
    while True:
        table = tables.current
        message = f"{where}: {table.complete.count if table else 'no'} routes"
        if message != reported:
            ready(message)
            reported = message
        await asyncio.sleep(_PERIOD)


def options_of(settings: Settings) -> Options:
    return Options(
        ingress_class=settings.ingress_class,
        route_group_class=settings.route_group_class,
        path_mode=settings.path_mode,
        traffic=settings.traffic,
        load_balancer=settings.load_balancer,
        https_redirect=settings.https_redirect,
        external_names=settings.external_names,
        default_filters=settings.default_filters,
    )


class Reporter:
    """Writes an event when a problem is new; one that stays is not repeated with every poll."""

    def __init__(self, context: Context) -> None:
        self._recorder = context.recorder
        self._known: set[tuple[str, str, str]] = set()

    def report(self, problems: Sequence[Problem]) -> None:
        now = {(*problem.about.metadata.key, problem.message): problem for problem in problems}
        for key in now.keys() - self._known:
            problem = now[key]
            self._recorder.record(problem.about, "Warning", "NotRouted", problem.message)
        self._known = set(now)

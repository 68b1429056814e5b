"""kube-proxy's metrics of its mode nftables, and where they are served: 127.0.0.1:10249, or [::1]
on a node of IPv6, to clients on the node, as kube-proxy does. `/proxyMode` says the mode.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tiphys.client.exposition import exponential_buckets, render
from tiphys.network.proxy.wire import Family

log = logging.getLogger(__name__)

PORT = 10249
_PART = "kubeproxy_sync_proxy_rules"
_SYNC_BUCKETS = exponential_buckets(0.001, 2, 15)
_PROGRAMMING_BUCKETS = (
    *(0.25, 0.5),
    *range(1, 60),
    *range(60, 120, 5),
    *range(120, 301, 30),
)


def _name(family: Family) -> str:
    return f"IPv{family.version}"


class ProxyMetrics:
    """Metrics of changes as they come, and of what the proxy has written."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._set_up_rounds(registry)
        self._set_up_changes(registry)
        self._programming = Histogram(
            "kubeproxy_network_programming_duration_seconds",
            "Seconds from a change of a pod or a service until its rules were written.",
            ("ip_family",),
            buckets=_PROGRAMMING_BUCKETS,
            registry=registry,
        )
        self._flows = Histogram(
            "kubeproxy_conntrack_reconciler_sync_duration_seconds",
            "Seconds that it took to forget flows to endpoints that are gone.",
            ("ip_family",),
            buckets=_SYNC_BUCKETS,
            registry=registry,
        )
        self._probes = {
            path: Counter(
                f"kubeproxy_proxy_{path[1:]}_total",
                f"Answers to {path}, by their status.",
                ("code",),
                registry=registry,
            )
            for path in ("/healthz", "/livez")
        }

    def _set_up_rounds(self, registry: CollectorRegistry) -> None:
        def rounds(name: str, subject: str) -> Histogram:
            return Histogram(
                f"kubeproxy_{name}_duration_seconds",
                f"Seconds that it took to write {subject}.",
                ("ip_family",),
                buckets=_SYNC_BUCKETS,
                registry=registry,
            )

        self._round = rounds("sync_proxy_rules", "rules")
        self._whole_round = rounds("sync_full_proxy_rules", "all rules")
        self._part_round = rounds("sync_partial_proxy_rules", "the rules that changed")
        self._written_last = Gauge(
            f"{_PART}_last_timestamp_seconds",
            "When rules were written last.",
            ("ip_family",),
            registry=registry,
        )
        self._queued_last = Gauge(
            f"{_PART}_last_queued_timestamp_seconds",
            "When something last changed that rules follow from.",
            ("ip_family",),
            registry=registry,
        )
        self._failures = Counter(
            f"{_PART}_nftables_sync_failures_total",
            "Rounds that the kernel refused.",
            ("ip_family",),
            registry=registry,
        )

    def _set_up_changes(self, registry: CollectorRegistry) -> None:
        self._totals = {
            kind: Counter(
                f"{_PART}_{kind}_changes_total", f"Changes of {kind}s.", registry=registry
            )
            for kind in ("service", "endpoint")
        }
        self._pending = {
            kind: Gauge(
                f"{_PART}_{kind}_changes_pending",
                f"Changes of {kind}s whose rules are not written yet.",
                registry=registry,
            )
            for kind in ("service", "endpoint")
        }

    # --- changes ---

    def changed(self, kind: str) -> None:
        """kind: service or endpoint"""
        self._totals[kind].inc()
        self._pending[kind].inc()

    def queued(self, families: Iterable[Family]) -> None:
        for family in families:
            self._queued_last.labels(_name(family)).set_to_current_time()

    def taken(self) -> None:
        """Everything that has changed so far is about to be written."""
        for pending in self._pending.values():
            pending.set(0)

    # --- rounds ---

    def written(self, family: Family, seconds: float, is_whole: bool) -> None:
        name = _name(family)
        kind = self._whole_round if is_whole else self._part_round
        self._round.labels(name).observe(seconds)
        kind.labels(name).observe(seconds)
        self._written_last.labels(name).set_to_current_time()

    def failed(self, family: Family) -> None:
        self._failures.labels(_name(family)).inc()

    def programmed(self, family: Family, changes: Iterable[float]) -> None:
        """What changed at these times (seconds since the epoch) is in force now."""
        now = time.time()
        for changed in changes:
            self._programming.labels(_name(family)).observe(max(now - changed, 0.0))

    def forgot_flows(self, family: Family, seconds: float) -> None:
        self._flows.labels(_name(family)).observe(seconds)

    def probed(self, path: str, status: int) -> None:
        self._probes[path].labels(str(status)).inc()


async def serve(registry: CollectorRegistry, address: str, port: int = PORT) -> web.ServerRunner:
    """A server that runs until its `cleanup`. Where the port is taken (another cluster of the
    machine has it), a warning says so."""
    rendering = asyncio.Lock()  # one page at a time: each takes a thread

    async def respond(request: web.BaseRequest) -> web.Response:
        if request.path == "/proxyMode":
            return web.Response(text="nftables")
        if request.path != "/metrics":
            return web.Response(status=404, text="404 page not found\n")
        accept = request.headers.get("Accept", "")
        accept_encoding = request.headers.get("Accept-Encoding", "")
        async with rendering:
            page = await asyncio.to_thread(render, registry, accept, accept_encoding)
        return web.Response(body=page.body, headers=page.headers)

    server = web.Server(respond, access_log=None)
    runner = web.ServerRunner(server, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port).start()
    except OSError as error:
        log.warning("The proxy's metrics are not served at port %d: %s", port, error)
    return runner

"""What the operator counts, under the published names."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tiphys.client.exposition import exponential_buckets, render

_PREFIX = "hyperpod_training_operator_jobs"
_BUCKETS = exponential_buckets(0.25, 2, 12)  # seconds, up to 8.5 minutes


class JobMetrics:
    """A registry of its own: several operators in one process do not add to each other's."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.created = self._counter("created", "Jobs that the operator has accepted.")
        self.restarted = self._counter("restarted", "Restarts of jobs after a fault.")
        self.successful = self._counter("successful", "Jobs that have completed.")
        self.failed = self._counter("failed", "Jobs that have failed.")
        self.deleted = self._counter("deleted", "Jobs that were deleted.")
        self.restart_latency = Histogram(
            f"{_PREFIX}_restart_latency",
            "Seconds from a fault until the job ran again.",
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.detection_latency = Histogram(
            f"{_PREFIX}_fault_detection_latency",
            "Seconds from a fault, as its agent noticed it, until the operator did.",
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.running = Gauge(f"{_PREFIX}_running", "Jobs that run now.", registry=self.registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", text, registry=self.registry)


class MetricsServer:
    def __init__(self, metrics: JobMetrics) -> None:
        self._metrics = metrics

    async def start(self, address: str, port: int) -> int:
        """Listens and returns the port. Raises OSError when it is taken."""
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        shown = render(self._metrics.registry, request.headers.get("Accept", ""))
        return web.Response(body=shown.body, headers=shown.headers)

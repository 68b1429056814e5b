"""What is counted, and on which page."""

from __future__ import annotations

import asyncio

import aiohttp
from dns.rcode import Rcode
from prometheus_client.parser import text_string_to_metric_families

from tiphys.addons.dns.metrics import DNSMetrics
from tiphys.addons.dns.monitoring import Page
from tiphys.addons.dns.source import InformerSource
from tiphys.client.exposition import render
from tiphys.client.tasks import TaskGroup
from tiphys.testing.cluster import free_port


class Shown:
    """The samples of a page."""

    def __init__(self, metrics: DNSMetrics) -> None:
        text = render(metrics.registry).body.decode()
        families = text_string_to_metric_families(text)
        self._samples = [sample for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        [value] = [
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return value


def test_queries_are_counted_by_zone_protocol_type_and_code() -> None:
    metrics = DNSMetrics()
    for rdtype, rcode, count in ((1, 0, 3), (1, 3, 1), (28, 0, 2), (65400, 0, 1)):
        metrics.tally("cluster.local.", "udp", rdtype, rcode).count += count
    shown, requests = Shown(metrics), "coredns_dns_requests_total"
    counted = {"zone": "cluster.local.", "proto": "udp"}
    kinds = ("A", "AAAA", "other")
    assert [shown.value(requests, type=kind, **counted) for kind in kinds] == [4, 2, 1]
    responses = "coredns_dns_responses_total"
    assert [shown.value(responses, rcode=code) for code in ("NOERROR", "NXDOMAIN")] == [6, 1]
    assert metrics.answered == 7


def test_other_servers_are_counted_with_their_time_and_their_silence() -> None:
    metrics = DNSMetrics()
    metrics.forwarded("192.0.2.1:53", Rcode.NOERROR, 0.003)
    metrics.not_forwarded("192.0.2.2:53")
    metrics.cache_hits, metrics.cache_entries = 5, lambda: 9
    shown, bucket = Shown(metrics), "coredns_proxy_request_duration_seconds_bucket"
    assert shown.value(bucket, to="192.0.2.1:53", rcode="NOERROR", le="0.002") == 0
    assert shown.value(bucket, to="192.0.2.1:53", rcode="NOERROR", le="0.004") == 1
    assert shown.value("coredns_proxy_healthcheck_failures_total", to="192.0.2.2:53") == 1
    assert shown.value("coredns_cache_hits_total") == 5
    assert shown.value("coredns_cache_entries") == 9


class Synced(InformerSource):
    has_synced = False

    def __init__(self) -> None:
        pass


async def test_the_page_says_whether_the_services_are_known() -> None:
    source = Synced()
    port = free_port()
    tasks = TaskGroup("test")
    tasks.start(Page(DNSMetrics(), source).serve("127.0.0.1", port), "page")
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        statuses = [await status(session, path) for path in ("/ready", "/health", "/other")]
        source.has_synced = True
        statuses += [await status(session, path) for path in ("/ready", "/metrics")]
        async with session.post("/metrics") as posted:
            statuses.append(posted.status)
    await tasks.stop()
    assert statuses == [503, 200, 404, 200, 200, 405]


async def status(session: aiohttp.ClientSession, path: str) -> int:
    async with asyncio.timeout(5):
        while True:
            try:
                async with session.get(path) as response:
                    return response.status
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0)

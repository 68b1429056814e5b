"""What the proxy tells of itself, under kube-proxy's names."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import aiohttp
from prometheus_client import CollectorRegistry

from tests.network.builders import slice_with
from tiphys.network.proxy.metrics import ProxyMetrics, serve
from tiphys.network.proxy.triggers import TRIGGERED, Triggers
from tiphys.network.proxy.wire import IPV4, IPV6


def value(metrics: ProxyMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"kubeproxy_{name}", labels)


def test_rounds_are_timed_by_family_and_extent() -> None:
    metrics = ProxyMetrics(CollectorRegistry())
    metrics.written(IPV4, 0.5, is_whole=True)
    metrics.written(IPV4, 0.25, is_whole=False)
    for kind, count in (("", 2), ("_full", 1), ("_partial", 1)):
        name = f"sync{kind}_proxy_rules_duration_seconds_count"
        assert value(metrics, name, ip_family="IPv4") == count
    last = value(metrics, "sync_proxy_rules_last_timestamp_seconds", ip_family="IPv4")
    assert last is not None and abs(last - time.time()) < 60
    assert value(metrics, "sync_proxy_rules_duration_seconds_count", ip_family="IPv6") is None


def test_changes_are_pending_until_they_are_taken() -> None:
    metrics = ProxyMetrics(CollectorRegistry())
    metrics.changed("service")
    metrics.changed("endpoint")
    assert value(metrics, "sync_proxy_rules_service_changes_pending") == 1
    metrics.taken()
    assert value(metrics, "sync_proxy_rules_service_changes_pending") == 0
    assert value(metrics, "sync_proxy_rules_endpoint_changes_total") == 1


def test_what_changed_before_the_proxy_was_there_tells_nothing_of_the_network() -> None:
    triggers = Triggers()
    changed = slice_with("s", [])
    changed.address_type = "IPv6"
    for moment in ("2020-01-01T00:00:00Z", "", "nonsense"):
        changed.metadata.annotations = {TRIGGERED: moment}
        triggers.note(changed)
    assert triggers.take() == {4: [], 6: []}
    changed.metadata.annotations = {TRIGGERED: datetime.now(UTC).isoformat()}
    triggers.note(changed)
    taken = triggers.take()
    metrics = ProxyMetrics(CollectorRegistry())
    metrics.programmed(IPV6, taken[6])
    name = "network_programming_duration_seconds_count"
    assert value(metrics, name, ip_family="IPv6") == 1 and triggers.take()[6] == []


async def test_the_page_and_the_mode_are_served() -> None:
    metrics = ProxyMetrics(CollectorRegistry())
    metrics.probed("/healthz", 503)
    runner = await serve(metrics.registry, "127.0.0.1", 0)
    where = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{where}/metrics") as answer:
            assert 'kubeproxy_proxy_healthz_total{code="503"} 1.0' in await answer.text()
        async with session.get(f"{where}/proxyMode") as answer:
            assert await answer.text() == "nftables"
    await runner.cleanup()

"""Pages of metrics, and histograms that are kept by hand."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tiphys.client.exposition import (
    LATENCY_BUCKETS,
    CounterRow,
    HistogramRow,
    LazyCounter,
    LazyHistogram,
    Tally,
    component_registry,
    exponential_buckets,
    render,
)


def test_a_tally_counts_what_is_not_above_a_bound() -> None:
    tally = Tally((1.0, 2.0, 4.0))
    for value in (0.5, 1.0, 1.5, 4.0, 4.5):
        tally.observe(value)
    assert tally.buckets() == [("1.0", 2), ("2.0", 3), ("4.0", 4), ("+Inf", 5)]
    assert (tally.sum, tally.first, tally.counts) == (11.5, 1.0, [2, 1, 1, 1])


def test_buckets_grow_by_a_factor() -> None:
    assert exponential_buckets(0.5, 2, 4) == (0.5, 1.0, 2.0, 4.0)
    assert list(LATENCY_BUCKETS) == sorted(LATENCY_BUCKETS) and len(LATENCY_BUCKETS) == 23


@pytest.mark.parametrize(
    ("accept", "encoding", "kind", "is_packed"),
    [
        ("", "", "text/plain", False),
        ("text/plain", "deflate", "text/plain", False),
        ("text/plain", "deflate, gzip", "text/plain", True),
        ("application/openmetrics-text; version=1.0.0", "", "application/openmetrics-text", False),
    ],
)
def test_a_page_is_as_the_headers_have_it(
    accept: str, encoding: str, kind: str, is_packed: bool
) -> None:
    registry = CollectorRegistry()
    Counter("seen_total", "Seen.", registry=registry).inc()
    page = render(registry, accept, encoding)
    assert page.headers["Content-Type"].startswith(kind)
    assert page.headers.get("Content-Encoding") == ("gzip" if is_packed else None)
    body = gzip.decompress(page.body) if is_packed else page.body
    assert b"seen_total 1.0" in body and b"_created" not in body


def test_a_component_shows_its_process() -> None:
    body = render(component_registry()).body
    assert b"process_open_fds" in body and b"python_gc_collections_total" in body


def test_a_lazy_histogram_is_written_as_any_other() -> None:
    tally = Tally((1.0, 2.0))
    for value in (0.5, 1.5, 9.0):
        tally.observe(value)
    name, text, labels = "seconds", "How long.", ("verb", "code")
    usual = HistogramMetricFamily(name, text, labels=labels)
    usual.add_metric(("GET", "200"), tally.buckets(), tally.sum)
    rows = [HistogramRow(("GET", "200"), tally.buckets(), tally.sum)]

    class Shown(Collector):
        def __init__(self, family: Metric) -> None:
            self._family = family

        def collect(self) -> Iterator[Metric]:
            yield self._family

    pages = []
    for family in (usual, LazyHistogram(name, text, labels, lambda: rows)):
        registry = CollectorRegistry()
        registry.register(Shown(family))
        pages.append(
            [
                render(registry, accept).body
                for accept in ("", "application/openmetrics-text; version=1.0.0")
            ]
        )
    assert pages[0] == pages[1]
    assert b'seconds_bucket{code="200",le="2.0",verb="GET"} 2.0' in pages[1][0]


def test_a_lazy_counter_is_written_as_any_other() -> None:
    name, text, labels = "seen", "How many.", ("verb", "code")
    usual = CounterMetricFamily(name, text, labels=labels)
    rows = [CounterRow(("GET", "200"), 3), CounterRow(("GET", "404"), 1.5)]
    for row in rows:
        usual.add_metric(row.labels, row.value)
    lazy = LazyCounter(name, text, labels, lambda: rows)
    assert list(lazy.samples) == usual.samples
    assert (lazy.name, lazy.documentation, lazy.type) == (name, text, usual.type)


@pytest.mark.parametrize(
    "accept", ["", "application/openmetrics-text; version=1.0.0", "text/plain; version=1.0.0"]
)
def test_a_page_made_in_parts_is_the_librarys(accept: str) -> None:
    registry = CollectorRegistry()
    histogram = Histogram("took_seconds", "One\nline.", ("who",), registry=registry)
    for number in range(230):  # some 3,900 lines, and names that look like other lines
        histogram.labels(f"# {number}\n# EOF").observe(number)
    Counter("none", "No series.", ("who",), registry=registry)
    Counter("seen", "Seen.", registry=registry).inc()
    encode, _ = choose_encoder(accept)
    assert render(registry, accept).body == encode(registry)
    assert gzip.decompress(render(registry, accept, "gzip").body) == encode(registry)


def test_few_lines_of_a_large_page_are_in_memory_at_a_time() -> None:
    rows = [HistogramRow((str(number),), Tally((1.0,)).buckets(), 0.0) for number in range(20_000)]
    registry = CollectorRegistry()
    highest: list[int] = []

    class Shown(Collector):
        def collect(self) -> Iterator[Metric]:
            yield LazyHistogram("seconds", "How long.", ("who",), lambda: iter(counted()))

    def counted() -> Iterator[HistogramRow]:
        for row in rows:
            highest.append(sys.getallocatedblocks())
            yield row

    registry.register(Shown())
    highest.clear()
    render(registry)
    assert max(highest) - min(highest) < 30_000  # of 80,000 lines

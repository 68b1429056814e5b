"""Pages of metrics, and histograms that are kept by hand."""

from __future__ import annotations

import gzip

import pytest
from prometheus_client import CollectorRegistry, Counter

from tiphys.client.exposition import (
    LATENCY_BUCKETS,
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
